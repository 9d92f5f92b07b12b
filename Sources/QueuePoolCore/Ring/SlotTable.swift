// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Which shard owns which slot. Guarantees: every slot has one owner; with equal weights owners' counts differ by at
// most one; growing by one shard moves only what the newcomer is due, all of it onto the newcomer, taken evenly from
// the others, with any weights; removing a shard moves only that shard's slots, given evenly. Source: DeCandia et al.,
// "Dynamo" (2007), 6.2, strategy 3 (equal partitions, Q/S each). A table rather than a ring of points: lookup is one
// array read, the move count is exact, and a hot slot can be moved by hand.

/// The owner of each of the 16,384 slots.
public struct SlotTable: Hashable, Sendable {
    /// Owner by slot; always `Slot.count` long.
    private(set) public var owners: [UInt16]

    /// A table in which one shard owns everything.
    public init(soleOwner: ShardIndex) {
        owners = Array(repeating: UInt16(soleOwner.number), count: Slot.count)
    }

    /// - Returns: `nil` unless `owners` has one entry for each slot.
    public init?(owners: [UInt16]) {
        guard owners.count == Slot.count else { return nil }
        self.owners = owners
    }

    public subscript(slot: Slot) -> ShardIndex { ShardIndex(Int(owners[slot.index])) }

    /// Gives one slot to a shard: the edit by which an operator moves a hot slot.
    public mutating func move(_ slot: Slot, to shard: ShardIndex) { owners[slot.index] = UInt16(shard.number) }

    /// Slots by owner, ascending.
    public func slots(of shard: ShardIndex) -> [Slot] {
        owners.indices.filter { owners[$0] == UInt16(shard.number) }.map(Slot.init(index:))
    }

    /// Slots owned, by shard.
    public func counts() -> [ShardIndex: Int] {
        var byNumber = Array(repeating: 0, count: Int(owners.max() ?? 0) + 1)
        for owner in owners { byNumber[Int(owner)] += 1 }
        let held = byNumber.indices.filter { byNumber[$0] > 0 }
        return Dictionary(uniqueKeysWithValues: held.map { (ShardIndex($0), byNumber[$0]) })
    }

    /// The table that serves `weights` after a change of weights.
    ///
    /// A shard's due share is `Slot.count * weight / sum of weights`, rounded so that the shares add up (largest
    /// remainder, the current holder first, then the lower index). Owners above their share give, owners below take.
    /// - Parameter weights: shards of the next epoch with weights above zero; at least one.
    public func rebalanced(for weights: [ShardIndex: Int]) -> SlotTable {
        moved(toward: SlotTable.shares(weights, current: counts()))
    }

    /// The table with one more shard: it takes its due share, rounded down, one slot at a time from whoever is furthest
    /// above their own (the higher index among equals), and nothing else moves.
    ///
    /// Rounding everyone anew would not do: with unequal weights a newcomer can raise an old shard's rounded share.
    /// - Parameter weights: shards of the next epoch, the newcomer among them, with weights above zero.
    public func growing(by newcomer: ShardIndex, weights: [ShardIndex: Int]) -> SlotTable {
        let total = weights.values.reduce(0, +)
        var shares = Shares(weights, total: total, held: counts())
        let newcomerShare = Slot.count * (weights[newcomer] ?? 0) / total
        for _ in 0..<newcomerShare { shares.takeOne(except: newcomer) }
        var due = shares.due
        due[newcomer] = newcomerShare
        return moved(toward: due)
    }

    /// The table without a shard: its slots go one at a time to whoever is furthest below their due share (the lower
    /// index among equals), and nothing else moves.
    /// - Parameter weights: shards of the next epoch with weights above zero; at least one.
    public func shrinking(by leaver: ShardIndex, weights: [ShardIndex: Int]) -> SlotTable {
        let held = counts()
        var shares = Shares(weights, total: weights.values.reduce(0, +), held: held)
        for _ in 0..<(held[leaver] ?? 0) { shares.giveOne() }
        return moved(toward: shares.due)
    }

    /// Moves slots from owners that hold more than `due` to those that hold less.
    private func moved(toward due: [ShardIndex: Int]) -> SlotTable {
        let current = counts()
        var surplus = Array(repeating: 0, count: Int(owners.max() ?? 0) + 1)
        for (shard, held) in current { surplus[shard.number] = held - (due[shard] ?? 0) }
        var wanted = due.map { (shard: $0.key, missing: $0.value - (current[$0.key] ?? 0)) }
            .filter { $0.missing > 0 }
            .sorted { $0.shard < $1.shard }
        var next = owners
        var taker = 0
        // Slots are given from each owner's highest down, and takers are served in turn, so that neighbours spread.
        for slot in owners.indices.reversed() where surplus[Int(owners[slot])] > 0 {
            guard !wanted.isEmpty else { break }
            surplus[Int(owners[slot])] -= 1
            taker %= wanted.count
            next[slot] = UInt16(wanted[taker].shard.number)
            wanted[taker].missing -= 1
            if wanted[taker].missing == 0 { wanted.remove(at: taker) } else { taker += 1 }
        }
        var table = self
        table.owners = next
        return table
    }

    private static func shares(_ weights: [ShardIndex: Int], current: [ShardIndex: Int]) -> [ShardIndex: Int] {
        let total = weights.values.reduce(0, +)
        var shares = weights.mapValues { Slot.count * $0 / total }
        let remainders = weights.map { (shard: $0.key, rest: Slot.count * $0.value % total) }
            .sorted { a, b in
                if a.rest != b.rest { return a.rest > b.rest }
                let (heldA, heldB) = (current[a.shard] ?? 0, current[b.shard] ?? 0)
                return heldA != heldB ? heldA > heldB : a.shard < b.shard
            }
        for entry in remainders.prefix(Slot.count - shares.values.reduce(0, +)) { shares[entry.shard, default: 0] += 1 }
        return shares
    }

    /// Slots held against slots due, while they change one by one. Exact: excess is measured in slots times total
    /// weight, so nothing is rounded.
    private struct Shares {
        private struct Holder {
            let shard: ShardIndex
            var held: Int
            var excess: Int
        }

        private let total: Int
        private var holders: [Holder]

        init(_ weights: [ShardIndex: Int], total: Int, held: [ShardIndex: Int]) {
            self.total = total
            holders = weights.sorted { $0.key < $1.key }.map { shard, weight in
                let count = held[shard] ?? 0
                return Holder(shard: shard, held: count, excess: count * total - Slot.count * weight)
            }
        }

        var due: [ShardIndex: Int] { Dictionary(uniqueKeysWithValues: holders.map { ($0.shard, $0.held) }) }

        mutating func takeOne(except newcomer: ShardIndex) {
            var giver = -1
            var most = Int.min
            for index in holders.indices where holders[index].excess >= most {
                guard holders[index].shard != newcomer, holders[index].held > 0 else { continue }
                giver = index
                most = holders[index].excess
            }
            if giver >= 0 { change(giver, by: -1) }
        }

        mutating func giveOne() {
            guard let taker = holders.indices.min(by: { holders[$0].excess < holders[$1].excess }) else { return }
            change(taker, by: 1)
        }

        private mutating func change(_ index: Int, by slots: Int) {
            holders[index].held += slots
            holders[index].excess += slots * total
        }
    }
}
