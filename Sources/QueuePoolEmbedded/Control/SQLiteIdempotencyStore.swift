// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
package import QueuePoolCore
import Synchronization

// Idempotency keys in an SQLite file of their own, in the order in which they were remembered, so that the oldest are at
// its start and go from there. One thread commits for all that waits. What is of no more use goes a slice with each
// commit, several times as many rows as come.
//
// Sealed, the column `key` has the sealed key, fingerprint, time and whether there is an answer, and `fingerprint` has no
// byte; a program without the key passes such a row over, as it does all that is no key. The file's version says that
// there may be such rows.

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
    private let sealing: StoreSealing?
    /// Rows that were not as they were sealed when the file was opened; their keys are forgotten.
    package let damagedCount: Int
    /// Rows that go with one commit beside four for each that comes.
    private static let removedMin: Int64 = 256
    /// The version of the file's tables.
    private static let schema: Int64 = 2
    /// The version of a file that never had a data key.
    private static let plainSchema: Int64 = 1

    /// Opens the file, or makes it, and reads what it has.
    /// - Parameters:
    ///   - keys: what gives the file its data key; `nil`: records are stored as they are.
    ///   - vfs: the name of a registered SQLite VFS to use instead of the default one.
    /// - Throws: `DatabaseError` if that can't be done, or a later version of the program wrote the file.
    package init(path: String, keys: (any StoreKeys)? = nil, vfs: String? = nil) throws(DatabaseError) {
        let sealing = try keys?.sealing(ofFileAt: path)
        self.sealing = sealing
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
            PRAGMA user_version = \(max(schema, sealing == nil ? SQLiteIdempotencyStore.plainSchema : SQLiteIdempotencyStore.schema));
            COMMIT
            """)
        let (records, damaged) = try SQLiteIdempotencyStore.read(database, sealing)
        damagedCount = damaged
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
                    try SQLiteIdempotencyStore.commit(batch.records, batch.oldest, sealing, &file)
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
        _ records: [IdempotencyRecord], _ oldest: Int64, _ sealing: StoreSealing?, _ file: inout File
    ) throws(DatabaseError) {
        guard !file.isBroken else { throw DatabaseError(code: DatabaseError.failedFlush, operation: "write a key") }
        try file.database.execute("BEGIN IMMEDIATE")
        for record in records {
            let columns = try columns(of: record, sealing)
            file.insert.bind(1, record.number)
            file.insert.bind(2, copying: columns.key)
            file.insert.bind(3, copying: columns.fingerprint)
            file.insert.bind(4, record.at.milliseconds)
            if let answer = columns.answer { file.insert.bind(5, copying: answer) } else { file.insert.bindNull(5) }
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

    private static func read(
        _ database: Database, _ sealing: StoreSealing?
    ) throws(DatabaseError) -> (records: [IdempotencyRecord], damaged: Int) {
        let rows = try database.prepare("SELECT number, key, fingerprint, at, answer FROM keys ORDER BY number")
        defer { rows.finalize() }
        var records: [IdempotencyRecord] = []
        var damaged = 0
        while try rows.next("read idempotency keys") {
            let columns = Columns(
                key: rows.bytes(1), fingerprint: rows.bytes(2), answer: rows.isNull(4) ? nil : rows.bytes(4))
            if let record = record(rows.integer(0), columns, at: rows.integer(3), sealing) {
                records.append(record)
            } else {
                damaged += 1
            }
        }
        return (records, damaged)
    }
}
