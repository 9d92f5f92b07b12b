// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolSQLite
import QueuePoolCore

// The file of large bodies. A body lies in parts, each a row that is made of zeros and then written in place, so that
// neither we nor SQLite's page cache ever hold a second copy of it: one value of 40 MB would be spilled to the log as
// zeros before its first byte is written. A part's row number is its body's number, shifted, and its place.
//
// WAL, so that reads go on beside a write; synchronous=FULL, so that a commit that returned is on stable storage, and
// is not seen by readers before it is. auto_vacuum=INCREMENTAL costs a page with pointers for every three thousand
// pages, and lets the file shrink a little at a time. Source: sqlite.org/wal.html, sqlite.org/pragma.html.

/// The writing connection to the file of bodies.
/// - Important: used on the serial queue `SQLiteBodies.writing` only. That is what makes it Sendable.
final class BodyFile: @unchecked Sendable {
    /// "qpbd"; tells the file from those of other programs.
    static let applicationID: Int64 = 0x7170_6264
    static let formatVersion: Int64 = 2
    /// The first version whose bodies may be sealed; a file becomes it when it gets a data key.
    private static let sealedVersion: Int64 = 2
    static let pageBytes: Int64 = 16_384
    /// Bytes of a part; a small part of the page cache, so that a part is written before its pages are spilled.
    static let partBytes = 512 << 10
    /// Parts of a body that its number leaves room for: 32 GiB.
    static let partBits: Int64 = 16
    private static let logBytesKept: Int64 = 64 << 20

    /// Bodies and their bytes.
    struct Counts: Hashable {
        var bodies = 0
        var bytes: Int64 = 0
    }

    let database: Database
    let directory: String
    let sealing: BodySealing?
    /// What tells of a body whether it is sealed: a column, or nothing in a file that never had a data key.
    let sealedColumn: String
    private let insertBody: Statement
    private let insertPart: Statement
    private let selectBody: Statement
    private let deleteBody: Statement
    private let deleteParts: Statement
    private let selectPool: Statement
    private let selectExpired: Statement
    private var nextNumber: Int64
    /// Of what is committed.
    private(set) var counts: Counts
    private var uncommitted = Counts()
    /// Why the file takes no more writes: after a failed flush nobody knows what is on the disk.
    var brokenBy: DatabaseError?
    /// Pages in the log, told by SQLite after each commit.
    let logPages: LogPages
    /// Pages were given back since the log was copied into the file.
    var hasGivenBack = false
    private var isOpen = true

    /// Opens the file, or makes it.
    init(path: String, vfs: String?, sealing: BodySealing? = nil) throws(BodyFileError) {
        self.sealing = sealing
        directory = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        let name = path.lastIndex(of: "/").map { String(path[path.index(after: $0)...]) } ?? path
        do throws(DatabaseError) { database = try Database(path: path, vfs: vfs) } catch { throw .failed(error) }
        let found = try BodyFile.checkFormat(database, name)
        let version = max(found, sealing == nil ? 1 : BodyFile.sealedVersion)
        sealedColumn = version >= BodyFile.sealedVersion ? "sealed" : "0"
        do throws(DatabaseError) {
            try BodyFile.prepare(database, from: found, to: version)
            try database.copyLog(SQLITE_CHECKPOINT_TRUNCATE)
            try Database.flushDirectory(directory)
            insertBody = try database.prepare(
                """
                INSERT INTO bodies (number, key, pool, bytes, made_at, expires_at\(sealing == nil ? "" : ", sealed"))
                VALUES (?, ?, ?, ?, ?, ?\(sealing == nil ? "" : ", \(BodySealing.form)"))
                """)
            insertPart = try database.prepare("INSERT INTO parts VALUES (?, zeroblob(?))")
            selectBody = try database.prepare("SELECT number, bytes FROM bodies WHERE key = ?")
            deleteBody = try database.prepare("DELETE FROM bodies WHERE number = ?")
            deleteParts = try database.prepare("DELETE FROM parts WHERE number BETWEEN ? AND ?")
            selectPool = try database.prepare(
                """
                SELECT number, bytes FROM bodies WHERE pool = ? AND number <= ? AND made_at < ? ORDER BY number LIMIT ?
                """)
            selectExpired = try database.prepare(
                "SELECT number, bytes FROM bodies WHERE expires_at <= ? ORDER BY expires_at LIMIT ?")
            nextNumber = try database.integer("SELECT ifnull(max(number), 0) + 1 FROM bodies")
            counts = Counts(
                bodies: Int(try database.integer("SELECT count(*) FROM bodies")),
                bytes: try database.integer("SELECT ifnull(sum(bytes), 0) FROM bodies"))
        } catch { throw .failed(error) }
        logPages = LogPages(of: database)
    }

