// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolSQLite

extension LogFile {
    /// Pages in the WAL after which they should be copied into the file. What is carried there from a journal is copied at
    /// once; this is for the removal of shards.
    private static let checkpointPages: Int32 = 1_024

    var isCheckpointDue: Bool { walPages.count >= LogFile.checkpointPages }

    /// Copies the WAL's pages into the file. A failed write costs nothing but another try later; a failed flush closes
    /// the file for writes, like any other.
    func checkpoint() {
        guard brokenBy == nil else { return }
        walPages.count = 0
        do throws(DatabaseError) { try LogFile.checkpoint(database) } catch {
            if error.isFatal { brokenBy = error }
        }
    }

    static func checkpoint(
        _ database: Database, mode: Int32 = SQLITE_CHECKPOINT_PASSIVE
    ) throws(DatabaseError) {
        let code = sqlite3_wal_checkpoint_v2(database.handle, nil, mode, nil, nil)
        guard code == SQLITE_OK else { throw database.error(code, "copy the WAL into the file") }
    }
}
