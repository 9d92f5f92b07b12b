// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import QueuePoolTestSupport
import Synchronization

/// A shard in memory that stores a request whole or refuses it whole, at once or when the test says.
final class WholeBatchShard: Shard {
    private struct State {
        var stored: [[UInt8]] = []
        var requests: [[[UInt8]]] = []
        var refusals: [Int: ShardError] = [:]
        var isHeld = false
        var held: [@Sendable () -> Void] = []
        var deleted: [ReceiptHandle] = []
    }

    let name: String
    let tag: ShardTag
    let traits = ShardTraits()
    private let clock: ManualClock
    private let state = Mutex(State())

    init(number: Int = 0, clock: ManualClock) {
        self.clock = clock
        name = "whole-\(number)"
        tag = ShardTag(rawValue: UInt64(number) + 1)
    }

    var stored: [[UInt8]] { state.withLock { $0.stored } }
    /// What each request held, also of those that were refused.
    var requests: [[[UInt8]]] { state.withLock { $0.requests } }
    var deleted: [ReceiptHandle] { state.withLock { $0.deleted } }

    /// Refuses the nth request, counted from 1.
    func refuse(request number: Int, _ error: ShardError) { state.withLock { $0.refusals[number] = error } }
    /// Answers no request from now on until `release`.
    func hold() { state.withLock { $0.isHeld = true } }

    /// Answers what was held, and holds no more.
    func release() {
        while true {
            let held = state.withLock { state in
                defer { state.held = [] }
                state.isHeld = false
                return state.held
            }
            if held.isEmpty { return }
            for answer in held { answer() }
        }
    }

    func submit(_ batch: ShardBatch, completion: @escaping @Sendable (EntryAnswers) -> Void) {
        let messages = batch.pull()
        // As it stores nothing of nothing, nothing is no request.
        guard !messages.isEmpty else { return clock.schedule(afterMilliseconds: 0) { completion(.entries([])) } }
        let (result, isHeld) = state.withLock { state in
            state.requests.append(messages.map(\.record.bytes))
            if let error = state.refusals[state.requests.count] {
                return (EntryAnswers.failed(.permanent(error)), state.isHeld)
            }
            let outcomes = messages.map { message -> EntryOutcome in
                state.stored.append(message.record.bytes)
                let sequence = SequenceNumber(rawValue: Int64(state.stored.count))
                return .stored(
                    SendReceipt(
                        messageID: MessageID(shard: tag, sequence: sequence), sequence: sequence, isDuplicate: false))
            }
            return (.entries(outcomes), state.isHeld)
        }
        guard isHeld else { return clock.schedule(afterMilliseconds: 0) { completion(result) } }
        state.withLock { $0.held.append { completion(result) } }
    }

    func delete(_ handles: [ReceiptHandle], completion: @escaping @Sendable ([DeleteOutcome]) -> Void) {
        state.withLock { $0.deleted += handles }
        completion(handles.map { _ in .deleted })
    }

    // MARK: - What these tests do not use

    func receive(
        _ command: ReceiveCommand, completion: @escaping @Sendable (ReceiveAnswer) -> Void
    ) -> ReceiveAnswer? { .success([]) }
    func changeVisibility(
        _ changes: [(handle: ReceiptHandle, seconds: Int)],
        completion: @escaping @Sendable ([VisibilityDecision]) -> Void
    ) -> [VisibilityDecision]? { changes.map { _ in .changed } }
    func purge(completion: @escaping @Sendable (Result<Int, ShardError>) -> Void) { completion(.success(0)) }
    func setAttributes(_ attributes: QueueAttributes) {}
    func counts() -> ShardCounts { ShardCounts() }
    func nextVisibleAt() -> Timestamp? { nil }
    func onReady(_ notify: @escaping @Sendable () -> Void) {}
    func setDeadLetterSink(_ sink: DeadLetterSink?) {}
    func close() {}
}
