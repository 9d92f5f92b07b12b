// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import QueuePoolTestSupport
import Synchronization
import Testing

/// A shard in memory whose looks go as the test says.
final class MoodyShard: Shard {
    enum Mood: Sendable {
        case well
        /// Answers looks after so many milliseconds.
        case slow(Int64)
        /// Never answers a look.
        case hung
        /// Fails looks, at once or after so many milliseconds.
        case failing(ShardError, after: Int64)
    }

    private struct State {
        var mood = Mood.well
        var stored: [(number: Int64, group: UInt8)] = []
        var inFlight: [Int64: UInt8] = [:]
        var sent: Int64 = 0
        var asked: [ReceiveCommand] = []
        var givenBack: [Int64] = []
        var answers: [@Sendable () -> Void] = []
        var ready: (@Sendable () -> Void)?
    }

    let name: String
    let tag: ShardTag
    let traits: ShardTraits
    private let clock: ManualClock
    private let state = Mutex(State())

    init(number: Int, isFar: Bool, clock: ManualClock) {
        name = "shard-\(number)"
        tag = ShardTag(rawValue: UInt64(number) + 1)
        traits = ShardTraits(pollsRemotely: isFar)
        self.clock = clock
    }

    var asked: [ReceiveCommand] { state.withLock { $0.asked } }
    /// Numbers of messages in the order in which they were made visible again.
    var givenBack: [Int64] { state.withLock { $0.givenBack } }

    func be(_ mood: Mood) { state.withLock { $0.mood = mood } }

    /// Stores messages, numbered from 1.
    func put(_ count: Int = 1, group: UInt8? = nil, isQuiet: Bool = false) {
        let ready = state.withLock { state in
            for _ in 0..<count {
                state.sent += 1
                state.stored.append((state.sent, group ?? UInt8(state.sent)))
            }
            return state.ready
        }
        if !isQuiet { ready?() }
    }

    func receive(
        _ command: ReceiveCommand, completion: @escaping @Sendable (ReceiveAnswer) -> Void
    ) -> ReceiveAnswer? {
        let mood = state.withLock { state in
            state.asked.append(command)
            return state.mood
        }
        switch mood {
        // What is far is not reached within the call, and is polled behind it.
        case .well: return .success(take(command.limit))
        case _ where command.patience != .look: return .success([])
        case .slow(let wait):
            clock.schedule(at: clock.now() + wait) { [self] in completion(.success(take(command.limit))) }
        case .hung: state.withLock { $0.answers.append { completion(.success([])) } }
        case .failing(let error, 0): return .failure(error)
        case .failing(let error, let wait):
            clock.schedule(at: clock.now() + wait) { completion(.failure(error)) }
        }
        return nil
    }

    private func take(_ limit: Int) -> [ReceivedMessage] {
        let taken = state.withLock { state in
            let taken = state.stored.prefix(limit)
            state.stored.removeFirst(taken.count)
            for one in taken { state.inFlight[one.number] = one.group }
            return Array(taken)
        }
        return taken.map { one in
            let record = [one.group].withUnsafeBytes {
                MessageRecord(group: [one.group], deduplicationID: [1], body: $0)
            }
            let sequence = SequenceNumber(rawValue: one.number)
            return ReceivedMessage(
                handle: ReceiptHandle(shard: tag, sequence: sequence, receiveCount: 1, place: 0),
                messageID: MessageID(shard: tag, sequence: sequence), receiveCount: 1, firstReceivedAt: clock.now(),
                storage: record.bytes, offset: 0, length: record.bytes.count)
        }
    }

    func changeVisibility(
        _ changes: [(handle: ReceiptHandle, seconds: Int)],
        completion: @escaping @Sendable ([VisibilityDecision]) -> Void
    ) -> [VisibilityDecision]? {
        state.withLock { state in
            changes.map { change -> VisibilityDecision in
                let number = change.handle.sequence.rawValue
                guard let group = state.inFlight[number] else { return .unavailable }
                if change.seconds == 0 {
                    state.inFlight[number] = nil
                    state.stored.append((number, group))
                    state.givenBack.append(number)
                }
                return .changed
            }
        }
    }

    func nextVisibleAt() -> Timestamp? { nil }
    func onReady(_ notify: @escaping @Sendable () -> Void) { state.withLock { $0.ready = notify } }

    // MARK: - What these tests do not use

    func submit(_ batch: ShardBatch, completion: @escaping @Sendable (EntryAnswers) -> Void) {
        clock.schedule(afterMilliseconds: 0) { completion(.failed(.permanent(.closed))) }
    }
    func delete(_ handles: [ReceiptHandle], completion: @escaping @Sendable ([DeleteOutcome]) -> Void) {
        clock.schedule(afterMilliseconds: 0) { completion(handles.map { _ in .notOurs }) }
    }
    func purge(completion: @escaping @Sendable (Result<Int, ShardError>) -> Void) { completion(.success(0)) }
    func setAttributes(_ attributes: QueueAttributes) {}
    func counts() -> ShardCounts { ShardCounts() }
    func setDeadLetterSink(_ sink: DeadLetterSink?) {}
    func close() {}
}

/// What a receiver was told, and when.
struct ReceiverAnswer: Sendable {
    let at: Timestamp
    let result: Result<[ReceivedMessage], ShardError>

    var numbers: [Int64] { ((try? result.get()) ?? []).map(\.handle.sequence.rawValue) }
    var failure: ShardError? { if case .failure(let error) = result { error } else { nil } }
}

/// A pool over moody shards, and its receivers.
final class ReceiveStage: Sendable {
    let clock = ManualClock()
    let shards: [MoodyShard]
    let pool: Pool
    private let start: Timestamp
    private let answers = Mutex<[Int: ReceiverAnswer]>([:])
    private let receivers = Atomic(0)

    init(shards count: Int, isFar: Bool = false, quota: Int? = nil) throws {
        let clock = self.clock
        start = clock.now()
        shards = (0..<count).map { MoodyShard(number: $0, isFar: isFar, clock: clock) }
        let name = try #require(PoolName("emails.fifo"))
        let definition = PoolDefinition(
            name: name, topology: try Topology(pool: name, shardCount: count), attributes: "", createdAt: start,
            version: 1)
        let limits = BatcherLimits(requestEntriesMax: 10, requestBytesMax: 1 << 20)
        pool = Pool(
            definition: definition, attributes: QueueAttributes(), quota: quota,
            shards: zip(definition.topology.shards, shards).map {
                PoolShard(index: $0.index, shard: $1, limits: limits, quota: quota, clock: clock)
            },
            clock: clock)
    }

    /// - Returns: the receiver's number.
    @discardableResult
    func receive(limit: Int = 10, wait: Int = 0, visibility: Int? = nil, attempt: String? = nil) -> Int {
        let number = receivers.wrappingAdd(1, ordering: .relaxed).oldValue
        pool.receive(
            ReceiveCommand(limit: limit, visibilitySeconds: visibility, attemptID: attempt), waitSeconds: wait,
            isAbandoned: { false }
        ) { [self] result in
            let told = ReceiverAnswer(at: clock.now(), result: result)
            let isFirst = answers.withLock { $0.updateValue(told, forKey: number) == nil }
            #expect(isFirst, "receiver \(number) was answered twice")
        }
        return number
    }

    func told(_ number: Int) -> ReceiverAnswer? { answers.withLock { $0[number] } }

    /// Milliseconds after the beginning at which a receiver was answered.
    func time(_ number: Int) -> Int64? { told(number).map { $0.at - start } }
}
