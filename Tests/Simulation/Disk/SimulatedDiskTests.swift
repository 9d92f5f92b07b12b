// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolTestSupport
import Testing

@testable import QueuePoolEmbedded

@Suite("Shards on a simulated disk")
struct SimulatedDiskTests {
    @Test func `store, hand out and delete, all on one thread`() throws {
        let bench = DiskBench()
        let shard = try bench.open()
        let receipts = try #require(bench.send(shard, ("g", "1"), ("h", "2"), ("g", "3"))).get()
        #expect(receipts.map(\.isDuplicate) == [false, false, false])
        #expect(try #require(bench.send(shard, ("g", "1"))).get().map(\.isDuplicate) == [true])
        let received = try #require(bench.receive(shard))
        #expect(Set(received.map(\.text)) == ["1", "2", "3"])
        #expect(received.filter { $0.groupText == "g" }.map(\.text) == ["1", "3"])
        #expect(bench.delete(shard, received) == true)
        #expect(shard.counts().backlog == 0)
        #expect(bench.disk.unflushed == 0)
        shard.close()
    }

    @Test func `a turn comes by the clock, never within the call that asks for it`() throws {
        let bench = DiskBench()
        let shard = try bench.open()
        let answer = Answer<Result<[SendReceipt], ShardError>>()
        let writes = bench.disk.writes
        shard.send([DiskBench.message("g", "1")]) { answer.value = $0 }
        #expect(answer.value == nil)
        #expect(bench.disk.writes == writes)
        bench.run()
        #expect(answer.value != nil)
        #expect(bench.disk.writes == writes + 1)
    }

    @Test func `a slow disk delays turns by as much as it is told`() throws {
        let bench = DiskBench()
        let line = VirtualCommitLine(clock: bench.clock, delay: { 70 })
        let factory = SimulatedShardFactory(
            disk: bench.disk, directory: "slow", clock: bench.clock, line: line, random: { 7 })
        let shard = try factory.open(name: "a-0000.fifo", attributes: QueueAttributes())
        let answer = Answer<Result<[SendReceipt], ShardError>>()
        shard.send([DiskBench.message("g", "1")]) { answer.value = $0 }
        bench.clock.advance(milliseconds: 69)
        #expect(answer.value == nil)
        bench.clock.advance(milliseconds: 1)
        #expect(answer.value != nil)
        // Nobody else would give the last turn while this thread waits for it.
        shard.send([DiskBench.message("g", "2")]) { answer.value = $0 }
        shard.close()
        #expect(throws: Never.self) { try factory.open(name: "a-0000.fifo", attributes: QueueAttributes()) }
    }

    @Test func `a tick comes every second, and what is due by time is done`() throws {
        let bench = DiskBench()
        var attributes = QueueAttributes()
        attributes.retentionSeconds = 60
        let shard = try bench.factory.open(name: "a-0000.fifo", attributes: attributes)
        _ = bench.send(shard, ("g", "1"))
        bench.pass(seconds: 62)
        #expect(bench.line.tickCount == 62)
        #expect(shard.counts().expired == 1)
    }

    /// A life of a few steps, cut at each write and flush in turn, of which the power loss keeps what it likes.
    @Test(arguments: 1...14)
    func `a crash at any step keeps what was acknowledged, and the rest whole or not at all`(step: Int) throws {
        for seed in SplitMix64.seeds(20) {
            let bench = DiskBench(seed: seed, cacheBytesMax: 0)
            let first = try bench.open()
            var acknowledged: [String] = []
            var (deleted, maybeDeleted): (Set<String>, Set<String>) = ([], [])
            bench.disk.faults.operationToHaltAt = step
            for round in 0..<3 {
                let batch = ["\(round)a", "\(round)b", "\(round)c"]
                if case .success? = bench.send(first, ("g", batch[0]), ("g", batch[1]), ("g", batch[2])) {
                    acknowledged += batch
                }
                let head = bench.receive(first, limit: 1) ?? []
                maybeDeleted.formUnion(head.map(\.text))
                if !head.isEmpty, bench.delete(first, head) == true { deleted.formUnion(head.map(\.text)) }
            }
            bench.crash()
            let second = try bench.open()
            let left = try #require(bench.receive(second)).map(\.text)
            #expect(deleted.isDisjoint(with: left), "seed \(seed)")
            #expect(Set(acknowledged).subtracting(maybeDeleted).isSubset(of: left), "seed \(seed)")
            #expect(left == left.sorted(), "seed \(seed)")
            for round in 0..<3 {
                let found = left.filter { $0.hasPrefix("\(round)") }.count
                let gone = maybeDeleted.filter { $0.hasPrefix("\(round)") }.count
                #expect(found == 0 || found >= 3 - gone, "seed \(seed): a request is there in part: \(left)")
            }
            second.close()
        }
    }

    @Test func `a failed write stores nothing, is told, and hinders nothing later`() throws {
        let bench = DiskBench()
        let shard = try bench.open()
        bench.disk.faults.writeToFail = 1
        #expect(bench.send(shard, ("g", "1")) == .failure(.storageFailed(code: SimulatedDisk.failedWrite)))
        #expect(bench.receive(shard)?.count == 0)
        #expect(try #require(bench.send(shard, ("g", "1"))).get().map(\.isDuplicate) == [false])
        bench.crash()
        #expect(bench.receive(try bench.open())?.map(\.text) == ["1"])
    }

