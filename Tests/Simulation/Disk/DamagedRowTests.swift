// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolTestSupport
import Testing

@testable import QueuePoolEmbedded

/// Rows of a sealed log that are damaged while their shards are open, of which nothing is in memory.
@Suite struct `A damaged row of a sealed log` {
    private let bench = DiskBench(cacheBytesMax: 0, isSealed: true)
    private let path: String
    private let shard: any Shard
    /// In the same store.
    private let neighbour: any Shard

    init() throws {
        let names = (0..<8).map { "a-000\($0).fifo" }
        let places = names.map { EmbeddedShardFactory.place($0, 2) }
        let other = try #require(places.dropFirst().firstIndex(of: places[0]))
        path = "data/store-\(places[0])"
        shard = try bench.open(names[0])
        neighbour = try bench.open(names[other])
    }

    private var file: SimulatedFile { bench.disk.file(path) }

    private func send(_ group: String, _ id: String, to other: (any Shard)? = nil) throws -> SendReceipt {
        let receipts = try #require(bench.send(other ?? shard, (group, id))).get()
        return try #require(receipts.first)
    }

    /// The rows of blocks, oldest first.
    private var blocks: [Int64] {
        file.rowNumbers.filter { file.rows[$0]?.kind == LogKind.block + LogKind.sealed }
    }

    private func texts(_ other: (any Shard)? = nil) throws -> [String] {
        try #require(bench.receive(other ?? shard)).map(\.text)
    }

    private func told(_ row: Int64) -> StorageEvent { .unopened(file: path, shard: shard.name, row: row) }

    @Test func `holds its group back, and nothing else`() throws {
        _ = try send("g", "1")
        _ = try send("g", "2")
        _ = try send("h", "3")
        _ = try send("n", "4", to: neighbour)
        let row = try #require(blocks.first)
        file.flip(.body, row: row)
        // What follows in the group must not pass, though it opens.
        #expect(try texts() == ["3"])
        #expect(try texts(neighbour) == ["4"])
        _ = try send("g", "5")
        _ = try send("i", "6")
        #expect(try texts() == ["6"])
        // Its timeout ends, and it is tried again; what waits behind it was received once.
        for _ in 0..<3 {
            bench.pass(seconds: 901)
            #expect(try texts().sorted() == ["3", "6"])
        }
        #expect(bench.factory.events.all == [told(row)])
        let counts = shard.counts()
        #expect(counts.backlog + counts.inFlight == 5)
    }

    @Test func `is an error for who receives nothing else`() throws {
        _ = try send("g", "1")
        file.flip(.body, row: try #require(blocks.first))
        #expect(bench.receive(shard) == nil)
        // Not again and again.
        #expect(try texts() == [])
    }

    @Test func `makes the server unready until it is purged`() throws {
        _ = try send("g", "1")
        file.flip(.body, row: try #require(blocks.first))
        #expect(bench.factory.watch.problem == nil)
        #expect(bench.receive(shard) == nil)
        let problem = try #require(bench.factory.watch.problem)
        #expect(problem.contains(path) && problem.contains(shard.name) && !problem.contains(neighbour.name))
        shard.purge { _ in }
        bench.pass(seconds: 3)
        #expect(bench.factory.watch.problem == nil)
        _ = try send("g", "2")
        #expect(try texts() == ["2"])
    }

    @Test func `is given out when it opens again`() throws {
        _ = try send("g", "1")
        let row = try #require(blocks.first)
        file.flip(.body, row: row)
        #expect(bench.receive(shard) == nil)
        file.flip(.body, row: row)
        bench.pass(seconds: 901)
        #expect(try texts() == ["1"])
    }

    @Test func `whose head is damaged when it is done with hinders no commit of its store`() throws {
        _ = try send("g", "0")
        let row = try #require(blocks.first)
        file.flip(.head, row: row)
        // The body is bound to the head's tag and opens beside it.
        let first = try #require(bench.receive(shard))
        #expect(bench.delete(shard, first) == true)
        for number in 1...40 {
            _ = try send("g", "\(number)")
            let received = try #require(bench.receive(shard))
            #expect(bench.delete(shard, received) == true)
            _ = try send("g", "\(number)", to: neighbour)
        }
        #expect(bench.factory.events.all == [told(row)])
        #expect(bench.factory.watch.problem?.contains(shard.name) == true)
        // Its key counts, here and, because the row is there, after a restart; which says so.
        #expect(try send("g", "0").isDuplicate)
        #expect(blocks.contains(row))
        bench.pass(seconds: 330)
        #expect(!blocks.contains(row))
        #expect(bench.factory.watch.problem == nil)
        #expect(try send("g", "0").isDuplicate == false)
        #expect(try texts(neighbour).isEmpty == false)
    }

    @Test func `whose head is damaged keeps its shard closed at the next opening, and no other`() throws {
        _ = try send("g", "1")
        _ = try send("g", "2", to: neighbour)
        let row = try #require(blocks.first)
        file.flip(.head, row: row)
        bench.crash()
        #expect(throws: ShardOpenError.damagedRow(row)) { try bench.open(shard.name) }
        let opened = try bench.open(neighbour.name)
        #expect(try texts(opened) == ["2"])
    }
}
