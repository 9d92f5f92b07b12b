// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Synchronization

/// Effects on their way from whoever caused them to the worker's loop. Their number is bounded by what the scheduler
/// lets be under way.
final class EffectMailbox: Sendable {
    private struct State {
        var effects: [GroupScheduler.Effect] = []
        var reader: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())

    func post(_ effects: [GroupScheduler.Effect]) {
        guard !effects.isEmpty else { return }
        let reader = state.withLock { state in
            state.effects.append(contentsOf: effects)
            return state.reader.take()
        }
        reader?.resume()
    }

    func next() async -> [GroupScheduler.Effect] {
        await withCheckedContinuation { continuation in
            let mustWait = state.withLock { state in
                guard state.effects.isEmpty else { return false }
                state.reader = continuation
                return true
            }
            if !mustWait { continuation.resume() }
        }
        return state.withLock { state in
            defer { state.effects = [] }
            return state.effects
        }
    }
}
