// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Synchronization

// One clock is passed to every driver, so that a test, and a simulation of the whole, can bring their own. It hides the
// protocol of the standard library that has the same name: nothing here needs that one.

/// The time, and a way to be called later.
public protocol Clock: Sendable {
    /// Milliseconds since 1970 that never step back, and that count the time a machine is suspended.
    func now() -> Timestamp
    /// What the machine's wall clock shows, which may step: only for what a protocol shows or compares.
    func wallTime() -> Timestamp
    /// Calls `body` once, at `time` or soon after, on any thread, and never within this call.
    func schedule(at time: Timestamp, _ body: @escaping @Sendable () -> Void)
}

extension Clock {
    /// Calls `body` once, after `milliseconds` or soon after; a delay that is not positive is over at once.
    public func schedule(afterMilliseconds milliseconds: Int64, _ body: @escaping @Sendable () -> Void) {
        schedule(at: now() + milliseconds, body)
    }

    /// Waits, and does not end earlier when the task is cancelled: what it is for must happen in any case.
    public func pause(milliseconds: Int64) async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            schedule(afterMilliseconds: milliseconds) { continuation.resume() }
        }
    }

    /// Waits, or ends early when the task is cancelled.
    public func sleep(milliseconds: Int64) async {
        let waiter = ClockWaiter()
        await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                waiter.wait(continuation)
                schedule(afterMilliseconds: milliseconds) { waiter.end() }
            }
        } onCancel: {
            waiter.end()
        }
    }
}

/// Resumes one continuation once, whoever comes first.
private final class ClockWaiter: Sendable {
    private struct State {
        var continuation: CheckedContinuation<Void, Never>?
        var isOver = false
    }

    private let state = Mutex(State())

    func wait(_ continuation: CheckedContinuation<Void, Never>) {
        let isOver = state.withLock { state in
            if !state.isOver { state.continuation = continuation }
            return state.isOver
        }
        if isOver { continuation.resume() }
    }

    func end() {
        let continuation = state.withLock { state in
            state.isOver = true
            defer { state.continuation = nil }
            return state.continuation
        }
        continuation?.resume()
    }
}
