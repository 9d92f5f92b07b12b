// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CFaultyVFS
import CQueuePoolSQLite
import QueuePoolCore
import Testing

@testable import QueuePoolEmbedded

@Suite("Commits that are carried into SQLite beside later ones")
struct CheckpointTests {
    private static let fileBytes = 256 << 10

    private let line = IdleLine.shared
    private let disk: FaultyDisk

    init() throws { disk = try FaultyDisk() }

    private func open(_ folder: String = "own") throws(DatabaseError) -> JournaledLog {
        try JournaledLog(
            path: disk.store(0, in: folder), vfs: disk.vfs, fileBytesMax: CheckpointTests.fileBytes, filesMax: 2)
    }

    private func body(_ row: Int64) -> [UInt8] { (0..<20_000).map { UInt8(truncatingIfNeeded: $0 &* Int(row)) } }

    /// Commits one more row, as a store's turn does.
    private func commit(to log: JournaledLog) throws(DatabaseError) -> Int64 {
        var row: Int64 = 0
        try log.commit(on: line) { () throws(DatabaseError) in
            row = try log.append(shard: 1, kind: 1, head: [1], body: body(log.nextRow))
        }
        log.checkpointIfDue(on: line)
        return row
    }

    /// The rows of a folder's log, each looked at byte for byte.
    private func rows(in folder: String) throws -> [Int64] {
        let log = try open(folder)
        defer { log.close() }
        var found: [Int64] = []
        try log.scan { _, row, _, _, _ in found.append(row) }
        for row in found { #expect(try log.body(row: row) == body(row), "row \(row)") }
        return found
    }

    @Test("keeps every commit, and the journal within twice the bytes after which it begins")
    func bounds() throws {
        let log = try open()
        for _ in 0..<300 { _ = try commit(to: log) }
        for file in 0..<2 {
            let bytes = SystemFile.byteCount(of: CommitJournal.path(of: log.file.path, file)) ?? 0
            #expect(bytes >= CheckpointTests.fileBytes)
            // The commit that reaches twice as many is in it whole, and the zeros ahead of it.
            #expect(bytes <= 2 * CheckpointTests.fileBytes + 24_576 + CheckpointTests.fileBytes / 4)
        }
        #expect(log.journal.paths.count == 2)
        log.close()
        #expect(try rows(in: "own") == Array(1...300))
    }

    @Test("whenever a process is killed or power is lost, every commit before is there")
    func cuts() throws {
        let log = try open()
        var newest: Int64 = 0
        for round in 0..<120 {
            newest = try commit(to: log)
            guard round % 5 == 4 else { continue }
            try disk.kill(to: "killed\(round)")
            try disk.losePower(to: "cut\(round)")
            #expect(try rows(in: "killed\(round)") == Array(1...newest))
            #expect(try rows(in: "cut\(round)") == Array(1...newest))
        }
        log.close()
    }

    @Test(
        "a write or flush that fails while it copies loses nothing that was committed",
        arguments: [FAULTY_SYNC, FAULTY_WRITE, FAULTY_WRITE_FULL], [FAULTY_MAIN, FAULTY_WAL])
    func failures(_ operation: faulty_operation, _ file: faulty_file) throws {
        for nth in [1, 2, 3, 5, 8] { try CheckpointTests().oneFailure(operation, file, nth) }
    }

    private func oneFailure(_ operation: faulty_operation, _ file: faulty_file, _ nth: Int) throws {
        let log = try open()
        var acknowledged: [Int64] = []
        for _ in 0..<10 { acknowledged.append(try commit(to: log)) }
        disk.fail(operation, of: file, nth: nth)
        for _ in 0..<30 where log.brokenBy == nil {
            do throws(DatabaseError) { acknowledged.append(try commit(to: log)) } catch {}
        }
        disk.fail(operation, of: file, nth: 0)
        try disk.losePower(to: "cut")
        log.close()
        let found = try rows(in: "cut")
        #expect(found.filter(Set(acknowledged).contains) == acknowledged, "fault \(nth)")
        // The one whose flush failed may be there, too.
        #expect(found.count <= acknowledged.count + 1, "fault \(nth)")
    }

    @Test("a failed flush of the file closes the log for writes")
    func failedFlush() throws {
        let log = try open()
        disk.fail(FAULTY_SYNC, of: FAULTY_MAIN)
        var failure: DatabaseError?
        for _ in 0..<100 where failure == nil {
            do throws(DatabaseError) { _ = try commit(to: log) } catch { failure = error }
        }
        #expect(failure?.code == DatabaseError.failedFlush)
        #expect(log.brokenBy == failure)
        log.close()
    }

    @Test("a connection that is not the only one may not leave WAL mode, and sees what was committed before it asks")
    func sharedFile() throws {
        let log = try LogFile(path: disk.store(0), vfs: disk.vfs)
        let row = "INSERT INTO log (shard, kind, head) VALUES (1, 1, 'x')"
        try log.commit { () throws(DatabaseError) in try log.database.execute(row) }
        let other = try Database(path: log.path, vfs: log.vfs)
        other.closeWithoutCheckpoint()
        let count = try other.prepare("SELECT count(*) FROM log")
        func counted() throws -> Int64 {
            defer { count.reset() }
            return try count.next("count the rows") ? count.integer(0) : -1
        }
        #expect(try counted() == 1)
        try log.commit { () throws(DatabaseError) in
            try log.database.execute(row)
            #expect((try? counted()) == 1)
            #expect(throws: DatabaseError.self, "two writers") { try other.execute("BEGIN IMMEDIATE") }
        }
        #expect(try counted() == 2)
        #expect(throws: DatabaseError.self) { try other.execute("PRAGMA journal_mode = DELETE") }
        // A reader is in the WAL.
        #expect(try count.next("count the rows"))
        #expect(throws: DatabaseError.self, "cut under a reader") {
            try LogFile.checkpoint(log.database, mode: SQLITE_CHECKPOINT_TRUNCATE)
        }
        count.reset()
        try LogFile.checkpoint(log.database, mode: SQLITE_CHECKPOINT_TRUNCATE)
        count.finalize()
        other.close()
        log.close()
    }
}
