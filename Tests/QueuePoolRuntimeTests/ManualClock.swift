// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import Synchronization

/// A clock that stands still until a test moves it.
final class ManualClock: RuntimeClock {
    private struct State {
        var now = Timestamp(milliseconds: 1_800_000_000_000)
        var timers: [(at: Timestamp, body: @Sendable () -> Void)] = []
    }

    private let state = Mutex(State())

    /// Timers that have not rung.
    var timerCount: Int { state.withLock { $0.timers.count } }

    func now() -> Timestamp { state.withLock { $0.now } }

    func schedule(at time: Timestamp, _ body: @escaping @Sendable () -> Void) {
        state.withLock { $0.timers.append((time, body)) }
    }

    func advance(milliseconds: Int) {
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
