// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule
import QueuePoolCore

// Rows that are of no more use go in slices: a bounded number in one transaction, so that no sender waits long. A slice
// is due after a number of rows, not after a time, and takes out several times as many as make it due; so whatever rate
// the writer reaches, upkeep has at least that rate. Mostly it is part of a commit and costs no flush of its own.
//
// Blocks that have no message left are most of it. They go in the order of the log, those of all shards of a store
// together, and the newest of them wait for their neighbours: so a page of the file is mostly emptied in one transaction,
// and one that is empty is not written. Each shard for itself would write each page as many times as shards share it, ten
// times what is stored.

/// The log's rows that the index does not know, and which of them may go: kept by the writer.
struct LogBooks: Sendable {
    /// A row of keys, with the newest sequence number in it.
    struct KeyRow: Sendable {
        let row: Int64
        let newest: SequenceNumber
    }

    /// Rows of keys whose blocks are gone; oldest first.
    var keyRows: Deque<KeyRow> = []
    /// Rows of deletions, oldest first.
    var deletionRows: Deque<Int64> = []
    /// Blocks that have no message left, in the order of their rows but for the newest ones.
    private(set) var finished: [FinishedBlock] = []
    /// Bytes of their bodies.
    private(set) var finishedBytes = 0
    /// The first deletion row that one of them needs.
    private var firstNeededByFinished = Int64.max

    /// Rows of a kind that make a slice due.
    static let due = 64
    static let keysMax = 16_384
    static let keyRowsMax = 256
    static let deletionRowsMax = 1_024

    /// Whether there is enough to do, besides finished blocks, that it should not wait for a quiet moment.
    func isSliceDue(_ needs: LogNeeds) -> Bool {
        let last = LogBooks.due - 1
        return keyRows.count > last && !needs.bound.counts(keyRows[last].newest)
            || deletionRows.count > last && deletionRows[last] < firstNeededByFinished
                && !needs.needs(deletionRow: deletionRows[last])
    }

    /// Deletion rows from which on blocks are rewritten to hold their live messages only: as many as there are blocks,
    /// so that a block is rewritten once in as many commits as there are blocks, or less.
    func isRewriteDue(blockCount: Int) -> Bool { deletionRows.count > 2_048 + blockCount }

    /// The rows of keys that may go now.
    func keyRowsToDelete(_ needs: LogNeeds) -> Deque<KeyRow>.SubSequence {
        keyRows.prefix(LogBooks.keyRowsMax).prefix { !needs.bound.counts($0.newest) }
    }

    /// The rows of deletions that may go now.
    /// - Parameter count: finished blocks that go in the same transaction. Those that stay behind need their deletions:
    ///   without them a crash would bring their messages back.
    func deletionRowsToDelete(_ needs: LogNeeds, finished count: Int) -> Deque<Int64>.SubSequence {
        let needed =
            count == 0 ? firstNeededByFinished : finished.dropFirst(count).lazy.map(\.firstDeletionRow).min() ?? .max
        return deletionRows.prefix(LogBooks.deletionRowsMax).prefix {
            Mutation.deletionRowsGoTooEarly.isOn
                || ($0 < needed || Mutation.waitingBlocksNeedNoDeletions.isOn) && !needs.needs(deletionRow: $0)
        }
    }

    mutating func append(finished blocks: [FinishedBlock]) {
        finished.append(contentsOf: blocks)
        for block in blocks {
            finishedBytes += Int(block.byteCount)
            firstNeededByFinished = min(firstNeededByFinished, block.firstDeletionRow)
        }
    }

    /// Puts finished blocks in the order of the log; they nearly are.
    mutating func sortFinished() { finished.sort { $0.row < $1.row } }

    /// Takes note of a slice that is on stable storage.
    mutating func note(_ slice: LogSlice) {
        for block in finished.prefix(slice.finished) { finishedBytes -= Int(block.byteCount) }
        if slice.finished > 0 {
            finished.removeFirst(slice.finished)
            firstNeededByFinished = finished.lazy.map(\.firstDeletionRow).min() ?? .max
        }
        keyRows.removeFirst(slice.keyRows)
        deletionRows.removeFirst(slice.deletionRows)
        if let row = slice.keyRow { keyRows.append(row) }
    }

    /// Every row.
    var rows: [Int64] { finished.map(\.row) + keyRows.map(\.row) + deletionRows }
}

/// How many finished blocks make a slice due, and how many go in one; those of all shards of a store together.
struct SliceLimits: Sendable {
    /// Blocks that wait for their neighbours. Groups are received ten messages at a time, so the messages of a block come to
    /// their ends a round of the groups apart.
    var finishedDue = 8_192
    var finishedMax = 1_024
    /// Bytes of bodies that wait, and that go in one slice.
    var bytesDue = 64 << 20
    var bytesMax = 8 << 20
    /// On a full disk the log has room for a small commit only.
    var finishedDueWhenFull = 64
    var finishedMaxWhenFull = 8
}

/// What the index needs of the log.
struct LogNeeds: Sendable {
    let bound: DeduplicationBound
    /// `nil` if none is needed.
    let oldestDeletionRow: Int64?

    init(_ index: inout FIFOQueue, _ now: Timestamp) {
        bound = index.deduplicationBound(now)
        oldestDeletionRow = index.oldestNeededDeletionRow()
    }

    func needs(deletionRow: Int64) -> Bool { oldestDeletionRow.map { deletionRow >= $0 } ?? false }
}

/// What one transaction took out of the log: so many rows from the front of each book.
struct LogSlice: Sendable {
    var finished = 0
    var keyRows = 0
    var deletionRows = 0
    /// Keeps the keys of the finished blocks.
    var keyRow: LogBooks.KeyRow?

    /// Whether there may be more to do, besides finished blocks.
    var isFull: Bool {
        keyRows >= LogBooks.keyRowsMax || deletionRows >= LogBooks.deletionRowsMax
    }
}
