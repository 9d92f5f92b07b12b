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

    /// - Parameter endpoint: `http://HOST:PORT`, without a slash at its end.
    package init(engine: CurlEngine, endpoint: String, clock: any Clock) {
        self.clock = clock
        self.engine = engine
        self.endpoint = endpoint
    }

    package func shards(ofPool pool: String) async throws(WorkerQueueError) -> [String] {
        let request = HTTPRequest(method: "GET", url: "\(endpoint)/v1/pools/\(pool)", timeoutMilliseconds: 10_000)
        let response = try await perform(request)
        guard response.status == 200 else { throw .refused(code: "HTTP \(response.status)") }
        return try SQSEndpointQueue.parse(response.body) { (json) throws(JSONFault) in
            var names: [String] = []
            try json.beginObject()
            while let key = try json.nextKey() {
                guard key.equals("shards") else {
                    try json.skipValue()
                    continue
                }
                try json.beginArray()
                while try json.nextElement() {
                    try json.beginObject()
                    while let key = try json.nextKey() {
                        if key.equals("name") { names.append(try json.readString().text) } else { try json.skipValue() }
                    }
                }
            }
            return names
        }
    }

    package func receive(
        from queue: String, visibilitySeconds: Int, waitSeconds: Int
    ) async throws(WorkerQueueError) -> [WorkMessage] {
        let answer = try await call(.receiveMessage, timeoutMilliseconds: (waitSeconds + 15) * 1_000) { json in
            json.key("QueueUrl")
            json.string(queue)
            json.key("MaxNumberOfMessages")
            json.int(QueueLimits.batchEntriesMax)
            json.key("VisibilityTimeout")
            json.int(visibilitySeconds)
            json.key("WaitTimeSeconds")
            json.int(waitSeconds)
            for name in ["MessageSystemAttributeNames", "MessageAttributeNames"] {
                json.key(text: name)
                json.beginArray()
                json.string("All")
                json.endArray()
            }
        }
        return try SQSEndpointQueue.parse(answer) { (json) throws(JSONFault) in
            try ReceivedMessages.read(&json, at: clock.wallTime())
        }
    }

    package func delete(
        _ messages: [WorkMessage], from queue: String
    ) async throws(WorkerQueueError) -> (lost: [WorkMessage], failed: [WorkMessage]) {
        let failures = try await batch(.deleteMessageBatch, messages, queue) { _ in }
        var lost: [WorkMessage] = []
        var failed: [WorkMessage] = []
        for (index, code) in failures where messages.indices.contains(index) {
            if SQSEndpointQueue.lostCodes.contains(code) {
                lost.append(messages[index])
            } else {
                failed.append(messages[index])
            }
        }
        return (lost, failed)
    }

    /// A handle that ran out can do nothing any more: the queue delivers the message again. Any other failure says nothing
    /// of the handle, and the same request may succeed later.
    private static let lostCodes: Set<String> = [
        "InvalidParameterValue", "ReceiptHandleIsInvalid", "MessageNotInflight",
        "AWS.SimpleQueueService.MessageNotInflight",
    ]

    package func changeVisibility(
        _ messages: [WorkMessage], seconds: Int, in queue: String
    ) async throws(WorkerQueueError) -> (lost: [WorkMessage], failed: [WorkMessage]) {
        let failures = try await batch(.changeMessageVisibilityBatch, messages, queue) { json in
            json.key("VisibilityTimeout")
            json.int(seconds)
        }
        let known = failures.filter { messages.indices.contains($0.index) }
        return (
            known.filter { SQSEndpointQueue.lostCodes.contains($0.code) }.map { messages[$0.index] },
            known.filter { !SQSEndpointQueue.lostCodes.contains($0.code) }.map { messages[$0.index] }
        )
    }

    package func send(
        _ message: WorkMessage, attributes: [MessageAttribute], deduplicationID: String, to queue: String
    ) async throws(WorkerQueueError) {
        _ = try await call(.sendMessage, timeoutMilliseconds: 30_000) { json in
            json.key("QueueUrl")
            json.string(queue)
            json.key("MessageBody")
            json.string(message.body)
            json.key("MessageGroupId")
            json.string(message.group)
            json.key("MessageDeduplicationId")
            json.string(deduplicationID)
            json.key("MessageAttributes")
            json.beginObject()
            for attribute in attributes {
                json.key(text: attribute.name)
                json.beginObject()
                json.key("DataType")
                json.string(attribute.dataType)
                if attribute.isBinary {
                    json.key("BinaryValue")
                    json.string(plain: { Base64.encode(attribute.value, to: &$0) })
                } else {
                    json.key("StringValue")
                    json.string(attribute.value)
                }
                json.endObject()
            }
            json.endObject()
        }
    }

    // MARK: - Wire

    /// - Returns: index and code of the entries that failed.
    private func batch(
        _ action: SQSAction, _ messages: [WorkMessage], _ queue: String, _ extra: (inout JSONWriter) -> Void
    ) async throws(WorkerQueueError) -> [(index: Int, code: String)] {
        let answer = try await call(action, timeoutMilliseconds: 30_000) { json in
            json.key("QueueUrl")
            json.string(queue)
            json.key("Entries")
            json.beginArray()
            for (index, message) in messages.enumerated() {
                json.beginObject()
                json.key("Id")
                json.string(String(index))
                json.key("ReceiptHandle")
                json.string(message.handle)
                extra(&json)
                json.endObject()
            }
            json.endArray()
        }
        return try SQSEndpointQueue.parse(answer) { (json) throws(JSONFault) in try BatchFailures.read(&json) }
    }

    private func call(
        _ action: SQSAction, timeoutMilliseconds: Int, _ write: (inout JSONWriter) -> Void
    ) async throws(WorkerQueueError) -> [UInt8] {
        var json = JSONWriter(capacity: 1_024)
        json.beginObject()
        write(&json)
        json.endObject()
        let response = try await perform(
            HTTPRequest(
                method: "POST", url: endpoint + "/",
                headers: [("Content-Type", SQSAction.contentType), ("X-Amz-Target", action.target)],
                body: json.take(), timeoutMilliseconds: timeoutMilliseconds,
                lane: action == .receiveMessage ? .polls : .calls, answerBytesMax: SQSEndpointQueue.answerBytesMax))
        guard response.status == 200 else {
            let code = response.header("x-amzn-query-error").map { String($0.prefix { $0 != ";" }) }
            throw .refused(code: code ?? "HTTP \(response.status)")
        }
        return response.body
    }

    /// Ten messages of 1 MiB, every character of them escaped as six (`\u0022`), and their attributes.
    private static let answerBytesMax = 64 << 20

    private func perform(_ request: HTTPRequest) async throws(WorkerQueueError) -> HTTPResponse {
        do throws(CurlError) { return try await engine.perform(request) } catch {
            throw .unreachable(SQSEndpointQueue.cause(error))
        }
    }

    private static func cause(_ error: CurlError) -> String {
        switch error {
        case .unreachable: "no connection: nobody listens there, or the host's name is not found"
        case .timeout: "no answer in time"
        case .tls: "TLS failed: the certificate does not hold, or the server does not speak TLS"
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
        switch result {
        case .success(let value): return value
        case .failure: throw .unreachable("the answer is not the JSON of SQS")
        }
    }
}

