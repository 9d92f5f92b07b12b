// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CFaultyVFS
import QueuePoolCore
import QueuePoolTestSupport
import Synchronization
import Testing

@testable import QueuePoolEmbedded

/// I1 and I3: what was refused is nowhere, neither for receivers nor for the senders that repeat it.
@Suite("A commit that failed")
struct FailedCommitTests {
    @Test("leaves nothing to receive, and no id that would make its repeat a duplicate")
    func isNotPublished() async throws {
        let disk = try FaultyDisk()
        let shard = try disk.open()
        _ = try await shard.put("before")
        disk.fail(FAULTY_WRITE_FULL, of: FAULTY_WAL)
        await #expect(throws: ShardError.storageFull) { try await shard.put("repeated") }
        #expect(shard.counts().backlog == 1 && shard.counts().sent == 1)
        let taken = try await shard.get()
        #expect(taken.map(\.body) == ["before"])
        // The delete makes room, and with it the store takes sends again.
        let first = try #require(taken.first).handle
        #expect(await shard.drop(first))
        shard.close()
        let again = try disk.open()
        #expect(try await again.put("repeated").map(\.isDuplicate) == [false])
        #expect(try await again.get().map(\.body) == ["repeated"])
        again.close()
    }

    @Test("of a flush leaves nothing to receive either, now or after a loss of power")
    func ofFlush() async throws {
        let disk = try FaultyDisk()
        let shard = try disk.open()
        _ = try await shard.put("before")
        disk.fail(FAULTY_SYNC, of: FAULTY_WAL)
        await #expect(throws: ShardError.self) { try await shard.put("refused") }
        #expect(disk.failures == 1)
        // A file that is closed for writes is not read for receivers, but the index can be asked.
        #expect(shard.counts().backlog == 1 && shard.counts().sent == 1)
        try disk.losePower(to: "next")
        shard.close()
        let next = try disk.open("next")
        #expect(try await next.get().map(\.body) == ["before"])
        next.close()
    }

    @Test("leaves a message that it should have deleted in flight, as it was")
    func ofDelete() async throws {
        let disk = try FaultyDisk()
        let shard = try disk.open()
        _ = try await shard.put("1", "2")
        let taken = try await shard.get(1)
        let first = try #require(taken.first).handle
        disk.fail(FAULTY_SYNC, of: FAULTY_WAL)
        #expect(await shard.drop(first) == false)
        #expect(shard.counts().inFlight == 1 && shard.counts().deleted == 0)
        disk.pass(seconds: 31)
        #expect(shard.counts().inFlight == 0 && shard.counts().backlog == 2)
        shard.close()
    }
}

/// I7: what retention dropped, and was counted as dropped, does not come back.
@Suite("What expired")
struct ExpiredTests {
    private func attributes(retentionSeconds: Int) -> QueueAttributes {
        var attributes = QueueAttributes()
        attributes.retentionSeconds = retentionSeconds
        return attributes
    }

    /// Waits for events that tell of so many expired messages.
    private func told(_ shard: any Shard, _ count: Int, _ act: () async throws -> Void) async throws {
        let (events, told) = AsyncStream<Int>.makeStream()
        shard.onEvent { event in if case .expired(let ids) = event { told.yield(ids.count) } }
        try await act()
        var missing = count
        for await count in events {
            missing -= count
            if missing <= 0 { break }
        }
    }

    @Test("is off the disk before it is told of: a crash right then does not bring it back")
    func staysGone() async throws {
        let disk = try FaultyDisk()
        let shard = try disk.open()
        shard.setAttributes(attributes(retentionSeconds: 60))
        _ = try await shard.put("1", "2")
        // No second passes for the upkeep, but the retention period does for the messages.
        disk.clock.advance(milliseconds: 60_001)
        try await told(shard, 2) {
            let taken = try await shard.get()
            #expect(taken.isEmpty)
        }
        try disk.losePower(to: "next")
        // Opened with a longer retention period: nothing but the log says that they are gone.
        let next = try disk.open("next")
        #expect(next.counts().backlog == 0)
        #expect(try await next.get().isEmpty)
        next.close()
        shard.close()
    }

    @Test("by upkeep does not come back with a longer retention period")
    func byUpkeep() async throws {
        let bench = UpkeepBench()
        let shard = try bench.open(attributes(retentionSeconds: 60))
        _ = try await shard.store(("g", "1"), ("h", "2"))
        bench.clock.pass(seconds: 61)
        try await told(shard, 2) { _ = try await shard.store(("fresh", "3")) }
        shard.close()
        let again = try bench.open(attributes(retentionSeconds: 86_400))
        #expect(again.counts().backlog == 1 && again.counts().expired == 0)
        again.close()
    }
}
