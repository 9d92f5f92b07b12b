// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import QueuePoolTestSupport
import Synchronization
import Testing

/// A FIFO queue in memory whose answers go as the test says.
final class ScriptedShard: Shard {
    private struct State {
        var stored: [(number: Int64, record: MessageRecord)] = []
        var inFlight: Set<Int64> = []
        var sent: Int64 = 0
        var givenBack: [Int64] = []
        /// One for each call that fails; calls after them go well.
        var receives: [ShardError] = []
        var sends: [ShardError] = []
        var deletions: [ShardError] = []
        /// Sends fail with this from the message of this body on.
        var refused: (body: String, error: ShardError)?
        var onReceive: (@Sendable (Int) -> Void)?
        var receiveCalls = 0
        var remote: RemoteFacts?
        /// Bodies of messages that cannot be read.
        var damaged: Set<String> = []
    }

    let name: String
    let tag: ShardTag
    let traits = ShardTraits()
    private let clock: any Clock
    private let state = Mutex(State())

    init(name: String, tag: UInt64, clock: any Clock) {
        self.clock = clock
        self.name = name
        self.tag = ShardTag(rawValue: tag)
    }

    func failReceives(_ errors: ShardError...) { state.withLock { $0.receives = errors } }
    func failSends(_ errors: ShardError...) { state.withLock { $0.sends = errors } }
    func failDeletions(_ errors: ShardError...) { state.withLock { $0.deletions = errors } }
    func refuse(_ body: String, _ error: ShardError) { state.withLock { $0.refused = (body, error) } }
    /// Called with the number of the receive, from 1.
    func onReceive(_ body: @escaping @Sendable (Int) -> Void) { state.withLock { $0.onReceive = body } }

    /// Messages of these bodies cannot be read: they are not handed out, nor is what follows them in their groups.
    func damage(_ bodies: String...) { state.withLock { $0.damaged = Set(bodies) } }

    /// From now on it is a remote queue, which says of all messages where they came from, or of none.
    func becomeRemote(sourceARN: String?) {
        let facts = RemoteFacts(
            sentAt: Timestamp(milliseconds: 0), sequence: "1", senderID: "s", sourceARN: sourceARN)
        state.withLock { $0.remote = facts }
    }

    /// Bodies of what is stored, in order.
    var bodies: [String] { state.withLock { $0.stored.map { ScriptedShard.body($0.record) } } }
    /// Bodies in the order in which they were made visible again.
    var givenBack: [String] {
        state.withLock { state in
            state.givenBack.compactMap { number in
                state.stored.first { $0.number == number }.map { ScriptedShard.body($0.record) }
            }
        }
    }
    var inFlight: Int { state.withLock { $0.inFlight.count } }

    func put(_ body: String, group: String, attributes: [MessageAttribute] = []) {
        let bytes = Array(body.utf8)
        let record = bytes.withUnsafeBytes {
            MessageRecord(group: group.utf8, deduplicationID: bytes, body: $0, attributes: attributes)
        }
        state.withLock { state in
            state.sent += 1
            state.stored.append((state.sent, record))
        }
    }

    private static func body(_ record: MessageRecord) -> String {
        record.withView { String(decoding: $0.body, as: UTF8.self) }
    }
    private static func group(_ record: MessageRecord) -> [UInt8] { record.withView { Array($0.group) } }

    func submit(_ batch: ShardBatch, completion: @escaping @Sendable (EntryAnswers) -> Void) {
        let messages = batch.pull()
        let answers: EntryAnswers = state.withLock { state in
            if !state.sends.isEmpty { return .failed(.permanent(state.sends.removeFirst())) }
            if let refused = state.refused, messages.contains(where: { ScriptedShard.body($0.record) == refused.body })
            {
                return .failed(.permanent(refused.error))
            }
            return .entries(
                messages.map { message in
                    state.sent += 1
                    state.stored.append((state.sent, message.record))
                    let sequence = SequenceNumber(rawValue: state.sent)
                    return .stored(
                        SendReceipt(
                            messageID: MessageID(shard: tag, sequence: sequence), sequence: sequence,
                            isDuplicate: false))
                })
        }
        clock.schedule(afterMilliseconds: 0) { completion(answers) }
    }

    func receive(
        _ command: ReceiveCommand, completion: @escaping @Sendable (ReceiveAnswer) -> Void
    ) -> ReceiveAnswer? {
        let (hook, call, remote) = state.withLock { state in
            state.receiveCalls += 1
            return (state.onReceive, state.receiveCalls, state.remote)
        }
        hook?(call)
        let result: Result<[(number: Int64, record: MessageRecord)], ShardError> = state.withLock { state in
            if !state.receives.isEmpty { return .failure(state.receives.removeFirst()) }
            var held = Set(state.stored.filter { state.inFlight.contains($0.number) }.map { ScriptedShard.group($0.1) })
            let taken = state.stored.filter { one in
                if state.damaged.contains(ScriptedShard.body(one.record)) {
                    held.insert(ScriptedShard.group(one.record))
                }
                return !held.contains(ScriptedShard.group(one.record))
            }.prefix(command.limit)
            state.inFlight.formUnion(taken.map(\.number))
            return .success(Array(taken))
        }
        return
            result.map { taken in
                taken.map { message($0, remote) }
            }
    }

    private func message(_ one: (number: Int64, record: MessageRecord), _ remote: RemoteFacts?) -> ReceivedMessage {
        let sequence = SequenceNumber(rawValue: one.number)
        return ReceivedMessage(
            handle: ReceiptHandle(shard: tag, sequence: sequence, receiveCount: 1, place: 0),
            messageID: MessageID(shard: tag, sequence: sequence), receiveCount: 1,
            firstReceivedAt: Timestamp(milliseconds: 0), storage: one.record.bytes, offset: 0,
            length: one.record.bytes.count, remote: remote)
    }

