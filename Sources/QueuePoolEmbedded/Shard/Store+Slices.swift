// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

// Which finished blocks go with a commit: see `LogBooks`.

extension Store {
    var finishedCount: Int { members.reduce(0) { $0 + $1.books.finished.count } }

    /// Takes rows out of the log in a transaction of its own, because there is time.
    /// - Returns: `nil` if it failed.
    func sweep(_ writer: ShardWriter) -> [LogSlice]? {
        var slices: [(ShardWriter, LogSlice)] = []
        let failure = transact { (_) throws(DatabaseError) in
            slices = try deleteSlices(finishedShares(isDue: true))
            if !slices.contains(where: { $0.0 === writer }) {
                slices.append((writer, try writer.deleteSlice(writer.needs(writer.shard.now()), 0)))
            }
        }
        guard failure == nil else { return nil }
        note(slices)
        return slices.map(\.1)
    }

    /// Deletes rows that are of no more use, a bounded number, if enough have gathered; in a transaction.
    /// - Parameter writers: whose turns are written in it.
    /// - Returns: what was deleted, of any shard of the store.
    func deleteSlices(with writers: [ShardWriter]) throws(DatabaseError) -> [(ShardWriter, LogSlice)] {
        let shares = finishedShares()
        if !shares.isEmpty { noteSlices() }
        var slices = try deleteSlices(shares)
        for writer in writers where !shares.contains(where: { $0.writer === writer }) {
            let needs = writer.needs(writer.shard.now())
            if writer.books.isSliceDue(needs) { slices.append((writer, try writer.deleteSlice(needs, 0))) }
        }
        return slices
    }

    /// Takes note of slices that are on stable storage.
    func note(_ slices: [(ShardWriter, LogSlice)]) { for (writer, slice) in slices { writer.books.note(slice) } }

    private func deleteSlices(
        _ shares: [(writer: ShardWriter, share: Int)]
    ) throws(DatabaseError) -> [(ShardWriter, LogSlice)] {
        var slices: [(ShardWriter, LogSlice)] = []
        for (writer, share) in shares {
            slices.append((writer, try writer.deleteSlice(writer.needs(writer.shard.now()), share)))
        }
        return slices
    }

    /// How many finished blocks of each shard go now: the oldest of all in the store, once there are many.
    private func finishedShares(isDue: Bool = false) -> [(writer: ShardWriter, share: Int)] {
        let members = members
        let isFull = refusal != nil
        let count = members.reduce(0) { $0 + $1.books.finished.count }
        let isDue =
            isDue
            || (isFull
                ? count >= limits.finishedDueWhenFull
                : count >= limits.finishedDue || members.reduce(0) { $0 + $1.books.finishedBytes } >= limits.bytesDue)
        guard isDue else { return [] }
        let countMax = isFull ? limits.finishedMaxWhenFull : limits.finishedMax
        for writer in members { writer.books.sortFinished() }
        var oldest = members.flatMap { $0.books.finished.prefix(countMax) }
        oldest.sort { $0.row < $1.row }
        var (bound, bytes) = (Int64(0), 0)
        for block in oldest.prefix(countMax) {
            bytes += Int(block.byteCount)
            // One, however large it is.
            if bound > 0, bytes > limits.bytesMax { break }
            bound = block.row
        }
        return members.compactMap { writer in
            let share = writer.books.finished.prefix { $0.row <= bound }.count
            return share > 0 ? (writer, share) : nil
        }
    }
}
