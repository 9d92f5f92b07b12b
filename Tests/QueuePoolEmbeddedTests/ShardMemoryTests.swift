// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import QueuePoolTestSupport
import Synchronization
import Testing

@testable import QueuePoolEmbedded

@Suite("What all shards keep in memory together")
final class ShardMemoryTests {
    private static let bodyBytes = 1_000
    private let directory: String
    private let clock = ManualClock(UpkeepBench.start)
    private let pool = CommitPool(width: 2, clock: RealClock())
    private var sent = 0

    init() throws {
        let memory = FileManager.default.isWritableFile(atPath: "/dev/shm")
        directory = (memory ? "/dev/shm" : FileManager.default.temporaryDirectory.path) + "/queuepool-\(UUID())"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    private func factory(_ memory: ShardMemory, cacheBytesMax: Int = 1 << 20) throws -> EmbeddedShardFactory {
        var options = EmbeddedShardOptions(pool: pool, clock: clock)
        options.memory = memory
        options.cacheBytesMax = cacheBytesMax
        return try EmbeddedShardFactory(directory: directory, options: options)
    }

    private func open(_ factory: EmbeddedShardFactory, _ number: Int) throws -> EmbeddedShard {
        try #require(
            try factory.open(name: "a-000\(number).fifo", attributes: QueueAttributes()) as? EmbeddedShard)
    }

    /// Messages with ids of their own, a commit each.
    private func send(_ count: Int, to shard: EmbeddedShard) async throws {
        for _ in 0..<count {
            sent += 1
            let body = Array(repeating: UInt8(1), count: ShardMemoryTests.bodyBytes)
            let record = body.withUnsafeBytes {
                MessageRecord(group: Array("g\(sent)".utf8), deduplicationID: Array("\(sent)".utf8), body: $0)
            }
            let message = OutgoingMessage(record: record, groupHash: UInt64(sent))
            _ = try await withCheckedContinuation { done in
                shard.send([message]) { done.resume(returning: $0) }
            }.get()
        }
    }

    /// A turn of every shard a while later, as those have it that nobody uses.
    private func rest(_ shards: [EmbeddedShard], of factory: EmbeddedShardFactory, seconds: Int64 = 2) async {
        clock.pass(seconds: seconds)
        for store in factory.stores { store.pokeAll() }
        for shard in shards { while shard.inbox.withLock({ $0.isScheduled }) { await Task.yield() } }
    }

    private func cached(_ shards: [EmbeddedShard]) -> Int {
        shards.reduce(0) { $0 + $1.index.withLock { $0.cachedBytes } }
    }

    @Test func `a part of the cache is a shard's own bound or an equal share`() {
        let memory = ShardMemory(cacheBytesMax: 1_000)
        #expect(memory.cacheBytes(own: 400) == 400)
        for _ in 0..<4 { memory.opened() }
        #expect(memory.cacheBytes(own: 400) == 250)
        #expect(memory.cacheBytes(own: 100) == 100)
        for _ in 0..<3 { memory.closed() }
        #expect(memory.cacheBytes(own: 2_000) == 1_000)
    }

    @Test func `shards that come later get their part of the cache, and those that rest give it`() async throws {
        let memory = ShardMemory(cacheBytesMax: 100_000)
        let factory = try factory(memory)
        var shards = [try open(factory, 0)]
        try await send(80, to: shards[0])
        #expect(cached(shards) > 80_000)
        for number in 1...4 {
            shards.append(try open(factory, number))
            try await send(80, to: shards[number])
        }
        #expect(cached(shards) > 100_000)
        await rest(shards, of: factory)
        for shard in shards { #expect(cached([shard]) <= 20_000) }
        #expect(cached(shards) > 50_000)
        for shard in shards.dropFirst() { shard.close() }
        try await send(80, to: shards[0])
        #expect(cached([shards[0]]) > 80_000)
        shards[0].close()
    }

    @Test func `ids are counted over all shards, and none is forgotten for a new one`() async throws {
        let memory = ShardMemory(keysMax: 20)
        let factory = try factory(memory)
        let shards = [try open(factory, 0), try open(factory, 1)]
        try await send(12, to: shards[0])
        try await send(8, to: shards[1])
        for shard in shards {
            await #expect(throws: ShardError.overloaded(retryAfterMilliseconds: 5_000)) { try await send(1, to: shard) }
        }
        #expect(memory.keyCount == 20)
        #expect(shards.map { $0.counts().deduplicationEntries } == [12, 8])
        await rest(shards, of: factory, seconds: 290)
        await #expect(throws: ShardError.self) { try await send(1, to: shards[0]) }
        await rest(shards, of: factory, seconds: 15)
        #expect(memory.keyCount == 0)
        try await send(20, to: shards[0])
        await #expect(throws: ShardError.self) { try await send(1, to: shards[1]) }
        for shard in shards { shard.close() }
    }

    @Test func `a shard that closes gives its part back, and counts again when it is opened`() async throws {
        let memory = ShardMemory(keysMax: 5)
        let first = try open(try factory(memory), 0)
        try await send(5, to: first)
        first.close()
        #expect(memory.keyCount == 0)
        let second = try open(try factory(memory), 0)
        #expect(memory.keyCount == 5)
        await #expect(throws: ShardError.self) { try await send(1, to: second) }
        second.close()
    }
}
