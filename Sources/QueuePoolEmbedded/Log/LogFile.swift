// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolSQLite
import QueuePoolCore

// The durable truth of a few shards: one append-only table in one SQLite file. A commit adds one row for all that a shard
// sends in it (bodies end to end, a directory in the head) instead of one for each message, because a row of its own costs
// SQLite more than the message does; and there is no secondary index, because the index lives in memory and is rebuilt
// from the heads alone.
//
// Commits of messages do not come here one by one: see `JournaledLog`. What does is flushed by SQLite's own function.
//
// Shards share a file because a flush costs more than what it flushes: sixty-four senders over eight shards are eight
// messages a commit if each shard flushes for itself, and thirty-two if four of them do together. There are a few files
// and not one, because while one waits for the disk another can be written.
//
//   kind 1  block       head: directory and deduplication keys   body: records
//   kind 2  keys        head: keys of blocks that are gone already but whose five minutes are not over
//   kind 3  deletions   head: sequence numbers
//   kind 4  deliveries  head: what was received, written at a clean stop, removed at open; by older versions only
//   kind 5  deliveries  the same, each with the opening of the shard in which it was made
//
// Nothing here is thread-safe: one thread at a time, see `Store`.

enum LogKind {
    static let block: Int64 = 1
    static let keys: Int64 = 2
    static let deletions: Int64 = 3
    static let deliveries: Int64 = 4
}

/// What makes a shard's log its own.
struct LogIdentity {
    /// The shard's number in its file.
    let number: Int64
    let tag: ShardTag
    let deduplicationHash: SipHash128
}

final class LogFile {
    static let formatVersion: Int64 = 3
    /// Without a journal; opened, and written down as of the newer format.
    private static let formatBefore: Int64 = 2
    static let pageBytes: Int64 = 16_384
    let database: Database
    /// By which both connections open the file.
    let vfs: String
    let path: String
    /// The folder with the file.
    let directory: String
    /// The file and its log, as they were at open.
    private let marks: [String: FileMark]
    private let deleteRow: Statement
    private let selectHead: Statement
    private let selectBody: Statement
    private let begin: Statement
    private let commitStatement: Statement
    private let rollbackStatement: Statement
    /// Pages in the WAL, told by SQLite after each commit.
    let walPages: LogPages
    /// After the newest row at open.
    let nextRow: Int64
    var identities: [String: LogIdentity]
    /// Shards whose rows are being removed, by number, each with the last row that was looked at.
    var leaving: [Int64: Int64]
    private var isOpen = true

    /// Opens a file, or makes it.
    /// - Parameters:
    ///   - vfs: the name of the VFS that `Database.sharedVFS` lies over.
    init(path: String, vfs: String? = nil) throws(DatabaseError) {
        self.path = path
        let shared = try Database.sharedVFS(over: vfs)
        database = try Database(path: path, vfs: shared)
        self.vfs = shared
        directory = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        try database.execute(
            """
            PRAGMA page_size = 16384; PRAGMA journal_mode = WAL;
            PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = -1;
            PRAGMA cache_size = -8192; PRAGMA cache_spill = OFF; PRAGMA temp_store = MEMORY;
            CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
            """)
        try LogFile.checkFormat(database)
        try database.execute(
            """
            CREATE TABLE IF NOT EXISTS shards (
                number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, tag INTEGER NOT NULL, key0 INTEGER NOT NULL,
                key1 INTEGER NOT NULL);
            CREATE TABLE IF NOT EXISTS leaving (number INTEGER PRIMARY KEY);
            CREATE TABLE IF NOT EXISTS log (
                id INTEGER PRIMARY KEY, shard INTEGER NOT NULL, kind INTEGER NOT NULL, head BLOB, body BLOB);
            """)
        try LogFile.settle(database, directory)
        identities = try LogFile.identities(database)
        leaving = try LogFile.leaving(database)
        deleteRow = try database.prepare("DELETE FROM log WHERE id = ?")
        selectHead = try database.prepare("SELECT head FROM log WHERE id = ?")
        selectBody = try database.prepare("SELECT body FROM log WHERE id = ?")
        begin = try database.prepare("BEGIN IMMEDIATE")
        commitStatement = try database.prepare("COMMIT")
        rollbackStatement = try database.prepare("ROLLBACK")
        let newest = try database.prepare("SELECT max(id) FROM log")
        nextRow = try newest.next("find the newest row") ? newest.integer(0) + 1 : 1
        newest.reset()
        marks = LogFile.marks([path, path + "-wal"])
        walPages = LogPages(of: database)
    }

