// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import Synchronization

// Receivers that wait. Guarantees: a receiver waits at most until its deadline; a message that becomes visible wakes, at
// once, the receiver that has waited longest among those that look at its shard; a message that becomes visible between a
// receiver's look and its queueing is not missed. The last works by a count of wake-ups: a receiver notes it before it
// looks, and is queued only if it is still the same; else it looks again.

/// What waits for messages of one pool.
package final class LongPollHub: Sendable {
    /// Looks for messages; answers `true` when it found some and answered its caller, or has nobody left to answer.
    package typealias Attempt = @Sendable (_ isLast: Bool, _ done: @escaping @Sendable (Bool) -> Void) -> Void

    private struct Waiter {
        let deadline: Timestamp
        /// The shard that it looks at; `nil` for all of them.
        let shard: ShardIndex?
        let attempt: Attempt

        func looks(at other: ShardIndex) -> Bool { shard.map { $0 == other } ?? true }
    }

    private struct State {
        var waiters: [Waiter] = []
        var wakes: UInt64 = 0
        /// Shards that had something since they were last served, oldest first.
        var woken: [ShardIndex] = []
        var isServing = false
        var timerAt: Timestamp?
        var isClosed = false
    }

    private let state = Mutex(State())
    private let clock: any RuntimeClock
    private let shards: [ShardIndex]
    private let nextVisibleAt: @Sendable (ShardIndex) -> Timestamp?

    /// - Parameter nextVisibleAt: when a message of a shard may next become visible by itself; later than now.
    package init(
        clock: any RuntimeClock, shards: [ShardIndex],
        nextVisibleAt: @escaping @Sendable (ShardIndex) -> Timestamp?
    ) {
        self.clock = clock
        self.shards = shards
        self.nextVisibleAt = nextVisibleAt
    }

    package var waiterCount: Int { state.withLock { $0.waiters.count } }

    /// Runs `attempt` now, and again on each wake-up until it succeeds or the deadline has come.
    package func poll(of shard: ShardIndex?, until deadline: Timestamp, _ attempt: @escaping Attempt) {
        let (wakes, isClosed) = state.withLock { ($0.wakes, $0.isClosed) }
        let isLast = isClosed || clock.now() >= deadline
        attempt(isLast) { [self] isDone in
            guard !isDone, !isLast else { return }
            let isQueued = state.withLock { state in
                guard state.wakes == wakes, !state.isClosed else { return false }
                state.waiters.append(Waiter(deadline: deadline, shard: shard, attempt: attempt))
                return true
            }
            if isQueued { startTimer() } else { poll(of: shard, until: deadline, attempt) }
        }
    }

    /// A message of a shard can be received that could not before. Cheap when nobody waits.
    package func wake(_ shard: ShardIndex) {
        let mustServe = state.withLock { state in
            // The count must move even if nobody waits yet: somebody may be between look and queue.
            state.wakes &+= 1
            // A waiter that is out looking is not in the list; it may have looked just before.
            guard !state.waiters.isEmpty || state.isServing else { return false }
            if !state.woken.contains(shard) { state.woken.append(shard) }
            defer { state.isServing = true }
            return !state.isServing
        }
        if mustServe { serve() }
    }

    /// Lets every waiter look a last time.
    package func close() {
        let waiters = state.withLock { state in
            state.isClosed = true
            state.wakes &+= 1
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.attempt(true) { _ in } }
    }

    /// Serves the waiters of one woken shard after the other, each from the front until one finds nothing.
    private func serve() {
        let next = state.withLock { state -> (waiter: Waiter, place: Int, shard: ShardIndex)? in
            while !state.woken.isEmpty {
                // Taken out before the look: a wake-up that comes meanwhile puts it in anew.
                let shard = state.woken.removeFirst()
                if let place = state.waiters.firstIndex(where: { $0.looks(at: shard) }) {
                    return (state.waiters.remove(at: place), place, shard)
                }
            }
            state.isServing = false
            return nil
        }
        guard let (waiter, place, shard) = next else { return }
        let isLast = clock.now() >= waiter.deadline
        waiter.attempt(isLast) { [self] isDone in
            let isServed = isDone || isLast
            state.withLock { state in
                if isServed {
                    // There may be more for the next in line.
                    if !state.woken.contains(shard) { state.woken.insert(shard, at: 0) }
                } else {
                    // It keeps its place, for it has waited longest.
                    state.waiters.insert(waiter, at: min(place, state.waiters.count))
                }
            }
            if !isServed { startTimer() }
            serve()
        }
    }

    /// Visibility timeouts were set: one may end before the timer rings.
    package func rearm() { if waiterCount > 0 { startTimer() } }

    /// One timer for the earliest of all deadlines and the next message that becomes visible by itself.
    private func startTimer() {
        let watched = state.withLock { state in
            state.waiters.contains { $0.shard == nil } ? shards : Array(Set(state.waiters.compactMap(\.shard)))
        }
        let visible = watched.compactMap(nextVisibleAt).min()
        let at: Timestamp? = state.withLock { state in
            guard let deadline = state.waiters.map(\.deadline).min() else { return nil }
            let at = visible.map { min($0, deadline) } ?? deadline
            if let timerAt = state.timerAt, timerAt <= at { return nil }
            state.timerAt = at
            return at
        }
        guard let at else { return }
        clock.schedule(at: at) { [weak self] in self?.ring(at) }
    }

    private func ring(_ at: Timestamp) {
        let now = clock.now()
        let due = state.withLock { state in
            if state.timerAt == at { state.timerAt = nil }
            let due = state.waiters.filter { $0.deadline <= now }
            state.waiters.removeAll { $0.deadline <= now }
            return due
        }
        for waiter in due { waiter.attempt(true) { _ in } }
        for shard in shards { wake(shard) }
        if waiterCount > 0 { startTimer() }
    }
}
