// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import QueuePoolTestSupport
import Synchronization
import Testing

/// A pool lives as long as its name; a new topology is something that happens to it.
@Suite struct `A pool that gets a new topology` {
    private let stage = RegistryStage()
    private let registry: PoolRegistry
    private let pool: Pool

    init() throws {
        registry = stage.registry()
        pool = try registry.create(try stage.name(), shards: 2, attributes: "")
    }

    /// What another server stored is taken over.
    private func follow(_ change: (Topology) throws -> Topology) throws {
        let next = try change(pool.snapshot.topology)
        stage.store.change("emails.fifo") { $0.topology = next }
        try registry.refresh()
    }

    private func grow() throws { try follow { try $0.adding(name: "emails-0002.fifo") } }
    private func shrink() throws { try follow { try $0.removing(ShardIndex(0)) } }

    private func fake(_ name: String) throws -> FakeShard { try #require(stage.shards.shard(name)) }

    /// The hash of a group that the topology gives to a shard.
    private func group(of shard: Int, in topology: Topology) throws -> UInt64 {
        try #require((0..<10_000).first { topology.shard(ofGroupHash: $0) == ShardIndex(shard) })
    }

    private func send(_ body: UInt8 = 1, group: UInt64, _ answers: Log<Bool> = Log()) {
        pool.send(OutgoingMessage(record: MessageRecord(bytes: [body]), groupHash: group)) { result in
            answers.add((try? result.get()) != nil)
        }
    }

    private func receive(from shard: PoolShard? = nil, wait: Int = 20) -> Log<[ReceivedMessage]> {
        let log = Log<[ReceivedMessage]>()
        pool.receive(ReceiveCommand(limit: 10), from: shard, waitSeconds: wait, isAbandoned: { false }) { result in
            log.add((try? result.get()) ?? [])
        }
        return log
    }

    @Test func `is the same pool, and so are the shards that stay`() throws {
        let before = pool.snapshot.shards
        try grow()
        #expect(registry.pool("emails.fifo") === pool)
        #expect(registry.target("emails-0002.fifo")?.pool === pool)
        let after = pool.snapshot.shards
        #expect(after.count == 3 && zip(before, after).allSatisfy { $0 === $1 })
        #expect(pool.router.topology == pool.snapshot.topology && pool.snapshot.topology.epoch == Epoch(2))
        try shrink()
        #expect(registry.pool("emails.fifo") === pool)
        #expect(pool.snapshot.shards.map(\.index) == [ShardIndex(1), ShardIndex(2)])
        #expect(pool.snapshot.shards[0] === before[1])
    }

    @Test func `lets receivers wait on, and gives them what comes to a new shard`() throws {
        let received = receive()
        try grow()
        #expect(received.all.isEmpty && pool.hub.waiterCount == 1)
        send(7, group: try group(of: 2, in: pool.snapshot.topology))
        try fake("emails-0002.fifo").answer()
        #expect(received.all.map { $0.map(\.storage) } == [[[7]]])
        #expect(pool.hub.waiterCount == 0)
    }

    @Test func `gives a receiver that waits what a new shard had before`() throws {
        let received = receive()
        stage.shards.onOpen { shard in shard.put([9]) }
        try grow()
        #expect(received.all.map { $0.map(\.storage) } == [[[9]]])
    }

    @Test func `answers what was under way, and sends what comes later to the new shard`() throws {
        let next = try pool.snapshot.topology.adding(name: "emails-0002.fifo")
        let moved = try #require(next.history.first)
        let hash = try #require((0..<1_000_000).first { Slot(groupHash: $0) == moved.slot })
        let old = try #require(pool.snapshot.shards.first { $0.index == moved.from })
        let answers = Log<Bool>()
        send(1, group: hash, answers)
        try follow { _ in next }
        #expect(answers.all.isEmpty && pool.router.traffic.underWay(moved.slot) == 1)
        send(2, group: hash, answers)
        try fake("emails-0002.fifo").answer()
        #expect(answers.all == [true])
        try fake(old.name).answer()
        #expect(answers.all == [true, true] && pool.router.traffic.total == 0)
        #expect(receive(wait: 0).all.first.map { Set($0.map(\.storage)) } == [[1], [2]])
    }

    @Test func `sends by new weights, though its shards stay the same`() throws {
        try follow { try $0.weighting(ShardIndex(0), 300) }
        let topology = pool.snapshot.topology
        #expect(topology.epoch == Epoch(2) && pool.router.topology == topology)
        let group = try #require(topology.history.first)
        let hash = try #require((0..<1_000_000).first { Slot(groupHash: $0) == group.slot })
        #expect(pool.router.shard(ofGroupHash: hash).index == group.to)
    }

    @Test(.timeLimit(.minutes(1))) func `closes a shard that left after its last answer, and not before`() async throws
    {
        let old = try fake("emails-0000.fifo")
        let answers = Log<Bool>()
        send(group: try group(of: 0, in: pool.snapshot.topology), answers)
        try shrink()
        stage.clock.advance(milliseconds: 10_000)
        #expect(!old.isClosed && answers.all.isEmpty)
        old.answer()
        stage.clock.advance(milliseconds: 10_000)
        await old.closed()
        #expect(answers.all == [true])
        #expect(try !fake("emails-0001.fifo").isClosed)
    }

    @Test func `takes receipt handles of a shard that left until it is closed`() throws {
        let old = try fake("emails-0000.fifo")
        old.put([1])
        let handle = try #require(receive(wait: 0).all.first?.first?.handle)
        // Something under way holds it open.
        send(group: try group(of: 0, in: pool.snapshot.topology))
        try shrink()
        pool.delete([handle]) { _ in }
        #expect(old.deleted == [handle])
    }

    @Test func `answers who waits at a shard that left`() throws {
        let shard = try #require(pool.snapshot.shards.first)
        let (gone, stays) = (receive(from: shard), receive(from: pool.snapshot.shards[1]))
        send(group: try group(of: 0, in: pool.snapshot.topology))
        try shrink()
        #expect(gone.all.map(\.count) == [0] && stays.all.isEmpty)
        #expect(pool.hub.waiterCount == 1)
    }

    @Test func `takes back a shard that left and is not closed yet`() throws {
        let (first, shard) = (pool.snapshot.topology, try #require(pool.snapshot.shards.first))
        let answers = Log<Bool>()
        send(group: try group(of: 0, in: first), answers)
        try shrink()
        try follow { topology in
            try Topology(
                stored: Epoch(topology.epoch.number + 1), shards: first.shards, slots: first.slots, history: [],
                nextIndex: topology.nextIndex)
        }
        #expect(pool.snapshot.shards.first === shard)
        try fake(shard.name).answer()
        stage.clock.advance(milliseconds: 10_000)
        #expect(try !fake(shard.name).isClosed && answers.all == [true])
    }

    @Test func `keeps its old topology while a new shard cannot be opened`() throws {
        let before = pool.snapshot.topology
        stage.shards.letFail("emails-0002.fifo")
        #expect(throws: RegistryError.self) { try grow() }
        #expect(pool.snapshot.topology == before && pool.router.topology == before)
        stage.shards.repair()
        try registry.refresh()
        #expect(pool.snapshot.shards.count == 3 && pool.router.topology == pool.snapshot.topology)
    }
}

/// What was told, in order.
private final class Log<Element: Sendable>: Sendable {
    private let elements = Mutex<[Element]>([])

    var all: [Element] { elements.withLock { $0 } }
    func add(_ element: Element) { elements.withLock { $0.append(element) } }
}