    deinit { close() }

    /// Closes the file now, so that it can be opened again or removed.
    func close() {
        guard isOpen else { return }
        isOpen = false
        // Frames that a failed flush dropped would be copied into the file unseen; recovery looks at their checksums.
        if brokenBy != nil { database.closeWithoutCheckpoint() }
        walPages.stop(database)
        for statement in [
            deleteRow, selectHead, selectBody, begin, commitStatement, rollbackStatement,
        ] { statement.finalize() }
        database.close()
    }

    private static func checkFormat(_ database: Database) throws(DatabaseError) {
        let insert = try database.prepare("INSERT OR IGNORE INTO meta (name, value) VALUES ('format', ?)")
        insert.bind(1, formatVersion)
        try insert.run("write the format")
        try database.execute(
            "UPDATE meta SET value = \(formatVersion) WHERE name = 'format' AND value = \(formatBefore)")
        let select = try database.prepare("SELECT value FROM meta WHERE name = 'format'")
        let isOurs = try select.next("read the format") && select.integer(0) == formatVersion
        select.reset()
        guard isOurs else { throw DatabaseError(code: SQLITE_MISMATCH, operation: "read a file of another format") }
    }

    // MARK: - Transactions

    /// Why the file takes no more writes: a failed flush may have dropped pages that were written, and a commit that
    /// stands behind such a hole is lost with it. What the file holds is known again when it was opened anew, which
    /// recovers it; so nothing is read here either.
    var brokenBy: DatabaseError?

    /// Runs `body` in a transaction that is on stable storage when this returns, or is not acknowledged. Every write goes
    /// through here, and what a failure means for later ones is decided here only.
    func commit(_ body: () throws(DatabaseError) -> Void) throws(DatabaseError) {
        try checkUsable()
        try begin.run("begin")
        var isCommitting = false
        do throws(DatabaseError) {
            try body()
            isCommitting = true
            try commitStatement.run("commit")
        } catch {
            if error.isFatal || isCommitting && !error.leavesCommitUndone { brokenBy = error }
            // Some errors have rolled back already; then there is nothing left to undo.
            if database.isInTransaction { try? rollbackStatement.run("roll back") }
            if database.isInTransaction { brokenBy = error }
            throw error
        }
        do throws(DatabaseError) { try flush() } catch {
            brokenBy = error
            throw error
        }
    }

    /// Closes the file for writes if it, or its log, is not at its path any more. What is written to a file that was
    /// removed is gone when the process ends.
    func checkPlace() {
        guard brokenBy == nil, LogFile.marks(marks.keys) != marks else { return }
        brokenBy = DatabaseError(code: ShardError.codeOfMovedFile, operation: "find the file where it was")
    }

    static func marks(_ paths: some Sequence<String>) -> [String: FileMark] {
        var marks: [String: FileMark] = [:]
        for path in paths { marks[path] = SystemFile.mark(of: path) }
        return marks
    }

    func checkUsable() throws(DatabaseError) { if let brokenBy { throw brokenBy } }

    func flush() throws(DatabaseError) {
        let code = queuepool_sqlite_flush_wal(database.handle)
        guard code == SQLITE_OK else { throw DatabaseError(code: code, operation: "flush the WAL") }
    }

    func delete(row: Int64) throws(DatabaseError) {
        deleteRow.bind(1, row)
        try deleteRow.run("delete a row")
    }

    // MARK: - Reading

    /// - Returns: `nil` if there is no such row.
    func head(row: Int64) throws(DatabaseError) -> [UInt8]? { try read(selectHead, row) }
    func body(row: Int64) throws(DatabaseError) -> [UInt8]? { try read(selectBody, row) }

    private func read(_ statement: Statement, _ row: Int64) throws(DatabaseError) -> [UInt8]? {
        try checkUsable()
        statement.bind(1, row)
        guard try statement.next("read a row") else { return nil }
        defer { statement.reset() }
        return statement.bytes(0)
    }

    /// Puts on stable storage what is there at open. The WAL of a killed process may hold commits that nobody flushed,
    /// which must not be served from. To flush it is not enough: after a failed flush the system takes pages for
    /// written that are not. So they are copied into the file, which is flushed after that.
    private static func settle(_ database: Database, _ directory: String) throws(DatabaseError) {
        try checkpoint(database)
        guard SystemFile.flushDirectory(directory) else {
            throw DatabaseError(code: SQLITE_IOERR | (5 << 8), operation: "flush the directory")
        }
    }
}
