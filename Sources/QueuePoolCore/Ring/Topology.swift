// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// The topology is a value: epoch, shards, slot table, and the moves of earlier epochs that are not settled yet. Every
// change makes a new value with the next epoch, so that nodes can compare, store and exchange it as a whole, and a
// worker can tell from the history from which shard a group's earlier messages may still come.

/// A shard as the topology knows it.
public struct ShardEntry: Hashable, Sendable {
    public let index: ShardIndex
    /// Queue name of the physical FIFO queue.
    public let name: String
    /// Share of the slots relative to the others, 1...1000; 100 is usual.
    public var weight: Int

    public init(index: ShardIndex, name: String, weight: Int = 100) {
        self.index = index
        self.name = name
        self.weight = weight
    }
}

/// One slot's passage to another shard.
public struct SlotMove: Hashable, Sendable {
    public let slot: Slot
    public let from: ShardIndex
    public let to: ShardIndex
    /// The epoch in which `to` began to own the slot.
    public let epoch: Epoch

    public init(slot: Slot, from: ShardIndex, to: ShardIndex, epoch: Epoch) {
        self.slot = slot
        self.from = from
        self.to = to
        self.epoch = epoch
    }
}

/// Slot -> shard, versioned.
public struct Topology: Hashable, Sendable {
    public static let shardsMax = 256
    public static let weightRange = 1...1000

    /// Why a topology cannot be made.
    ///
    /// `shardCount` is also the answer when a pool has used up its 65,536 shard indices.
    public enum Invalid: Error, Hashable {
        case shardCount(Int)
        case weight(shard: String, Int)
        case unknownShard(ShardIndex)
        case lastShard
        /// A slot belongs to a shard that is not in the list.
        case orphanSlot(Slot)
    }

    private(set) public var epoch: Epoch
    private(set) public var shards: [ShardEntry]
    private(set) public var slots: SlotTable
    /// Moves of earlier epochs that may still have messages in their old shard; oldest first.
    private(set) public var history: [SlotMove]
    /// The index for the next new shard; indices are never used twice.
    private(set) public var nextIndex: Int

    /// Epoch 1 with `count` shards of equal weight, named by the pool's rule.
    /// - Throws: `Invalid.shardCount` unless `count` is in 1...256.
    public init(pool: PoolName, shardCount count: Int) throws(Invalid) {
        guard (1...Topology.shardsMax).contains(count) else { throw .shardCount(count) }
        let entries = (0..<count).map { ShardEntry(index: ShardIndex($0), name: pool.shardName($0)) }
        let weights = Dictionary(uniqueKeysWithValues: entries.map { ($0.index, $0.weight) })
        // Grown one by one, so that a pool created with N shards and one grown to N place groups alike.
        var table = SlotTable(soleOwner: ShardIndex(0))
        for newcomer in entries.indices.dropFirst() {
            let grown = weights.filter { $0.key.number <= newcomer }
            table = table.growing(by: ShardIndex(newcomer), weights: grown)
        }
        self.init(epoch: Epoch(1), shards: entries, slots: table, history: [], nextIndex: count)
    }

    /// A topology read back from a control store.
    /// - Throws: `Invalid.orphanSlot` if a slot belongs to a shard that is not in `shards`, `Invalid.shardCount` if there
    ///   are none or too many.
    public init(
        stored epoch: Epoch, shards: [ShardEntry], slots: SlotTable, history: [SlotMove], nextIndex: Int
    ) throws(Invalid) {
        guard (1...Topology.shardsMax).contains(shards.count) else { throw .shardCount(shards.count) }
        let known = Set(shards.map(\.index))
        for index in slots.owners.indices where !known.contains(slots[Slot(index: index)]) {
            throw .orphanSlot(Slot(index: index))
        }
        self.init(epoch: epoch, shards: shards, slots: slots, history: history, nextIndex: nextIndex)
    }

    private init(epoch: Epoch, shards: [ShardEntry], slots: SlotTable, history: [SlotMove], nextIndex: Int) {
        self.epoch = epoch
        self.shards = shards
        self.slots = slots
        self.history = history
        self.nextIndex = nextIndex
    }

    /// The shard of a message group. One hash has been taken; this is one array read.
    public func shard(ofGroupHash hash: UInt64) -> ShardIndex { slots[Slot(groupHash: hash)] }

    /// The next epoch with one more shard.
    public func adding(name: String, weight: Int = 100) throws(Invalid) -> Topology {
        guard shards.count < Topology.shardsMax else { throw .shardCount(shards.count + 1) }
        guard nextIndex <= Int(UInt16.max) else { throw .shardCount(nextIndex + 1) }
        guard Topology.weightRange.contains(weight) else { throw .weight(shard: name, weight) }
        var entries = shards
        entries.append(ShardEntry(index: ShardIndex(nextIndex), name: name, weight: weight))
        return successor(entries, nextIndex: nextIndex + 1) {
            $0.growing(by: ShardIndex(nextIndex), weights: $1)
        }
    }

    /// The next epoch without a shard.
    public func removing(_ index: ShardIndex) throws(Invalid) -> Topology {
        guard shards.contains(where: { $0.index == index }) else { throw .unknownShard(index) }
        guard shards.count > 1 else { throw .lastShard }
        return successor(shards.filter { $0.index != index }, nextIndex: nextIndex) {
            $0.shrinking(by: index, weights: $1)
        }
    }

    /// The next epoch with another weight for one shard.
    public func weighting(_ index: ShardIndex, _ weight: Int) throws(Invalid) -> Topology {
        guard let position = shards.firstIndex(where: { $0.index == index }) else { throw .unknownShard(index) }
        guard Topology.weightRange.contains(weight) else { throw .weight(shard: shards[position].name, weight) }
        var entries = shards
        entries[position].weight = weight
        return successor(entries, nextIndex: nextIndex) { $0.rebalanced(for: $1) }
    }

    /// The same epoch with the moves of `settled` epochs and earlier forgotten.
    public func settling(through settled: Epoch) -> Topology {
        var next = self
        next.history.removeAll { $0.epoch <= settled }
        return next
    }

    private func successor(
        _ entries: [ShardEntry], nextIndex: Int, change: (SlotTable, [ShardIndex: Int]) -> SlotTable
    ) -> Topology {
        let weights = Dictionary(uniqueKeysWithValues: entries.map { ($0.index, $0.weight) })
        let table = change(slots, weights)
        let next = Epoch(epoch.number + 1)
        let moves = table.owners.indices.compactMap { index -> SlotMove? in
            let slot = Slot(index: index)
            let (from, to) = (slots[slot], table[slot])
            return from == to ? nil : SlotMove(slot: slot, from: from, to: to, epoch: next)
        }
        return Topology(
            epoch: next, shards: entries, slots: table, history: history + moves, nextIndex: nextIndex)
    }
}
