// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolSQLite

// The WAL's pages are copied into the file when enough have gathered, and SQLite begins the WAL anew when all of it was
// copied. To copy and flush 32 MiB takes 50 ms and more, in which nobody could commit. So that is done beside commits, over
// a connection of its own, and again for the pages that came meanwhile, which are fewer each time; the few that are left
// are copied in between two commits.

extension LogFile {
    /// Pages that are copied in between two commits: less than a flush takes.
    private static let leftMax: Int32 = 64
    /// Room of the WAL, as a multiple of the pages after which copying begins; commits wait where the disk copies slower
    /// than it takes commits.
    private static let roomFactor: Int32 = 2

    /// Whether the WAL has grown to where its pages should be copied into the file.
    var isCheckpointDue: Bool { walPages.count >= checkpointPages }

    /// Copies the WAL's pages into the file. A failed write costs nothing but another try later; a failed flush closes
    /// the file for writes, like any other.
    func checkpoint() {
        awaitCopying()
        guard brokenBy == nil else { return }
        walPages.count = 0
        do throws(DatabaseError) { try LogFile.checkpoint(database) } catch {
            if error.isFatal { brokenBy = error }
        }
    }

    func checkpointIfDue(on line: any CommitLine) {
        if let copying, let copied = copying.take() {
            note(copied)
            guard brokenBy == nil else { return }
            if walPages.count - copied.pages <= LogFile.leftMax { return line.waiting { checkpoint() } }
        }
        guard isCheckpointDue, brokenBy == nil else { return }
        if walPages.count >= LogFile.roomFactor * checkpointPages { return line.waiting { checkpoint() } }
        if copying == nil { copying = try? LogCopying(path: path, vfs: vfs) }
        guard let copying else { return line.waiting { checkpoint() } }
        copying.begin()
    }

    /// Waits until nothing is copied beside commits.
    func awaitCopying() { note(copying?.wait()) }

    private func note(_ copied: LogCopying.Copied?) {
        if let failure = copied?.failure, failure.isFatal, brokenBy == nil { brokenBy = failure }
    }

    static func checkpoint(
        _ database: Database, mode: Int32 = SQLITE_CHECKPOINT_PASSIVE
    ) throws(DatabaseError) {
        let code = sqlite3_wal_checkpoint_v2(database.handle, nil, mode, nil, nil)
        guard code == SQLITE_OK else { throw database.error(code, "copy the WAL into the file") }
    }
}
