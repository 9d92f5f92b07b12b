// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import Synchronization

// Workers and leases in memory, beside a simulated control store: a pool that goes takes them with it. As there, calls
// answer at once, which of them fail is drawn from one seeded generator in the order of the calls, and reads are never
// stale. A write whose call failed may also be done later, at a call that anybody makes.

/// How often, in percent, what goes wrong with leases.
package struct LeaseFaults: Hashable, Sendable {
    /// The store failed before a write was done.
    package var failuresBefore = 0
    /// The write was done, and its answer was lost.
    package var lostAnswers = 0
    /// The call failed, and the write is tried later.
    package var lateWrites = 0
    /// A read failed.
    package var failedReads = 0

    package init() {}

    /// Everything, and not so often that nothing is ever done.
    package static var all: LeaseFaults {
        var faults = LeaseFaults()
        faults.failuresBefore = 5
        faults.lostAnswers = 10
        faults.lateWrites = 10
        faults.failedReads = 5
        return faults
    }
}

/// A lease store in memory whose calls fail by a seed.
package final class SimulatedLeaseStore: LeaseStore {
    /// How often each fault happened.
    package struct Counts: Hashable, Sendable {
        package var failuresBefore = 0
        package var lostAnswers = 0
        /// Writes that were tried after their call had failed.
        package var lateWrites = 0
        package var failedReads = 0

        package init() {}
    }

    private typealias Write = @Sendable (inout Stored, Bool) -> Result<Int, LeaseStoreError>

    /// What is stored of one pool.
    private struct Stored {
        var heartbeats: [WorkerID: WorkerHeartbeat] = [:]
        var leases: [ShardIndex: ShardLease] = [:]
        /// Pools of this name that had been removed when this was written.
        var removals = 0
    }

    private struct State {
        var pools: [String: Stored] = [:]
        /// Writes that are on their way although their calls failed.
        var late: [(pool: PoolName, write: Write)] = []
        var faults: LeaseFaults
        var random: SplitMix64
        var counts = Counts()
    }

    private let control: SimulatedControlStore
    private let state: Mutex<State>

    /// An empty store.
    /// - Parameter control: where the pools are.
    package init(beside control: SimulatedControlStore, seed: UInt64 = 0, faults: LeaseFaults = LeaseFaults()) {
        self.control = control
        state = Mutex(State(faults: faults, random: SplitMix64(seed: seed)))
    }

    // MARK: - The simulation's side

    package var counts: Counts { state.withLock { $0.counts } }

    /// From now on calls fail as often as this.
    package func setFaults(_ faults: LeaseFaults) { state.withLock { $0.faults = faults } }

    /// What is stored, whether or not it could be read, for who judges.
    package func truth(ofPool pool: PoolName) -> LeaseTable {
        state.withLock { SimulatedLeaseStore.table(of: stored(pool, in: $0)) }
    }

    // MARK: - The port

    package func table(ofPool pool: PoolName) throws(LeaseStoreError) -> LeaseTable {
        let result: Result<LeaseTable, LeaseStoreError> = state.withLock { state in
            makeLateWrites(&state)
            guard !state.random.chance(state.faults.failedReads) else {
                state.counts.failedReads += 1
                return .failure(SimulatedLeaseStore.failure)
            }
            return .success(SimulatedLeaseStore.table(of: stored(pool, in: state)))
        }
        return try result.get()
    }

    package func renew(_ heartbeat: WorkerHeartbeat, ofPool pool: PoolName) throws(LeaseStoreError) {
        _ = try write(pool) { stored, isPool in
            guard isPool else { return .failure(.noPool) }
            let held = stored.heartbeats[heartbeat.worker]?.beat
            guard held == heartbeat.beat || held ?? 0 == heartbeat.beat - 1 else { return .failure(.conflict) }
            stored.heartbeats[heartbeat.worker] = heartbeat
            return .success(0)
        }
    }

    package func remove(_ worker: WorkerID, beat: Int, ofPool pool: PoolName) throws(LeaseStoreError) {
        _ = try write(pool) { stored, _ in
            guard let held = stored.heartbeats[worker] else { return .success(0) }
            guard held.beat == beat else { return .failure(.conflict) }
            stored.heartbeats[worker] = nil
            return .success(0)
        }
    }

    package func write(_ lease: ShardLease, ofPool pool: PoolName) throws(LeaseStoreError) -> Int {
        try write(pool) { stored, isPool in
            guard isPool else { return .failure(.noPool) }
            guard stored.leases[lease.shard]?.version ?? 0 == lease.version else { return .failure(.conflict) }
            var next = lease
            next.version += 1
            stored.leases[lease.shard] = next
            return .success(next.version)
        }
    }

    package func removeAll(ofPool pool: PoolName) throws(LeaseStoreError) {
        _ = try write(pool) { stored, _ in
            stored.heartbeats = [:]
            stored.leases = [:]
            return .success(0)
        }
    }

    // MARK: - Faults

    private static let failure = LeaseStoreError.failed(code: "simulated")

    private static func table(of stored: Stored) -> LeaseTable {
        LeaseTable(
            heartbeats: stored.heartbeats.values.sorted { $0.worker < $1.worker },
            leases: stored.leases.values.sorted { $0.shard < $1.shard })
    }

    private func stored(_ pool: PoolName, in state: State) -> Stored {
        let removals = control.life(of: pool).removals
        if let stored = state.pools[pool.text], stored.removals == removals { return stored }
        return Stored(removals: removals)
    }

    private func write(_ pool: PoolName, _ body: @escaping Write) throws(LeaseStoreError) -> Int {
        let result: Result<Int, LeaseStoreError> = state.withLock { state in
            makeLateWrites(&state)
            if state.random.chance(state.faults.failuresBefore) {
                state.counts.failuresBefore += 1
                return .failure(SimulatedLeaseStore.failure)
            }
            if state.random.chance(state.faults.lateWrites) {
                state.late.append((pool, body))
                return .failure(SimulatedLeaseStore.failure)
            }
            let result = make(body, of: pool, &state)
            guard case .success = result, state.random.chance(state.faults.lostAnswers) else { return result }
            state.counts.lostAnswers += 1
            return .failure(SimulatedLeaseStore.failure)
        }
        return try result.get()
    }

    private func make(_ body: Write, of pool: PoolName, _ state: inout State) -> Result<Int, LeaseStoreError> {
        var stored = stored(pool, in: state)
        let result = body(&stored, control.life(of: pool).isStored)
        state.pools[pool.text] = stored
        return result
    }

    /// Each is made now or waits on, so they also pass one another.
    private func makeLateWrites(_ state: inout State) {
        guard !state.late.isEmpty else { return }
        let late = state.late
        state.late = []
        for (pool, body) in late {
            if state.random.chance(50) {
                state.late.append((pool, body))
            } else {
                state.counts.lateWrites += 1
                _ = make(body, of: pool, &state)
            }
        }
    }
}
