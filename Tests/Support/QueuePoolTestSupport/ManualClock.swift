// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import Synchronization

/// A clock that stands still until a test moves it.
package final class ManualClock: Clock {
    private struct State {
        var now: Timestamp
        var wallOffset: Int64 = 0
        var timers: [(at: Timestamp, body: @Sendable () -> Void)] = []
    }

    private let state: Mutex<State>

    package init(_ now: Timestamp = Timestamp(milliseconds: 1_800_000_000_000)) { state = Mutex(State(now: now)) }

    /// Timers that have not rung.
    package var timerCount: Int { state.withLock { $0.timers.count } }

    package func now() -> Timestamp { state.withLock { $0.now } }

    package func wallTime() -> Timestamp { state.withLock { $0.now + $0.wallOffset } }

    package func schedule(at time: Timestamp, _ body: @escaping @Sendable () -> Void) {
        state.withLock { $0.timers.append((time, body)) }
    }

    /// Steps the wall clock, ahead or back, which moves no timer.
    package func stepWall(milliseconds: Int64) { state.withLock { $0.wallOffset += milliseconds } }

    /// Rings what is due, in the order of its time.
    package func advance(milliseconds: Int) {
        let end = now() + Int64(milliseconds)
        while let body = popTimer(until: end) { body() }
        state.withLock { $0.now = end }
    }

    private func popTimer(until end: Timestamp) -> (@Sendable () -> Void)? {
        state.withLock { state in
            guard let next = state.timers.indices.min(by: { state.timers[$0].at < state.timers[$1].at }),
                state.timers[next].at <= end
            else { return nil }
            let timer = state.timers.remove(at: next)
            state.now = max(state.now, timer.at)
            return timer.body
        }
    }
}
