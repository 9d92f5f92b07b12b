// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import Logging
import QueuePoolCore
import QueuePoolRuntime
import Synchronization

// Which of a pool's shards a worker works on: all that it was given for good, or those of which it has the lease. Shards
// have a place each in the worker's list; the scheduler knows them by it.

/// The shards that a worker knows, by their places, which they keep: one that its pool has no more stays in the list.
final class ShardList: Sendable {
    private let shards: Mutex<[WorkerShard]>

    init(_ shards: [WorkerShard]) { self.shards = Mutex(shards) }

    var all: [WorkerShard] { shards.withLock(\.self) }

    var count: Int { shards.withLock(\.count) }

    func name(_ place: Int) -> String { shards.withLock { $0[place].name } }

    func place(of index: ShardIndex) -> Int? { shards.withLock { $0.firstIndex { $0.index == index } } }

    /// Adds those that are not known yet.
    func add(_ found: [WorkerShard]) {
        shards.withLock { shards in
            let known = Set(shards.map(\.index))
            shards += found.filter { !known.contains($0.index) }
        }
    }
}

/// The leases of one worker, and what they mean to its scheduler.
final class ShardOwnership: Sendable {
    private struct State {
        var holds: [Int: ShardHold] = [:]
        /// Why the store of leases fails, as it was told last.
        var failure: LeaseStoreError?
    }

    private let state = Mutex(State())
    private let keeper: LeaseKeeper
    private let clock: any Clock

    /// - Parameters:
    ///   - desk: is told what to begin, to drain and to drop.
    ///   - left: called once everything is given up.
    init?(
        pool: PoolName, shards: ShardList, store: any LeaseStore, desk: WorkerDesk, logger: Logger, clock: any Clock,
        left: @escaping @Sendable () -> Void
    ) {
        guard
            let machine = LeaseMachine(
                name: ShardOwnership.name(), shards: shards.all.map(\.index), seed: .random(in: .min ... .max))
        else { return nil }
        self.clock = clock
        // The keeper's orders come to a state that is there before the owner of both is.
        let orders = Mutex<(@Sendable (LeaseKeeper.Order) -> Void)?>(nil)
        let failures = Mutex<(@Sendable (LeaseStoreError?) -> Void)?>(nil)
        keeper = LeaseKeeper(
            machine, store: store, pool: pool, clock: clock,
            onStore: { error in failures.withLock { $0 }?(error) },
            follow: { order in orders.withLock { $0 }?(order) })
        orders.withLock {
            $0 = { [weak self] order in self?.follow(order, shards, desk, logger, left) }
        }
        failures.withLock { $0 = { [weak self] error in self?.note(error, logger) } }
    }

    /// Begins to take shards.
    func start() { keeper.start() }

    /// The pool has these shards now, each of which has its place in the list.
    func shardsChanged(_ shards: [ShardIndex]) { keeper.shardsChanged(shards) }

    func stop() { keeper.stop() }

    /// Gives all up; deliveries under way may go on until the deadline.
    func leave(deadline: Timestamp) { keeper.leave(deadline: deadline) }

    /// Whether a message of this shard may be delivered now.
    func mayDeliver(_ place: Int) -> Bool {
        guard let hold = state.withLock({ $0.holds[place] }) else { return false }
        return keeper.mayDeliver(hold)
    }

    /// Nothing of the shard is held any more.
    func drained(_ place: Int) {
        guard let hold = state.withLock({ $0.holds[place] }) else { return }
        keeper.drained(hold)
    }

    var figures: LeaseFigures { keeper.figures }
    var isStandBy: Bool { keeper.isStandBy }

    // MARK: - Orders

    private func follow(
        _ order: LeaseKeeper.Order, _ shards: ShardList, _ desk: WorkerDesk, _ logger: Logger,
        _ left: @Sendable () -> Void
    ) {
        switch order {
        case .begin(let hold):
            guard let place = shards.place(of: hold.shard) else { return }
            state.withLock { $0.holds[place] = hold }
            logger.info("Shard taken", metadata: ["shard": "\(shards.name(place))"])
            desk.handle { $0.begin(shard: place, now: clock.now()) }
        case .drain(let hold, let deadline):
            guard let place = shards.place(of: hold.shard) else { return }
            logger.info("Shard is given up", metadata: ["shard": "\(shards.name(place))"])
            desk.handle { $0.drain(shard: place, deadline: deadline, now: clock.now()) }
        case .drop(let hold):
            guard let place = shards.place(of: hold.shard) else { return }
            state.withLock { $0.holds[place] = nil }
            logger.warning(
                "Shard lost: its lease was not renewed in time, or its drain did not end in time",
                metadata: ["shard": "\(shards.name(place))"])
            desk.handle { $0.drop(shard: place, now: clock.now()) }
        case .left:
            left()
        }
    }

    private func note(_ error: LeaseStoreError?, _ logger: Logger) {
        // A conflict is an answer: another worker was first.
        let failure = error.flatMap { $0 == .conflict ? nil : $0 }
        let isNew = state.withLock { state in
            defer { state.failure = failure }
            return state.failure != failure
        }
        guard isNew else { return }
        if let failure {
            logger.warning(
                "Leases cannot be kept: shards are dropped unless the store of leases answers again soon",
                metadata: ["reason": "\(ShardOwnership.describe(failure))"])
        } else {
            logger.notice("Leases are kept again")
        }
    }

    private static func describe(_ error: LeaseStoreError) -> String {
        switch error {
        case .conflict: "conflict"
        case .noPool: "the store knows no such pool"
        case .failed(let code): code
        }
    }

    /// Another one at every start, which people can read: host and process, and some digits of chance.
    private static func name() -> String {
        var bytes = [CChar](repeating: 0, count: 256)
        gethostname(&bytes, bytes.count - 1)
        let host = String(decoding: bytes.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let readable = host.prefix(32).map { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") ? $0 : "-" }
        let digits = String(UInt32.random(in: .min ... .max), radix: 16)
        return (readable.isEmpty ? "worker" : String(readable)) + "-\(getpid())-\(digits)"
    }
}
