// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule
import QueuePoolCore

// Rows that are of no more use go in slices: a bounded number in one transaction, so that no sender waits long. A slice
// is due after a number of rows, not after a time, and takes out several times as many as make it due; so whatever rate
// the writer reaches, upkeep has at least that rate. Mostly it is part of a commit and costs no flush of its own.

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
    /// Rows of blocks that have no message left.
    var finishedRows: Deque<Int64> = []

    /// Rows of a kind that make a slice due. As many blocks share a row of keys.
    static let due = 64
    static let finishedMax = 512
    static let finishedMaxWhenFull = 8
    static let keysMax = 16_384
    static let keyRowsMax = 256
    static let deletionRowsMax = 1_024

    /// Whether there is enough to do that it should not wait for a quiet moment.
    func isSliceDue(_ needs: LogNeeds) -> Bool {
        let last = LogBooks.due - 1
        return finishedRows.count > last || keyRows.count > last && !needs.bound.counts(keyRows[last].newest)
            || deletionRows.count > last && !needs.needs(deletionRow: deletionRows[last])
    }

    /// Deletion rows from which on blocks are rewritten to hold their live messages only: as many as there are blocks,
    /// so that a block is rewritten once in as many commits as there are blocks, or less.
    func isRewriteDue(blockCount: Int) -> Bool { deletionRows.count > 2_048 + blockCount }

    /// The rows of keys that may go now.
    func keyRowsToDelete(_ needs: LogNeeds) -> Deque<KeyRow>.SubSequence {
        keyRows.prefix(LogBooks.keyRowsMax).prefix { !needs.bound.counts($0.newest) }
    }

    /// The rows of deletions that may go now.
    /// - Parameter finished: blocks that go in the same transaction. Those that stay behind need their deletions: without
    ///   them a crash would bring their messages back.
    func deletionRowsToDelete(_ needs: LogNeeds, finished: Int) -> Deque<Int64>.SubSequence {
        guard finished == finishedRows.count else { return deletionRows.prefix(0) }
        return deletionRows.prefix(LogBooks.deletionRowsMax).prefix {
            Mutation.deletionRowsGoTooEarly.isOn || !needs.needs(deletionRow: $0)
        }
    }

    /// Takes note of a slice that is on stable storage.
    mutating func note(_ slice: LogSlice) {
        finishedRows.removeFirst(slice.finished)
        keyRows.removeFirst(slice.keyRows)
        deletionRows.removeFirst(slice.deletionRows)
        if let row = slice.keyRow { keyRows.append(row) }
    }

    /// Every row.
    var rows: [Int64] { finishedRows + keyRows.map(\.row) + deletionRows }
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

    /// Whether there may be more to do.
    var isFull: Bool {
        finished >= LogBooks.finishedMax || keyRows >= LogBooks.keyRowsMax || deletionRows >= LogBooks.deletionRowsMax
    }
}