    func delete(_ handles: [ReceiptHandle], completion: @escaping @Sendable ([DeleteOutcome]) -> Void) {
        let outcomes: [DeleteOutcome] = state.withLock { state in
            if !state.deletions.isEmpty {
                let error = state.deletions.removeFirst()
                return handles.map { _ in .failed(error) }
            }
            let numbers = Set(handles.map(\.sequence.rawValue))
            state.stored.removeAll { numbers.contains($0.number) }
            state.inFlight.subtract(numbers)
            return handles.map { _ in .deleted }
        }
        clock.schedule(afterMilliseconds: 0) { completion(outcomes) }
    }

    func changeVisibility(
        _ changes: [(handle: ReceiptHandle, seconds: Int)],
        completion: @escaping @Sendable ([VisibilityDecision]) -> Void
    ) -> [VisibilityDecision]? {
        #expect(changes.count <= 10 && changes.allSatisfy { $0.seconds == 0 })
        state.withLock { state in
            for change in changes where state.inFlight.remove(change.handle.sequence.rawValue) != nil {
                state.givenBack.append(change.handle.sequence.rawValue)
            }
        }
        return changes.map { _ in .changed }
    }

    func counts() -> ShardCounts {
        var counts = ShardCounts()
        counts.backlog = state.withLock { $0.stored.count - $0.inFlight.count }
        return counts
    }

    // MARK: - What these tests do not use

    func purge(completion: @escaping @Sendable (Result<Int, ShardError>) -> Void) { completion(.success(0)) }
    func setAttributes(_ attributes: QueueAttributes) {}
    func nextVisibleAt() -> Timestamp? { nil }
    func onReady(_ notify: @escaping @Sendable () -> Void) {}
    func setDeadLetterSink(_ sink: DeadLetterSink?) {}
    func close() {}
}

extension ScriptedShard: BrowsableShard {
    /// Pages are of two messages, as if these were large.
    func browse(
        after start: SequenceNumber?, limit: Int,
        completion: @escaping @Sendable (Result<BrowsedPage, ShardError>) -> Void
    ) {
        let page = state.withLock { state in
            var page = BrowsedPage()
            let rest = state.stored.filter { $0.number > start?.rawValue ?? 0 }
            for one in rest.prefix(min(limit, 2)) {
                if state.damaged.contains(ScriptedShard.body(one.record)) {
                    page.unreadable += 1
                } else {
                    let isInFlight = state.inFlight.contains(one.number)
                    page.messages.append(BrowsedMessage(message: message(one, state.remote), isInFlight: isInFlight))
                }
                page.through = SequenceNumber(rawValue: one.number)
            }
            page.isLast = rest.count <= min(limit, 2)
            return page
        }
        clock.schedule(afterMilliseconds: 0) { completion(.success(page)) }
    }

    func claim(
        _ sequences: [SequenceNumber], seconds: Int, heldGroups: Set<UInt64>,
        completion: @escaping @Sendable (Result<Claims, ShardError>) -> Void
    ) {
        clock.schedule(afterMilliseconds: 0) { completion(.failure(.closed)) }
    }
}

/// A dead-letter queue and a pool to which its messages go back.
struct MoveTaskStage {
    let clock = HastyClock()
    let source: ScriptedShard
    let home: ScriptedShard
    let sourcePool: Pool
    let homePool: Pool

    init() throws {
        source = ScriptedShard(name: "emails-dlq-0000.fifo", tag: 1, clock: clock)
        home = ScriptedShard(name: "emails-0000.fifo", tag: 2, clock: clock)
        sourcePool = try MoveTaskStage.pool("emails-dlq.fifo", source, clock)
        homePool = try MoveTaskStage.pool("emails.fifo", home, clock)
    }

    private static func pool(_ text: String, _ shard: ScriptedShard, _ clock: HastyClock) throws -> Pool {
        let name = try #require(PoolName(text))
        let definition = PoolDefinition(
            name: name, topology: try Topology(pool: name, shardCount: 1), attributes: "", createdAt: clock.now(),
            version: 1)
        let limits = BatcherLimits(requestEntriesMax: 10, requestBytesMax: 1 << 20)
        return Pool(
            definition: definition, attributes: QueueAttributes(),
            shards: [PoolShard(index: ShardIndex(0), shard: shard, limits: limits, quota: nil, clock: clock)],
            clock: clock)
    }

    /// Dead letters named by number, each of a group that is named by `groups`.
    func fill(_ groups: String) {
        for (number, group) in groups.enumerated() { put("\(group)\(number)", group: "\(group)") }
    }

    /// - Parameter isHomeless: whether the message says nowhere where it came from.
    func put(_ body: String, group: String, isHomeless: Bool = false) {
        source.put(
            body, group: group,
            attributes: isHomeless ? [] : [MessageAttribute(name: WorkerAttributes.pool, text: "emails.fifo")])
    }

    func task(perSecondMax: Int? = nil) -> MoveTask {
        MoveTask(
            handle: "1", source: sourcePool, destination: nil, perSecondMax: perSecondMax, clock: clock,
            homes: MoveTask.Homes(byTag: { _ in nil }, byName: { [homePool] in $0 == "emails.fifo" ? homePool : nil }))
    }

    func run() async -> MoveTask.Report {
        let task = task()
        await task.run()
        return task.report
    }
}
