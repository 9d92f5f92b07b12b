// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolSQLite

// What a file with a connection and a write-ahead log of its own needs, whatever is in it.

/// What the header of a file says of it.
struct FileHeader {
    /// 0 if no program has said that the file is its own.
    let application: Int64
    let version: Int64
    /// Nobody has written to the file.
    let isNew: Bool
}

extension Database {
    /// Looks before anything is written, so that a file of somebody else's stays as it is.
    func header() throws(DatabaseError) -> FileHeader {
        let application = try integer("PRAGMA application_id")
        let version = try integer("PRAGMA user_version")
        let tables = try integer("SELECT count(*) FROM sqlite_schema")
        return FileHeader(
            application: application, version: version, isNew: application == 0 && version == 0 && tables == 0)
    }

    /// The one number that a query gives.
    func integer(_ query: String) throws(DatabaseError) -> Int64 {
        let statement = try prepare(query)
        defer { statement.finalize() }
        return try statement.next("read a figure") ? statement.integer(0) : 0
    }

    /// Undoes a transaction that failed.
    /// - Parameter isCommitting: whether it was its COMMIT that failed.
    /// - Returns: whether nobody knows what is on the disk now, so that the file may take no more writes.
    func rollBack(after error: DatabaseError, isCommitting: Bool) -> Bool {
        // Some errors have rolled back already; then there is nothing left to undo.
        if isInTransaction { try? execute("ROLLBACK") }
        return error.isFatal || isCommitting && !error.leavesCommitUndone || isInTransaction
    }

    /// Copies the log into the file.
    /// - Returns: whether all of it was copied.
    @discardableResult
    func copyLog(_ mode: Int32) throws(DatabaseError) -> Bool {
        var inLog: Int32 = 0
        var copied: Int32 = 0
        let code = sqlite3_wal_checkpoint_v2(handle, nil, mode, &inLog, &copied)
        // A reader still needs what is in the log.
        if code & 0xFF == SQLITE_BUSY { return false }
        guard code == SQLITE_OK else { throw error(code, "copy the log into the file") }
        return inLog == copied
    }

    /// Puts on stable storage that a file is in its directory.
    static func flushDirectory(_ directory: String) throws(DatabaseError) {
        guard SystemFile.flushDirectory(directory) else {
            throw DatabaseError(code: SQLITE_IOERR | (5 << 8), operation: "flush the directory")
        }
    }
}
