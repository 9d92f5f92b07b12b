// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolSQLite
import QueuePoolCore

// The file of tracking records. WAL and synchronous=NORMAL: a commit is not flushed, so a loss of power may take the
// latest seconds, but the log is flushed before it is copied into the file, so it damages nothing. That copy is made here
// and not by SQLite within a commit, which would not say that its flush failed.
//
// A pool has a number that is never given again. A pool is forgotten by its number: its rows are then nobody's, and go
// when their time is over.

/// The file of tracking records, used by one thread at a time.
final class TrackingFile {
    /// Tells the file from those of other programs.
    private static let applicationID: Int64 = 0x7170_7472
    private static let formatVersion: Int64 = 1
    private static let pageBytes: Int64 = 16_384
    /// Pages in the log from which on it is copied into the file.
    private static let checkpointPages: Int32 = 1_024
    /// Rows that go with one commit beside four for each that comes.
    private static let removedMin = 256
    private static let columns = """
        state, at, accepted_at, attempt, next_attempt_at, target, reason, error_class, recipients, tags, expires_at
        """

    private let database: Database
    private let begin: Statement
    private let commitStatement: Statement
    let select: Statement
    let insert: Statement
    let update: Statement
    private let selectOldest: Statement
    private let remove: Statement
    private let usedPages: Statement
    private let bytesMax: Int64
    let sealing: TrackingSealing?
    /// Reads that found a row that is not as it was sealed, since somebody took the figure.
    var damaged = 0
    /// Numbers of pools that have rows.
    private(set) var pools: [String: Int64] = [:]
    /// Why the file takes no more writes: after a failed flush nobody knows what is on the disk.
    private var brokenBy: DatabaseError?
    /// Pages in the log, told by SQLite after each commit.
    private let logPages: LogPages
    private var isOpen = true

