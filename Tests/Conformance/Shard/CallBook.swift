// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization

/// Tells what runs within a call from what runs after it, or beside it on another thread.
final class CallingThread: Sendable {
    private let thread = Mutex<pthread_t?>(pthread_self())

    /// Whether the call has not returned and this is its thread.
    var isCurrent: Bool { thread.withLock { $0.map { pthread_equal($0, pthread_self()) != 0 } ?? false } }

    func hasReturned() { thread.withLock { $0 = nil } }
}

/// Calls of a shard, each with how often it was answered: once is what the port promises, by a returned value or by a
/// completion after the call.
final class CallBook: Sendable {
    private struct Call {
        let name: String
        var answers = 0
        var isWithin = false
    }

    private let calls = Mutex<[Call]>([])

    var count: Int { calls.withLock { $0.count } }

    /// Calls that were not answered exactly once, e.g. "submit answered 2 times".
    var faults: [String] {
        calls.withLock { calls in
            calls.filter { $0.answers != 1 }.map { "\($0.name) answered \($0.answers) times" }
                + calls.filter(\.isWithin).map { "\($0.name) completed within the call" }
        }
    }

    /// Begins a call without waiting for it.
    /// - Parameters:
    ///   - body: makes the call, and returns what the call returns.
    ///   - then: called with the first answer.
    ///   - after: called when the call has returned.
    func start<Value: Sendable>(
        _ name: String, _ body: (@escaping @Sendable (Value) -> Void) -> Value?,
        then: @escaping @Sendable (Value) -> Void = { _ in }, after: () -> Void = {}
    ) {
        let number = calls.withLock { calls in
            calls.append(Call(name: name))
            return calls.count - 1
        }
        let answered: @Sendable (Value, Bool) -> Void = { [self] value, isWithin in
            let isFirst = calls.withLock { calls in
                calls[number].answers += 1
                if isWithin { calls[number].isWithin = true }
                return calls[number].answers == 1
            }
            if isFirst { then(value) }
        }
        let caller = CallingThread()
        let known = body { answered($0, caller.isCurrent) }
        caller.hasReturned()
        if let known { answered(known, false) }
        after()
    }

    /// Begins a call and waits for its first answer.
    func wait<Value: Sendable>(
        _ name: String, _ body: (@escaping @Sendable (Value) -> Void) -> Value?, after: () -> Void = {}
    ) async -> Value {
        await withCheckedContinuation { done in
            start(name, body, then: { done.resume(returning: $0) }, after: after)
        }
    }
}
