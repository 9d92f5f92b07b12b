// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import QueuePoolTestSupport
import Synchronization
import Testing

/// A lease store that fails when it is told to, and otherwise does what an empty simulated one does.
private final class FailingStore: LeaseStore {
    let stored: SimulatedLeaseStore
    private let failures: Mutex<(reads: LeaseStoreError?, writes: LeaseStoreError?)> = Mutex((nil, nil))

    init(beside control: SimulatedControlStore) { stored = SimulatedLeaseStore(beside: control) }

    func fail(reads: LeaseStoreError?, writes: LeaseStoreError?) { failures.withLock { $0 = (reads, writes) } }

    private func read() throws(LeaseStoreError) { if let error = failures.withLock({ $0.reads }) { throw error } }
    private func write() throws(LeaseStoreError) { if let error = failures.withLock({ $0.writes }) { throw error } }

    func table(ofPool pool: PoolName) throws(LeaseStoreError) -> LeaseTable {
        try read()
        return try stored.table(ofPool: pool)
    }

    func renew(_ heartbeat: WorkerHeartbeat, ofPool pool: PoolName) throws(LeaseStoreError) {
        try write()
        try stored.renew(heartbeat, ofPool: pool)
    }

    func remove(_ worker: WorkerID, beat: Int, ofPool pool: PoolName) throws(LeaseStoreError) {
        try write()
        try stored.remove(worker, beat: beat, ofPool: pool)
    }

    func write(_ lease: ShardLease, ofPool pool: PoolName) throws(LeaseStoreError) -> Int {
        try write()
        return try stored.write(lease, ofPool: pool)
    }

    func removeAll(ofPool pool: PoolName) throws(LeaseStoreError) { try stored.removeAll(ofPool: pool) }
}

/// What a keeper ordered, and what it told of its store.
private final class Notes: Sendable {
    private let notes: Mutex<(orders: [LeaseKeeper.Order], isWell: [Bool])> = Mutex(([], []))

    func note(_ order: LeaseKeeper.Order) { notes.withLock { $0.orders.append(order) } }
    func note(_ error: LeaseStoreError?) { notes.withLock { $0.isWell.append(error == nil || error == .conflict) } }

    var begun: [ShardHold] {
        notes.withLock { $0.orders.compactMap { if case .begin(let hold) = $0 { hold } else { nil } } }
    }
    var leftCount: Int { notes.withLock { $0.orders.count { $0 == .left } } }
    var failureCount: Int { notes.withLock { $0.isWell.count { !$0 } } }
    /// How often what was told of the store changed.
    var changeCount: Int { notes.withLock { zip($0.isWell, $0.isWell.dropFirst()).count { $0 != $1 } } }
}

@Suite("A worker's leases, as the keeper drives them")
struct LeaseKeeperTests {
    private let clock = ManualClock()
    private let notes = Notes()
    private let store: FailingStore
    private let keeper: LeaseKeeper

    init() async throws {
        let pool = try #require(PoolName("emails.fifo"))
        let control = SimulatedControlStore()
        _ = try control.save(
            PoolDefinition(
                name: pool, topology: try Topology(pool: pool, shardCount: 2), attributes: "", createdAt: clock.now(),
                version: 0))
        store = FailingStore(beside: control)
        let machine = try #require(LeaseMachine(name: "worker", shards: [ShardIndex(0), ShardIndex(1)], seed: 1))
        keeper = LeaseKeeper(
            machine, store: store, pool: pool, clock: clock, onStore: { [notes] in notes.note($0) },
            follow: { [notes] in notes.note($0) })
        keeper.start()
        try await advance { $0.begun.count == 2 }
    }

    /// Lets the clock go on until the notes are so. Calls to the store take real time, and none of the clock's.
    private func advance(until isSo: (Notes) -> Bool) async throws {
        for _ in 0..<2_000 {
            if isSo(notes) { return }
            clock.advance(milliseconds: 10)
            try await Task.sleep(for: .milliseconds(1))
        }
        Issue.record("It did not come about in 20 s")
    }

    /// Asks to leave with a deadline a long time ahead, and reports both drains.
    private func leave() {
        keeper.leave(deadline: clock.now() + 600_000)
        notes.begun.forEach(keeper.drained)
    }

    @Test func `who leaves gives all up and removes its heartbeat`() async throws {
        leave()
        try await advance { $0.leftCount == 1 }
        let table = store.stored.truth(ofPool: try #require(PoolName("emails.fifo")))
        #expect(table.heartbeats.isEmpty)
        #expect(table.leases.map(\.owner) == [nil, nil])
        #expect(notes.failureCount == 0)
    }

    @Test func `who holds nothing does not wait for a store that fails`() async throws {
        store.fail(reads: .failed(code: "away"), writes: .failed(code: "away"))
        leave()
        let since = clock.now()
        try await advance { $0.leftCount == 1 }
        #expect(clock.now() - since >= 5_000)
    }

    @Test func `who holds nothing does not wait for a pool that is gone`() async throws {
        store.fail(reads: .noPool, writes: .noPool)
        leave()
        try await advance { $0.leftCount == 1 }
        clock.advance(milliseconds: 700_000)
        #expect(notes.leftCount == 1)
    }

    @Test func `who still delivers stays until its deadline although the store fails`() async throws {
        store.fail(reads: .failed(code: "away"), writes: .failed(code: "away"))
        let holds = notes.begun
        keeper.leave(deadline: clock.now() + 600_000)
        keeper.drained(holds[0])
        // Less than the heartbeat counts without a renewal: afterwards nothing is held any more.
        clock.advance(milliseconds: 6_000)
        #expect(keeper.figures.owned == 1 && notes.leftCount == 0)
        keeper.drained(holds[1])
        #expect(keeper.figures.owned == 0 && notes.leftCount == 1)
    }

    @Test func `a store that can be read and not written is told of once`() async throws {
        store.fail(reads: nil, writes: .failed(code: "full"))
        try await advance { $0.failureCount >= 3 }
        #expect(notes.changeCount == 1)
        store.fail(reads: nil, writes: nil)
        try await advance { $0.changeCount == 2 }
    }
}
