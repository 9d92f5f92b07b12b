// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import QueuePoolTestSupport
import Testing

@testable import QueuePoolEmbedded

@Suite struct `Large bodies in the data directory` {
    private let part = BodyFile.partBytes

    @Test func `are read back byte for byte, also after a restart`() async throws {
        let bench = try BodyBench()
        let sizes = [0, 1, part - 1, part, part + 1, 5 << 20]
        let bodies = try bench.open()
        var keys: [String] = []
        for (index, size) in sizes.enumerated() {
            keys.append(try await bodies.pool().put(pattern(size, seed: UInt8(index))))
        }
        func check(_ bodies: SQLiteBodies) async throws {
            for (index, size) in sizes.enumerated() {
                let body = try await bodies.pool().get(keys[index])
                #expect(body == pattern(size, seed: UInt8(index)), "\(size) bytes")
            }
            #expect(bodies.counts() == BodyCounts(bodies: sizes.count, bytes: Int64(sizes.reduce(0, +))))
        }
        try await check(bodies)
        bodies.close()
        let again = try bench.open()
        try await check(again)
        again.close()
    }

    @Test func `have keys of their pool that never come again`() throws {
        let bench = try BodyBench()
        var keys: Set<String> = []
        for _ in 0..<2 {
            let bodies = try bench.open()
            for _ in 0..<500 { keys.insert(try bodies.pool().newKey()) }
            bodies.close()
        }
        #expect(keys.count == 1_000)
        #expect(keys.allSatisfy { $0.hasPrefix("a.fifo/") && $0.utf8.count == 7 + 32 })
    }

    @Test func `are missing when they were never stored or were removed, and are removed twice without an error`()
        async throws
    {
        let bench = try BodyBench()
        let bodies = try bench.open()
        let store = try bodies.pool()
        await #expect(throws: BodyStoreError.missing) { try await store.get(store.newKey()) }
        let (kept, key) = (try await store.put(pattern(10)), try await store.put(pattern(3 << 20)))
        try await store.remove(key)
        await #expect(throws: BodyStoreError.missing) { try await store.get(key) }
        try await store.remove(key)
        #expect(bodies.counts() == BodyCounts(bodies: 1, bytes: 10))
        #expect(try await store.get(kept) == pattern(10))
        bodies.close()
    }

    @Test func `take the place of what has their key`() async throws {
        let bench = try BodyBench()
        let bodies = try bench.open()
        let store = try bodies.pool()
        let key = try await store.put(pattern(2 << 20))
        try await store.put(pattern(7, seed: 9), key)
        #expect(try await store.get(key) == pattern(7, seed: 9))
        #expect(bodies.counts() == BodyCounts(bodies: 1, bytes: 7))
        bodies.close()
    }

    @Test func `of another pool are neither read nor written nor removed`() async throws {
        let bench = try BodyBench()
        let bodies = try bench.open()
        let (ours, others) = (try bodies.pool("a"), try bodies.pool("b"))
        let key = try await others.put([1, 2, 3])
        await #expect(throws: BodyStoreError.missing) { try await ours.get(key) }
        await #expect(throws: BodyStoreError.refused(code: "ForeignKey")) { try await ours.put([4], key) }
        await #expect(throws: BodyStoreError.refused(code: "ForeignKey")) { try await ours.remove(key) }
        #expect(try await others.get(key) == [1, 2, 3])
        bodies.close()
    }

    @Test func `that are larger than the reader takes are refused, unread`() async throws {
        let bench = try BodyBench()
        let bodies = try bench.open { $0.bodyBytesMax = 1_000 }
        let store = try bodies.pool()
        let key = try await store.put(pattern(1_000))
        #expect(try await store.get(key, bytesMax: 1_000) == pattern(1_000))
        await #expect(throws: BodyStoreError.tooLarge(bytes: 1_001, allowed: 1_000)) {
            try await store.put(pattern(1_001))
        }
        bodies.close()
        // Without its parts the body cannot be read: whoever answers "too large" has not tried to.
        let database = try Database(path: bench.path)
        try database.execute("DELETE FROM parts")
        database.close()
        let again = try bench.open()
        let reader = try again.pool()
        await #expect(throws: BodyStoreError.tooLarge(bytes: 1_000, allowed: 999)) {
            try await reader.get(key, bytesMax: 999)
        }
        await #expect(throws: BodyStoreError.unavailable(code: "SQLite-1")) { try await reader.get(key) }
        again.close()
    }

    @Test func `beyond what may wait are refused at once, and taken when there is room again`() async throws {
        let bench = try BodyBench()
        let bodies = try bench.open { $0.waitingBytesMax = 3_000 }
        let store = try bodies.pool()
        await #expect(throws: BodyStoreError.unavailable(code: "Busy")) { try await store.put(pattern(3_001)) }
        for _ in 0..<4 { _ = try await store.put(pattern(3_000)) }
        #expect(bodies.counts().bodies == 4)
        bodies.close()
    }

    @Test func `are stored and answered, each once, when many come at once`() async throws {
        let bench = try BodyBench()
        let bodies = try bench.open()
        let store = try bodies.pool()
        let keys = (0..<200).map { _ in store.newKey() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (index, key) in keys.enumerated() {
                group.addTask {
                    try await store.put(pattern(20_000, seed: UInt8(index)), key)
                    let body = try await store.get(key)
                    #expect(body == pattern(20_000, seed: UInt8(index)))
                    if index.isMultiple(of: 2) { try await store.remove(key) }
                }
            }
            try await group.waitForAll()
        }
        #expect(bodies.counts() == BodyCounts(bodies: 100, bytes: 2_000_000))
        bodies.close()
    }

    @Test func `are finished by a close, and refused after it`() async throws {
        let bench = try BodyBench()
        let bodies = try bench.open()
        let store = try bodies.pool()
        let key = store.newKey()
        let (answers, answer) = AsyncStream<Bool>.makeStream()
        store.put(pattern(4 << 20), key: key) { result in
            answer.yield((try? result.get()) != nil)
            answer.finish()
        }
        bodies.close()
        bodies.close()
        var isStored: [Bool] = []
        for await answer in answers { isStored.append(answer) }
        #expect(isStored == [true])
        await #expect(throws: BodyStoreError.unavailable(code: "Closed")) { try await store.put([1]) }
        await #expect(throws: BodyStoreError.unavailable(code: "Closed")) { try await store.get(key) }
        await #expect(throws: BodyStoreError.unavailable(code: "Closed")) { try await store.remove(key) }
        let again = try bench.open()
        #expect(try await again.pool().get(key) == pattern(4 << 20))
        again.close()
    }

    @Test func `lie in a file that only its owner may read`() async throws {
        let bench = try BodyBench()
        let bodies = try bench.open()
        _ = try await bodies.pool().put(pattern(100))
        for suffix in ["", "-wal", "-shm"] {
            let facts = try FileManager.default.attributesOfItem(atPath: bench.path + suffix)
            #expect(facts[.posixPermissions] as? Int == 0o600)
        }
        bodies.close()
    }
}
