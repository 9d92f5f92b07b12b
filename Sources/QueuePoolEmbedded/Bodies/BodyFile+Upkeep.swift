// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolSQLite

extension BodyFile {
    /// Pages in the log from which on it is copied into the file, and from which on readers are waited for.
    private static let checkpointPagesMin: Int32 = 1_024
    private static let checkpointPagesMax: Int32 = 8_192

    /// Gives some unused pages back to the disk, at the next checkpoint.
    /// - Parameter kept: pages that stay for the next bodies.
    /// - Returns: whether there are more to give back.
    func giveBack(pages limit: Int64, keeping kept: Int64) throws(DatabaseError) -> Bool {
        let unused = try database.integer("PRAGMA freelist_count")
        let wanted = min(limit, unused - kept)
        guard wanted > 0 else { return false }
        try commit { () throws(DatabaseError) in try database.execute("PRAGMA incremental_vacuum(\(wanted))") }
        hasGivenBack = true
        return unused - wanted > kept
    }

    /// Copies the log into the file. A failed write costs nothing but another try later; after a failed flush the file
    /// takes no more writes.
    /// - Parameter always: also if it is short.
    func checkpoint(always: Bool) {
        let pages = logPages.count
        guard brokenBy == nil, pages > 0, always || pages >= BodyFile.checkpointPagesMin else { return }
        // A log in which readers always stand would grow for ever; a long one waits for each of them.
        let mode = pages >= BodyFile.checkpointPagesMax ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE
        do throws(DatabaseError) {
            if try database.copyLog(mode) {
                logPages.count = 0
                hasGivenBack = false
            }
        } catch {
            if error.isFatal { brokenBy = error }
        }
    }
}
