// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Synchronization

// What a pool's receivers know together of its shards: which are failing or overdue, and what came too late for who asked.
// While all are well and nothing is kept, which is nearly always, two atomic reads are all that it costs a look.

/// The driver of `ShardHealth` and `KeptMessages`.
final class ShardWatch: Sendable {
    private struct State {
        var health = ShardHealth()
        var kept = KeptMessages()
        var shards: [ShardIndex: any Shard]
    }

    private let state: Mutex<State>
    private let hasIll = Atomic(false)
    private let hasKept = Atomic(false)
    private let clock: any Clock
    /// Messages of a shard can be had here.
    private let wake: @Sendable (ShardIndex) -> Void

    init(clock: any Clock, shards: [PoolShard], wake: @escaping @Sendable (ShardIndex) -> Void) {
        self.clock = clock
        state = Mutex(State(shards: ShardWatch.byIndex(shards)))
        self.wake = wake
    }

    private static func byIndex(_ shards: [PoolShard]) -> [ShardIndex: any Shard] {
        Dictionary(shards.map { ($0.index, $0.shard) }) { first, _ in first }
    }

    /// There are other shards from now on. What is known of those that stay is kept, the others are forgotten.
    func adopt(_ shards: [PoolShard]) {
        let now = clock.now()
        let next = ShardWatch.byIndex(shards)
        let released = state.withLock { state in
            var released: [(shard: any Shard, messages: [ReceivedMessage])] = []
            for (index, shard) in state.shards where next[index] !== shard {
                state.health.answered(index)
                while let given = state.kept.take(of: index, limit: .max, visibilitySeconds: 0, now: now) {
                    released.append((shard, given.messages.reversed()))
                }
            }
            state.shards = next
            note(state)
            return released
        }
        for (shard, messages) in released { giveBack(messages, to: shard) }
    }

    private func note(_ state: State) {
        hasIll.store(!state.health.isEveryoneWell, ordering: .releasing)
        hasKept.store(!state.kept.isEmpty, ordering: .releasing)
    }

    // MARK: - Health

    /// - Parameter tries: whether this receiver has the time to find out if an ill shard is well again.
    /// - Returns: `nil` if a receiver may look at the shard, else why not and when it is worth a look.
    func refusal(of shard: ShardIndex, tries: @autoclosure () -> Bool) -> (failure: ShardError?, retryAt: Timestamp)? {
        guard hasIll.load(ordering: .acquiring) else { return nil }
        let now = clock.now()
        return state.withLock { state in
            let retryAt = state.health.retryAt(of: shard)
            if retryAt == nil || tries(), state.health.mayAsk(shard, now: now) { return nil }
            return (state.health.failure(of: shard), max(now, state.health.retryAt(of: shard) ?? now))
        }
    }

    func answered(_ shard: ShardIndex) {
        guard hasIll.load(ordering: .acquiring) else { return }
        change(shard) { $0.answered(shard) }
    }

    /// - Returns: when the shard is worth another look.
    func failed(_ shard: ShardIndex, _ error: ShardError) -> Timestamp {
        let now = clock.now()
        return change(shard) { health in
            health.failed(shard, error, now: now)
            return health.retryAt(of: shard) ?? now
        }
    }

    func overdue(_ shard: ShardIndex) {
        let now = clock.now()
        change(shard) { $0.overdue(shard, now: now) }
    }

    private func change<R: Sendable>(_ shard: ShardIndex, _ body: (inout ShardHealth) -> R) -> R {
        state.withLock { state in
            let result = body(&state.health)
            // An answer that came late: nobody asks that shard again, so nothing would make it well.
            if state.shards[shard] == nil { state.health.answered(shard) }
            hasIll.store(!state.health.isEveryoneWell, ordering: .releasing)
            return result
        }
    }

    // MARK: - What came late

    /// Messages that a shard gave when who asked had gone on.
    func keep(_ messages: [ReceivedMessage], of shard: ShardIndex, visibilitySeconds: Int, askedAt: Timestamp) {
        let now = clock.now()
        let until = state.withLock { state -> Timestamp? in
            // Those of a shard that left are not given to who asks another; they come back when their time is over.
            guard state.shards[shard]?.tag == messages.first?.handle.shard else { return nil }
            let until = state.kept.keep(
                messages, of: shard, visibilitySeconds: visibilitySeconds, askedAt: askedAt, now: now)
            hasKept.store(!state.kept.isEmpty, ordering: .releasing)
            return until
        }
        guard let until else { return }
        clock.schedule(at: until) { [weak self] in self?.expire() }
        wake(shard)
    }

    /// What a receiver is given of what is kept.
    enum Taken {
        case nothing
        case messages([ReceivedMessage])
        /// The completion is called, later.
        case later
    }

    /// Gives a receiver what is kept of a shard.
    func take(
        of shard: PoolShard, limit: Int, visibilitySeconds: Int,
        completion: @escaping @Sendable ([ReceivedMessage]) -> Void
    ) -> Taken {
        guard hasKept.load(ordering: .acquiring) else { return .nothing }
        let now = clock.now()
        let given = state.withLock { state in
            let given = state.kept.take(
                of: shard.index, limit: limit, visibilitySeconds: visibilitySeconds, now: now)
            hasKept.store(!state.kept.isEmpty, ordering: .releasing)
            return given
        }
        guard let given else { return .nothing }
        giveBack(given.released, to: shard.shard)
        guard given.mustRenew else { return .messages(given.messages) }
        // Order: what follows a message that could not be kept is not handed over either.
        let renewed: @Sendable ([VisibilityDecision]) -> [ReceivedMessage] = { decisions in
            zip(given.messages, decisions).prefix { $0.1 == .changed }.map(\.0)
        }
        let changes = given.messages.map { (handle: $0.handle, seconds: visibilitySeconds) }
        let known = shard.shard.changeVisibility(changes) { completion(renewed($0)) }
        return known.map { .messages(renewed($0)) } ?? .later
    }

    private func expire() {
        let now = clock.now()
        let (old, shards) = state.withLock { state in
            let old = state.kept.expire(now: now)
            hasKept.store(!state.kept.isEmpty, ordering: .releasing)
            return (old, state.shards)
        }
        for (shard, messages) in old { shards[shard].map { giveBack(messages, to: $0) } }
    }

    /// Makes messages visible again, in this order.
    func giveBack(_ messages: [ReceivedMessage], to shard: any Shard) {
        guard !messages.isEmpty else { return }
        _ = shard.changeVisibility(messages.map { ($0.handle, 0) }) { _ in }
    }
}
