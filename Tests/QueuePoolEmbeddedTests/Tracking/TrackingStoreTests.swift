// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CFaultyVFS
import Foundation
import QueuePoolCore
import Testing

@testable import QueuePoolEmbedded

private let start = Timestamp(milliseconds: 1_800_000_000_000)

private func message(_ number: Int, padding: Int = 0) -> TrackingRecord {
    let id = MessageID(shard: ShardTag(rawValue: 77), sequence: SequenceNumber(rawValue: Int64(number)))
    var record = TrackingRecord(id: id.description, state: .queued, at: start + Int64(number))
    record.tags = padding > 0 ? String(repeating: "x", count: padding) : nil
    return record
}

extension SQLiteTrackingStore {
    private func pool() throws -> PoolName { try #require(PoolName("emails.fifo")) }

    fileprivate func save(_ numbers: some Sequence<Int>, ends: Int64 = 1_000_000, padding: Int = 0) async throws {
        try await save(numbers.map { message($0, padding: padding) }, ofPool: pool(), expiresAt: start + ends)
    }

    fileprivate func has(_ number: Int) async throws -> Bool {
        try await record(message(number).id, ofPool: pool(), now: start) != nil
    }

    fileprivate func removeAll() async throws { try await removeAll(ofPool: pool()) }
}

@Suite struct `The file of tracking records` {
    private let directory = NSTemporaryDirectory() + "queuepool-tracking-\(UUID().uuidString)"
    private var path: String { directory + "/" + SQLiteTrackingStore.fileName }

    init() throws { try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true) }

    private func remove() { try? FileManager.default.removeItem(atPath: directory) }

    /// Looks into the file, which nobody may have open.
    private func count(_ query: String) throws -> Int64 {
        let database = try Database(path: path)
        defer { database.close() }
        return try database.integer(query)
    }

