// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import UnixSignals

/// Runs a body and cancels it on Ctrl-C or SIGTERM; the body still decides what it returns.
func untilInterrupted<Value: Sendable>(_ body: @escaping @Sendable () async throws -> Value) async throws -> Value {
    try await withThrowingTaskGroup(of: Value?.self) { group in
        let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm)
        group.addTask { try await body() }
        group.addTask {
            for await _ in signals { break }
            return nil
        }
        // Whichever ends first ends the other; the body's value is the one that is not nil.
        while let value = try await group.next() {
            group.cancelAll()
            if let value { return value }
        }
        throw CancellationError()
    }
}
