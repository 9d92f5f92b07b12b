// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import Synchronization

// Receivers that wait. Guarantees: a receiver waits at most until its deadline; one message that becomes visible wakes
// the receiver that has waited longest, at once; a message that becomes visible between a receiver's look and its
// queueing is not missed. The last works by a count of wake-ups: a receiver notes it before it looks, and is queued only
// if it is still the same; else it looks again.

/// What waits for messages of one pool.
package final class LongPollHub: Sendable {
    /// Looks for messages; answers `true` when it found some and answered its caller, or has nobody left to answer.
    package typealias Attempt = @Sendable (_ isLast: Bool, _ done: @escaping @Sendable (Bool) -> Void) -> Void

    private struct Waiter {
        let id: UInt64
        let deadline: Timestamp
        let attempt: Attempt
    }

    private struct State {
        var waiters: [Waiter] = []
        var wakes: UInt64 = 0
        var nextID: UInt64 = 0
        var isServing = false
        var timerAt: Timestamp?
        var isClosed = false
    }

    private let state = Mutex(State())
    private let clock: any RuntimeClock
    private let nextVisibleAt: @Sendable () -> Timestamp?

    /// - Parameter nextVisibleAt: when a message may next become visible by itself.
    package init(clock: any RuntimeClock, nextVisibleAt: @escaping @Sendable () -> Timestamp?) {
        self.clock = clock
        self.nextVisibleAt = nextVisibleAt
    }

    package var waiterCount: Int { state.withLock { $0.waiters.count } }

    /// Runs `attempt` now, and again on each wake-up until it succeeds or the deadline has come.
    package func poll(until deadline: Timestamp, _ attempt: @escaping Attempt) {
        let wakes = state.withLock { $0.wakes }
        let isLast = clock.now() >= deadline || state.withLock { $0.isClosed }
        attempt(isLast) { [self] isDone in
            guard !isDone, !isLast else { return }
            let isQueued = state.withLock { state in
                guard state.wakes == wakes, !state.isClosed else { return false }
                state.waiters.append(Waiter(id: state.nextID, deadline: deadline, attempt: attempt))
                state.nextID += 1
                return true
            }
            if isQueued { startTimer() } else { poll(until: deadline, attempt) }
        }
    }

    /// A message can be received that could not before. Cheap when nobody waits.
    package func wake() {
        // The count must move even if nobody waits yet: somebody may be between look and queue.
        let mustServe = state.withLock { state in
            state.wakes &+= 1
            guard !state.waiters.isEmpty, !state.isServing else { return false }
            state.isServing = true
            return true
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

    /// Serves waiters from the front until one finds nothing.
    private func serve() {
        let (waiter, wakes) = state.withLock { state in
            if state.waiters.isEmpty {
                state.isServing = false
                return (Waiter?.none, state.wakes)
            }
            return (state.waiters.removeFirst(), state.wakes)
        }
        guard let waiter else { return }
        let isLast = clock.now() >= waiter.deadline
        waiter.attempt(isLast) { [self] isDone in
            if isDone || isLast { return serve() }
            let goesOn = state.withLock { state in
                // It keeps its place: it has waited longest.
                state.waiters.insert(waiter, at: 0)
                if state.wakes != wakes { return true }
                state.isServing = false
                return false
            }
            if goesOn { serve() } else { startTimer() }
        }
    }

    /// One timer for the earliest of all deadlines and the next message that becomes visible by itself.
    private func startTimer() {
        let visible = nextVisibleAt()
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
            state.wakes &+= 1
            let due = state.waiters.filter { $0.deadline <= now }
            state.waiters.removeAll { $0.deadline <= now }
            return due
        }
        for waiter in due { waiter.attempt(true) { _ in } }
        wake()
        if waiterCount > 0 { startTimer() }
    }
}
