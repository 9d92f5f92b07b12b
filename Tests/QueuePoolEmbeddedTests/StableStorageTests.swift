// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CFaultyVFS
import QueuePoolCore
import Testing

@testable import QueuePoolEmbedded

@Suite("Stable storage")
struct StableStorageTests {
    @Test("keeps what was answered when power is lost")
    func powerLoss() async throws {
        let disk = try FaultyDisk()
        let shard = try disk.open()
        for round in 0..<5 {
            _ = try await shard.put("\(round)")
            try disk.losePower(to: "cut\(round)")
        }
        let first = try #require(try await shard.get(1).first)
        #expect(await shard.drop(first.handle))
        try disk.losePower(to: "cut-after-delete")
        shard.close()
        for round in 0..<5 {
            let left = try disk.open("cut\(round)")
            #expect(try await left.get().map(\.body) == (0...round).map(String.init), "round \(round)")
            left.close()
        }
        let left = try disk.open("cut-after-delete")
        #expect(try await left.get().map(\.body) == ["1", "2", "3", "4"])
        left.close()
    }

    /// A short life of a shard on a disk that fails once: what was acknowledged is there after a loss of power, in order;
    /// what was deleted does not come back.
    @Test(
        "loses nothing that was acknowledged when one write or flush fails",
        arguments: [FAULTY_SYNC, FAULTY_WRITE, FAULTY_WRITE_FULL], [FAULTY_WAL, FAULTY_MAIN])
    func oneFailure(_ operation: faulty_operation, _ file: faulty_file) async throws {
        for nth in 1...40 {
            let disk = try FaultyDisk()
            disk.fail(operation, of: file, nth: nth)
            var acknowledged: [String] = []
            var deleted: Set<String> = []
            var maybeDeleted: Set<String> = []
            for life in 0..<2 {
                guard let shard = try? disk.open() else { continue }
                for number in 0..<4 {
                    let body = "\(life).\(number)"
                    if (try? await shard.put(body)) != nil { acknowledged.append(body) }
                }
                if let first = try? await shard.get(1).first {
                    maybeDeleted.insert(first.body)
                    if await shard.drop(first.handle) { deleted.insert(first.body) }
                }
                if (try? await shard.put("\(life).last")) != nil { acknowledged.append("\(life).last") }
                shard.close()
                disk.pass(seconds: 31)
            }
            let didFail = disk.failures > 0
            disk.fail(operation, of: file, nth: 0)
            try disk.losePower(to: "cut")
            let left = try disk.open("cut")
            let found = try await left.get(10).map(\.body)
            left.close()
            let known = found.filter { acknowledged.contains($0) && !maybeDeleted.contains($0) }
            let expected = acknowledged.filter { !maybeDeleted.contains($0) }
            #expect(known == expected, "nth \(nth): found \(found), acknowledged \(acknowledged)")
            #expect(deleted.isDisjoint(with: found), "nth \(nth): \(found) after \(deleted) were deleted")
            if !didFail { return }
        }
    }

    @Test("puts on stable storage what a killed process wrote and did not flush, before it is served")
    func killedBeforeFlush() async throws {
        let disk = try FaultyDisk()
        let shard = try disk.open()
        _ = try await shard.put("1")
        disk.fail(FAULTY_SYNC, of: FAULTY_WAL)
        await #expect(throws: ShardError.self) { try await shard.put("2") }
        try disk.kill(to: "next")
        let next = try disk.open("next")
        #expect(try await next.put("2")[0].isDuplicate, "the kill left nothing to recover: the test tests nothing")
        try disk.losePower("next", to: "cut")
        next.close()
        shard.close()
        let left = try disk.open("cut")
        #expect(try await left.get().map(\.body) == ["1", "2"])
        left.close()
    }

    /// Places that write beside the sends.
    enum Place: CaseIterable {
        case send, delete, purge, newShard, removedShard, openedShard
    }

    private func fail(_ place: Place, _ shard: any Shard, _ factory: EmbeddedShardFactory) async throws {
        switch place {
        case .send: _ = try await shard.put("refused")
        case .delete:
            let first = try #require(try await shard.get(1).first)
            if await !shard.drop(first.handle) { throw ShardError.closed }
        case .purge:
            _ = try await withCheckedContinuation { done in shard.purge { done.resume(returning: $0) } }.get()
        case .newShard: _ = try factory.open(name: "b-0000.fifo", attributes: QueueAttributes())
        case .removedShard: try factory.remove(name: "old-0000.fifo")
        // A clean stop wrote down who holds what; those rows are removed.
        case .openedShard: _ = try factory.open(name: "old-0000.fifo", attributes: QueueAttributes())
        }
    }

    @Test(
        "is closed for writes after a failed flush, wherever it failed, until it was opened anew",
        arguments: Place.allCases)
    func closedAfterFailedFlush(_ place: Place) async throws {
        let disk = try FaultyDisk()
        let factory = try disk.factory()
        let shard = try factory.open(name: "a-0000.fifo", attributes: QueueAttributes())
        let old = try factory.open(name: "old-0000.fifo", attributes: QueueAttributes())
        _ = try await shard.put("1", "2")
        _ = try await old.put("x")
        _ = try await old.get(1)
        old.close()
        disk.fail(FAULTY_SYNC, of: FAULTY_WAL)
        await #expect(throws: (any Error).self) { try await fail(place, shard, factory) }
        #expect(disk.failures == 1)
        await #expect(throws: ShardError.self, "a commit behind a hole was acknowledged") { try await shard.put("3") }
        #expect(throws: ShardOpenError.self) {
            _ = try factory.open(name: "c-0000.fifo", attributes: QueueAttributes())
        }
        shard.close()
        let again = try factory.open(name: "a-0000.fifo", attributes: QueueAttributes())
        _ = try await again.put("4")
        try disk.losePower(to: "cut")
        again.close()
        disk.pass(seconds: 31)
        let left = try disk.open("cut")
        let found = try await left.get().map(\.body)
        #expect(found.contains("4"))
        if place != .purge { #expect(found.contains("2")) }
        left.close()
    }
}
