// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import QueuePoolTestSupport
import Synchronization
import Testing

/// References that keep nothing.
private struct Weakly {
    weak var pool: Pool?
    weak var hub: LongPollHub?
    weak var shard: PoolShard?
    weak var fake: FakeShard?

    var isFree: Bool { pool == nil && hub == nil && shard == nil && fake == nil }
}

@Suite("Pools and shards that are over")
struct RegistryLifeTests {
    private let stage = RegistryStage()

    private func message() -> OutgoingMessage {
        OutgoingMessage(record: MessageRecord(bytes: [1]), groupHash: 1)
    }

    private func references(_ pool: Pool) -> Weakly {
        let shard = pool.snapshot.shards.first
        return Weakly(pool: pool, hub: pool.hub, shard: shard, fake: shard?.shard as? FakeShard)
    }

    @Test func `a pool that is removed is freed, and what waited for it is answered`() throws {
        let registry = stage.registry()
        let answers = Mutex(0)
        func removed() throws -> Weakly {
            let pool = try registry.create(try stage.name(), shards: 2, attributes: "")
            pool.receive(ReceiveCommand(limit: 1), waitSeconds: 20, isAbandoned: { false }) { _ in
                answers.withLock { $0 += 1 }
            }
            try registry.remove(pool)
            return references(pool)
        }
        let weakly = try removed()
        stage.shards.forget()
        stage.clock.advance(milliseconds: 60_000)
        #expect(answers.withLock { $0 } == 1)
        #expect(weakly.isFree)
    }

    @Test func `a redrive that ended holds no pool`() async throws {
        let registry = stage.registry()
        let moves = MoveTasks()
        let task = MoveTask(
            handle: "h", source: try registry.create(try stage.name("dlq.fifo"), shards: 1, attributes: ""),
            destination: try registry.create(try stage.name(), shards: 1, attributes: ""), perSecondMax: nil,
            clock: stage.clock, homes: MoveTask.Homes(byTag: { _ in nil }, byName: { _ in nil }))
        let weakly = registry.pools.map(references)
        await withCheckedContinuation { continuation in
            if !moves.start(task, ended: { _ in continuation.resume() }) { continuation.resume() }
        }
        func remove() throws { for pool in registry.pools { try registry.remove(pool) } }
        try remove()
        stage.shards.forget()
        stage.clock.advance(milliseconds: 60_000)
        #expect(moves.task("h")?.report.status == .completed)
        #expect(weakly.filter { !$0.isFree }.isEmpty)
    }

    @Test func `a pool is found at every moment while its shards are replaced`() throws {
        let registry = stage.registry()
        _ = try registry.create(try stage.name(), shards: 2, attributes: "")
        let looks = Mutex(0)
        let misses = Mutex(0)
        stage.shards.onCounts {
            looks.withLock { $0 += 1 }
            for name in ["emails.fifo", "emails-0000.fifo"] where registry.target(name) == nil {
                misses.withLock { $0 += 1 }
            }
        }
        stage.store.change("emails.fifo") {
            $0.topology = (try? $0.topology.adding(name: "emails-0002.fifo")) ?? $0.topology
        }
        try registry.refresh()
        #expect(registry.target("emails-0002.fifo") != nil)
        #expect(looks.withLock { $0 } > 0 && misses.withLock { $0 } == 0)
    }

    @Test(.timeLimit(.minutes(1))) func `a shard that is no more the pool's is closed when nothing waits for it`()
        async throws
    {
        let registry = stage.registry()
        let pool = try registry.create(try stage.name(), shards: 2, attributes: "")
        let old = try #require(pool.snapshot.shards.first)
        let fake = try #require(stage.shards.shard(old.name))
        for _ in 0..<3 {
            old.sender.send([BatcherEntry(message: message(), ticket: SendTicket { _ in })])
        }
        #expect(old.sender.waitingEntries > 0)
        stage.store.change("emails.fifo") { $0.topology = (try? $0.topology.removing(old.index)) ?? $0.topology }
        try registry.refresh()
        #expect(registry.target(old.name) == nil)
        stage.clock.advance(milliseconds: 1_000)
        #expect(!fake.isClosed)
        while old.sender.waitingEntries > 0 { fake.answer() }
        fake.answer()
        stage.clock.advance(milliseconds: 1_000)
        await fake.closed()
        let kept = try #require(registry.pool("emails.fifo")?.snapshot.shards.first?.shard as? FakeShard)
        #expect(!kept.isClosed)
    }
}