    deinit { close() }

    /// Closes the file now.
    func close() {
        guard isOpen else { return }
        isOpen = false
        logPages.stop(database)
        for statement in [
            insertBody, insertPart, selectBody, deleteBody, deleteParts, selectPool, selectExpired,
        ] { statement.finalize() }
        database.close()
    }

    /// - Returns: the file's version; 0 if it is new.
    private static func checkFormat(_ database: Database, _ name: String) throws(BodyFileError) -> Int64 {
        let header: FileHeader
        do throws(DatabaseError) { header = try database.header() } catch {
            throw error.code & 0xFF == SQLITE_NOTADB ? .foreign(file: name) : .failed(error)
        }
        guard header.isNew || header.application == applicationID else { throw .foreign(file: name) }
        guard header.version <= formatVersion else {
            throw .newer(file: name, version: header.version, known: formatVersion)
        }
        return header.version
    }

    private static func prepare(
        _ database: Database, from found: Int64, to version: Int64
    ) throws(DatabaseError) {
        let added =
            found < sealedVersion && version >= sealedVersion
            ? "ALTER TABLE bodies ADD COLUMN sealed INTEGER NOT NULL DEFAULT 0;" : ""
        // auto_vacuum counts before the first page is written only, and the journal's mode writes it.
        try database.execute(
            """
            PRAGMA busy_timeout = 2000; PRAGMA page_size = \(pageBytes); PRAGMA auto_vacuum = INCREMENTAL;
            PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;
            PRAGMA journal_size_limit = \(logBytesKept); PRAGMA cache_size = -4096; PRAGMA temp_store = MEMORY;
            BEGIN IMMEDIATE;
            CREATE TABLE IF NOT EXISTS bodies (number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, pool TEXT NOT NULL,
                bytes INTEGER NOT NULL, made_at INTEGER NOT NULL, expires_at INTEGER);
            \(added)
            CREATE TABLE IF NOT EXISTS parts (number INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
            CREATE INDEX IF NOT EXISTS bodies_of_pool ON bodies (pool, number);
            CREATE INDEX IF NOT EXISTS bodies_by_end ON bodies (expires_at) WHERE expires_at IS NOT NULL;
            PRAGMA application_id = \(applicationID); PRAGMA user_version = \(version);
            COMMIT
            """)
    }

    // MARK: - Transactions

    /// Runs `body` in a transaction that is on stable storage when this returns, and that left nothing when this throws.
    func commit(_ body: () throws(DatabaseError) -> Void) throws(DatabaseError) {
        if let brokenBy { throw brokenBy }
        uncommitted = counts
        var isCommitting = false
        do throws(DatabaseError) {
            try database.execute("BEGIN IMMEDIATE")
            try body()
            isCommitting = true
            try database.execute("COMMIT")
        } catch {
            if database.rollBack(after: error, isCommitting: isCommitting) { brokenBy = error }
            throw error
        }
        counts = uncommitted
    }

    /// Adds a body, in place of one with the same key. Within `commit` only, like all that changes something.
    func insert(
        _ body: [UInt8], key: String, pool: String, madeAt: Timestamp, expiresAt: Timestamp?
    ) throws(DatabaseError) {
        try remove(key: key)
        let number = nextNumber
        // Also if the transaction fails: a number is never used for two bodies.
        nextNumber += 1
        insertBody.bind(1, number)
        insertBody.bind(2, key)
        insertBody.bind(3, pool)
        insertBody.bind(4, Int64(body.count))
        insertBody.bind(5, madeAt.milliseconds)
        if let expiresAt { insertBody.bind(6, expiresAt.milliseconds) } else { insertBody.bindNull(6) }
        try insertBody.run("add a body")
        let result = body.withUnsafeBytes { bytes -> Result<Void, DatabaseError> in
            do throws(DatabaseError) {
                return .success(try insertParts(bytes, number, key))
            } catch { return .failure(error) }
        }
        try result.get()
        uncommitted.bodies += 1
        uncommitted.bytes += Int64(body.count)
    }

