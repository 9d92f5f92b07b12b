// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule
import QueuePoolCore

// A store's log: SQLite, and before it a journal that takes commits. A commit in SQLite writes every page that it touches
// whole, two or three copies of its frames' bytes and their checksums, for a message that takes a part of one page. So a
// commit is one write at the end of a journal and one flush. The journal has files of 64 MiB. One in which nothing is left,
// because all of it was delivered and deleted, is used again, and SQLite never hears of it. When all are in use the oldest is
// carried into SQLite, many commits at a time and beside later ones: SQLite has what stays long. After a kill or a loss of
// power the journal is read again before anything is served.
//
// What SQLite alone knows (shards, labels, removals) is written there at once; a shard's removal settles everything first.

/// - Important: one thread at a time uses it, see `Store`.
final class JournaledLog: StoreLog {
    /// Bytes of a file after which the next is begun; fewer on a small disk, which must keep room for all of them, and for
    /// as much in SQLite.
    static let fileBytesMax = 64 << 20
    private static let fileBytesMin = 256 << 10
    let fileBytes: Int
    /// Bytes of a file, as a multiple of that, at which commits wait for SQLite.
    static let roomFactor = 2

    let file: LogFile
    var journal: CommitJournal
    private var record = JournalRecord()
    /// What the transaction under way does.
    private var steps: [JournalStep] = []
    /// Done in the current file.
    var fresh = LogBatch()
    /// Full files, oldest first.
    var waiting: Deque<CommitJournal.Segment> = []
    /// The oldest of all: being carried into SQLite; or that failed, and is tried again.
    var settling: CommitJournal.Segment?
    var settled: UInt64
    let vfs: String?
    var settler: LogSettling?
    /// Where in the current file the next try begins after one that failed.
    var retryOffset = 0
    private var marks: [String: FileMark] = [:]
    private var isOpen = true
    private(set) var nextRow: Int64

    /// Opens a log, or makes it, and carries into SQLite what a killed process left in its journal.
    /// - Parameters:
    ///   - vfs: see `LogFile`.
    ///   - fileBytesMax: see there.
    ///   - filesMax: files of the journal; fewer on a small disk, at least 2.
    init(
        path: String, vfs: String? = nil, fileBytesMax: Int = JournaledLog.fileBytesMax,
        filesMax: Int = CommitJournal.filesMax
    ) throws(DatabaseError) {
        file = try LogFile(path: path, vfs: vfs)
        self.vfs = vfs
        let total = min(SystemFile.room(at: file.directory)?.total ?? .max, SystemFile.fileBytesMax)
        let room = Int(total / 32)
        let filesMax = max(2, min(filesMax, room / JournaledLog.fileBytesMin))
        fileBytes = max(JournaledLog.fileBytesMin, min(fileBytesMax, room / filesMax))
        settled = UInt64(bitPattern: try file.integer("SELECT max(value) FROM meta WHERE name = 'settled'"))
        journal = try CommitJournal(
            store: path, vfs: vfs, settled: settled,
            growthBytes: min(CommitJournal.growthBytesMax, fileBytes / 4), filesMax: filesMax)
        nextRow = file.nextRow
        try recover()
    }

    private func recover() throws(DatabaseError) {
        for segment in try journal.found(after: settled) {
            // The process may have ended while it was carried into SQLite.
            fresh.isPartlySettled = true
            try journal.replay(segment) { apply($0) }
            if let row = fresh.newest { nextRow = max(nextRow, row + 1) }
            waiting.append(CommitJournal.Segment(file: segment.file, generation: segment.generation, batch: fresh))
            fresh = LogBatch()
        }
        // Also what has nothing left in it: records that nobody flushed must not come back by another crash.
        while let segment = waiting.popFirst() {
            settling = segment
            try finishSettling()
        }
        journal.restart(after: settled)
        mark()
    }

    deinit { close() }

    func close() {
        settler?.close()
        settler = nil
        guard isOpen else { return }
        isOpen = false
        // As SQLite does with its own log when it was copied.
        let isSettled = brokenBy == nil && settling == nil && waiting.isEmpty && journal.offset == 0
        if isSettled { journal.remove() } else { journal.close() }
        file.close()
    }

    /// One for journal and SQLite: what neither knows for sure, the other does not take either.
    var brokenBy: DatabaseError? {
        get { file.brokenBy }
        set { file.brokenBy = newValue }
    }

    func checkUsable() throws(DatabaseError) { if let brokenBy { throw brokenBy } }

    func checkPlace() {
        file.checkPlace()
        guard brokenBy == nil, LogFile.marks(marks.keys) != marks else { return }
        brokenBy = DatabaseError(code: ShardError.codeOfMovedFile, operation: "find the journal where it was")
    }

