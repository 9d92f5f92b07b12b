// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
package import QueuePoolCore
import QueuePoolJSON
import QueuePoolSQS
import Synchronization

// A shard that is a FIFO queue of Amazon SQS, or of a service that speaks its protocol. Guarantees: a message is stored
// once the service says so and its digests are right (I1); a request whose answer is lost has an unknown outcome and is
// told as such, never as a failure; messages of one group never go into one request (the sender above sees to it).
//
// What is not as with a shard of our own: SQS does not say whether a send was a duplicate, so `isDuplicate` is always
// false; a long poll whose connection dies may have taken messages, which come back when their visibility timeout ends;
// counts are the service's approximate ones, asked for at most every five seconds; messages go to the dead-letter queue
// by the queue's own redrive policy; and ages, duplicates, expiry and dead-lettering are counted by nobody here.

/// A remote FIFO queue.
package final class QueueShard: Shard {
    /// Milliseconds after which a request without an answer has an unknown outcome.
    package static let requestMilliseconds = 10_000

    private struct State {
        var polled: PolledMessages
        var attributes: QueueAttributes
        var counts = ShardCounts.ofRemoteQueue
        var damaged = DamagedMessages()
        var countsAskedAt: Timestamp?
        var underWay = 0
        var isClosed = false
    }

    private struct Callbacks {
        var ready: (@Sendable () -> Void)?
        var report: (@Sendable (ShardEvent) -> Void)?
    }

    private static let countsMilliseconds: Int64 = 5_000

    package let name: String
    package let tag: ShardTag
    package var traits: ShardTraits { ShardTraits(storesWholeBatches: false, pollsRemotely: true) }

    private let client: QueueClient
    private let clock: any Clock
    private let state: Mutex<State>
    private let callbacks = Mutex(Callbacks())
    private let idle = DispatchSemaphore(value: 0)

    package init(
        name: String, address: QueueAddress, attributes: QueueAttributes, caller: any AWSCaller, clock: any Clock
    ) {
        self.name = name
        // The same for every process, so that a receipt handle finds its shard through any of them.
        tag = ShardTag(rawValue: XXHash64.hash(address.endpoint + " " + address.queueURL))
        client = QueueClient(address: address, caller: caller)
        self.clock = clock
        state = Mutex(State(polled: PolledMessages(seed: tag.rawValue), attributes: attributes))
    }

    // MARK: - Sending

    package func submit(_ batch: ShardBatch, completion: @escaping @Sendable (EntryAnswers) -> Void) {
        let messages = batch.pull()
        guard !messages.isEmpty else { return answer(.entries([]), completion) }
        guard begin() else { return answer(.failed(.permanent(.closed)), completion) }
        let bytes = messages.reduce(512) { $0 + $1.byteCount + $1.byteCount / 8 + 256 }
        client.call(.sendMessageBatch, timeoutMilliseconds: QueueShard.requestMilliseconds, capacity: bytes) { json in
            json.key("Entries")
            json.beginArray()
            for (position, message) in messages.enumerated() {
                message.record.withView { QueueShard.write($0, position, to: &json) }
            }
            json.endArray()
        } completion: { [self] result in
            let answers = QueueShard.answers(result, to: messages)
            if case .entries(let outcomes) = answers {
                let stored = outcomes.count { if case .stored = $0 { true } else { false } }
                state.withLock { $0.counts.sent += stored }
            }
            switch result {
            // What was never sent may fail before the call returns.
            case .failure(.credentials), .failure(.cancelled): answer(answers, completion)
            default: completion(answers)
            }
            end()
        }
    }

    private static func write(_ view: RecordView, _ position: Int, to json: inout JSONWriter) {
        json.beginObject()
        json.key("Id")
        json.string(String(position))
        json.key("MessageBody")
        json.string(view.body)
        json.key("MessageGroupId")
        json.string(view.group)
        json.key("MessageDeduplicationId")
        json.string(view.deduplicationID)
        if view.hasAttributes {
            json.key("MessageAttributes")
            json.messageAttributes(view.attributes)
        }
        if view.hasSystemAttributes {
            json.key("MessageSystemAttributes")
            json.messageAttributes(view.systemAttributes)
        }
        json.endObject()
    }

    private static func answers(
        _ result: Result<[UInt8], AWSError>, to messages: [OutgoingMessage]
    ) -> EntryAnswers {
        let body: [UInt8]
        switch result {
        case .success(let bytes): body = bytes
        case .failure(let error): return .failed(error.asRequestFailure)
        }
        guard let answers = try? BatchAnswers.read(body) else { return .failed(.unknownOutcome) }
        // What an answer does not mention may be stored or not.
        var outcomes = [EntryOutcome](repeating: .unknown, count: messages.count)
        for answer in answers where messages.indices.contains(answer.position) {
            outcomes[answer.position] = outcome(answer, messages[answer.position])
        }
        return .entries(outcomes)
    }

    private static func outcome(_ answer: BatchEntryAnswer, _ message: OutgoingMessage) -> EntryOutcome {
        if let code = answer.code {
            switch QueueClient.error(code: code, status: answer.isSenderFault ? 400 : 500) {
            case .throttled: return .throttled
            case .retryable, .credentials: return .retryable
            case .unknownOutcome, .cancelled: return .unknown
            case .permanent(let code, _): return .permanent(.refused(code: code))
            }
        }
        guard let id = answer.messageID else { return .unknown }
        // A digest that is not ours: what is stored is not what was sent. Sent again, it is a duplicate of it; so the
        // sender is told that nobody knows.
        let isWhole = message.record.withView { view in
            (view.bodyMD5 ?? MD5Digest(of: view.body)).hex == answer.bodyMD5
                && MD5Digest(of: view.attributes)?.hex == answer.attributesMD5
        }
        guard isWhole else { return .unknown }
        return .stored(
            SendReceipt(
                messageID: id, sequence: SequenceNumber(rawValue: 0), isDuplicate: false,
                remoteSequence: RemoteText(answer.sequence)))
    }

    /// Answers a batch that goes nowhere; never within the call.
    private func answer(_ answers: EntryAnswers, _ completion: @escaping @Sendable (EntryAnswers) -> Void) {
        clock.schedule(afterMilliseconds: 0) { completion(answers) }
    }

    // MARK: - Receiving

    package func receive(
        _ command: ReceiveCommand, completion: @escaping @Sendable (Result<[ReceivedMessage], ShardError>) -> Void
    ) {
        let now = clock.now()
        let visibility = visibilitySeconds(command)
        let (asked, isPolling) = state.withLock { state -> (PolledMessages.Asked, Bool) in
            if state.isClosed { return (PolledMessages.Asked(failure: .closed), false) }
            let asked =
                if case .wait(let seconds) = command.patience {
                    state.polled.ask(
                        limit: command.limit, visibilitySeconds: visibility, patienceSeconds: seconds, now: now)
                } else {
                    state.polled.take(limit: command.limit, visibilitySeconds: visibility, now: now)
                }
            return (asked, state.polled.pollCount > 0)
        }
        release(asked.released)
        if let seconds = asked.pollSeconds { poll(command, seconds) }
        if !asked.given.isEmpty { return hand(asked, visibility, completion) }
        switch command.patience {
        // Those who wait are woken when there is something; a failure is for those who do not wait any longer.
        case .wait where asked.failure != .closed: completion(.success([]))
        // A poll that waits at the service would have got what is there.
        case .look where asked.failure == nil && !isPolling:
            request(command, seconds: 0) { result in completion(result.map { $0.map(\.message) }) }
        default: completion(asked.failure.map { .failure($0) } ?? .success([]))
        }
    }

    private func visibilitySeconds(_ command: ReceiveCommand) -> Int {
        command.visibilitySeconds ?? state.withLock { $0.attributes.visibilityTimeoutSeconds }
    }

    /// Hands over what was kept. Where its timeout had to be set anew and that failed, it is not handed over.
    private func hand(
        _ asked: PolledMessages.Asked, _ visibility: Int,
        _ completion: @escaping @Sendable (Result<[ReceivedMessage], ShardError>) -> Void
    ) {
        guard asked.mustRenew else { return completion(.success(asked.given)) }
        changeVisibility(asked.given.map { ($0.handle, visibility) }) { decisions in
            // Order: what follows a message that could not be kept is not handed over either, whatever its group.
            let kept = zip(asked.given, decisions).prefix { $0.1 == .changed }.map(\.0)
            completion(.success(kept))
        }
    }

    private func poll(_ command: ReceiveCommand, _ seconds: Int) {
        var command = command
        // The id belongs to one caller's look, and a poll is for whoever waits.
        command.attemptID = nil
        let startedAt = clock.now()
        let visibility = visibilitySeconds(command)
        request(command, seconds: seconds) { [self, limit = command.limit] result in
            let now = clock.now()
            let end = PolledMessages.PollEnd(
                result.map { $0.map(\.message) }, groups: (try? result.get().map(\.group)) ?? [], limit: limit,
                visibilitySeconds: visibility, startedAt: startedAt, waitSeconds: seconds)
            let (times, isClosed) = state.withLock { ($0.polled.pollEnded(end, now: now), $0.isClosed) }
            if isClosed { return release(state.withLock { $0.polled.takeAll() }) }
            if let oldAt = times.oldAt { clock.schedule(at: oldAt) { [weak self] in self?.dropOld() } }
            if times.wakeAt <= now {
                notifyReady()
            } else {
                clock.schedule(at: times.wakeAt) { [weak self] in self?.notifyReady() }
            }
        }
    }

    private func dropOld() {
        let now = clock.now()
        release(state.withLock { $0.polled.expire(now: now) })
    }

    private func request(
        _ command: ReceiveCommand, seconds: Int,
        _ completion: @escaping @Sendable (Result<[(message: ReceivedMessage, group: UInt64)], ShardError>) -> Void
    ) {
        guard begin() else { return completion(.failure(.closed)) }
        let visibility = visibilitySeconds(command)
        client.call(.receiveMessage, timeoutMilliseconds: seconds * 1_000 + QueueShard.requestMilliseconds) { json in
            json.key("MaxNumberOfMessages")
            json.int(command.limit)
            json.key("WaitTimeSeconds")
            json.int(seconds)
            json.key("VisibilityTimeout")
            json.int(visibility)
            for key: StaticString in ["AttributeNames", "MessageAttributeNames"] {
                json.key(key)
                json.beginArray()
                json.string("All")
                json.endArray()
            }
            if let id = command.attemptID {
                json.key("ReceiveRequestAttemptId")
                json.string(id)
            }
        } completion: { [self] result in
            completion(taken(result))
            end()
        }
    }

    private func taken(
        _ result: Result<[UInt8], AWSError>
    ) -> Result<[(message: ReceivedMessage, group: UInt64)], ShardError> {
        switch result {
        case .failure(let error): return .failure(error.asShardError)
        case .success(let body):
            // What does not hold is not handed on; it comes back when its visibility timeout ends.
            guard let received = try? ReceivedMessages.read(body, tag: tag) else {
                return .failure(.unavailable(retryAfterMilliseconds: 1_000))
            }
            let new = state.withLock { state in
                state.counts.received += received.messages.count
                state.counts.damaged = (state.counts.damaged ?? 0) + received.damaged.count
                return state.damaged.note(received.damaged)
            }
            if !new.isEmpty, let report = callbacks.withLock({ $0.report }) {
                for id in new { report(.damaged(id)) }
            }
            return .success(received.messages)
        }
    }

    /// Makes messages visible again, in this order, also while the shard closes.
    private func release(_ messages: [ReceivedMessage], then: @escaping @Sendable () -> Void = {}) {
        guard !messages.isEmpty else { return then() }
        let first = Array(messages.prefix(10))
        let rest = Array(messages.dropFirst(10))
        client.call(.changeMessageVisibilityBatch, timeoutMilliseconds: QueueShard.requestMilliseconds) { json in
            QueueShard.writeEntries(first.map(\.handle), 0..<first.count, to: &json) { _, json in
                json.key("VisibilityTimeout")
                json.int(0)
            }
        } completion: { [self] _ in
            release(rest, then: then)
        }
    }

    private static func writeEntries(
        _ handles: [ReceiptHandle], _ positions: Range<Int>, to json: inout JSONWriter,
        _ more: (_ position: Int, _ json: inout JSONWriter) -> Void
    ) {
        json.key("Entries")
        json.beginArray()
        for position in positions {
            json.beginObject()
            json.key("Id")
            json.string(String(position))
            json.key("ReceiptHandle")
            json.string(handles[position].remote?.text ?? "")
            more(position, &json)
            json.endObject()
        }
        json.endArray()
    }

    private func notifyReady() { callbacks.withLock { $0.ready }?() }

    // MARK: - Deleting

    package func delete(_ handles: [ReceiptHandle], completion: @escaping @Sendable ([DeleteOutcome]) -> Void) {
        batch(.deleteMessageBatch, handles, write: { _, _ in }) { [self] codes in
            let outcomes = codes.map { code -> DeleteOutcome in
                switch code {
                case .success(nil): .deleted
                case .success(let code?) where QueueShard.lostHandle.contains(code): .expired
                case .success(let code?): .failed(QueueClient.error(code: code, status: 400).asShardError)
                case .failure(let error): .failed(error)
                }
            }
            let deleted = outcomes.count { if case .deleted = $0 { true } else { false } }
            state.withLock { $0.counts.deleted += deleted }
            completion(outcomes)
        }
    }

    package func changeVisibility(
        _ changes: [(handle: ReceiptHandle, seconds: Int)],
        completion: @escaping @Sendable ([VisibilityDecision]) -> Void
    ) {
        let seconds = changes.map(\.seconds)
        batch(
            .changeMessageVisibilityBatch, changes.map(\.handle),
            write: { position, json in
                json.key("VisibilityTimeout")
                json.int(seconds[position])
            }
        ) { codes in
            completion(
                codes.map { code in
                    switch code {
                    case .success(nil): .changed
                    case .success(let code?) where QueueShard.lostHandle.contains(code): .unavailable
                    case .success(let code?): .failed(QueueClient.error(code: code, status: 400).asShardError)
                    case .failure(let error): .failed(error)
                    }
                })
        }
    }

    /// Codes with which SQS says that a handle is no longer that of a message in flight.
    private static let lostHandle: Set<String> = [
        "ReceiptHandleIsInvalid", "InvalidParameterValue", "MessageNotInflight", "InvalidReceiptHandle",
    ]

    /// Requests of ten; for each handle the code of its failure, or `nil` if it was done.
    private func batch(
        _ action: SQSAction, _ handles: [ReceiptHandle],
        write: @escaping @Sendable (_ position: Int, _ json: inout JSONWriter) -> Void,
        completion: @escaping @Sendable ([Result<String?, ShardError>]) -> Void
    ) {
        let answers = BatchGathering(count: handles.count, completion)
        for start in stride(from: 0, to: handles.count, by: 10) {
            let positions = start..<min(start + 10, handles.count)
            guard begin() else {
                answers.put(positions, .failure(.closed))
                continue
            }
            client.call(action, timeoutMilliseconds: QueueShard.requestMilliseconds, capacity: 2_048) { json in
                QueueShard.writeEntries(handles, positions, to: &json, write)
            } completion: { [self] result in
                switch result.map({ try? BatchAnswers.read($0) }) {
                case .failure(let error): answers.put(positions, .failure(error.asShardError))
                case .success(nil): answers.put(positions, .failure(.unknownOutcome))
                case .success(let entries?): answers.put(positions, entries)
                }
                end()
            }
        }
    }

    // MARK: - The rest

    package func purge(completion: @escaping @Sendable (Result<Int, ShardError>) -> Void) {
        guard begin() else { return completion(.failure(.closed)) }
        let before = counts()
        client.call(.purgeQueue, timeoutMilliseconds: QueueShard.requestMilliseconds) { _ in
        } completion: { [self] result in
            // How many there were nobody says exactly.
            completion(result.map { _ in before.backlog + before.inFlight + before.delayed }.mapError(\.asShardError))
            end()
        }
    }

    package func setAttributes(_ attributes: QueueAttributes) { state.withLock { $0.attributes = attributes } }

    /// The service's own, approximate and up to five seconds old.
    package func counts() -> ShardCounts {
        let now = clock.now()
        let (counts, mustAsk) = state.withLock { state in
            let isOld = state.countsAskedAt.map { now - $0 >= QueueShard.countsMilliseconds } ?? true
            if isOld, !state.isClosed { state.countsAskedAt = now }
            return (state.counts, isOld && !state.isClosed)
        }
        if mustAsk { askCounts() }
        return counts
    }

    private func askCounts() {
        guard begin() else { return }
        client.call(.getQueueAttributes, timeoutMilliseconds: QueueShard.requestMilliseconds) { json in
            json.key("AttributeNames")
            json.beginArray()
            json.string("All")
            json.endArray()
        } completion: { [self] result in
            if let body = try? result.get(), let texts = try? QueueShard.attributeTexts(body) {
                func number(_ name: String) -> Int { texts[name].flatMap { Int($0) } ?? 0 }
                state.withLock { state in
                    state.counts.backlog = number("ApproximateNumberOfMessages")
                    state.counts.inFlight = number("ApproximateNumberOfMessagesNotVisible")
                    state.counts.delayed = number("ApproximateNumberOfMessagesDelayed")
                }
            }
            end()
        }
    }

    private static func attributeTexts(_ body: [UInt8]) throws(JSONFault) -> [String: String] {
        try QueueClient.parse(body) { (json) throws(JSONFault) in
            var texts: [String: String] = [:]
            try json.beginObject()
            while let key = try json.nextKey() {
                guard key.equals("Attributes") else {
                    try json.skipValue()
                    continue
                }
                try json.beginObject()
                while let key = try json.nextKey() {
                    let name = key.text
                    texts[name] = try json.readString().text
                }
            }
            return texts
        }
    }

    /// Nothing becomes visible by itself that a poll would not bring.
    package func nextVisibleAt() -> Timestamp? { nil }

    package func onReady(_ notify: @escaping @Sendable () -> Void) { callbacks.withLock { $0.ready = notify } }

    package func onEvent(_ report: @escaping @Sendable (ShardEvent) -> Void) {
        callbacks.withLock { $0.report = report }
    }

    /// The queue's own redrive policy does it.
    package func setDeadLetterSink(_ sink: DeadLetterSink?) {}

    /// Gives back what nobody took, and waits for answers that are due, not for long polls.
    package func close() {
        let kept = state.withLock { state -> [ReceivedMessage]? in
            defer { state.isClosed = true }
            return state.isClosed ? nil : state.polled.takeAll()
        }
        guard let kept else { return }
        if !kept.isEmpty {
            let done = DispatchSemaphore(value: 0)
            release(kept) { done.signal() }
            _ = done.wait(timeout: .now() + .milliseconds(QueueShard.requestMilliseconds))
        }
        let isBusy = state.withLock { $0.underWay - $0.polled.pollCount > 0 }
        if isBusy { _ = idle.wait(timeout: .now() + .milliseconds(QueueShard.requestMilliseconds)) }
    }

    /// Counts a request that is under way.
    /// - Returns: `false` if the shard is closed.
    private func begin() -> Bool {
        state.withLock { state in
            if !state.isClosed { state.underWay += 1 }
            return !state.isClosed
        }
    }

    private func end() {
        let isIdle = state.withLock { state in
            state.underWay -= 1
            return state.isClosed && state.underWay <= state.polled.pollCount
        }
        if isIdle { idle.signal() }
    }
}

