// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Synchronization

/// Counts what a redrive of all could not read. A shard holds such a message back, with what follows it in its group, and no
/// receive tells of it. So a shard is looked through when there is nothing more to receive from it: little is left by then,
/// and what an earlier receive met and hid is found too.
final class UnreadableCounter: Sendable {
    /// Messages of one look.
    private static let pageMessagesMax = 500
    /// By shard, so that one which is looked through again counts once.
    private let counts = Mutex<[ShardTag: Int]>([:])

    /// Messages whose bytes are damaged, in the shards that were received from to their end.
    var count: Int { counts.withLock { $0.values.reduce(0, +) } }

    /// The next of a shard; none at its end.
    func receive(_ command: ReceiveCommand, from shard: any Shard) async -> ReceiveAnswer {
        let answer = await shard.receive(command)
        if case .success(let messages) = answer, messages.isEmpty, let shard = shard as? any BrowsableShard {
            let found = await count(in: shard)
            counts.withLock { $0[shard.tag] = found }
        }
        return answer
    }

    private func count(in shard: any BrowsableShard) async -> Int {
        var found = 0
        var last: SequenceNumber?
        // The messages that could be moved were moved: a count that breaks off is no reason to fail.
        while case .success(let page) = await shard.browse(after: last, limit: UnreadableCounter.pageMessagesMax) {
            found += page.unreadable
            last = page.through
            if page.isLast || last == nil { break }
        }
        return found
    }
}