    private func insertParts(
        _ bytes: UnsafeRawBufferPointer, _ number: Int64, _ key: String
    ) throws(DatabaseError) {
        var row = number << BodyFile.partBits
        var start = 0
        // What is sealed has a part even if it is empty.
        while start < bytes.count || start == 0 && sealing != nil {
            let part = UnsafeRawBufferPointer(rebasing: bytes[start..<min(start + BodyFile.partBytes, bytes.count)])
            if let sealing {
                let sealed = try sealing.seal(part, row: row, key: key, bodyBytes: bytes.count)
                let result = sealed.withUnsafeBytes { sealed -> Result<Void, DatabaseError> in
                    do throws(DatabaseError) { return .success(try insertPart(sealed, row)) } catch {
                        return .failure(error)
                    }
                }
                try result.get()
            } else {
                try insertPart(part, row)
            }
            row += 1
            start += max(1, part.count)
        }
    }

    private func insertPart(_ part: UnsafeRawBufferPointer, _ row: Int64) throws(DatabaseError) {
        insertPart.bind(1, row)
        insertPart.bind(2, Int64(part.count))
        try insertPart.run("add a part")
        try Blob(database, table: "parts", column: "bytes", row: row, isWritten: true).write(part)
    }

    /// Removes a body, if it is there.
    func remove(key: String) throws(DatabaseError) {
        selectBody.bind(1, key)
        guard try selectBody.next("find a body") else { return }
        let found = (number: selectBody.integer(0), bytes: selectBody.integer(1))
        selectBody.reset()
        try remove([found])
    }

    /// Removes bodies of a pool that were made before a time.
    /// - Parameter last: the highest number to remove.
    /// - Returns: how many were removed; none when none are left.
    func remove(pool: String, through last: Int64, madeBefore time: Timestamp, limit: Int) throws(DatabaseError) -> Int
    {
        selectPool.bind(1, pool)
        selectPool.bind(2, last)
        selectPool.bind(3, time.milliseconds)
        selectPool.bind(4, Int64(limit))
        return try removeAll(of: selectPool)
    }

    /// Removes bodies whose time is over.
    /// - Returns: how many were removed; none when none are left.
    func remove(expiredAt time: Timestamp, limit: Int) throws(DatabaseError) -> Int {
        selectExpired.bind(1, time.milliseconds)
        selectExpired.bind(2, Int64(limit))
        return try removeAll(of: selectExpired)
    }

    /// The number of the youngest body.
    var lastNumber: Int64 { nextNumber - 1 }

    /// Bytes after which a step of a removal ends, so that a put waits for little.
    private static let removedBytesMax: Int64 = 64 << 20

    private func removeAll(of rows: Statement) throws(DatabaseError) -> Int {
        var found: [(number: Int64, bytes: Int64)] = []
        var bytes: Int64 = 0
        while bytes < BodyFile.removedBytesMax, try rows.next("find bodies") {
            found.append((rows.integer(0), rows.integer(1)))
            bytes += rows.integer(1)
        }
        rows.reset()
        try remove(found)
        return found.count
    }

    private func remove(_ bodies: [(number: Int64, bytes: Int64)]) throws(DatabaseError) {
        for body in bodies {
            deleteParts.bind(1, body.number << BodyFile.partBits)
            deleteParts.bind(2, ((body.number + 1) << BodyFile.partBits) - 1)
            try deleteParts.run("remove a body's parts")
            deleteBody.bind(1, body.number)
            try deleteBody.run("remove a body")
            uncommitted.bodies -= 1
            uncommitted.bytes -= body.bytes
        }
    }
}