private enum BatchFailures {
    static func read(_ json: inout JSONReader) throws(JSONFault) -> [(index: Int, code: String)] {
        var failures: [(index: Int, code: String)] = []
        try json.beginObject()
        while let key = try json.nextKey() {
            guard key.equals("Failed") else {
                try json.skipValue()
                continue
            }
            try json.beginArray()
            while try json.nextElement() {
                var failure = (index: -1, code: "")
                try json.beginObject()
                while let key = try json.nextKey() {
                    if key.equals("Id") {
                        failure.index = Int(try json.readString().text) ?? -1
                    } else if key.equals("Code") {
                        failure.code = try json.readString().text
                    } else {
                        try json.skipValue()
                    }
                }
                failures.append(failure)
            }
        }
        return failures
    }
}

private enum ReceivedMessages {
    static func read(_ json: inout JSONReader, at time: Timestamp) throws(JSONFault) -> [WorkMessage] {
        var messages: [WorkMessage] = []
        try json.beginObject()
        while let key = try json.nextKey() {
            guard key.equals("Messages") else {
                try json.skipValue()
                continue
            }
            try json.beginArray()
            while try json.nextElement() { messages.append(try message(&json, at: time)) }
        }
        return messages
    }

    private static func message(_ json: inout JSONReader, at time: Timestamp) throws(JSONFault) -> WorkMessage {
        var message = WorkMessage(id: "", handle: "", group: "")
        try json.beginObject()
        while let key = try json.nextKey() {
            if key.equals("MessageId") {
                message.id = try json.readString().text
            } else if key.equals("ReceiptHandle") {
                message.handle = try json.readString().text
            } else if key.equals("Body") {
                message.body = try json.readString().array
            } else if key.equals("Attributes") {
                try readSystem(&message, &json, at: time)
            } else if key.equals("MessageAttributes") {
                try readAttributes(&message, &json)
            } else {
                try json.skipValue()
            }
        }
        return message
    }

    private static func readSystem(
        _ message: inout WorkMessage, _ json: inout JSONReader, at time: Timestamp
    ) throws(JSONFault) {
        try json.beginObject()
        while let key = try json.nextKey() {
            if key.equals("MessageGroupId") {
                message.group = try json.readString().text
            } else if key.equals("ApproximateReceiveCount") {
                message.receiveCount = max(1, Int(try json.readString().text) ?? 1)
            } else if key.equals("ApproximateFirstReceiveTimestamp") {
                // The two clocks may differ, and a first receive is never later than now.
                message.millisecondsSinceFirstReceive = Int64(try json.readString().text).map {
                    max(0, time.milliseconds - $0)
                }
            } else {
                try json.skipValue()
            }
        }
    }

    private static func readAttributes(_ message: inout WorkMessage, _ json: inout JSONReader) throws(JSONFault) {
        try json.beginObject()
        while let key = try json.nextKey() {
            var attribute = MessageAttribute(name: key.text, dataType: "String", value: [])
            try json.beginObject()
            while let key = try json.nextKey() {
                if key.equals("DataType") {
                    attribute.dataType = try json.readString().text
                } else if key.equals("StringValue") {
                    attribute.value = try json.readString().array
                } else if key.equals("BinaryValue") {
                    attribute.value = try json.readString().withBytes { Base64.decode($0) } ?? []
                } else {
                    try json.skipValue()
                }
            }
            message.attributes.append(attribute)
        }
    }
}