    /// Opens the file, or makes it.
    init(path: String, bytesMax: Int, vfs: String?, sealing: TrackingSealing? = nil) throws(DatabaseError) {
        self.sealing = sealing
        self.bytesMax = Int64(bytesMax)
        database = try Database(path: path, vfs: vfs)
        // Before the first look: one process has the file, and needs no shared memory for it.
        try database.execute("PRAGMA locking_mode = EXCLUSIVE")
        try TrackingFile.checkFormat(database)
        try TrackingFile.prepare(database)
        try Database.flushDirectory(path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ".")
        begin = try database.prepare("BEGIN IMMEDIATE")
        commitStatement = try database.prepare("COMMIT")
        select = try database.prepare("SELECT \(TrackingFile.columns) FROM records WHERE pool = ? AND id = ?")
        insert = try database.prepare(
            "INSERT INTO records (\(TrackingFile.columns), pool, id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
        update = try database.prepare(
            """
            UPDATE records SET (\(TrackingFile.columns)) = (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE pool = ? AND id = ?
            """)
        selectOldest = try database.prepare(
            "SELECT pool, id FROM records WHERE expires_at <= ? ORDER BY expires_at LIMIT ?")
        // By key: a DELETE with that query in it looks at all rows of a pool.
        remove = try database.prepare("DELETE FROM records WHERE pool = ? AND id = ?")
        usedPages = try database.prepare(
            "SELECT (SELECT * FROM pragma_page_count) - (SELECT * FROM pragma_freelist_count)")
        let known = try database.prepare("SELECT name, number FROM pools")
        defer { known.finalize() }
        while try known.next("read the pools") { pools[known.text(0)] = known.integer(1) }
        logPages = LogPages(of: database)
    }

    deinit { close() }

    /// Closes the file now.
    func close() {
        guard isOpen else { return }
        isOpen = false
        logPages.stop(database)
        for statement in [begin, commitStatement, select, insert, update, selectOldest, remove, usedPages] {
            statement.finalize()
        }
        if brokenBy != nil { database.closeWithoutCheckpoint() }
        database.close()
    }

    private static func checkFormat(_ database: Database) throws(DatabaseError) {
        let header = try database.header()
        guard header.isNew || header.application == applicationID else {
            throw DatabaseError(code: SQLITE_NOTADB, operation: "read a file that is none of tracking records")
        }
        guard header.version <= formatVersion else {
            throw DatabaseError(code: SQLITE_NOTADB, operation: "read tracking records of version \(header.version)")
        }
    }

    private static func prepare(_ database: Database) throws(DatabaseError) {
        try database.execute(
            """
            PRAGMA page_size = \(pageBytes); PRAGMA journal_mode = WAL;
            PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0;
            PRAGMA journal_size_limit = \(2 * Int64(checkpointPages) * pageBytes); PRAGMA cache_size = -8192;
            PRAGMA temp_store = MEMORY;
            BEGIN IMMEDIATE;
            CREATE TABLE IF NOT EXISTS pools (number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE);
            CREATE TABLE IF NOT EXISTS records (pool INTEGER NOT NULL, id BLOB NOT NULL, state INTEGER NOT NULL,
                at INTEGER NOT NULL, accepted_at INTEGER, attempt INTEGER, next_attempt_at INTEGER, target BLOB,
                reason BLOB, error_class BLOB, recipients BLOB, tags BLOB, expires_at INTEGER NOT NULL,
                PRIMARY KEY (pool, id)) WITHOUT ROWID;
            CREATE INDEX IF NOT EXISTS records_by_end ON records (expires_at);
            PRAGMA application_id = \(applicationID); PRAGMA user_version = \(formatVersion);
            COMMIT
            """)
    }

    // MARK: - Transactions

    /// Writes what was given, and removes some of what is over or finds no room.
    /// - Parameter now: what ends before or then may go.
    /// - Returns: how many rows went although their time was not over.
    func write(_ saves: [TrackingSave], now: Timestamp) throws(DatabaseError) -> Int {
        let limit = TrackingFile.removedMin + 4 * saves.reduce(0) { $0 + $1.records.count }
        return try commit { () throws(DatabaseError) in
            let removed = try removeRows(endedAt: now, limit: limit)
            // Before the new ones come, so that these stay.
            var dropped = 0
            if removed < limit, try isOverBytesMax() {
                dropped = try removeRows(endedAt: Timestamp(milliseconds: .max), limit: limit - removed)
            }
            for save in saves {
                let pool = try number(ofPool: save.pool)
                for record in save.records { try write(record, pool, save.expiresAt) }
            }
            return dropped
        }
    }

    /// Removes rows whose time is over.
    /// - Returns: how many were removed; fewer than `limit` when none are left.
    func removeExpired(now: Timestamp, limit: Int) throws(DatabaseError) -> Int {
        try commit { () throws(DatabaseError) in try removeRows(endedAt: now, limit: limit) }
    }

    /// Forgets a pool's rows.
    func forget(pool: String) throws(DatabaseError) {
        guard let number = pools[pool] else { return }
        let delete = try database.prepare("DELETE FROM pools WHERE number = ?")
        defer { delete.finalize() }
        try commit { () throws(DatabaseError) in
            delete.bind(1, number)
            try delete.run("forget a pool")
            pools[pool] = nil
        }
    }

    /// Runs `body` in a transaction that left nothing when this throws.
    private func commit<R>(_ body: () throws(DatabaseError) -> R) throws(DatabaseError) -> R {
        if let brokenBy { throw brokenBy }
        let poolsBefore = pools
        var isCommitting = false
        do throws(DatabaseError) {
            try begin.run("begin")
            let result = try body()
            isCommitting = true
            try commitStatement.run("commit")
            return result
        } catch {
            pools = poolsBefore
            if database.rollBack(after: error, isCommitting: isCommitting) { brokenBy = error }
            throw error
        }
    }

    /// Copies a long log into the file. A failed write costs nothing but another try later; after a failed flush the file
    /// takes no more writes, because a second flush may succeed without what the first one lost.
    func checkpoint() {
        guard brokenBy == nil, logPages.count >= TrackingFile.checkpointPages else { return }
        do throws(DatabaseError) {
            if try database.copyLog(SQLITE_CHECKPOINT_PASSIVE) { logPages.count = 0 }
        } catch {
            if error.isFatal { brokenBy = error }
        }
    }

    // MARK: - Rows

    private func number(ofPool pool: String) throws(DatabaseError) -> Int64 {
        if let number = pools[pool] { return number }
        let add = try database.prepare("INSERT INTO pools (name) VALUES (?)")
        defer { add.finalize() }
        add.bind(1, pool)
        try add.run("add a pool")
        let number = sqlite3_last_insert_rowid(database.handle)
        pools[pool] = number
        return number
    }

    /// Removes those that end first.
    private func removeRows(endedAt time: Timestamp, limit: Int) throws(DatabaseError) -> Int {
        selectOldest.bind(1, time.milliseconds)
        selectOldest.bind(2, Int64(limit))
        var keys: [(pool: Int64, id: [UInt8])] = []
        while try selectOldest.next("find old records") {
            keys.append((selectOldest.integer(0), selectOldest.bytes(1)))
        }
        for key in keys {
            remove.bind(1, key.pool)
            remove.bind(2, copying: key.id)
            try remove.run("remove a record")
        }
        return keys.count
    }

    private func isOverBytesMax() throws(DatabaseError) -> Bool {
        guard try usedPages.next("count the pages") else { return false }
        defer { usedPages.reset() }
        return usedPages.integer(0) * TrackingFile.pageBytes > bytesMax
    }
}
