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

    private static let tickMilliseconds: Int64 = 100

    private let machine: Mutex<LeaseMachine>
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
    ///   - onStore: called after each call to the store, with its failure if it had one.
    package init(
        _ machine: LeaseMachine, store: any LeaseStore, pool: PoolName, clock: any Clock,
        onStore: @escaping @Sendable (LeaseStoreError?) -> Void = { _ in },
        follow: @escaping @Sendable (Order) -> Void
    ) {
        self.machine = Mutex(machine)
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
        return machine.withLock { $0.mayDeliver(hold, now: now) }
    }

    /// What was held of a shard that is given away is finished or released.
    package func drained(_ hold: ShardHold) { handle { $0.drained(hold, now: $1) } }

    /// The pool has other shards now.
    package func shardsChanged(_ shards: [ShardIndex]) { handle { $0.shardsChanged(shards, now: $1) } }

    /// Gives all shards up; `left` is the last order.
    /// - Parameter deadline: until when deliveries under way may go on.
    package func leave(deadline: Timestamp) { handle { $0.leave(deadline: deadline, now: $1) } }

    package var figures: LeaseFigures { machine.withLock { $0.figures } }

    package var isStandBy: Bool { machine.withLock { $0.isStandBy } }

    // MARK: - Driving

    private func tick() {
        guard !isStopped.withLock({ $0 }) else { return }
        handle { [clock] machine, now in machine.tick(now: now, wallTime: clock.wallTime()) }
        clock.schedule(afterMilliseconds: LeaseKeeper.tickMilliseconds) { [weak self] in self?.tick() }
    }

    private func handle(_ event: (inout LeaseMachine, Timestamp) -> [LeaseMachine.Effect]) {
        let now = clock.now()
        machine.withLock { machine in
            // Under the lock, so that orders and calls leave in the order in which they were decided.
            for effect in event(&machine, now) { perform(effect) }
        }
    }

    private func perform(_ effect: LeaseMachine.Effect) {
        switch effect {
        case .begin(let hold): follow(.begin(hold))
        case .drain(let hold, let deadline): follow(.drain(hold, deadline: deadline))
        case .drop(let hold): follow(.drop(hold))
        case .left: follow(.left)
        case .renew(let heartbeat):
            call(renewals) { (store, pool) throws(LeaseStoreError) in
                try store.renew(heartbeat, ofPool: pool)
            } then: {
                $0.renewed(heartbeat, $1, now: $2)
            }
        case .read:
            call(table) { (store, pool) throws(LeaseStoreError) in
                try store.table(ofPool: pool)
            } then: {
                $0.tableRead($1, now: $2)
            }
        case .remove(let worker, let beat):
            call(table) { (store, pool) throws(LeaseStoreError) in
                try store.remove(worker, beat: beat, ofPool: pool)
            } then: {
                $0.removed(worker, beat: beat, $1, now: $2)
            }
        case .write(let lease):
            call(table) { (store, pool) throws(LeaseStoreError) in
                try store.write(lease, ofPool: pool)
            } then: {
                $0.written(lease, $1, now: $2)
            }
        }
    }

    /// Makes a call that may block, in its lane, and tells the machine what became of it.
    private func call<Value: Sendable>(
        _ lane: DispatchQueue,
        _ body: @escaping @Sendable (any LeaseStore, PoolName) throws(LeaseStoreError) -> Value,
        then tell:
            @escaping @Sendable (inout LeaseMachine, Result<Value, LeaseStoreError>, Timestamp)
            -> [LeaseMachine.Effect]
    ) {
        lane.async { [self] in
            let result: Result<Value, LeaseStoreError>
            do throws(LeaseStoreError) {
                result = .success(try body(store, pool))
                onStore(nil)
            } catch {
                result = .failure(error)
                onStore(error)
            }
            handle { tell(&$0, result, $1) }
        }
    }
}