    @Test func `keeps what was saved when it is opened again, and makes files for its owner alone`() async throws {
        defer { remove() }
        let first = try SQLiteTrackingStore(path: path)
        try await first.save(0..<100)
        let names = try FileManager.default.contentsOfDirectory(atPath: directory)
        #expect(names.contains("tracking.sqlite") && names.contains("tracking.sqlite-wal"))
        for name in names {
            let mode = try FileManager.default.attributesOfItem(atPath: directory + "/" + name)[.posixPermissions]
            #expect(mode as? Int == 0o600, "\(name)")
        }
        first.close()
        let second = try SQLiteTrackingStore(path: path)
        for number in 0..<100 { #expect(try await second.has(number)) }
        second.close()
    }

    @Test func `gives an id that is a UUID sixteen bytes, and every other one more`() async throws {
        defer { remove() }
        let store = try SQLiteTrackingStore(path: path)
        try await store.save(0..<10)
        let pool = try #require(PoolName("emails.fifo"))
        let other = TrackingRecord(id: "a", state: .sent, at: start)
        try await store.save([other], ofPool: pool, expiresAt: start + 9)
        store.close()
        #expect(try count("SELECT count(*) FROM records WHERE length(id) = 16 AND typeof(id) = 'blob'") == 10)
        #expect(try count("SELECT count(*) FROM records WHERE length(id) > 16") == 1)
    }

    @Test func `takes nothing after it was closed, and what was asked for before is done`() async throws {
        defer { remove() }
        let store = try SQLiteTrackingStore(path: path)
        try await store.save([1])
        store.close()
        store.close()
        let closed = TrackingStoreError(code: "Closed")
        await #expect(throws: closed) { try await store.save([2]) }
        await #expect(throws: closed) { try await store.has(1) }
        await #expect(throws: closed) { try await store.removeAll() }
        await #expect(throws: closed) { try await store.removeExpired(now: start) }
        #expect(try count("SELECT count(*) FROM records") == 1)
    }

    @Test func `removes what is over as others come, four times as many`() async throws {
        defer { remove() }
        let store = try SQLiteTrackingStore(path: path)
        try await store.save(0..<3_000, ends: 10)
        try await store.save(3_000..<3_100, ends: 20)
        // By this the store knows the time.
        #expect(try await store.removeExpired(now: start + 5) == 0)
        _ = try await store.record("none", ofPool: #require(PoolName("emails.fifo")), now: start + 10)
        for number in 0..<6 { try await store.save(5_000 + 100 * number..<5_100 + 100 * number, ends: 30) }
        store.close()
        // 656 with each commit, so 5 commits remove 3,000; none of those that end later.
        #expect(try count("SELECT count(*) FROM records WHERE expires_at <= \(start.milliseconds + 10)") == 0)
        #expect(try count("SELECT count(*) FROM records") == 700)
    }

    @Test func `removes what is over when it is asked to, and tells how many`() async throws {
        defer { remove() }
        let store = try SQLiteTrackingStore(path: path)
        try await store.save(0..<2_500, ends: 10)
        try await store.save(2_500..<2_600, ends: 11)
        #expect(try await store.removeExpired(now: start + 9) == 0)
        #expect(try await store.removeExpired(now: start + 10) == 2_500)
        #expect(try await store.removeExpired(now: start + 10) == 0)
        #expect(try await store.has(2_599))
        #expect(store.droppedCount == 0)
        store.close()
        #expect(try count("SELECT count(*) FROM records") == 100)
    }

    @Test func `drops the oldest when it is full, counts them, and stays as large as it may be`() async throws {
        defer { remove() }
        let bytesMax = 2 << 20
        let store = try SQLiteTrackingStore(path: path, bytesMax: bytesMax)
        // About 10 MB in all.
        for turn in 0..<50 {
            try await store.save(turn * 200..<turn * 200 + 200, ends: 1_000 + Int64(turn), padding: 1_000)
            // The latest are never those that go.
            for number in [turn * 200, turn * 200 + 199] { #expect(try await store.has(number)) }
        }
        #expect(try await !store.has(0))
        let dropped = store.droppedCount
        store.close()
        let left = try count("SELECT count(*) FROM records")
        #expect(dropped > 5_000 && Int64(dropped) + left == 10_000)
        // Enough stay: what goes at one time is a slice.
        #expect(left > 500)
        #expect(try count("SELECT max(expires_at) FROM records") == start.milliseconds + 1_049)
        let bytes = try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int ?? .max
        #expect(bytes < bytesMax + (1 << 20), "a batch more at most")
    }

    @Test func `gives a pool that was removed a number that no row has`() async throws {
        defer { remove() }
        for _ in 0..<3 {
            let store = try SQLiteTrackingStore(path: path)
            try await store.save([1])
            try await store.removeAll()
            #expect(try await !store.has(1))
            store.close()
        }
        let store = try SQLiteTrackingStore(path: path)
        #expect(try await !store.has(1))
        #expect(try await store.removeExpired(now: start + 1_000_000) == 3)
        store.close()
    }

    @Test func `refuses a file of another program's, or of a later version, and leaves it as it is`() throws {
        defer { remove() }
        let sound = try Database(path: path)
        try sound.execute("CREATE TABLE theirs (a); PRAGMA user_version = 1")
        sound.close()
        #expect(throws: DatabaseError.self) { try SQLiteTrackingStore(path: path) }
        #expect(try count("SELECT count(*) FROM sqlite_schema") == 1)
        try FileManager.default.removeItem(atPath: path)
        try SQLiteTrackingStore(path: path).close()
        let later = try Database(path: path)
        try later.execute("PRAGMA user_version = 2")
        later.close()
        #expect(throws: DatabaseError.self) { try SQLiteTrackingStore(path: path) }
        try Data(repeating: 65, count: 8_192).write(to: URL(fileURLWithPath: path))
        #expect(throws: DatabaseError.self) { try SQLiteTrackingStore(path: path) }
    }
}

@Suite struct `Tracking records on a disk that fails` {
    private func open(_ disk: FaultyDisk, _ folder: String = "own") throws -> SQLiteTrackingStore {
        try SQLiteTrackingStore(path: disk.folder(folder) + "/tracking.sqlite", vfs: disk.vfs)
    }

    @Test func `are refused when it is full, and taken when it has room`() async throws {
        let disk = try FaultyDisk()
        let store = try open(disk)
        try await store.save([1])
        disk.fail(FAULTY_WRITE_FULL, of: FAULTY_WAL)
        await #expect(throws: TrackingStoreError(code: "SQLITE_FULL")) { try await store.save(2..<9) }
        #expect(disk.failures == 1)
        #expect(try await store.has(1))
        #expect(try await !store.has(2))
        try await store.save(2..<9)
        #expect(try await store.has(8))
        store.close()
        let again = try open(disk)
        for number in 1..<9 { #expect(try await again.has(number)) }
        again.close()
    }

    @Test func `are refused by name when a write fails, also the first of a pool`() async throws {
        let disk = try FaultyDisk()
        let store = try open(disk)
        disk.fail(FAULTY_WRITE, of: FAULTY_WAL)
        await #expect(throws: TrackingStoreError(code: "SQLITE_IOERR_WRITE")) { try await store.save([1]) }
        #expect(disk.failures == 1)
        try await store.save([1])
        #expect(try await store.has(1))
        store.close()
        let again = try open(disk)
        #expect(try await again.has(1))
        again.close()
    }

    @Test func `are lost by a loss of power, a latest part of them, and nothing else is damaged`() async throws {
        let disk = try FaultyDisk()
        let store = try open(disk)
        for turn in 0..<100 { try await store.save(turn * 200..<turn * 200 + 200, padding: 1_000) }
        try disk.losePower(to: "next")
        store.close()
        let next = try open(disk, "next")
        var found: [Bool] = []
        for turn in 0..<100 {
            let isThere = try await next.has(turn * 200)
            #expect(try await next.has(turn * 200 + 199) == isThere, "half a commit")
            found.append(isThere)
        }
        let kept = found.prefix { $0 }.count
        // 20 MB went through a log of 16.
        #expect(kept > 20)
        #expect(found.dropFirst(kept).allSatisfy { !$0 })
        try await next.save([1_000_000])
        next.close()
        let file = try Database(path: disk.folder("next") + "/tracking.sqlite")
        defer { file.close() }
        #expect(try file.integer("SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'") == 1)
    }

    @Test func `are taken no more after a flush that failed, until the file is opened again`() async throws {
        let disk = try FaultyDisk()
        let store = try open(disk)
        try await store.save([1])
        disk.fail(FAULTY_SYNC, of: FAULTY_WAL)
        let failed = TrackingStoreError(code: "SQLITE_IOERR_FSYNC")
        // The flush comes with the copy of a long log, which no save waits for.
        var turn = 0
        while turn < 200 {
            turn += 1
            do { try await store.save(turn * 200..<turn * 200 + 200, padding: 1_000) } catch {
                #expect(error as? TrackingStoreError == failed)
                break
            }
        }
        #expect(disk.failures == 1)
        #expect(turn > 20 && turn < 200)
        await #expect(throws: failed) { try await store.save([0]) }
        #expect(try await store.has(1))
        store.close()
        let again = try open(disk)
        #expect(try await again.has(1))
        try await again.save([0])
        again.close()
    }
}
