// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Answers that come one by one, on any thread, and are handed on together in order.
final class Gathering<Value: Sendable>: Sendable {
    private struct State {
        var values: [Value]
        var missing: Int
    }

    private let state: Mutex<State>
    private let completion: @Sendable ([Value]) -> Void

    /// With a count of 0 the completion is called at once.
    /// - Parameter unknown: stands for an answer until it is there; nobody sees it.
    init(count: Int, unknown: Value, _ completion: @escaping @Sendable ([Value]) -> Void) {
        state = Mutex(State(values: Array(repeating: unknown, count: count), missing: count))
        self.completion = completion
        if count == 0 { completion([]) }
    }

    /// Each position is put once.
    func put(_ value: Value, at position: Int) {
        let complete: [Value]? = state.withLock { state in
            state.values[position] = value
            state.missing -= 1
            guard state.missing == 0 else { return nil }
            var complete: [Value] = []
            swap(&complete, &state.values)
            return complete
        }
        if let complete { completion(complete) }
    }
}
