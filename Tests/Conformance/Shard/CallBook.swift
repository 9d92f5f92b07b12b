// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Calls of a shard, each with how often it was completed: once is what the port promises.
final class CallBook: Sendable {
    private struct Call {
        let name: String
        var completions = 0
    }

    private let calls = Mutex<[Call]>([])

    var count: Int { calls.withLock { $0.count } }

    /// Calls that were not completed exactly once, e.g. "send completed 2 times".
    var faults: [String] {
        calls.withLock { $0.filter { $0.completions != 1 }.map { "\($0.name) completed \($0.completions) times" } }
    }

    /// Begins a call without waiting for it.
    /// - Parameter then: called with the first completion.
    func start<Value: Sendable>(
        _ name: String, _ body: (@escaping @Sendable (Value) -> Void) -> Void,
        then: @escaping @Sendable (Value) -> Void = { _ in }
    ) {
        let number = calls.withLock { calls in
            calls.append(Call(name: name))
            return calls.count - 1
        }
        body { [self] value in
            let isFirst = calls.withLock { calls in
                calls[number].completions += 1
                return calls[number].completions == 1
            }
            if isFirst { then(value) }
        }
    }

    /// Begins a call and waits for its first completion.
    func wait<Value: Sendable>(
        _ name: String, _ body: (@escaping @Sendable (Value) -> Void) -> Void
    ) async -> Value {
        await withCheckedContinuation { done in start(name, body) { done.resume(returning: $0) } }
    }
}
