// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CFaultyVFS
import QueuePoolCore
import QueuePoolTestSupport
import Testing

@testable import QueuePoolEmbedded

@Suite("Removal of what a store holds")
struct StoreRemovalTests {
    private func fill(_ shard: any Shard, _ count: Int) async throws {
        let large = String(repeating: "x", count: 200_000)
        for number in 0..<count { _ = try await shard.put("\(number)" + large) }
    }

    private func rows(_ disk: FaultyDisk, _ name: String = "own") throws -> (leaving: Int64, log: Int64) {
        let database = try Database(path: disk.store(0, in: name), vfs: disk.vfs)
        try database.execute("PRAGMA locking_mode = EXCLUSIVE")
        func count(_ table: String) throws -> Int64 {
            let statement = try database.prepare("SELECT count(*) FROM \(table)")
            defer { statement.finalize() }
            return try statement.next("count") ? statement.integer(0) : -1
        }
        return (try count("leaving"), try count("log"))
    }

    @Test("goes in slices, and leaves other shards' messages alone")
    func slices() async throws {
        let disk = try FaultyDisk()
        let factory = try disk.factory()
        let (old, kept) = (
            try factory.open(name: "old-0000.fifo", attributes: QueueAttributes()),
            try factory.open(name: "a-0000.fifo", attributes: QueueAttributes())
        )
        _ = try await kept.put("1")
        try await fill(old, 30)
        _ = try await kept.put("2")
        old.close()
        kept.close()
        let file = try JournaledLog(path: disk.store(0), vfs: disk.vfs)
        try file.beginRemoval(of: "old-0000.fifo")
        var count = 1
        while try file.removeSlice() { count += 1 }
        file.close()
        #expect(count > 30 * 200_000 / LogFile.sliceBytesMax, "slices: \(count)")
        let again = try disk.open()
        #expect(try await again.get().map(\.body) == ["1", "2"])
        again.close()
        #expect(try rows(disk).leaving == 0)
    }

    @Test("goes on after a loss of power, and the name is free at once")
    func resumed() async throws {
        let disk = try FaultyDisk()
        let factory = try disk.factory()
        let (old, kept) = (
            try factory.open(name: "old-0000.fifo", attributes: QueueAttributes()),
            try factory.open(name: "a-0000.fifo", attributes: QueueAttributes())
        )
        try await fill(old, 30)
        _ = try await kept.put("1")
        old.close()
        kept.close()
        // All messages are in SQLite.
        let keptAgain = try factory.open(name: "a-0000.fifo", attributes: QueueAttributes())
        // The journal is carried into SQLite, with three flushes; the log begins anew, with another one; then the mark and
        // one slice are on stable storage.
        disk.fail(FAULTY_SYNC, of: FAULTY_WAL, nth: 7)
        #expect(throws: ShardOpenError.self) { try factory.remove(name: "old-0000.fifo") }
        try disk.losePower(to: "cut")
        keptAgain.close()
        let next = try disk.factory("cut")
        let again = try next.open(name: "old-0000.fifo", attributes: QueueAttributes())
        #expect(again.counts().backlog == 0)
        _ = try await again.put("new")
        // Each turn takes a slice while some are left.
        for _ in 0..<20 {
            for store in next.stores { store.pokeAll() }
            _ = try await again.put("more")
        }
        #expect(try await again.get().map(\.body) == ["new", "more"])
        again.close()
        let (leaving, log) = try rows(disk, "cut")
        #expect(leaving == 0 && log < 10, "\(leaving) shards are leaving, \(log) rows are left")
    }

    @Test("a shard that is opened again while its store is open has its messages")
    func reopened() async throws {
        let disk = try FaultyDisk()
        let factory = try disk.factory()
        let (old, kept) = (
            try factory.open(name: "old-0000.fifo", attributes: QueueAttributes()),
            try factory.open(name: "a-0000.fifo", attributes: QueueAttributes())
        )
        for number in 0..<700 {
            _ = try await kept.put("\(number)")
            if number % 100 == 0 { _ = try await old.put("\(number)") }
        }
        old.close()
        let again = try factory.open(name: "old-0000.fifo", attributes: QueueAttributes())
        #expect(try await again.get().map(\.body) == (0..<7).map { "\($0 * 100)" })
        again.close()
        kept.close()
    }

    private func purge(_ shard: any Shard) async throws -> Int {
        try await withCheckedContinuation { done in shard.purge { done.resume(returning: $0) } }.get()
    }

    @Test("a purge is answered after its last slice; what was sent after it stays")
    func purged() async throws {
        let disk = try FaultyDisk()
        let shard = try disk.open()
        try await fill(shard, 30)
        async let second = withCheckedContinuation { done in
            shard.purge { result in
                shard.send([letter("after")]) { _ in }
                done.resume(returning: result)
            }
        }
        #expect(try await second.get() == 30)
        try disk.losePower(to: "cut")
        _ = try await shard.put("last")
        #expect(try await shard.get().map(\.body) == ["after", "last"])
        shard.close()
        let left = try disk.open("cut")
        #expect(try await left.get().map(\.body).allSatisfy { $0 == "after" })
        left.close()
    }

    @Test("a purge that power cut short leaves a part, and nothing that was deleted comes back", arguments: 1...3)
    func purgeCut(_ nth: Int) async throws {
        let disk = try FaultyDisk()
        let shard = try disk.open()
        try await fill(shard, 30)
        let first = try await shard.get(5)
        for message in first { #expect(await shard.drop(message.handle)) }
        disk.fail(FAULTY_SYNC, of: FAULTY_WAL, nth: nth)
        let answer = try? await purge(shard)
        #expect((answer == nil) == (disk.failures > 0))
        try disk.losePower(to: "cut")
        shard.close()
        disk.pass(seconds: 31)
        let left = try disk.open("cut")
        let bodies = Set(try await left.get().map(\.body))
        #expect(bodies.isDisjoint(with: first.map(\.body)))
        if answer != nil { #expect(bodies.isEmpty) }
        _ = try await left.put("after")
        #expect(try await purge(left) <= 26)
        #expect(try await left.get().isEmpty)
        left.close()
        #expect(try rows(disk, "cut").log <= 1)
    }

    @Test("a drained file is small after a while, and takes messages again")
    func shrunk() async throws {
        let disk = try FaultyDisk()
        let factory = try disk.factory()
        let shard = try factory.open(name: "a-0000.fifo", attributes: QueueAttributes())
        try await fill(shard, 60)
        let gone = try #require(try await shard.get(1).first)
        #expect(await shard.drop(gone.handle))
        #expect(try await purge(shard) == 59)
        _ = try await shard.put("kept")
        func byteCount() -> Int64 {
            (["", "-wal"] + (0..<16).map { "-commits\($0)" }).reduce(0) {
                $0 + (SystemFile.byteCount(of: disk.store(0) + $1) ?? 0)
            }
        }
        let before = byteCount()
        #expect(before > 60 * 200_000, "\(before) bytes: the test tests nothing")
        for _ in 0...(Store.quietLooksMin + 1) {
            for store in factory.stores { store.pokeAll() }
            // A turn that writes nothing.
            #expect(await shard.drop(gone.handle))
        }
        #expect(byteCount() < 1 << 20, "\(byteCount()) bytes of \(before)")
        try disk.losePower(to: "cut")
        _ = try await shard.put("after")
        #expect(try await shard.get().map(\.body) == ["kept", "after"])
        shard.close()
        let left = try disk.open("cut")
        #expect(try await left.get().map(\.body) == ["kept"])
        left.close()
    }
}