    /// Takes note of which files there are.
    func mark() { marks = LogFile.marks(journal.paths) }

    // MARK: - Transactions

    func commit(on line: (any CommitLine)?, _ body: () throws(DatabaseError) -> Void) throws(DatabaseError) {
        try checkUsable()
        defer {
            record.clear()
            steps.removeAll(keepingCapacity: true)
        }
        let start = journal.offset
        var isWriting = false
        do throws(DatabaseError) {
            try body()
            guard !record.isEmpty else { return }
            isWriting = true
            try journal.write(&record)
        } catch {
            // A row that cannot be read ends the transaction, and nothing was written.
            if error.isFatal || isWriting && !error.leavesCommitUndone { brokenBy = error }
            throw error
        }
        do throws(DatabaseError) {
            if let line {
                try line.waiting { () throws(DatabaseError) in try journal.flush() }
            } else {
                try journal.flush()
            }
        } catch {
            brokenBy = error
            throw error
        }
        for step in steps { apply(step.placed(at: start)) }
    }

    /// Does in memory what a commit did that is on stable storage.
    private func apply(_ step: JournalStep) {
        switch step {
        case .append(let row, let added): fresh.append(row, added)
        case .remove(let rows): for row in rows { remove(row) }
        case .replace(let row, let place): fresh.replace(row, place)
        }
    }

    /// A row that no batch brought, or one that is on its way into SQLite, is removed there.
    private func remove(_ row: Int64) {
        if fresh.forget(row) { return }
        for place in waiting.indices.reversed() where waiting[place].batch.forget(row) { return }
        fresh.remove(row)
    }

    func append(shard: Int64, kind: Int64, head: [UInt8], body: [UInt8]?) throws(DatabaseError) -> Int64 {
        let row = nextRow
        steps.append(record.append(row: row, shard: shard, kind: kind, head: head, body: body))
        nextRow = row + 1
        return row
    }

    func delete(row: Int64) throws(DatabaseError) { steps.append(record.remove([row])) }

    func replace(row: Int64, head: [UInt8], body: [UInt8]) throws(DatabaseError) {
        steps.append(record.replace(row: row, head: head, body: body))
    }

    func removeSlice(of rows: some Collection<Int64>) throws(DatabaseError) -> Int {
        let gone = Array(rows.prefix(LogFile.sliceRowsMax))
        if !gone.isEmpty { steps.append(record.remove(gone)) }
        return gone.count
    }

    // MARK: - Reading

    func head(row: Int64) throws(DatabaseError) -> [UInt8]? {
        try checkUsable()
        switch find(row) {
        case (.at(let place), let file)?: return try journal.head(at: place, of: file)
        case (.removed, _)?: return nil
        case nil: return try self.file.head(row: row)
        }
    }

    func body(row: Int64) throws(DatabaseError) -> [UInt8]? {
        try checkUsable()
        switch find(row) {
        case (.at(let place), let file)?: return try journal.body(at: place, of: file) ?? []
        case (.removed, _)?: return nil
        case nil: return try self.file.body(row: row)
        }
    }

    /// - Returns: what the journal knows of a row, and which of its files; `nil` if SQLite alone knows.
    private func find(_ row: Int64) -> (LogBatch.Found, file: Int)? {
        if let found = fresh.find(row) { return (found, journal.current) }
        for segment in waiting.reversed() {
            if let found = segment.batch.find(row) { return (found, segment.file) }
        }
        guard let settling, let found = settling.batch.find(row) else { return nil }
        return (found, settling.file)
    }

    func scan(_ visit: LogVisit) throws(DatabaseError) {
        try settleAll()
        try file.scan(visit)
    }

    func scanSlice(of shard: Int64, after: Int64, _ visit: LogVisit) throws(DatabaseError) -> Int64? {
        try settleAll()
        return try file.scanSlice(of: shard, after: after, visit)
    }

    func rows() throws(DatabaseError) -> [String: Int] {
        try settleAll()
        return try file.rows()
    }

    // MARK: - What SQLite alone knows

    var identities: [String: LogIdentity] { file.identities }
    var leaving: [Int64: Int64] { file.leaving }

    func identity(of name: String, random: () -> UInt64) throws(DatabaseError) -> LogIdentity {
        if let known = identities[name] { return known }
        try awaitSettling()
        return try file.identity(of: name, random: random)
    }

    func beginRemoval(of name: String) throws(DatabaseError) {
        try settleAll()
        try file.beginRemoval(of: name)
    }

    func removeSlice() throws(DatabaseError) -> Bool {
        try awaitSettling()
        return try file.removeSlice()
    }

    func label() throws(DatabaseError) -> StoreLabel? { try file.label() }

    func write(_ label: StoreLabel) throws(DatabaseError) {
        try awaitSettling()
        try file.write(label)
    }
}
