// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule
import QueuePoolCore
import Synchronization

/// Removes the bodies of messages that were deleted, but for those that went to the dead-letter queue: their bodies are
/// read from there.
final class FinishedBodies: Sendable {
    private struct State {
        var moved: Set<String> = []
        /// Oldest first; those that were taken out since are passed over.
        var order: Deque<String> = []
        var underWay = 0
    }

    /// Moved messages that are remembered until their delete has succeeded.
    static let movedMax = 100_000
    private let state = Mutex(State())

    /// The dead-letter queue took the message, whose delete comes next. If it took the body with it, it has its own.
    func moved(_ message: WorkMessage) {
        guard let stored = message.storedBody, !stored.isHere else { return }
        state.withLock { state in
            guard state.moved.insert(message.id).inserted else { return }
            state.order.append(message.id)
            while state.moved.count > FinishedBodies.movedMax, let oldest = state.order.popFirst() {
                state.moved.remove(oldest)
            }
            if state.order.count > 2 * FinishedBodies.movedMax {
                let moved = state.moved
                state.order.removeAll { !moved.contains($0) }
            }
        }
    }

    /// The message is gone from its shard. A body that could not be removed goes when its lifetime is over.
    func deleted(_ message: WorkMessage) {
        guard let stored = message.storedBody else { return }
        let isWanted = state.withLock { state in
            if state.moved.remove(message.id) != nil { return true }
            state.underWay += 1
            return false
        }
        guard !isWanted else { return }
        stored.store.remove(key: stored.pointer.key) { [self] _ in state.withLock { $0.underWay -= 1 } }
    }

    /// Removals that have not ended yet.
    var underWay: Int { state.withLock { $0.underWay } }
}