    @Test func `after a failed flush nothing is taken, and what it was to flush survives or not`() throws {
        var survivals = 0
        for seed in SplitMix64.seeds(40) {
            let bench = DiskBench(seed: seed)
            let shard = try bench.open()
            _ = bench.send(shard, ("g", "1"))
            bench.disk.faults.flushToFail = 1
            let failure = ShardError.storageFailed(code: SimulatedDisk.failedFlush)
            #expect(bench.send(shard, ("g", "2")) == .failure(failure))
            #expect(bench.send(shard, ("g", "3")) == .failure(failure))
            #expect(bench.disk.unflushed == 1)
            bench.crash()
            let left = try #require(bench.receive(try bench.open())).map(\.text)
            #expect(left == ["1"] || left == ["1", "2"])
            survivals += left.count - 1
            #expect(bench.disk.unflushed == 0)
        }
        #expect(survivals > 0 && survivals < 40)
    }

    @Test func `what a killed process wrote is flushed before it is served`() throws {
        let bench = DiskBench()
        let first = try bench.open()
        bench.disk.faults.flushToFail = 1
        _ = bench.send(first, ("g", "1"))
        bench.kill()
        bench.disk.faults.flushToFail = 1
        #expect(throws: ShardOpenError.self) { try bench.open() }
        #expect(bench.receive(try bench.open())?.map(\.text) == ["1"])
        // It was handed out, so no loss of power may take it.
        bench.crash()
        #expect(bench.receive(try bench.open())?.map(\.text) == ["1"])
    }

    @Test func `a full disk takes deletes and no sends, and sends again when there is room`() throws {
        let bench = DiskBench(bytesMax: 64_000)
        let shard = try bench.open()
        var count = 0
        while case .success? = bench.send(shard, ("g\(count)", "\(count)" + String(repeating: "x", count: 500))) {
            count += 1
            bench.pass(seconds: 1)
            guard count < 1_000 else { break }
        }
        #expect(count > 20 && count < 200)
        #expect(bench.send(shard, ("g", "more")) == .failure(.storageFull))
        var received = try #require(bench.receive(shard))
        while !received.isEmpty {
            #expect(bench.delete(shard, received) == true)
            received = try #require(bench.receive(shard))
        }
        bench.pass(seconds: 20)
        #expect(throws: Never.self) { try #require(bench.send(shard, ("g", "again"))).get() }
    }

    @Test func `a write that finds no room leaves sends out and deletes what it is asked to`() throws {
        let bench = DiskBench()
        let shard = try bench.open()
        _ = bench.send(shard, ("g", "1"))
        let held = try #require(bench.receive(shard))
        let (sent, deleted) = (Answer<Result<[SendReceipt], ShardError>>(), Answer<[DeleteOutcome]>())
        bench.disk.faults.writeToBeFull = 1
        shard.send([DiskBench.message("g", "2")]) { sent.value = $0 }
        shard.delete(held.map(\.handle)) { deleted.value = $0 }
        bench.run()
        #expect(sent.value == .failure(.storageFull))
        #expect(deleted.value?.allSatisfy(\.isDeleted) == true)
    }

    @Test func `deletes survive a crash, and ids count after it`() throws {
        let bench = DiskBench()
        let first = try bench.open()
        _ = bench.send(first, ("g", "1"), ("g", "2"))
        #expect(bench.delete(first, try #require(bench.receive(first, limit: 1))) == true)
        bench.crash()
        let second = try bench.open()
        #expect(bench.receive(second)?.map(\.text) == ["2"])
        #expect(try #require(bench.send(second, ("g", "1"))).get().map(\.isDuplicate) == [true])
    }

    @Test func `a torn row is found at the opening, and nothing is served`() throws {
        let bench = DiskBench()
        let first = try bench.open()
        _ = bench.send(first, ("g", "1"))
        first.close()
        let file = bench.disk.file("data/store-0")
        let block = try #require(file.rowNumbers.first { file.rows[$0]?.kind == LogKind.block })
        file.tear(row: block)
        #expect(throws: ShardOpenError.damagedRow(block)) { try bench.open() }
    }

    @Test func `a process that ended reaches the disk no more`() throws {
        let bench = DiskBench()
        let shard = try bench.open()
        let answer = Answer<Result<[SendReceipt], ShardError>>()
        shard.send([DiskBench.message("g", "1")]) { answer.value = $0 }
        bench.crash()
        let writes = bench.disk.writes
        bench.pass(seconds: 3)
        #expect(answer.value == nil)
        #expect(bench.disk.writes == writes)
        shard.close()
        #expect(bench.receive(try bench.open())?.count == 0)
    }

    @Test func `a shard that is removed is gone, its room too, and its neighbour stays`() throws {
        let bench = DiskBench()
        let (old, kept) = (try bench.open("a-0000.fifo"), try bench.open("b-0000.fifo"))
        _ = bench.send(kept, ("g", "1"))
        let bytes = bench.disk.bytes
        _ = bench.send(old, ("g", "1"))
        old.close()
        try bench.factory.remove(name: "a-0000.fifo")
        #expect(bench.disk.bytes == bytes)
        bench.crash()
        #expect(bench.receive(try bench.open("b-0000.fifo"))?.map(\.text) == ["1"])
        #expect(bench.receive(try bench.open("a-0000.fifo"))?.count == 0)
    }
}
