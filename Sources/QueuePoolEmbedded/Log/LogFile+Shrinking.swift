// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolSQLite

// SQLite keeps the pages of deleted rows for later ones. After a drain the file is as large as it ever was, with nothing
// in it. auto_vacuum would give pages back one by one, at the price of a page with pointers in every commit; to write the
// little that is left anew costs commits nothing. So that is done, when a file holds next to nothing and nobody sends.

extension LogFile {
    /// Pages in use up to which the file is written anew: a few milliseconds.
    private static let usedPagesMax: Int64 = 128
    /// Unused pages from which on it is worth it.
    private static let unusedPagesMin: Int64 = 256

    /// Gives the room of what is gone back to the disk, if little is left in the file; nothing may be on its way.
    func shrink() {
        guard brokenBy == nil, let pages = try? integer("PRAGMA page_count"),
            let unused = try? integer("PRAGMA freelist_count"), pages - unused <= LogFile.usedPagesMax
        else { return }
        do throws(DatabaseError) {
            if unused >= LogFile.unusedPagesMin {
                try database.execute("VACUUM")
                // Its commit is flushed like every other one.
                try flush()
            }
            let log = SystemFile.byteCount(of: path + "-wal") ?? 0
            guard log >= LogFile.unusedPagesMin * LogFile.pageBytes || unused >= LogFile.unusedPagesMin else { return }
            // Copies all of the log into the file, flushes that, and only then cuts the log off.
            try LogFile.checkpoint(database, mode: SQLITE_CHECKPOINT_TRUNCATE)
        } catch {
            let isUnknown = error.code & 0xFF == SQLITE_IOERR && !error.leavesCommitUndone
            if error.isFatal || isUnknown { brokenBy = error }
        }
    }
}
