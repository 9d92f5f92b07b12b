// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import QueuePoolTestSupport
import Synchronization
import Testing

/// A store in memory, whose next saves may fail.
private final class Shelf: TrackingStore {
    private let state = Mutex((records: [String: TrackingRecord](), saves: 0, failures: 0))

    var saves: Int { state.withLock { $0.saves } }
    func fail(_ count: Int) { state.withLock { $0.failures = count } }

    func save(_ records: [TrackingRecord], ofPool pool: PoolName, expiresAt: Timestamp) throws(TrackingStoreError) {
        let isSaved = state.withLock { state in
            state.saves += 1
            guard state.failures == 0 else {
                state.failures -= 1
                return false
            }
            for record in records {
                let key = "\(pool)/\(record.id)"
                state.records[key] = state.records[key].map { record.replacing($0) ?? $0 } ?? record
            }
            return true
        }
        if !isSaved { throw TrackingStoreError(code: "planned") }
    }

    func record(_ id: String, ofPool pool: PoolName, now: Timestamp) -> TrackingRecord? {
        state.withLock { $0.records["\(pool)/\(id)"] }
    }

    func removeAll(ofPool pool: PoolName) {
        state.withLock { state in state.records = state.records.filter { !$0.key.hasPrefix("\(pool)/") } }
    }
}

struct TrackerTests {
    private let clock = ManualClock()
    private let shelf = Shelf()
    private let pool: PoolName

    init() throws { pool = try #require(PoolName("emails.fifo")) }

    private func record(_ id: String, _ state: TrackingState) -> TrackingRecord {
        TrackingRecord(id: id, state: state, at: clock.wallTime())
    }

    /// Rings the clock's timers until something is so.
    private func advance(until isSo: () async -> Bool) async {
        for _ in 0..<10_000 {
            if await isSo() { return }
            clock.advance(milliseconds: 50)
            await Task.yield()
        }
        Issue.record("it did not come about")
    }

    private func tracking(publish: @escaping MessageTracking.Publish = { _, _ in true }) -> MessageTracking {
        MessageTracking(store: shelf, keepMilliseconds: 1_000, clock: clock, publish: publish)
    }

    @Test func `what is noted is saved soon, and again after a failure`() async {
        let tracking = tracking()
        shelf.fail(2)
        tracking.note(record("a", .sent), ofPool: pool)
        await advance { shelf.record("a", ofPool: pool, now: clock.now())?.state == .sent }
        #expect(shelf.saves == 3 && tracking.savedCount == 1)
    }

    @Test func `the end saves what is not final too, and takes nothing more`() async {
        let tracking = tracking()
        tracking.note(record("a", .inFlight), ofPool: pool)
        await tracking.finish(deadline: clock.now() + 1_000)
        #expect(shelf.record("a", ofPool: pool, now: clock.now())?.state == .inFlight)
        tracking.note(record("b", .sent), ofPool: pool)
        clock.advance(milliseconds: 10_000)
        #expect(shelf.record("b", ofPool: pool, now: clock.now()) == nil)
    }

    @Test func `final records are published before they are saved, and not saved without it`() async {
        let isOpen = Mutex(false)
        let published = Mutex<[TrackingState]>([])
        let tracking = tracking { records, _ in
            guard isOpen.withLock({ $0 }) else { return false }
            published.withLock { $0 += records.map(\.state) }
            return true
        }
        let records = [record("a", .retrying), record("a", .sent), record("b", .dead)]
        await #expect(throws: TrackingStoreError(code: "outcomes-pool")) {
            try await tracking.save(records, ofPool: pool)
        }
        #expect(shelf.saves == 0)
        isOpen.withLock { $0 = true }
        await #expect(tracking.isSaved(records, ofPool: pool))
        #expect(published.withLock { $0 } == [.sent, .dead] && shelf.saves == 1)
    }

    @Test func `a shard's own doings are told with the time of the send`() async throws {
        let tracking = tracking()
        let sequence = SequenceNumber(firstOf: Timestamp(milliseconds: 1_700_000_000_123))
        let ids = (0..<2).map { MessageID(shard: ShardTag(rawValue: UInt64($0)), sequence: sequence) }
        tracking.note(.movedToDeadLetter([ids[0]]), ofPool: pool)
        tracking.note(.expired([ids[1]]), ofPool: pool)
        await tracking.finish(deadline: clock.now() + 1_000)
        let dead = try #require(shelf.record(ids[0].description, ofPool: pool, now: clock.now()))
        #expect(dead.state == .dead && dead.reason == "receives-exhausted" && dead.acceptedAt == sequence.sentAt)
        #expect(shelf.record(ids[1].description, ofPool: pool, now: clock.now())?.state == .expired)
    }
}
