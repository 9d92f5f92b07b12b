// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule
import QueuePoolCore
import Synchronization

// A purge takes everything out of the index at once, and its rows out of the log in slices, one a turn, so that other
// shards' senders don't wait for all of it. It is answered after the last slice. A crash before that brings messages back
// whose rows were still there.

/// Purges that were begun, oldest first.
struct PurgeLine {
    fileprivate struct Purge {
        /// Blocks first and deletions last: a deletion must not go before the block whose message it keeps away.
        var rows: Deque<Int64>
        let messages: Int
        /// `nil` once somebody was told that it failed; its rows go nevertheless.
        var completion: (@Sendable (Result<Int, ShardError>) -> Void)?
    }

    fileprivate var line: Deque<Purge> = []
    /// After a failure.
    fileprivate var notBefore = Timestamp.distantPast
    /// The next turn should come at once.
    fileprivate(set) var mustGoOn = false
}

extension ShardWriter {
    private static let pauseMilliseconds: Int64 = 1_000

    func purge(_ completion: @escaping @Sendable (Result<Int, ShardError>) -> Void) {
        if let broken = store.brokenBy { return completion(.failure(broken)) }
        let (blocks, messages) = shard.index.withLock { index in (index.blockRows(), index.removeAll()) }
        purges.line.append(
            PurgeLine.Purge(
                rows: Deque(blocks + books.rows + moveNotes.map(\.row)), messages: messages, completion: completion))
        books = LogBooks()
        moves = DeadLetterMoves()
        moveNotes = []
    }

    /// Takes a bounded number of rows out of the log.
    func purgeSlice() {
        purges.mustGoOn = false
        guard let rows = purges.line.first?.rows, shard.now() >= purges.notBefore else { return }
        var count = 0
        let failure = store.transactMakingRoom { (log) throws(DatabaseError) in count = try log.removeSlice(of: rows) }
        if let failure {
            purges.notBefore = shard.now() + ShardWriter.pauseMilliseconds
            for place in purges.line.indices {
                purges.line[place].completion?(.failure(failure))
                purges.line[place].completion = nil
            }
            return
        }
        purges.line[0].rows.removeFirst(count)
        if purges.line[0].rows.isEmpty {
            let purge = purges.line.removeFirst()
            purge.completion?(.success(purge.messages))
        }
        purges.mustGoOn = !purges.line.isEmpty
    }
}
