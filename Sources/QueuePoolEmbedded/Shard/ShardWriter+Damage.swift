// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Synchronization

// A row of a sealed log that does not open holds messages that nobody can have any more, and its file is sound apart from
// it. So their groups wait, because what follows them must not pass (I2), and everything else goes on: other groups of
// the shard, and the commits of all shards of the store, which read heads of rows that are done with (I5). It is told in
// the log once for each row, and makes the server unready for as long as the row is there.

extension ShardWriter {
    /// How long a message is invisible that was handed out and could not be read: then it is tried again. Meanwhile its
    /// group is locked, so that the receive counts of what follows it do not climb and receives have room for others.
    private static let asideMilliseconds: Int64 = 900_000

    /// Takes note of a row that does not open.
    func noteUnopened(row: Int64) {
        guard unopened[row] == nil else { return }
        unopened[row] = shard.index.withLock { $0.highestSequence }
        store.watch?.noteUnopened(row: row, of: shard.name, in: store.path)
    }

    /// Holds a message back that was handed out and does not open, and what follows it in its group.
    /// - Parameter rest: what was handed out after it.
    /// - Returns: those of the rest that are held back.
    func putAside(_ entry: ReceivedEntry, rest: some Sequence<ReceivedEntry>) -> Set<SequenceNumber> {
        let now = shard.now()
        return shard.index.withLock { index in
            index.putAside(
                entry.handle, rest: rest.map(\.handle), milliseconds: ShardWriter.asideMilliseconds, now: now)
        }
    }

    /// The keys of a finished block that still count.
    /// - Returns: `nil` if the block has to stay: its head does not open, and keys in it may count.
    func keysToKeep(ofBlockAt row: Int64, _ needs: LogNeeds) throws(DatabaseError) -> [LogKey]? {
        do throws(DatabaseError) {
            guard let head = try store.file.head(row: row), let block = LogEncoding.blockHead(head) else { return [] }
            return block.keys.filter { needs.bound.counts($0.sequence) }
        } catch {
            guard error.isUnopenedRow else { throw error }
            noteUnopened(row: row)
            // None of its keys is newer than what was there when it was found.
            return unopened[row].map { needs.bound.counts($0) } == false ? [] : nil
        }
    }

    /// Once a second: forgets rows that are gone, because they were purged or are of no more use.
    func forgetUnopened() {
        guard !unopened.isEmpty else { return }
        for row in unopened.keys where isGone(row) { unopened[row] = nil }
        if unopened.isEmpty { store.watch?.forgetUnopened(of: shard.name, in: store.path) }
    }

    private func isGone(_ row: Int64) -> Bool {
        do throws(DatabaseError) { return try store.file.head(row: row) == nil } catch { return false }
    }
}
