// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolSQLite
import CQueuePoolVFS
import QueuePoolCore

// One connection, used by one thread at a time: the shard's writer, or whoever opens or inspects a file before a
// writer exists. SQLite is opened in multi-thread mode (SQLITE_OPEN_NOMUTEX), which asks for exactly that and takes no
// lock of its own. Source: sqlite.org/threadsafe.html.

/// A failed call of SQLite.
package struct DatabaseError: Error, Hashable, CustomStringConvertible {
    /// Extended result code, e.g. 13 (full), 266 (read), 778 (write), 1034 (fsync).
    package let code: Int32
    /// What was being done; never data.
    package let operation: String

    package var isFull: Bool { code & 0xFF == SQLITE_FULL }
    /// SQLITE_IOERR_WRITE
    var isFailedWrite: Bool { code == SQLITE_IOERR | (3 << 8) }
    /// The file's state is unknown from here on: a failed flush may have dropped pages, or the file is damaged.
    package var isFatal: Bool {
        code == DatabaseError.failedFlush || code & 0xFF == SQLITE_CORRUPT || code & 0xFF == SQLITE_NOTADB || isMoved
    }
    /// Another file is at the path, or none: what is written goes where nobody will look for it.
    var isMoved: Bool { code == ShardError.codeOfMovedFile }
    /// Whether a COMMIT that failed with it has surely not happened: SQLite wrote no commit frame, or gave the frames up.
    var leavesCommitUndone: Bool {
        isFull || isFailedWrite || code & 0xFF == SQLITE_BUSY || code & 0xFF == SQLITE_NOMEM
    }
    /// SQLITE_IOERR_FSYNC
    static let failedFlush: Int32 = SQLITE_IOERR | (4 << 8)

    package var description: String { "SQLite error \(code) while trying to \(operation)" }
}

/// A connection to one SQLite file.
package final class Database {
    let handle: OpaquePointer
    private var isOpen = true

    /// Opens a file, or makes one that nobody but its owner may read.
    /// - Parameter vfs: the name of a registered SQLite VFS to use instead of the default one.
    /// - Throws: `DatabaseError` if the file cannot be opened or made.
    package init(path: String, vfs: String? = nil) throws(DatabaseError) {
        var handle: OpaquePointer?
        let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX
        PrivateFile.makeIfMissing(path)
        let code = sqlite3_open_v2(path, &handle, flags, vfs)
        guard code == SQLITE_OK, let handle else {
            sqlite3_close_v2(handle)
            throw DatabaseError(code: code, operation: "open a file")
        }
        self.handle = handle
        sqlite3_extended_result_codes(handle, 1)
    }

    /// The VFS for a file that several connections of this process use, and nobody else; see CQueuePoolVFS.
    /// - Parameter below: the name of the VFS that it lies over; the default one if `nil`.
    /// - Throws: `DatabaseError` if there is none of that name, or no memory.
    static func sharedVFS(over below: String?) throws(DatabaseError) -> String {
        guard let name = queuepool_shared_vfs(below) else {
            throw DatabaseError(code: SQLITE_NOMEM, operation: "make a VFS")
        }
        return String(cString: name)
    }

    deinit { close() }

    /// Closes the connection now; its statements must be finalized before.
    package func close() {
        if isOpen { sqlite3_close_v2(handle) }
        isOpen = false
    }

    /// Leaves the write-ahead log as it is when the connection is closed.
    func closeWithoutCheckpoint() { _ = queuepool_sqlite_close_without_checkpoint(handle) }

    /// Runs statements that return nothing and take nothing.
    package func execute(_ sql: String) throws(DatabaseError) {
        let code = sqlite3_exec(handle, sql, nil, nil, nil)
        guard code == SQLITE_OK else { throw error(code, "run \(sql.prefix(24))") }
    }

    /// Compiles a statement, once for many uses.
    package func prepare(_ sql: String) throws(DatabaseError) -> Statement {
        var statement: OpaquePointer?
        let code = sqlite3_prepare_v3(handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &statement, nil)
        guard code == SQLITE_OK, let statement else { throw error(code, "prepare a statement") }
        return Statement(database: self, handle: statement)
    }

    /// Whether a transaction is open.
    package var isInTransaction: Bool { sqlite3_get_autocommit(handle) == 0 }

    func error(_ code: Int32, _ operation: String) -> DatabaseError {
        let extended = sqlite3_extended_errcode(handle)
        return DatabaseError(code: extended & 0xFF == code & 0xFF ? extended : code, operation: operation)
    }
}

/// A compiled statement.
package final class Statement {
    // Keeps the connection open for as long as the statement lives.
    private let database: Database
    private let handle: OpaquePointer
    private var isOpen = true

    init(database: Database, handle: OpaquePointer) {
        self.database = database
        self.handle = handle
    }

    deinit { finalize() }

    /// Gives the statement up; it must not be used again.
    package func finalize() {
        if isOpen { sqlite3_finalize(handle) }
        isOpen = false
    }

    package func bind(_ index: Int32, _ value: Int64) { sqlite3_bind_int64(handle, index, value) }

    /// - Important: `bytes` must live until the statement was run.
    package func bind(_ index: Int32, _ bytes: UnsafeRawBufferPointer) {
        if let base = bytes.baseAddress {
            sqlite3_bind_blob64(handle, index, base, UInt64(bytes.count), nil)
        } else {
            sqlite3_bind_zeroblob(handle, index, 0)
        }
    }

    package func bind(_ index: Int32, _ text: String) {
        sqlite3_bind_text(handle, index, text, -1, Statement.transient)
    }

    package func bind(_ index: Int32, copying bytes: [UInt8]) {
        _ = bytes.withUnsafeBytes { raw in
            if let base = raw.baseAddress {
                sqlite3_bind_blob64(handle, index, base, UInt64(raw.count), Statement.transient)
            } else {
                sqlite3_bind_zeroblob(handle, index, 0)
            }
        }
    }

    /// SQLITE_TRANSIENT: SQLite makes its own copy.
    private static let transient = unsafeBitCast(-1, to: sqlite3_destructor_type.self)

    package func bindNull(_ index: Int32) { sqlite3_bind_null(handle, index) }

    /// Runs the statement to its end and makes it ready for the next use.
    package func run(_ operation: String) throws(DatabaseError) {
        let code = sqlite3_step(handle)
        sqlite3_reset(handle)
        guard code == SQLITE_DONE || code == SQLITE_ROW else { throw database.error(code, operation) }
    }

    /// Goes to the next row.
    /// - Returns: `false` after the last; the statement is then ready for the next use.
    package func next(_ operation: String) throws(DatabaseError) -> Bool {
        let code = sqlite3_step(handle)
        if code == SQLITE_ROW { return true }
        sqlite3_reset(handle)
        guard code == SQLITE_DONE else { throw database.error(code, operation) }
        return false
    }

    package func reset() { sqlite3_reset(handle) }

    package func integer(_ column: Int32) -> Int64 { sqlite3_column_int64(handle, column) }

    package func isNull(_ column: Int32) -> Bool { sqlite3_column_type(handle, column) == SQLITE_NULL }

    package func text(_ column: Int32) -> String {
        guard let text = sqlite3_column_text(handle, column) else { return "" }
        return String(cString: text)
    }

    package func bytes(_ column: Int32) -> [UInt8] {
        let count = Int(sqlite3_column_bytes(handle, column))
        guard count > 0, let base = sqlite3_column_blob(handle, column) else { return [] }
        return Array(UnsafeRawBufferPointer(start: base, count: count))
    }
}
