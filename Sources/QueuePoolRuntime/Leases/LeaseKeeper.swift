// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
package import QueuePoolCore
import Synchronization

// The lease machine's driver: a tick ten times a second, two lanes for calls to the store, each of which may block, and
// the machine's orders to whoever works on the shards.

/// Keeps a worker's leases.
package final class LeaseKeeper: Sendable {
    /// What the worker is to do, in the order in which it is decided.
    package enum Order: Hashable, Sendable {
        /// The shard is this worker's: receive and deliver.
        case begin(ShardHold)
        /// Receive nothing more, finish what is being delivered until the deadline, release the rest; then call `drained`.
        case drain(ShardHold, deadline: Timestamp)
        /// The shard may be another's: deliver and receive nothing more of it.
        case drop(ShardHold)
        /// Everything is given up after `leave`.
        case left
    }

    /// The calls that go one after another.
    private enum Lane: Hashable { case renewals, table }

    private struct State {
        var machine: LeaseMachine
        /// When the store last did what it was asked, or said why it would not.
        var answeredAt: Timestamp
        var isPoolGone = false
        /// Lanes whose last call failed.
        var failing: Set<Lane> = []
        var leavingSince: Timestamp?
        var hasLeft = false
    }

    private static let tickMilliseconds: Int64 = 100
    /// How long a worker that holds nothing any more tries to give its leases up with a store that does not answer. The
    /// others then wait for the lease's term, which is not much longer; whoever started this process may kill it sooner.
    private static let patienceMilliseconds: Int64 = 5_000

    private let state: Mutex<State>
    private let isStopped = Mutex(false)
    private let store: any LeaseStore
    private let pool: PoolName
    private let clock: any Clock
    private let follow: @Sendable (Order) -> Void
    private let onStore: @Sendable (LeaseStoreError?) -> Void
    // A slow read must not hold a renewal up.
    private let renewals = DispatchQueue(label: "queuepool.leases.renewals")
    private let table = DispatchQueue(label: "queuepool.leases.table")

    /// - Parameters:
    ///   - follow: called for each order, one at a time, under the keeper's lock: it must not call the keeper.
    ///   - onStore: called after each call to the store, with its failure if it had one; without one only while calls of
    ///     all kinds succeed.
    package init(
        _ machine: LeaseMachine, store: any LeaseStore, pool: PoolName, clock: any Clock,
        onStore: @escaping @Sendable (LeaseStoreError?) -> Void = { _ in },
        follow: @escaping @Sendable (Order) -> Void
    ) {
        state = Mutex(State(machine: machine, answeredAt: clock.now()))
        self.store = store
        self.pool = pool
        self.clock = clock
        self.follow = follow
        self.onStore = onStore
    }

    /// Begins to take shards. Goes on until `stop`.
    package func start() { tick() }

    /// Does nothing more: for the end, after `left`.
    package func stop() { isStopped.withLock { $0 = true } }

    /// Whether a message of this hold may be delivered now; to be asked before each delivery.
    package func mayDeliver(_ hold: ShardHold) -> Bool {
        let now = clock.now()
        return state.withLock { $0.machine.mayDeliver(hold, now: now) }
    }

    /// What was held of a shard that is given away is finished or released.
    package func drained(_ hold: ShardHold) { handle { $0.drained(hold, now: $1) } }

    /// The pool has other shards now.
    package func shardsChanged(_ shards: [ShardIndex]) { handle { $0.shardsChanged(shards, now: $1) } }

    /// Gives all shards up; `left` is the last order. It does not wait for the deadline once nothing is held: where the
    /// pool is gone or its store does not answer there is nobody to give them to.
    /// - Parameter deadline: until when deliveries under way may go on.
    package func leave(deadline: Timestamp) {
        let now = clock.now()
        state.withLock { $0.leavingSince = $0.leavingSince ?? now }
        handle { $0.leave(deadline: deadline, now: $1) }
    }

    package var figures: LeaseFigures { state.withLock { $0.machine.figures } }

    package var isStandBy: Bool { state.withLock { $0.machine.isStandBy } }

    // MARK: - Driving

    private func tick() {
        guard !isStopped.withLock({ $0 }) else { return }
        handle { [clock] machine, now in machine.tick(now: now, wallTime: clock.wallTime()) }
        clock.schedule(afterMilliseconds: LeaseKeeper.tickMilliseconds) { [weak self] in self?.tick() }
    }

    private func handle(_ event: (inout LeaseMachine, Timestamp) -> [LeaseMachine.Effect]) {
        let now = clock.now()
        state.withLock { state in
            // Under the lock, so that orders and calls leave in the order in which they were decided.
            for effect in event(&state.machine, now) {
                if effect == .left { leave(&state) } else { perform(effect) }
            }
            if LeaseKeeper.isForsaken(state, now) { leave(&state) }
        }
    }

    /// Whether the worker is leaving, holds nothing, and nobody takes its leases.
    private static func isForsaken(_ state: State, _ now: Timestamp) -> Bool {
        guard let since = state.leavingSince, state.machine.figures.owned == 0 else { return false }
        return state.isPoolGone || now - max(since, state.answeredAt) >= patienceMilliseconds
    }

    private func leave(_ state: inout State) {
        guard !state.hasLeft else { return }
        state.hasLeft = true
        follow(.left)
    }

    private func perform(_ effect: LeaseMachine.Effect) {
        switch effect {
        case .left: break
        case .begin(let hold): follow(.begin(hold))
        case .drain(let hold, let deadline): follow(.drain(hold, deadline: deadline))
        case .drop(let hold): follow(.drop(hold))
        case .renew(let heartbeat):
            call(.renewals) { (store, pool) throws(LeaseStoreError) in
                try store.renew(heartbeat, ofPool: pool)
            } then: {
                $0.renewed(heartbeat, $1, now: $2)
            }
        case .read:
            call(.table) { (store, pool) throws(LeaseStoreError) in
                try store.table(ofPool: pool)
            } then: {
                $0.tableRead($1, now: $2)
            }
        case .remove(let worker, let beat):
            call(.table) { (store, pool) throws(LeaseStoreError) in
                try store.remove(worker, beat: beat, ofPool: pool)
            } then: {
                $0.removed(worker, beat: beat, $1, now: $2)
            }
        case .write(let lease):
            call(.table) { (store, pool) throws(LeaseStoreError) in
                try store.write(lease, ofPool: pool)
            } then: {
                $0.written(lease, $1, now: $2)
            }
        }
    }

    /// Makes a call that may block, in its lane, and tells the machine what became of it.
    private func call<Value: Sendable>(
        _ lane: Lane,
        _ body: @escaping @Sendable (any LeaseStore, PoolName) throws(LeaseStoreError) -> Value,
        then tell:
            @escaping @Sendable (inout LeaseMachine, Result<Value, LeaseStoreError>, Timestamp)
            -> [LeaseMachine.Effect]
    ) {
        (lane == .renewals ? renewals : table).async { [self] in
            let result: Result<Value, LeaseStoreError>
            do throws(LeaseStoreError) {
                result = .success(try body(store, pool))
                note(nil, lane)
            } catch {
                result = .failure(error)
                note(error, lane)
            }
            handle { tell(&$0, result, $1) }
        }
    }

    /// A store that can be read and not written, as on a full disk, fails: its reads do not make it well.
    private func note(_ error: LeaseStoreError?, _ lane: Lane) {
        let now = clock.now()
        let isWell = state.withLock { state in
            state.isPoolGone = error == .noPool
            switch error {
            case nil, .conflict:
                state.answeredAt = now
                state.failing.remove(lane)
            case .noPool, .failed: state.failing.insert(lane)
            }
            return state.failing.isEmpty
        }
        if error != nil || isWell { onStore(error) }
    }
}
