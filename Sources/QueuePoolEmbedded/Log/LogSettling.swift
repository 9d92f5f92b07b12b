// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolSQLite
import Dispatch
import Synchronization

/// Carries what commits did into SQLite, beside later commits and over a connection of its own. In pieces, each of which
/// goes to the disk by itself, so that the journal's flushes have their turn in between. A kill in the middle costs
/// nothing: all of it is in the journal until the last piece says that it is settled, and is done again.
/// - Important: `database`, the statements and `journal` are touched on `queue` only, or when nothing is under way. That is what makes
///   it Sendable.
final class LogSettling: @unchecked Sendable {
    /// About what one piece writes; less where the journal's files are small because the disk is.
    private static let pieceBytesMax = 1 << 20
    private let pieceBytes: Int
    /// Pages in SQLite's log after which they are copied into the file, before it goes on.
    private let checkpointPages: Int32
    private let walPages: LogPages

    private enum State {
        case idle
        case underWay
        case done(DatabaseError?)
    }

    /// One file after the other: they share a disk.
    private static let queue = DispatchQueue(label: "queuepool.settling")

    private let database: Database
    private let insert: Statement
    private let update: Statement
    private let delete: Statement
    /// The journal's files, opened for this.
    private var journal: [Int: VFSFile] = [:]
    private let path: String
    private let vfs: String?
    private let state = Mutex(State.idle)
    private let end = DispatchSemaphore(value: 0)

    /// - Parameters:
    ///   - vfs: that of the journal; SQLite's own file is shared, see `Database.sharedVFS`.
    ///   - fileBytes: see `JournaledLog`.
    init(path: String, vfs: String?, fileBytes: Int) throws(DatabaseError) {
        pieceBytes = min(LogSettling.pieceBytesMax, fileBytes / 4)
        checkpointPages = Int32(fileBytes / Int(LogFile.pageBytes))
        self.path = path
        self.vfs = vfs
        database = try Database(path: path, vfs: try Database.sharedVFS(over: vfs))
        try database.execute(
            """
            PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -4096;
            PRAGMA cache_spill = OFF;
            """)
        database.closeWithoutCheckpoint()
        walPages = LogPages(of: database)
        insert = try database.prepare(
            "INSERT OR REPLACE INTO log (id, shard, kind, head, body) VALUES (?, ?, ?, ?, ?)")
        update = try database.prepare("UPDATE log SET head = ?, body = ? WHERE id = ?")
        delete = try database.prepare("DELETE FROM log WHERE id = ?")
    }

    /// Whether nothing is under way, nor ended without being taken.
    var isIdle: Bool { state.withLock { if case .idle = $0 { true } else { false } } }

    /// Begins; nothing may be under way.
    func begin(_ segment: CommitJournal.Segment) {
        state.withLock { $0 = .underWay }
        LogSettling.queue.async { [self] in
            let failure = settle(segment)
            state.withLock { $0 = .done(failure) }
            end.signal()
        }
    }

    /// How it ended.
    struct Outcome {
        let failure: DatabaseError?
    }

    /// - Returns: `nil` if nothing is under way, or it has not ended.
    func take() -> Outcome? {
        let outcome: Outcome? = state.withLock { state in
            guard case .done(let failure) = state else { return nil }
            state = .idle
            return Outcome(failure: failure)
        }
        if outcome != nil { end.wait() }
        return outcome
    }

    /// Waits for the end of what is under way.
    /// - Returns: `nil` if nothing was.
    func wait() -> Outcome? {
        guard !isIdle else { return nil }
        end.wait()
        return state.withLock { state in
            defer { state = .idle }
            guard case .done(let failure) = state else { return nil }
            return Outcome(failure: failure)
        }
    }

    /// Closes the connection; the file's other one must still be open.
    func close() {
        _ = wait()
        walPages.stop(database)
        for statement in [insert, update, delete] { statement.finalize() }
        for file in journal.values { file.close() }
        database.close()
    }

    private func file(_ number: Int) throws(DatabaseError) -> VFSFile {
        if let file = journal[number] { return file }
        let file = try VFSFile(path: CommitJournal.path(of: path, number), vfs: vfs)
        journal[number] = file
        return file
    }

    private func settle(_ segment: CommitJournal.Segment) -> DatabaseError? {
        do throws(DatabaseError) {
            let file = try file(segment.file)
            try segment.batch.forEachPiece(pieceBytes) { (piece, isLast) throws(DatabaseError) in
                try transact { () throws(DatabaseError) in
                    for change in piece { try apply(change, file) }
                    if isLast { try write(settled: segment.generation) }
                }
                try flush()
                if walPages.count >= checkpointPages { try LogFile.checkpoint(database) }
            }
        } catch { return error }
        // It is on stable storage. That the pages go into the file as well is only to keep the log short.
        do throws(DatabaseError) {
            try LogFile.checkpoint(database)
            return nil
        } catch { return error.isFatal ? error : nil }
    }

    private func transact(_ body: () throws(DatabaseError) -> Void) throws(DatabaseError) {
        try database.execute("BEGIN IMMEDIATE")
        do throws(DatabaseError) {
            try body()
            try database.execute("COMMIT")
        } catch {
            if database.isInTransaction { try? database.execute("ROLLBACK") }
            throw error
        }
    }

    private func flush() throws(DatabaseError) {
        let code = queuepool_sqlite_flush_wal(database.handle)
        guard code == SQLITE_OK else { throw DatabaseError(code: code, operation: "flush the WAL") }
    }

    private func write(settled generation: UInt64) throws(DatabaseError) {
        let statement = try database.prepare("INSERT OR REPLACE INTO meta (name, value) VALUES ('settled', ?)")
        defer { statement.finalize() }
        statement.bind(1, Int64(bitPattern: generation))
        try statement.run("write what is settled")
    }

    private func apply(_ change: LogBatch.Change, _ file: VFSFile) throws(DatabaseError) {
        switch change {
        case .remove(let row):
            delete.bind(1, row)
            try delete.run("delete a row")
        case .replace(let row, let place):
            let (head, body) = (try file.head(at: place), try file.body(at: place))
            try run(update, "rewrite a row", (1, head), (2, body)) { update.bind(3, row) }
        case .add(let number, let row):
            let (head, body) = (try file.head(at: row.place), try file.body(at: row.place))
            try run(insert, "add a row", (4, head), (5, body)) {
                insert.bind(1, number)
                insert.bind(2, row.shard)
                insert.bind(3, row.kind)
            }
        }
    }

    /// Runs a statement with two blobs, which are not copied.
    private func run(
        _ statement: Statement, _ operation: String, _ head: (place: Int32, bytes: [UInt8]),
        _ body: (place: Int32, bytes: [UInt8]?), _ bindOthers: () -> Void
    ) throws(DatabaseError) {
        var failure: DatabaseError?
        bindOthers()
        func step() {
            do throws(DatabaseError) { try statement.run(operation) } catch { failure = error }
        }
        head.bytes.withUnsafeBytes { bytes in
            statement.bind(head.place, bytes)
            guard let content = body.bytes else {
                statement.bindNull(body.place)
                return step()
            }
            content.withUnsafeBytes { bytes in
                statement.bind(body.place, bytes)
                step()
            }
        }
        if let failure { throw failure }
    }
}
