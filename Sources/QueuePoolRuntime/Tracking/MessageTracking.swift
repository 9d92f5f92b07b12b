// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import QueuePoolJSON
import Synchronization

// What became of the messages of all pools of a process. Workers tell it, and shards of what they do themselves. Messages
// of embedded shards cost nothing to track until a worker has them: their shard is asked. A queue of SQS cannot be asked,
// so there the sender's process tells that a message is queued.

/// Keeps what became of messages, and sends what is final to a pool of its own.
package final class MessageTracking: Sendable {
    /// Sends outcomes on.
    /// - Returns: whether all of them are stored; one that was stored before counts.
    package typealias Publish = @Sendable (_ records: [TrackingRecord], _ pool: PoolName) async -> Bool

    package let store: any TrackingStore
    /// How long a record is kept after it was told.
    package let keepMilliseconds: Int64
    private let clock: any Clock
    private let publish: Publish
    private let trackers = Mutex<[PoolName: Tracker]>([:])
    private let savedCounter = Atomic(0)

    /// - Parameter publish: called with records that are final, before they are saved.
    package init(
        store: any TrackingStore, keepMilliseconds: Int64, clock: any Clock,
        publish: @escaping Publish = { _, _ in true }
    ) {
        self.store = store
        self.keepMilliseconds = keepMilliseconds
        self.clock = clock
        self.publish = publish
    }

    /// Records that were saved.
    package var savedCount: Int { savedCounter.load(ordering: .relaxed) }
    /// Records that found no room on their way.
    package var droppedCount: Int { trackers.withLock { $0.values.reduce(0) { $0 + $1.droppedCount } } }

    /// Saves what somebody tells.
    /// - Throws: `TrackingStoreError`; to be told again then.
    package func save(_ records: [TrackingRecord], ofPool pool: PoolName) async throws(TrackingStoreError) {
        let outcomes = records.filter(\.state.isFinal)
        if !outcomes.isEmpty, !(await publish(outcomes, pool)) { throw TrackingStoreError(code: "outcomes-pool") }
        try await store.save(records, ofPool: pool, expiresAt: clock.wallTime() + keepMilliseconds)
        savedCounter.wrappingAdd(records.count, ordering: .relaxed)
    }

    /// Saves what somebody tells.
    /// - Returns: whether that succeeded.
    package func isSaved(_ records: [TrackingRecord], ofPool pool: PoolName) async -> Bool {
        do throws(TrackingStoreError) {
            try await save(records, ofPool: pool)
            return true
        } catch { return false }
    }

    /// What is known of a message beside its shard's own knowledge.
    package func record(_ id: String, ofPool pool: PoolName) async throws(TrackingStoreError) -> TrackingRecord? {
        // First what waits: what is not there any more then is in the store.
        let waiting = trackers.withLock { $0[pool] }?.record(id)
        let saved = try await store.record(id, ofPool: pool, now: clock.wallTime())
        guard let waiting, let saved else { return waiting ?? saved }
        return waiting.joined(with: saved)
    }

    /// Takes what this process knows itself; returns at once.
    package func note(_ record: TrackingRecord, ofPool pool: PoolName) { tracker(pool).note(record) }

    /// A shard did something with messages itself.
    package func note(_ event: ShardEvent, ofPool pool: PoolName) {
        let at = clock.wallTime()
        switch event {
        case .movedToDeadLetter(let ids):
            for id in ids {
                var record = TrackingRecord(id: id.description, state: .dead, at: at)
                record.acceptedAt = id.sequence.sentAt
                record.reason = TrackingReason.receivesExhausted
                note(record, ofPool: pool)
            }
        case .expired(let ids):
            for id in ids {
                var record = TrackingRecord(id: id.description, state: .expired, at: at)
                record.acceptedAt = id.sequence.sentAt
                note(record, ofPool: pool)
            }
        case .commitsFail, .commitsSucceedAgain, .deadLetterFailed, .damaged: break
        }
    }

    /// A queue that cannot be asked accepted a message.
    func queued(_ message: OutgoingMessage, _ receipt: SendReceipt, ofPool pool: PoolName) {
        guard !receipt.isDuplicate else { return }
        let now = clock.wallTime()
        var record = TrackingRecord(id: receipt.messageID.description, state: .queued, at: now)
        record.acceptedAt = now
        record.tags = message.tags
        note(record, ofPool: pool)
    }

    /// A pool was deleted: nothing of its messages is kept. What fails goes when its time is over.
    func forget(_ pool: PoolName) {
        Task { [store] in try? await store.removeAll(ofPool: pool) }
    }

    /// Saves what is left, until a time at the latest.
    package func finish(deadline: Timestamp) async {
        for tracker in trackers.withLock({ Array($0.values) }) { await tracker.finish(deadline: deadline) }
    }

    private func tracker(_ pool: PoolName) -> Tracker {
        trackers.withLock { trackers in
            if let tracker = trackers[pool] { return tracker }
            let tracker = Tracker(clock: clock) { [weak self] records in
                await self?.isSaved(records, ofPool: pool) ?? true
            }
            trackers[pool] = tracker
            return tracker
        }
    }
}

/// Why messages are dead of which no worker says it.
package enum TrackingReason {
    /// The queue's own redrive policy: it was received too often.
    package static let receivesExhausted = "receives-exhausted"
}

extension OutgoingMessage {
    /// As its sender gave them, a JSON object.
    fileprivate var tags: String? {
        record.withView { view in
            guard view.hasAttributes else { return nil }
            return view.attributes.first { $0.name == TagsText.attribute }.flatMap { TagsText.text($0.value) }
        }
    }
}

extension SendRequest {
    /// The same, where `note` learns of what was accepted, before the sender does.
    func noting(_ note: @escaping @Sendable (OutgoingMessage, SendReceipt) -> Void) -> SendRequest {
        var request = SendRequest(order: order, isPaid: isPaid)
        for entry in entries {
            request.add(entry.message, at: entry.position) { result, shard in
                if case .success(let receipt) = result { note(entry.message, receipt) }
                entry.tell(result, shard)
            }
        }
        return request
    }
}
