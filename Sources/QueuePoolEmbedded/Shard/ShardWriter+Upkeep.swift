// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule
import QueuePoolCore
import Synchronization

// What is due by time or by the number of rows: retention, old keys, deletion rows that nobody needs. Once a second, and
// again in the next turn while there is more to do; between two slices the writer takes what senders have posted.

extension ShardWriter {
    private static let periodMilliseconds: Int64 = 1_000
    private static let expiredMax = 1_000
    private static let rewrittenMax = 64
    private static let rewrittenBytesMax = 2 << 20

    /// One slice of what is due.
    func maintain() {
        let now = shard.now()
        let isTimely = now - maintainedAt >= ShardWriter.periodMilliseconds
        let isRewriteDue = books.isRewriteDue(blockCount: blockCount)
        guard isTimely || hasMoreUpkeep || isRewriteDue else { return }
        hasMoreUpkeep = false
        if isTimely { trimMemory(now) }
        guard store.brokenBy == nil else { return }
        if isTimely {
            forgetUnopened()
            maintainedAt = now
            resumeMoves(now)
        }
        // What fails is tried again in a second, not at once.
        let hasMoreToExpire = expire(now)
        let hasMoreToRewrite = isRewriteDue && rewritePinned(now)
        let hasMoreToSweep = sweep(now)
        hasMoreUpkeep = hasMoreToExpire || hasMoreToRewrite || hasMoreToSweep
    }

    /// - Returns: whether there may be more.
    private func expire(_ now: Timestamp) -> Bool {
        let (handles, before) = shard.index.withLock { index in
            index.advance(to: now)
            return (index.takeExpired(now: now, limit: ShardWriter.expiredMax), index.expiredCount)
        }
        guard !handles.isEmpty else { return false }
        var turn = ShardTurn()
        turn.expired = handles
        commit(turn)
        return handles.count == ShardWriter.expiredMax && shard.index.withLock { $0.expiredCount } > before
    }

    /// Rewrites blocks that keep the older half of the deletion rows alive, so that they hold live messages only.
    /// - Returns: whether there may be more.
    private func rewritePinned(_ now: Timestamp) -> Bool {
        let middle = books.deletionRows[books.deletionRows.count / 2]
        let (pinned, bound) = shard.index.withLock { index in
            let pinned = index.blocksPinning(
                deletionsBefore: middle, limit: ShardWriter.rewrittenMax, bytesMax: ShardWriter.rewrittenBytesMax)
            return (pinned, index.deduplicationBound(now))
        }
        guard !pinned.isEmpty else { return false }
        var rewritten: [(row: Int64, directory: [DirectoryEntry], body: [UInt8])] = []
        let failure = store.transact { (log) throws(DatabaseError) in
            for (row, live) in pinned where unopened[row] == nil {
                guard let (block, body) = try block(log, row) else { continue }
                let (directory, compact) = ShardWriter.compacted(live, body)
                let keys = block.keys.filter { bound.counts($0.sequence) }
                try log.replace(row: row, head: LogEncoding.encode(directory: directory, keys: keys), body: compact)
                rewritten.append((row, directory, compact))
            }
        }
        guard failure == nil else { return false }
        shard.index.withLock { index in
            for item in rewritten { index.rewrote(row: item.row, directory: item.directory, body: item.body) }
        }
        return !rewritten.isEmpty
    }

    /// A block that is to be rewritten; `nil` if there is none, or it does not open and stays as it is.
    private func block(_ log: any StoreLog, _ row: Int64) throws(DatabaseError) -> (BlockHead, body: [UInt8])? {
        do throws(DatabaseError) {
            guard let head = try log.head(row: row), let block = LogEncoding.blockHead(head),
                let body = try log.body(row: row)
            else { return nil }
            return (block, body)
        } catch {
            guard error.isUnopenedRow else { throw error }
            noteUnopened(row: row)
            return nil
        }
    }

    private static func compacted(_ live: [DirectoryEntry], _ body: [UInt8]) -> ([DirectoryEntry], [UInt8]) {
        var compact: [UInt8] = []
        compact.reserveCapacity(live.reduce(0) { $0 + Int($1.length) })
        let directory = live.map { entry in
            var moved = entry
            moved.offset = UInt32(compact.count)
            compact.append(contentsOf: body[Int(entry.offset)..<Int(entry.offset + entry.length)])
            return moved
        }
        return (directory, compact)
    }

    /// Removes blocks that have no message left, of any shard of the store; rows of keys that no longer count; deletion rows
    /// that no block needs.
    /// - Returns: whether there may be more.
    private func sweep(_ now: Timestamp) -> Bool {
        // While many blocks are finished, they go with the commits.
        guard store.isQuiet else { return false }
        let needs = needs(now)
        guard
            store.finishedCount > 0 || !books.keyRowsToDelete(needs).isEmpty
                || !books.deletionRowsToDelete(needs, finished: 0).isEmpty,
            let slices = store.sweep(self)
        else { return false }
        // One that does not open stays for a while.
        let hasMoreFinished = store.finishedCount > 0 && slices.contains { $0.finished > 0 }
        return hasMoreFinished || slices.contains(where: \.isFull)
    }

    /// What the index needs of the log now.
    func needs(_ now: Timestamp) -> LogNeeds { shard.index.withLock { LogNeeds(&$0, now) } }

    /// Deletes rows, a bounded number; in a transaction. The keys of the blocks among them that still count move to one
    /// row of their own in the same transaction.
    /// - Parameter finishedMax: how many finished blocks.
    func deleteSlice(_ needs: LogNeeds, _ finishedMax: Int) throws(DatabaseError) -> LogSlice {
        var slice = LogSlice()
        var keys: [LogKey] = []
        let log = store.file
        for block in books.finished.prefix(finishedMax) where keys.count < LogBooks.keysMax {
            // Those behind it wait with it: they go from the front.
            guard let kept = try keysToKeep(ofBlockAt: block.row, needs) else { break }
            if !Mutation.keysGoWithTheirBlock.isOn { keys.append(contentsOf: kept) }
            try log.delete(row: block.row)
            slice.finished += 1
        }
        let keyRows = books.keyRowsToDelete(needs)
        for item in keyRows { try log.delete(row: item.row) }
        slice.keyRows = keyRows.count
        let deletionRows = books.deletionRowsToDelete(needs, finished: slice.finished)
        for row in deletionRows { try log.delete(row: row) }
        slice.deletionRows = deletionRows.count
        if let newest = keys.map(\.sequence).max() {
            let row = try log.append(
                shard: identity.number, kind: LogKind.keys, head: LogEncoding.encode(keys: keys))
            slice.keyRow = LogBooks.KeyRow(row: row, newest: newest)
        }
        return slice
    }
}
