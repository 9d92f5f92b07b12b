// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CFaultyVFS
import CQueuePoolSQLite
import Dispatch
import Foundation
import QueuePoolCore
import QueuePoolTestSupport
import Testing

@testable import QueuePoolEmbedded

@Suite("A log with a journal")
struct JournaledLogTests {
    private struct LogRow: Equatable {
        let shard: Int64
        let kind: Int64
        var head: [UInt8]
        var body: [UInt8]?
    }

    private struct Model {
        var rows: [Int64: LogRow] = [:]
    }

    private static func open(
        _ disk: FaultyDisk, _ folder: String = "own", files: Int = 2
    ) throws(DatabaseError) -> JournaledLog {
        try JournaledLog(path: disk.store(0, in: folder), vfs: disk.vfs, fileBytesMax: 256 << 10, filesMax: files)
    }

    /// What a log holds: by a scan, and by asking for each row.
    private static func contents(of log: JournaledLog, _ known: some Sequence<Int64>) throws -> [Int64: LogRow] {
        var read: [Int64: (head: [UInt8]?, body: [UInt8]?)] = [:]
        for row in known { read[row] = (try log.head(row: row), try log.body(row: row)) }
        var rows: [Int64: LogRow] = [:]
        try log.scan { shard, row, kind, head, bodyBytes in
            rows[row] = LogRow(shard: shard, kind: kind, head: head, body: bodyBytes > 0 ? [] : nil)
        }
        for (row, found) in rows {
            let body = try log.body(row: row)
            rows[row]?.body = found.body == nil ? nil : body
            if let early = read[row] { #expect(early.head == found.head && early.body == body, "row \(row)") }
        }
        for (row, early) in read where rows[row] == nil { #expect(early.head == nil && early.body == nil) }
        return rows
    }

    private static func randomBytes(_ count: Int, _ random: inout SplitMix64) -> [UInt8] {
        (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    }

    /// One transaction of a few random steps, on a log and in a model of it.
    private static func change(
        _ log: JournaledLog, _ model: inout Model, _ random: inout SplitMix64
    ) throws(DatabaseError) {
        var next = model
        try log.commit(on: nil) { () throws(DatabaseError) in
            for _ in 0...Int.random(in: 0..<3, using: &random) {
                let old = next.rows.keys.sorted().randomElement(using: &random)
                switch (Int.random(in: 0..<10, using: &random), old) {
                case (0..<2, let row?):
                    try log.delete(row: row)
                    next.rows[row] = nil
                case (2, let row?):
                    let (head, body) = (randomBytes(9, &random), randomBytes(100, &random))
                    try log.replace(row: row, head: head, body: body)
                    next.rows[row]?.head = head
                    next.rows[row]?.body = body
                case (3, .some):
                    let rows = next.rows.keys.sorted().prefix(3)
                    for row in rows.prefix(try log.removeSlice(of: rows)) { next.rows[row] = nil }
                default:
                    let body =
                        Bool.random(using: &random)
                        ? randomBytes(Int.random(in: 1..<9_000, using: &random), &random) : nil
                    let added = LogRow(
                        shard: Int64.random(in: 1...3, using: &random), kind: 1,
                        head: randomBytes(Int.random(in: 1..<80, using: &random), &random), body: body)
                    let row = try log.append(shard: added.shard, kind: 1, head: added.head, body: body)
                    next.rows[row] = added
                }
            }
        }
        model = next
    }

    @Test(
        "holds what was committed, through kills and losses of power at any time",
        arguments: 1...12 as ClosedRange<UInt64>)
    func model(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let disk = try FaultyDisk()
        var (folder, model) = ("own", Model())
        let files = Int.random(in: 2...5, using: &random)
        var log = try JournaledLogTests.open(disk, files: files)
        for round in 0..<8 {
            for _ in 0..<Int.random(in: 1..<60, using: &random) {
                try JournaledLogTests.change(log, &model, &random)
                if Int.random(in: 0..<3, using: &random) > 0 { log.checkpointIfDue(on: IdleLine.shared) }
            }
            switch Int.random(in: 0..<4, using: &random) {
            case 0: log.checkpoint()
            case 1: log.shrink()
            default: break
            }
            let next = "\(round)"
            switch Int.random(in: 0..<3, using: &random) {
            case 0:
                try disk.kill(folder, to: next)
                log.close()
            case 1:
                try disk.losePower(folder, to: next)
                log.close()
            default:
                log.close()
                try disk.losePower(folder, to: next)
            }
            folder = next
            log = try JournaledLogTests.open(disk, folder, files: files)
            let found = try JournaledLogTests.contents(of: log, model.rows.keys)
            let wrong = Set(found.keys).union(model.rows.keys).filter { found[$0] != model.rows[$0] }
            let (tooMany, missing) = (wrong.filter { model.rows[$0] == nil }, wrong.filter { found[$0] == nil })
            #expect(
                wrong.isEmpty,
                "seed \(seed), round \(round): too many \(tooMany.sorted()), missing \(missing.sorted()) of \(wrong.count)"
            )
        }
        log.close()
    }

    @Test(
        "after a write or a flush that fails has every commit that was answered, whatever comes then",
        arguments: [FAULTY_SYNC, FAULTY_WRITE, FAULTY_WRITE_FULL], [FAULTY_MAIN, FAULTY_WAL])
    func faults(_ operation: faulty_operation, _ file: faulty_file) throws {
        for seed in 1...25 as ClosedRange<UInt64> {
            var random = SplitMix64(seed: seed)
            let disk = try FaultyDisk()
            var model = Model()
            let log = try JournaledLogTests.open(disk)
            disk.fail(operation, of: file, nth: Int.random(in: 1..<60, using: &random))
            var isUnknown = false
            for _ in 0..<120 where log.brokenBy == nil {
                do throws(DatabaseError) { try JournaledLogTests.change(log, &model, &random) } catch {
                    isUnknown = log.brokenBy != nil
                }
                log.checkpointIfDue(on: IdleLine.shared)
            }
            if log.brokenBy == nil {
                // Read where it lies now: journal, memory or SQLite.
                let found = try? JournaledLogTests.contents(of: log, model.rows.keys)
                if let found { #expect(found == model.rows, "seed \(seed)") }
            }
            disk.fail(operation, of: file, nth: 0)
            try disk.losePower(to: "cut")
            log.close()
            let left = try JournaledLogTests.open(disk, "cut")
            let found = try JournaledLogTests.contents(of: left, [])
            // The commit whose flush failed may be there: its answer said that nobody knows.
            if !isUnknown { #expect(found == model.rows, "seed \(seed)") }
            left.close()
        }
    }

    @Test("does not take an earlier use of its file for its own")
    func earlierUse() throws {
        let disk = try FaultyDisk()
        let log = try JournaledLogTests.open(disk)
        // The same sizes in every generation, so that old records begin where a new one ends.
        func add() throws -> Int64 {
            var row: Int64 = 0
            try log.commit(on: nil) { () throws(DatabaseError) in
                row = try log.append(shard: 1, kind: 1, head: [1], body: [UInt8](repeating: 7, count: 5_000))
            }
            return row
        }
        var rows: [Int64] = []
        for _ in 0..<3 {
            for _ in 0..<4 { rows.append(try add()) }
            log.checkpoint()
        }
        // They are in SQLite and in both files; gone, they must not come back from there.
        try log.commit(on: nil) { () throws(DatabaseError) in _ = try log.removeSlice(of: rows) }
        log.checkpoint()
        let last = try add()
        try disk.kill(to: "killed")
        log.close()
        let left = try JournaledLogTests.open(disk, "killed")
        #expect(try JournaledLogTests.contents(of: left, []).keys.sorted() == [last])
        left.close()
    }

    @Test("ends a journal at the first record that is damaged, and reads none behind it")
    func damage() throws {
        let disk = try FaultyDisk()
        let log = try JournaledLogTests.open(disk)
        for number in 0..<5 as Range<UInt8> {
            try log.commit(on: nil) { () throws(DatabaseError) in
                _ = try log.append(shard: 1, kind: 1, head: [number], body: [UInt8](repeating: number, count: 3_000))
            }
        }
        try disk.kill(to: "killed")
        log.close()
        let path = CommitJournal.path(of: disk.store(0, in: "killed"), 0)
        let file = try #require(FileHandle(forUpdatingAtPath: path))
        try file.seek(toOffset: UInt64(2 * JournalRecord.pageBytes + 1_000))
        try file.write(contentsOf: [0xFF])
        try file.close()
        let left = try JournaledLogTests.open(disk, "killed")
        #expect(try JournaledLogTests.contents(of: left, []).keys.sorted() == [1, 2])
        left.close()
    }

    @Test("a journal that finds no room goes on at its start once SQLite has what it did")
    func noRoom() throws {
        let disk = try FaultyDisk()
        let log = try JournaledLogTests.open(disk)
        func add() throws(DatabaseError) {
            try log.commit(on: nil) { () throws(DatabaseError) in
                _ = try log.append(shard: 1, kind: 1, head: [1], body: [UInt8](repeating: 7, count: 5_000))
            }
        }
        for _ in 0..<5 { try add() }
        disk.fail(FAULTY_WRITE_FULL, of: FAULTY_WAL)
        #expect(throws: DatabaseError.self) { try add() }
        #expect(log.brokenBy == nil)
        log.checkpoint()
        #expect(log.journal.offset == 0 && log.journal.paths.count == 1, "it needs no other file")
        try add()
        // What SQLite does not take is kept, and read.
        disk.fail(FAULTY_WRITE_FULL, of: FAULTY_WAL)
        log.checkpoint()
        #expect(log.journal.offset > 0)
        #expect(try log.head(row: 7) == [1])
        try add()
        try disk.losePower(to: "cut")
        log.close()
        let left = try JournaledLogTests.open(disk, "cut")
        #expect(try JournaledLogTests.contents(of: left, []).keys.sorted() == [1, 2, 3, 4, 5, 7, 8])
        left.close()
    }

    @Test("a transaction that cannot read a row does nothing, and ends nothing else")
    func unreadable() throws {
        let disk = try FaultyDisk()
        let log = try JournaledLogTests.open(disk)
        #expect(throws: DatabaseError.self) {
            try log.commit(on: nil) { () throws(DatabaseError) in
                _ = try log.append(shard: 1, kind: 1, head: [1], body: [1])
                throw DatabaseError(code: SQLITE_IOERR | (1 << 8), operation: "read a row")
            }
        }
        #expect(log.brokenBy == nil)
        try log.commit(on: nil) { () throws(DatabaseError) in
            _ = try log.append(shard: 1, kind: 1, head: [2], body: [2])
        }
        #expect(try JournaledLogTests.contents(of: log, []).values.map(\.head) == [[2]])
        log.close()
    }

    @Test("power that is lost between two pieces on their way into SQLite loses nothing", arguments: 1...8)
    func cutWhileSettling(flush: Int) throws {
        let disk = try FaultyDisk()
        let log = try JournaledLogTests.open(disk)
        for _ in 0..<6 {
            // Each is a piece of its own.
            try log.commit(on: nil) { () throws(DatabaseError) in
                _ = try log.append(shard: 1, kind: 1, head: [1], body: [UInt8](repeating: 7, count: 70_000))
            }
        }
        disk.fail(FAULTY_SYNC, of: FAULTY_WAL, nth: flush)
        log.checkpoint()
        disk.fail(FAULTY_SYNC, of: FAULTY_WAL, nth: 0)
        #expect(disk.failures == 1, "the test cuts nothing")
        try disk.losePower(to: "cut")
        log.close()
        let left = try JournaledLogTests.open(disk, "cut")
        #expect(try JournaledLogTests.contents(of: left, []).keys.sorted() == Array(1...6))
        left.close()
    }

    @Test(
        "what was removed after a part of its file had come into SQLite does not come back", arguments: [8, 20, 32],
        [true, false])
    func removedBetweenPieces(write: Int, isFull: Bool) throws {
        let disk = try FaultyDisk()
        var log = try JournaledLogTests.open(disk, files: 3)
        for _ in 0..<(isFull ? 4 : 3) {
            // Each is a piece of its own; four fill a file.
            try log.commit(on: nil) { () throws(DatabaseError) in
                _ = try log.append(shard: 1, kind: 1, head: [1], body: [UInt8](repeating: 7, count: 70_000))
            }
        }
        disk.fail(FAULTY_WRITE_FULL, of: FAULTY_WAL, nth: write)
        if isFull {
            // In the background, and the file stays as it is.
            while log.settler == nil {
                log.checkpointIfDue(on: IdleLine.shared)
                try log.commit(on: nil) { () throws(DatabaseError) in
                    _ = try log.append(shard: 1, kind: 1, head: [1], body: [UInt8](repeating: 7, count: 30_000))
                }
            }
            try? log.awaitSettling()
        } else {
            // The current file, which goes on.
            log.checkpoint()
        }
        disk.fail(FAULTY_WRITE_FULL, of: FAULTY_WAL, nth: 0)
        #expect(disk.failures == 1 && log.brokenBy == nil, "the test cuts nothing")
        try log.commit(on: nil) { () throws(DatabaseError) in for row in 1...3 { try log.delete(row: Int64(row)) } }
        let left = log.nextRow - 1
        try disk.kill(to: "killed")
        log.close()
        for (number, folder) in ["own", "killed"].enumerated() {
            log = try JournaledLogTests.open(disk, folder, files: 3)
            let found = try JournaledLogTests.contents(of: log, []).keys.sorted()
            #expect(found == Array(4..<max(4, left + 1)), "\(number == 0 ? "closed" : "killed")")
            log.close()
        }
    }

    @Test("a file in which nothing is left is used again, and SQLite never hears of it")
    func deadFiles() throws {
        let disk = try FaultyDisk()
        let log = try JournaledLogTests.open(disk, files: 4)
        var kept: Int64 = 0
        for round in 0..<400 {
            try log.commit(on: nil) { () throws(DatabaseError) in
                let row = try log.append(shard: 1, kind: 1, head: [1], body: [UInt8](repeating: 7, count: 9_000))
                if round == 399 { kept = row } else { try log.delete(row: row) }
            }
            log.checkpointIfDue(on: IdleLine.shared)
        }
        #expect(log.settled == 0 && log.waiting.count <= 1)
        try disk.kill(to: "killed")
        log.close()
        let left = try JournaledLogTests.open(disk, "killed", files: 4)
        #expect(try JournaledLogTests.contents(of: left, []).keys.sorted() == [kept])
        left.close()
    }

    @Test("a file from before there were journals is taken over")
    func olderFormat() throws {
        let disk = try FaultyDisk()
        let file = try LogFile(path: disk.store(0), vfs: disk.vfs)
        try file.commit { () throws(DatabaseError) in
            try file.database.execute("INSERT INTO log (shard, kind, head, body) VALUES (1, 1, x'05', x'06')")
            try file.database.execute("UPDATE meta SET value = 2 WHERE name = 'format'")
        }
        file.close()
        let log = try JournaledLogTests.open(disk)
        #expect(
            try JournaledLogTests.contents(of: log, [1])
                == [1: LogRow(shard: 1, kind: 1, head: [5], body: [6])])
        #expect(log.nextRow == 2)
        log.close()
    }
}

/// A line on which nobody waits for anybody.
final class IdleLine: CommitLine {
    static let shared = IdleLine()
    let tickCount = 0
    func add(_ store: Store) {}
    func remove(_ store: Store) {}
    func schedule(_ store: Store) {}
    func beginWaiting() {}
    func endWaiting() {}
    func wait(until isDone: DispatchSemaphore) { isDone.wait() }
}
