// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
package import QueuePoolCore
import Synchronization

// Idempotency keys in an SQLite file of their own, in the order in which they were remembered, so that the oldest are at
// its start and go from there. One thread commits for all that waits. What is of no more use goes a slice with each
// commit, several times as many rows as come.

package final class SQLiteIdempotencyStore: IdempotencyStore {
    private struct Waiting {
        var records: [IdempotencyRecord] = []
        var dones: [@Sendable (Bool) -> Void] = []
        var oldest: Int64 = 0
        var isWriting = false
    }

    /// Used by the thread of `thread` only, once `init` is over.
    private struct File: ~Copyable {
        let database: Database
        let insert: Statement
        let remove: Statement
        /// A number that no row is below.
        var first: Int64
        /// After a failed flush nobody knows what is on the disk, and what is written behind it may be lost with it.
        var isBroken = false
    }

    private let waiting = Mutex(Waiting())
    private let file: Mutex<File>
    private let found: Mutex<[IdempotencyRecord]>
    private let thread = DispatchQueue(label: "queuepool.idempotency")
    /// Rows that go with one commit beside four for each that comes.
    private static let removedMin: Int64 = 256
    /// The version of the file's tables.
    private static let schema: Int64 = 1

    /// Opens the file, or makes it, and reads what it has.
    /// - Parameter vfs: the name of a registered SQLite VFS to use instead of the default one.
    /// - Throws: `DatabaseError` if that can't be done, or a later version of the program wrote the file.
    package init(path: String, vfs: String? = nil) throws(DatabaseError) {
        let database = try Database(path: path, vfs: vfs)
        try database.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
        let version = try database.prepare("PRAGMA user_version")
        let schema = try version.next("read the version") ? version.integer(0) : 0
        version.finalize()
        guard schema <= SQLiteIdempotencyStore.schema else {
            throw DatabaseError(code: 26, operation: "read idempotency keys of version \(schema)")
        }
        try database.execute(
            """
            BEGIN IMMEDIATE;
            CREATE TABLE IF NOT EXISTS keys (number INTEGER PRIMARY KEY, key BLOB NOT NULL, fingerprint BLOB NOT NULL,
                at INTEGER NOT NULL, answer BLOB);
            PRAGMA user_version = \(SQLiteIdempotencyStore.schema);
            COMMIT
            """)
        let records = try SQLiteIdempotencyStore.read(database)
        found = Mutex(records)
        file = Mutex(
            File(
                database: database, insert: try database.prepare("INSERT INTO keys VALUES (?, ?, ?, ?, ?)"),
                remove: try database.prepare("DELETE FROM keys WHERE number < ?"), first: records.first?.number ?? 0))
    }

    package func takeRecords() -> [IdempotencyRecord] {
        found.withLock { records in
            defer { records = [] }
            return records
        }
    }

    package func save(_ record: IdempotencyRecord, oldest: Int64, done: @escaping @Sendable (_ isSaved: Bool) -> Void) {
        let mustWrite = waiting.withLock { waiting in
            waiting.records.append(record)
            waiting.dones.append(done)
            waiting.oldest = max(waiting.oldest, oldest)
            defer { waiting.isWriting = true }
            return !waiting.isWriting
        }
        if mustWrite { thread.async { self.write() } }
    }

    private func write() {
        while true {
            let batch = waiting.withLock { waiting -> Waiting? in
                guard !waiting.records.isEmpty else {
                    waiting.isWriting = false
                    return nil
                }
                defer {
                    waiting.records = []
                    waiting.dones = []
                }
                return waiting
            }
            guard let batch else { return }
            let isSaved = file.withLock { file in
                do throws(DatabaseError) {
                    try SQLiteIdempotencyStore.commit(batch.records, batch.oldest, &file)
                    return true
                } catch {
                    file.isBroken = file.isBroken || error.isFatal
                    if file.database.isInTransaction { try? file.database.execute("ROLLBACK") }
                    return false
                }
            }
            for done in batch.dones { done(isSaved) }
        }
    }

    private static func commit(
        _ records: [IdempotencyRecord], _ oldest: Int64, _ file: inout File
    ) throws(DatabaseError) {
        guard !file.isBroken else { throw DatabaseError(code: DatabaseError.failedFlush, operation: "write a key") }
        try file.database.execute("BEGIN IMMEDIATE")
        for record in records {
            file.insert.bind(1, record.number)
            file.insert.bind(2, copying: encode(record.key))
            file.insert.bind(3, copying: encode(record.fingerprint))
            file.insert.bind(4, record.at.milliseconds)
            if let answer = record.answer { file.insert.bind(5, copying: answer) } else { file.insert.bindNull(5) }
            try file.insert.run("write a key")
        }
        let first = min(oldest, file.first + removedMin + 4 * Int64(records.count))
        if first > file.first {
            file.remove.bind(1, first)
            try file.remove.run("remove old keys")
        }
        try file.database.execute("COMMIT")
        file.first = max(file.first, first)
    }

    private static func read(_ database: Database) throws(DatabaseError) -> [IdempotencyRecord] {
        let rows = try database.prepare("SELECT number, key, fingerprint, at, answer FROM keys ORDER BY number")
        defer { rows.finalize() }
        var records: [IdempotencyRecord] = []
        while try rows.next("read idempotency keys") {
            guard let key = decode(rows.bytes(1)), let fingerprint = decode(rows.bytes(2)) else { continue }
            records.append(
                IdempotencyRecord(
                    number: rows.integer(0), key: key, fingerprint: fingerprint,
                    at: Timestamp(milliseconds: rows.integer(3)), answer: rows.isNull(4) ? nil : rows.bytes(4)))
        }
        return records
    }

    private static func encode(_ hash: Hash128) -> [UInt8] {
        [hash.high, hash.low].flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> (56 - 8 * $0)) } }
    }

    private static func decode(_ bytes: [UInt8]) -> Hash128? {
        guard bytes.count == 16 else { return nil }
        let words = [bytes[..<8], bytes[8...]].map { $0.reduce(UInt64(0)) { $0 << 8 | UInt64($1) } }
        return Hash128(high: words[0], low: words[1])
    }
}
