// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import Synchronization

// Every send of every door passes here, so that what must hold for all of them is decided once: a message goes to the
// shard that the topology names for its group (I4); entries of one request that go to one shard keep their order there,
// and fail together from the first failure of their group on (I2); and it is known how many messages of a slot are under
// way, without which no slot can move.
//
// What is under way is counted under the lock that the topology and the fence are read under. So whoever changes either
// sees, from that moment on, every message that went by what was before.

/// The way from a message to its shard, for one pool.
package final class Router: Sendable {
    private struct Table: Sendable {
        var topology: Topology
        let shards: [PoolShard]
        /// Places in `shards` by the number of a shard's index. A topology's slots name its own shards only, and these are
        /// all here: that is why a look-up needs no other way.
        let places: [Int]
        var fence = SlotFence()

        init(_ topology: Topology, _ shards: [PoolShard]) {
            self.topology = topology
            self.shards = shards
            var places = Array(repeating: -1, count: (shards.map(\.index.number).max() ?? -1) + 1)
            for (place, shard) in shards.enumerated() { places[shard.index.number] = place }
            self.places = places
        }

        func place(of slot: Slot) -> Int { places[topology.slots[slot].number] }
        func shard(of slot: Slot) -> PoolShard { shards[place(of: slot)] }

        /// The places of messages' shards.
        func places(of entries: [SendRequest.Entry]) -> [Int] {
            entries.map { place(of: Slot(groupHash: $0.message.groupHash)) }
        }
    }

    /// How soon a send that a fence refused is worth another try.
    private static let fenceRetryMilliseconds = 500

    private let table: Mutex<Table>
    package let traffic = SlotTraffic()

    /// - Parameter shards: all those that the topology names.
    package init(topology: Topology, shards: [PoolShard]) { table = Mutex(Table(topology, shards)) }

    package var topology: Topology { table.withLock { $0.topology } }

    /// The shard of a message group.
    package func shard(ofGroupHash hash: UInt64) -> PoolShard {
        table.withLock { $0.shard(of: Slot(groupHash: hash)) }
    }

    // MARK: - Changes

    /// From now on sends go by another topology. What is under way to the shards of before ends there.
    /// - Parameter shards: all those that the topology names.
    package func adopt(_ topology: Topology, shards: [PoolShard]) {
        var next = Table(topology, shards)
        table.withLock { table in
            next.fence = table.fence
            table = next
        }
    }

    /// Refuses sends on these slots from now on, with an error that makes another try worth while.
    package func fence(_ slots: some Sequence<Slot>) { table.withLock { $0.fence.fence(slots) } }

    /// Lets sends on these slots pass again.
    package func unfence(_ slots: some Sequence<Slot>) { table.withLock { $0.fence.unfence(slots) } }

    /// Whether nothing is under way on these slots, nor can be before `unfence`.
    package func isQuiet(_ slots: some Sequence<Slot>) -> Bool {
        let fence = table.withLock { $0.fence }
        return fence.isQuiet(slots, traffic)
    }

    // MARK: - Sends

    /// Hands every shard its entries at once; each completion is called once.
    package func send(_ request: SendRequest) {
        let order = request.commonOrder
        if request.entries.count == 1, let entry = request.entries.first {
            let slot = Slot(groupHash: entry.message.groupHash)
            let (shard, isFenced) = table.withLock { table in
                let shard = table.shard(of: slot)
                guard !table.fence.holds(slot) else { return (shard, true) }
                began(slot, shard)
                return (shard, false)
            }
            guard !isFenced else { return refuse([(entry, shard)], order) }
            let ticket = SendTicket(RoutedMessage(entry, shard, traffic))
            return shard.sender.send([Router.entry(entry, ticket, order, isPaid: request.isPaid)])
        }
        // A copy, so that what is made for each entry is made without the lock.
        let table = table.withLock { table in
            for entry in request.entries {
                let slot = Slot(groupHash: entry.message.groupHash)
                if !table.fence.holds(slot) { began(slot, table.shard(of: slot)) }
            }
            return table
        }
        let routed = RoutedRequest(request.entries, to: table.places(of: request.entries), of: table.shards, traffic)
        var batches = table.shards.map { _ in [BatcherEntry<SendTicket>]() }
        var refused: [(SendRequest.Entry, PoolShard)] = []
        for (number, entry) in request.entries.enumerated() {
            let slot = Slot(groupHash: entry.message.groupHash)
            let place = routed.places[number]
            if table.fence.holds(slot) {
                refused.append((entry, table.shards[place]))
            } else {
                // Under way are this one and those of before.
                let isStray = Mutation.busySlotGoesElsewhere.isOn && traffic.underWay(slot) > 1
                batches[isStray ? 0 : place].append(
                    Router.entry(entry, SendTicket(routed, place: number), order, isPaid: request.isPaid))
            }
        }
        for (shard, entries) in zip(table.shards, batches) where !entries.isEmpty { shard.sender.send(entries) }
        if !refused.isEmpty { refuse(refused, order) }
    }

    private func began(_ slot: Slot, _ shard: PoolShard) {
        traffic.began(slot)
        shard.began()
    }

    private static func entry(
        _ entry: SendRequest.Entry, _ ticket: SendTicket, _ order: RequestOrder?, isPaid: Bool
    ) -> BatcherEntry<SendTicket> {
        BatcherEntry(message: entry.message, ticket: ticket, isPaid: isPaid, order: order, position: entry.position)
    }

    /// A group is in one slot, so a fence lets all of a request's group pass or none of it; later pieces of the request are
    /// told by its order.
    private func refuse(_ entries: [(SendRequest.Entry, PoolShard)], _ order: RequestOrder?) {
        let error = ShardError.unavailable(retryAfterMilliseconds: Router.fenceRetryMilliseconds)
        var told: [ShardError] = []
        for (entry, _) in entries {
            let (position, hash) = (entry.position, entry.message.groupHash)
            order?.fail(position, group: hash, because: error)
            told.append(order?.failure(before: position, group: hash) ?? error)
        }
        for ((entry, shard), error) in zip(entries, told) {
            shard.sender.refusals.count(error)
            entry.tell(.failure(error), shard)
        }
    }
}
