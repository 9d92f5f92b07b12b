// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolTestSupport
import Testing

@testable import QueuePoolCore

/// The published placements: another language that gives these gives all others too.
private struct PlacementVectors: Decodable {
    struct Vector: Decodable {
        let group: String
        let hash: String
        let slot: Int
    }
    struct Table: Decodable {
        let shards: Int
        let slotTableXXH64: String
    }
    let slots: Int
    let vectors: [Vector]
    let topologies: [Table]

    static func load() throws -> PlacementVectors {
        let url = try #require(Bundle.module.url(forResource: "vectors", withExtension: "json"))
        return try JSONDecoder().decode(PlacementVectors.self, from: Data(contentsOf: url))
    }
}

private let pool = PoolName("emails.fifo")

private func topology(_ count: Int) throws -> Topology {
    try Topology(pool: #require(pool), shardCount: count)
}

extension Topology {
    fileprivate func grown() throws -> Topology { try adding(name: "emails-\(nextIndex).fifo") }

    fileprivate var spread: Int {
        let counts = slots.counts()
        let held = shards.map { counts[$0.index] ?? 0 }
        return (held.max() ?? 0) - (held.min() ?? 0)
    }
}

@Suite struct `The ring` {
    @Test func `places groups as published (I4)`() throws {
        let published = try PlacementVectors.load()
        #expect(published.slots == Slot.count)
        for vector in published.vectors {
            let hash = XXHash64.hash(vector.group)
            #expect(hash == UInt64(vector.hash, radix: 16))
            #expect(Slot(groupHash: hash).index == vector.slot)
        }
    }

    @Test func `makes the published slot tables (I4)`() throws {
        for table in try PlacementVectors.load().topologies {
            let bytes = try topology(table.shards).slots.owners.flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] }
            let digest = bytes.withUnsafeBytes { XXHash64.hash($0) }
            #expect(digest == UInt64(table.slotTableXXH64, radix: 16), "\(table.shards) shards")
        }
    }

    @Test func `grows one by one to 256 shards, each time by the least moves, all onto the newcomer (I4)`() throws {
        var now = try topology(1)
        for size in 1..<256 {
            let next = try now.grown()
            let moves = next.history.filter { $0.epoch == next.epoch }
            #expect(moves.count <= (Slot.count + size) / (size + 1))
            #expect(moves.allSatisfy { $0.to == ShardIndex(size) })
            #expect(next.spread <= 1)
            #expect(next.epoch.number == now.epoch.number + 1)
            now = next.settling(through: next.epoch)
            #expect(now.history.isEmpty)
        }
        #expect(try now.slots == topology(256).slots)
    }

    @Test func `places alike whether created with N shards or grown to N`() throws {
        var grown = try topology(1)
        for size in [2, 3, 5, 8, 13, 21] {
            while grown.shards.count < size { grown = try grown.grown() }
            #expect(try grown.slots == topology(size).slots)
        }
    }

    @Test func `gives a removed shard's slots evenly to the others and moves nothing else`() throws {
        for size in [2, 3, 8, 37] {
            let before = try topology(size)
            let gone = ShardIndex(size / 2)
            let after = try before.removing(gone)
            #expect(after.history.allSatisfy { $0.from == gone && $0.to != gone })
            #expect(after.history.count == before.slots.counts()[gone])
            #expect(after.spread <= 1)
        }
    }

    @Test func `records in its history exactly what changed hands`() throws {
        let before = try topology(4)
        let after = try before.grown()
        var table = before.slots
        for move in after.history {
            #expect(table[move.slot] == move.from)
            table.move(move.slot, to: move.to)
        }
        #expect(table == after.slots)
    }

    @Test(arguments: SplitMix64.seeds(4))
    func `keeps its promises over random resizes with equal weights (I4)`(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        var now = try topology(1 + random.below(8))
        for _ in 0..<30 {
            let isRemoval = now.shards.count > 1 && random.chance(45)
            let leaver = now.shards[random.below(now.shards.count)].index
            let next = try isRemoval ? now.removing(leaver) : now.grown()
            check(now, next, "seed \(seed)")
            #expect(next.spread <= 1, "seed \(seed)")
            now = next.settling(through: next.epoch)
        }
    }

    @Test(arguments: SplitMix64.seeds(5, from: 100))
    func `keeps its promises over random resizes with random weights (I4)`(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        var now = try topology(1 + random.below(20))
        for _ in 0..<40 {
            let shard = now.shards[random.below(now.shards.count)].index
            let next =
                switch random.below(3) {
                case 0: try now.adding(name: "emails-x.fifo", weight: 1 + random.below(1000))
                case 1 where now.shards.count > 1: try now.removing(shard)
                default: try now.weighting(shard, 1 + random.below(1000))
                }
            check(now, next, "seed \(seed)")
            checkShares(next, "seed \(seed)")
            now = next.settling(through: next.epoch)
        }
    }

    /// A newcomer of little weight changes everyone's due share by a fraction of a slot. Whoever rounds all shares
    /// anew then hands slots from one old shard to another.
    @Test(arguments: SplitMix64.seeds(6, from: 200))
    func `moves nothing between others when a light shard comes or goes (I4)`(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        var now = try topology(24)
        for index in 0..<24 { now = try now.weighting(ShardIndex(index), 300 + random.below(700)) }
        for _ in 0..<6 {
            let weight = 1 + random.below(random.chance(60) ? 2 : 30)
            let grown = try now.adding(name: "emails-light.fifo", weight: weight)
            check(now, grown, "seed \(seed)")
            let light = try #require(grown.shards.last)
            check(grown, try grown.removing(light.index), "seed \(seed)")
            now = try grown.weighting(ShardIndex(random.below(24)), 300 + random.below(700))
            let lighter = try now.removing(light.index)
            check(now, lighter, "seed \(seed)")
            now = lighter
        }
    }

    /// What holds for each single change.
    private func check(_ before: Topology, _ after: Topology, _ note: Comment) {
        #expect(after.epoch.number == before.epoch.number + 1, note)
        let moves = after.history.filter { $0.epoch == after.epoch }
        let owners = Set(after.slots.owners.map { ShardIndex(Int($0)) })
        #expect(owners.isSubset(of: Set(after.shards.map(\.index))), note)
        if after.shards.count > before.shards.count, let newcomer = after.shards.last {
            #expect(moves.allSatisfy { $0.to == newcomer.index }, note)
            let total = after.shards.reduce(0) { $0 + $1.weight }
            #expect(moves.count <= (Slot.count * newcomer.weight + total - 1) / total, note)
        }
        if after.shards.count < before.shards.count {
            let gone = Set(before.shards.map(\.index)).subtracting(after.shards.map(\.index))
            #expect(moves.allSatisfy { gone.contains($0.from) }, note)
        }
    }

    /// Each shard holds its due share, give or take the rounding that the least moves leave behind.
    private func checkShares(_ topology: Topology, _ note: Comment) {
        let total = topology.shards.reduce(0) { $0 + $1.weight }
        let counts = topology.slots.counts()
        for shard in topology.shards {
            let due = Double(Slot.count * shard.weight) / Double(total)
            #expect(abs(Double(counts[shard.index] ?? 0) - due) <= 2, note)
        }
    }

    @Test func `refuses what cannot be a topology`() throws {
        #expect(throws: Topology.Invalid.shardCount(0)) { try topology(0) }
        #expect(throws: Topology.Invalid.shardCount(257)) { try topology(257) }
        #expect(throws: Topology.Invalid.shardCount(257)) { try topology(256).grown() }
        #expect(throws: Topology.Invalid.lastShard) { try topology(1).removing(ShardIndex(0)) }
        #expect(throws: Topology.Invalid.unknownShard(ShardIndex(9))) { try topology(2).removing(ShardIndex(9)) }
        #expect(throws: Topology.Invalid.weight(shard: "emails-0001.fifo", 0)) {
            try topology(2).weighting(ShardIndex(1), 0)
        }
        #expect(SlotTable(owners: [0, 1]) == nil)
    }

    @Test func `never gives an index to a second shard`() throws {
        let shrunk = try topology(3).removing(ShardIndex(2))
        #expect(try shrunk.grown().shards.map(\.index.number) == [0, 1, 3])
    }

    @Test func `knows a pool's name and those of its shards`() throws {
        let name = try #require(PoolName("emails.fifo"))
        #expect(name.shardName(3) == "emails-0003.fifo")
        #expect(name.shardName(12_345) == "emails-12345.fifo")
        #expect(name.deadLetterQueueName == "emails-dlq.fifo")
        for wrong in ["", ".fifo", "emails", "e mails.fifo", "é.fifo", String(repeating: "a", count: 76) + ".fifo"] {
            #expect(PoolName(wrong) == nil)
        }
    }
}