/// Answers of several requests, in the handles' order.
private final class BatchGathering: Sendable {
    private struct State {
        var results: [Result<String?, ShardError>]
        var left: Int
    }

    private let state: Mutex<State>
    private let completion: @Sendable ([Result<String?, ShardError>]) -> Void

    init(count: Int, _ completion: @escaping @Sendable ([Result<String?, ShardError>]) -> Void) {
        // What no answer mentions was done or not.
        state = Mutex(State(results: Array(repeating: .failure(.unknownOutcome), count: count), left: count))
        self.completion = completion
        if count == 0 { completion([]) }
    }

    func put(_ positions: Range<Int>, _ result: Result<String?, ShardError>) {
        finish(positions) { results in for position in positions { results[position] = result } }
    }

    func put(_ positions: Range<Int>, _ entries: [BatchEntryAnswer]) {
        finish(positions) { results in
            for entry in entries where positions.contains(entry.position) {
                results[entry.position] = .success(entry.code)
            }
        }
    }

    private func finish(_ positions: Range<Int>, _ change: (inout [Result<String?, ShardError>]) -> Void) {
        let results = state.withLock { state -> [Result<String?, ShardError>]? in
            change(&state.results)
            state.left -= positions.count
            return state.left == 0 ? state.results : nil
        }
        if let results { completion(results) }
    }
}
