// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CFaultyVFS
import Foundation
import QueuePoolCore
import QueuePoolTestSupport
import Testing

@testable import QueuePoolEmbedded

@Suite("Whether a store takes sends")
struct StoreHealthTests {
    private func room(_ free: Int64) -> StoreHealth.Event { .looked(StoreRoom(free: free << 20, total: 1 << 40)) }

    private func handle(_ event: StoreHealth.Event, _ health: inout StoreHealth) -> Bool { health.handle(event) }

    @Test("refuses them below the reserve, and takes them again a little above it")
    func reserve() {
        var health = StoreHealth()
        #expect(handle(room(64), &health) == false)
        #expect(handle(room(63), &health) == true)
        #expect(health.problem == .full)
        #expect(handle(room(79), &health) == false)
        #expect(handle(room(80), &health) == true)
        #expect(health.problem == nil)
    }

    @Test("a small disk has a small reserve")
    func small() {
        #expect(StoreRoom(free: 0, total: 8 << 20).reserve == 1 << 20)
    }

    @Test("a commit without room counts more than what the figures say, for a while")
    func foundNoRoom() {
        var health = StoreHealth()
        #expect(handle(.foundNoRoom, &health) == true)
        for _ in 0..<4 {
            let isChanged = health.handle(room(1_000))
            #expect(!isChanged)
        }
        #expect(handle(room(1_000), &health) == true)
        #expect(health.problem == nil)
    }

    @Test("a file that is gone or broken stays so")
    func final() {
        for event in [StoreHealth.Event.moved, .broken(code: 1034)] {
            var health = StoreHealth()
            #expect(handle(event, &health) == true)
            let problem = health.problem
            for later in [room(1_000), room(1), .foundNoRoom, .moved] {
                let isChanged = health.handle(later)
                #expect(!isChanged)
            }
            #expect(health.problem == problem)
        }
    }

    /// What somebody may do to the files of a running server.
    enum Mishap: CaseIterable {
        case moved, removed, replaced, logRemoved, journalRemoved
    }

    private func commit(_ mishap: Mishap, _ disk: FaultyDisk) throws {
        let files = FileManager.default
        switch mishap {
        case .moved: try files.moveItem(atPath: disk.folder("own"), toPath: disk.folder("away"))
        case .removed: try files.removeItem(atPath: disk.folder("own"))
        case .replaced:
            try files.copyItem(atPath: disk.store(0), toPath: disk.folder("copy"))
            guard rename(disk.folder("copy"), disk.store(0)) == 0 else { throw CocoaError(.fileWriteUnknown) }
        case .logRemoved: try files.removeItem(atPath: disk.store(0) + "-wal")
        case .journalRemoved: try files.removeItem(atPath: CommitJournal.path(of: disk.store(0), 0))
        }
    }

    @Test("a file that is not where it was takes no sends", arguments: Mishap.allCases)
    func moved(_ mishap: Mishap) async throws {
        let disk = try FaultyDisk()
        let factory = try disk.factory()
        let shard = try factory.open(name: "a-0000.fifo", attributes: QueueAttributes())
        _ = try await shard.put("1")
        for store in factory.stores { store.pokeAll() }
        _ = try await shard.put("2")
        #expect(factory.storageProblem == nil)
        try commit(mishap, disk)
        for store in factory.stores { store.pokeAll() }
        await #expect(throws: ShardError.storageFailed(code: ShardError.codeOfMovedFile)) {
            try await shard.put("refused")
        }
        #expect(factory.storageProblem?.contains("moved or removed") == true)
        shard.close()
        guard mishap == .moved else { return }
        try FileManager.default.moveItem(atPath: disk.folder("away"), toPath: disk.folder("own"))
        let again = try disk.open()
        #expect(try await again.get().map(\.body) == ["1", "2"])
        _ = try await again.put("taken")
        again.close()
    }

    @Test("deletes and purges find room after sends filled the disk")
    func deletes() async throws {
        // No second passes: each look at the disk would find room, and after some of them sends would be taken again.
        let disk = try FaultyDisk(seconds: ManualClock())
        let shard = try disk.open()
        _ = try await shard.put("1", "2", "3")
        disk.fail(FAULTY_WRITE_FULL, of: FAULTY_WAL)
        await #expect(throws: ShardError.storageFull) { try await shard.put("refused") }
        await #expect(throws: ShardError.storageFull) { try await shard.put("refused before it is written") }
        disk.fail(FAULTY_WRITE_FULL, of: FAULTY_WAL)
        let first = try #require(try await shard.get(1).first)
        #expect(await shard.drop(first.handle))
        disk.fail(FAULTY_WRITE_FULL, of: FAULTY_WAL)
        _ = try await withCheckedContinuation { done in shard.purge { done.resume(returning: $0) } }.get()
        #expect(disk.failures == 3)
        shard.close()
        let again = try disk.open()
        #expect(try await again.get().isEmpty)
        _ = try await again.put("taken")
        again.close()
    }
}
