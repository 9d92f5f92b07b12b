// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import Synchronization

/// The messages that somebody named for a redrive. Each is claimed by its number, so one that was not named and lies before
/// it in its group holds up nothing, and stays.
package final class Selection: Sendable {
    private struct State {
        /// By shard, ascending.
        var left: [ShardTag: [SequenceNumber]]
        var heldGroups: [ShardTag: Set<UInt64>] = [:]
        var skipped = 0
        var unreadable = 0
    }

    /// Messages that were named.
    package let count: Int
    private let state: Mutex<State>

    /// - Parameter ids: of messages in one queue; the same twice counts once.
    package init(_ ids: [MessageID]) {
        let unique = Set(ids)
        count = unique.count
        state = Mutex(State(left: Dictionary(grouping: unique, by: \.shard).mapValues { $0.map(\.sequence).sorted() }))
    }

    /// Messages that were named and not moved: they were not there any more, or a receiver had them or one of their group
    /// that was named before them.
    package var skipped: Int { state.withLock { $0.skipped } }

    /// Messages that were named and not moved because their bytes are damaged.
    package var unreadable: Int { state.withLock { $0.unreadable } }

    /// The next of a shard; none when all were asked for.
    func receive(_ command: ReceiveCommand, from shard: any Shard) async -> ReceiveAnswer {
        guard let shard = shard as? any BrowsableShard else { return .success([]) }
        while true {
            let (next, held) = state.withLock {
                (Array(($0.left[shard.tag] ?? []).prefix(command.limit)), $0.heldGroups[shard.tag] ?? [])
            }
            guard !next.isEmpty else { return .success([]) }
            let answer = await shard.claim(
                next, seconds: command.visibilitySeconds ?? MoveMachine.visibilitySeconds, heldGroups: held)
            switch answer {
            case .failure(let error): return .failure(error)
            case .success(let claims):
                state.withLock { state in
                    state.left[shard.tag]?.removeFirst(next.count)
                    state.heldGroups[shard.tag] = claims.heldGroups
                    state.skipped += claims.gone + claims.held
                    state.unreadable += claims.unreadable
                }
                if !claims.messages.isEmpty { return .success(claims.messages) }
            }
        }
    }
}
