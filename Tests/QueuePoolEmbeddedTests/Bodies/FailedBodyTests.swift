// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CFaultyVFS
import QueuePoolCore
import QueuePoolTestSupport
import Synchronization
import Testing

@testable import QueuePoolEmbedded

@Suite struct `A large body on a disk that fails` {
    private func open(_ disk: FaultyDisk, _ folder: String = "own") throws -> SQLiteBodies {
        var options = BodiesOptions(clock: disk.clock)
        options.vfs = SharedMemoryVFS.over(disk.vfs)
        options.room = { _ in nil }
        return try SQLiteBodies(directory: disk.folder(folder), options: options)
    }

    @Test func `is on it when its put was answered, whatever happens then`() async throws {
        let disk = try FaultyDisk()
        let bodies = try open(disk)
        let key = try await bodies.pool().put(pattern(3 << 20))
        try disk.losePower(to: "next")
        let next = try open(disk, "next")
        #expect(try await next.pool().get(key) == pattern(3 << 20))
        next.close()
        bodies.close()
    }

    @Test(arguments: [0, 3 << 20])
    func `is not acknowledged if its commit is not flushed, and is not there after a restart`(_ size: Int) async throws
    {
        let disk = try FaultyDisk()
        let bodies = try open(disk)
        let store = try bodies.pool()
        let before = try await store.put(pattern(2 << 20))
        disk.fail(FAULTY_SYNC, of: FAULTY_WAL)
        let key = store.newKey()
        await #expect(throws: BodyStoreError.unavailable(code: "SQLite-1034")) {
            try await store.put(pattern(size), key)
        }
        #expect(disk.failures == 1)
        // Nobody knows what is on the disk, so nothing more is promised before a restart; what was is still read.
        await #expect(throws: BodyStoreError.unavailable(code: "SQLite-1034")) { try await store.put([1]) }
        await #expect(throws: BodyStoreError.missing) { try await store.get(key) }
        #expect(try await store.get(before) == pattern(2 << 20))
        #expect(bodies.counts() == BodyCounts(bodies: 1, bytes: 2 << 20))
        try disk.losePower(to: "next")
        bodies.close()
        for folder in ["next", "own"] {
            let again = try open(disk, folder)
            let reopened = try again.pool()
            await #expect(throws: BodyStoreError.missing) { try await reopened.get(key) }
            #expect(try await reopened.get(before) == pattern(2 << 20))
            #expect(again.counts() == BodyCounts(bodies: 1, bytes: 2 << 20))
            try await reopened.put([5], key)
            again.close()
        }
    }

    /// The first write fails at once; a later one after a part of the body was spilled into the log.
    @Test(arguments: [1, 300, 600])
    func `is refused if the disk is full, leaves nothing, and is taken when there is room again`(_ nth: Int)
        async throws
    {
        let disk = try FaultyDisk()
        let bodies = try open(disk)
        let store = try bodies.pool()
        let key = store.newKey()
        disk.fail(FAULTY_WRITE_FULL, of: FAULTY_WAL, nth: nth)
        await #expect(throws: BodyStoreError.full) { try await store.put(pattern(12 << 20), key) }
        #expect(disk.failures == 1)
        await #expect(throws: BodyStoreError.missing) { try await store.get(key) }
        #expect(bodies.counts() == BodyCounts(bodies: 0, bytes: 0))
        try await store.put(pattern(12 << 20), key)
        #expect(try await store.get(key) == pattern(12 << 20))
        bodies.close()
        let again = try open(disk)
        #expect(try await again.pool().get(key) == pattern(12 << 20))
        again.close()
    }

    @Test func `does not take those with it that share its commit`() async throws {
        let disk = try FaultyDisk()
        let bodies = try open(disk)
        let store = try bodies.pool()
        disk.fail(FAULTY_WRITE_FULL, of: FAULTY_WAL)
        // Whichever commit the order hits, a commit of one or of several: at most one put can have failed by itself.
        let stored = await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<20 { group.addTask { (try? await store.put(pattern(1_000))) != nil } }
            return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
        }
        #expect(disk.failures == 1)
        #expect(stored >= 19)
        #expect(bodies.counts().bodies == stored)
        bodies.close()
    }

    @Test func `is not taken when the room on the disk is needed for removals`() async throws {
        let bench = try BodyBench()
        let free = Free()
        let bodies = try bench.open { $0.room = { _ in (free.bytes.withLock { $0 }, 1 << 40) } }
        let store = try bodies.pool()
        let reserve = Int64(64 << 20)
        free.bytes.withLock { $0 = reserve + 2_000 }
        let key = try await store.put(pattern(1_000))
        free.bytes.withLock { $0 = reserve + 1_999 }
        await #expect(throws: BodyStoreError.full) { try await store.put(pattern(1_000)) }
        free.bytes.withLock { $0 = 0 }
        await #expect(throws: BodyStoreError.full) { try await store.put(pattern(1)) }
        #expect(try await store.get(key) == pattern(1_000))
        try await store.remove(key)
        #expect(bodies.counts().bodies == 0)
        bodies.close()
    }

    /// Bytes that a disk has left.
    private final class Free: Sendable {
        let bytes = Mutex<Int64>(0)
    }
}
