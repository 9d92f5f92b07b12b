// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import Synchronization

/// A shard in memory that answers for each entry, after a while, and as the test says.
final class FaultyEntryShard: Shard {
    enum Mood: Sendable {
        case well
        /// Requests are answered after ten seconds, as not answered.
        case dead
        /// Stores and loses every answer but each third.
        case forgetful
        /// Refuses each request at once.
        case closed
    }

    private struct State {
        var mood = Mood.well
        var stored: [[UInt8]] = []
        var known: [[UInt8]: SendReceipt] = [:]
        var requests = 0
        var largestRequest = 0
        var isClosed = false
    }

    let name: String
    let tag: ShardTag
    let traits = ShardTraits(storesWholeBatches: false)
    private let clock: any Clock
    private let state = Mutex(State())

    init(name: String, clock: any Clock) {
        self.name = name
        tag = ShardTag(rawValue: 1)
        self.clock = clock
    }

    var stored: [[UInt8]] { state.withLock { $0.stored } }
    var requests: Int { state.withLock { $0.requests } }
    var largestRequest: Int { state.withLock { $0.largestRequest } }
    func be(_ mood: Mood) { state.withLock { $0.mood = mood } }

    func submit(_ batch: ShardBatch, completion: @escaping @Sendable (EntryAnswers) -> Void) {
        let messages = batch.pull()
        let (mood, number) = state.withLock { state in
            state.requests += 1
            state.largestRequest = max(state.largestRequest, messages.count)
            return (state.mood, state.requests)
        }
        if mood == .dead { return clock.schedule(at: clock.now() + 10_000) { completion(.failed(.unknownOutcome)) } }
        if mood == .closed {
            return clock.schedule(afterMilliseconds: 0) { completion(.failed(.permanent(.closed))) }
        }
        clock.schedule(at: clock.now() + 20) { [self] in
            let outcomes = messages.map { EntryOutcome.stored(store($0)) }
            let isLost = mood == .forgetful && number % 3 != 0
            completion(isLost ? .failed(.unknownOutcome) : .entries(outcomes))
        }
    }

    private func store(_ message: OutgoingMessage) -> SendReceipt {
        state.withLock { state in
            if let receipt = state.known[message.record.bytes] { return receipt }
            state.stored.append(message.record.bytes)
            let sequence = SequenceNumber(rawValue: Int64(state.stored.count))
            let receipt = SendReceipt(
                messageID: MessageID(shard: tag, sequence: sequence), sequence: sequence, isDuplicate: false)
            state.known[message.record.bytes] = receipt
            return receipt
        }
    }

    // MARK: - What these tests do not use

    func receive(
        _ command: ReceiveCommand, completion: @escaping @Sendable (ReceiveAnswer) -> Void
    ) -> ReceiveAnswer? { .success([]) }
    func delete(_ handles: [ReceiptHandle], completion: @escaping @Sendable ([DeleteOutcome]) -> Void) {
        completion(handles.map { _ in .notOurs })
    }
    func changeVisibility(
        _ changes: [(handle: ReceiptHandle, seconds: Int)],
        completion: @escaping @Sendable ([VisibilityDecision]) -> Void
    ) -> [VisibilityDecision]? { changes.map { _ in .notOurs } }
    func purge(completion: @escaping @Sendable (Result<Int, ShardError>) -> Void) { completion(.success(0)) }
    func setAttributes(_ attributes: QueueAttributes) {}
    func counts() -> ShardCounts { ShardCounts() }
    func nextVisibleAt() -> Timestamp? { nil }
    func onReady(_ notify: @escaping @Sendable () -> Void) {}
    func setDeadLetterSink(_ sink: DeadLetterSink?) {}
    func close() {}
}
