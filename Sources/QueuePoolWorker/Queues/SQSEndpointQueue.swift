// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
package import QueuePoolCurl
import QueuePoolJSON
import QueuePoolSQS

/// A queue behind an SQS endpoint, over AWS JSON 1.0.
package struct SQSEndpointQueue: WorkerQueue {
    private let engine: CurlEngine
    private let endpoint: String
    private let clock: any Clock
    private let tellsSending: Bool
    private let tls: TransferTLS?

    /// - Parameters:
    ///   - endpoint: `http://HOST:PORT`, without a slash at its end.
    ///   - tellsSending: whether messages say how they were sent.
    ///   - tls: towards the server; `nil`: as usual.
    package init(
        engine: CurlEngine, endpoint: String, clock: any Clock, tellsSending: Bool = false, tls: TransferTLS? = nil
    ) {
        self.tls = tls
        self.tellsSending = tellsSending
        self.clock = clock
        self.engine = engine
        self.endpoint = endpoint
    }

    package func shards(ofPool pool: String) async throws(WorkerQueueError) -> [WorkerShard] {
        let request = HTTPRequest(method: "GET", url: "\(endpoint)/v1/pools/\(pool)", timeoutMilliseconds: 10_000)
        let response = try await perform(request)
        if let absence = response.absence { throw absence == .pool ? .noPool : .notServed }
        if let refusal = response.accessRefusal { throw .notAdmitted(refusal) }
        guard response.status == 200 else { throw .refused(code: "HTTP \(response.status)") }
        return try SQSEndpointQueue.parse(response.body) { (json) throws(JSONFault) in
            var shards: [WorkerShard] = []
            try json.beginObject()
            while let key = try json.nextKey() {
                guard key.equals("shards") else {
                    try json.skipValue()
                    continue
                }
                try json.beginArray()
                while try json.nextElement() { shards.append(try SQSEndpointQueue.shard(&json)) }
            }
            return shards
        }
    }

    private static func shard(_ json: inout JSONReader) throws(JSONFault) -> WorkerShard {
        var name = ""
        var index = 0
        try json.beginObject()
        while let key = try json.nextKey() {
            if key.equals("name") {
                name = try json.readString().text
            } else if key.equals("index") {
                index = try json.readInt()
            } else {
                try json.skipValue()
            }
        }
        return WorkerShard(index: ShardIndex(index), name: name)
    }

    package func receive(
        from queue: String, visibilitySeconds: Int, waitSeconds: Int
    ) async throws(WorkerQueueError) -> [WorkMessage] {
        let request = ClientRequest.receive(
            limit: QueueLimits.batchEntriesMax, visibilitySeconds: visibilitySeconds, waitSeconds: waitSeconds,
            from: queue)
        let answer = try await call(request, timeoutMilliseconds: (waitSeconds + 15) * 1_000)
        let now = clock.wallTime()
        // What is not whole comes back when its visibility timeout ends, and so does what is behind it in its group.
        return try SQSEndpointQueue.read { () throws(JSONFault) in
            try AnsweredMessages.read(answer) { entry, _ in message(entry, at: now) }.messages
        }
    }

    private func message(_ entry: AnsweredMessage, at now: Timestamp) -> WorkMessage? {
        var message = WorkMessage(
            id: entry.id, handle: entry.handle, group: String(decoding: entry.group, as: UTF8.self), body: entry.body,
            attributes: entry.attributes, receiveCount: entry.receiveCount)
        // The two clocks may differ, and a first receive is never later than now.
        message.millisecondsSinceFirstReceive = entry.firstReceivedAt.map { max(0, now - $0) }
        if tellsSending {
            message.sending = SendingFacts(
                sentAt: entry.sentAt, sequence: entry.sequence,
                deduplicationID: String(decoding: entry.deduplicationID, as: UTF8.self))
        }
        // A server puts bodies of its own in place of their pointers. Where others lie only the control store says.
        message.storedBody = message.pointer.map { StoredBody($0.pointer, byteCount: 0, in: BodiesOutOfReach.shared) }
        return message
    }

    package func delete(
        _ messages: [WorkMessage], from queue: String
    ) async throws(WorkerQueueError) -> (lost: [WorkMessage], failed: [WorkMessage]) {
        try await perform(.delete(messages.map { ClientRequest.HandleEntry(handle: $0.handle) }, from: queue), messages)
    }

    package func changeVisibility(
        _ messages: [WorkMessage], seconds: Int, in queue: String
    ) async throws(WorkerQueueError) -> (lost: [WorkMessage], failed: [WorkMessage]) {
        let entries = messages.map { ClientRequest.HandleEntry(handle: $0.handle, seconds: seconds) }
        return try await perform(.changeVisibility(entries, in: queue), messages)
    }

    package func send(
        _ message: WorkMessage, attributes: [MessageAttribute], deduplicationID: String, to queue: String
    ) async throws(WorkerQueueError) {
        let request = ClientRequest.send(
            body: message.body, group: message.group, deduplicationID: deduplicationID, attributes: attributes,
            to: queue)
        _ = try await call(request, timeoutMilliseconds: 30_000)
    }

    // MARK: - Wire

    /// Performs a batch about these messages.
    private func perform(
        _ request: ClientRequest, _ messages: [WorkMessage]
    ) async throws(WorkerQueueError) -> (lost: [WorkMessage], failed: [WorkMessage]) {
        let body = try await call(request, timeoutMilliseconds: 30_000)
        let answers = try SQSEndpointQueue.read { () throws(JSONFault) in
            try BatchAnswers.handles(body, count: messages.count)
        }
        var sorted: (lost: [WorkMessage], failed: [WorkMessage]) = ([], [])
        for (message, answer) in zip(messages, answers) {
            switch answer {
            case .done: break
            case .lost: sorted.lost.append(message)
            // What says nothing of the handle: the same request may succeed later.
            case .failed, .unknown: sorted.failed.append(message)
            }
        }
        return sorted
    }

    private func call(
        _ request: ClientRequest, timeoutMilliseconds: Int
    ) async throws(WorkerQueueError) -> [UInt8] {
        let response = try await perform(
            HTTPRequest(
                method: "POST", url: endpoint + "/",
                headers: [("Content-Type", SQSAction.contentType), ("X-Amz-Target", request.action.target)],
                body: request.body, timeoutMilliseconds: timeoutMilliseconds,
                lane: request.action == .receiveMessage ? .polls : .calls,
                answerBytesMax: SQSEndpointQueue.answerBytesMax))
        guard response.status == 200 else {
            let fault = ServiceFault(
                status: response.status, queryError: response.header("x-amzn-query-error"), body: response.body)
            if SQSEndpointQueue.unknownCallerCodes.contains(fault.code) { throw .notAdmitted(.unknownCaller) }
            if let refusal = response.accessRefusal { throw .notAdmitted(refusal) }
            throw .refused(code: fault.code)
        }
        return response.body
    }

    /// What the protocol of SQS says in place of 401.
    private static let unknownCallerCodes = ["InvalidClientTokenId", "MissingAuthenticationToken"]

    /// Ten messages of 1 MiB, every character of them escaped as six (`\u0022`), and their attributes.
    private static let answerBytesMax = 64 << 20

    private func perform(_ request: HTTPRequest) async throws(WorkerQueueError) -> HTTPResponse {
        switch await engine.outcome(request, at: tls) {
        case .success(let response): return response
        case .failure(let failure):
            if let trouble = failure.tls { throw .untrusted(trouble.description) }
            throw .unreachable(SQSEndpointQueue.cause(failure.error))
        }
    }

    private static func cause(_ error: CurlError) -> String {
        switch error {
        case .unreachable: "no connection: nobody listens there, or the host's name is not found"
        case .timeout: "no answer in time"
        default: "\(error)"
        }
    }

    private static func parse<Value>(
        _ body: [UInt8], _ read: (inout JSONReader) throws(JSONFault) -> Value
    ) throws(WorkerQueueError) -> Value {
        let result: Result<Value, JSONFault> = body.withUnsafeBytes { bytes in
            var json = JSONReader(bytes)
            do throws(JSONFault) { return .success(try read(&json)) } catch { return .failure(error) }
        }
        return try SQSEndpointQueue.read { () throws(JSONFault) in try result.get() }
    }

    private static func read<Value>(_ body: () throws(JSONFault) -> Value) throws(WorkerQueueError) -> Value {
        do throws(JSONFault) { return try body() } catch { throw .unreachable("the answer is not the JSON of SQS") }
    }
}
