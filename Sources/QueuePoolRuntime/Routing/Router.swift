// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import Synchronization

// Every send of every door passes here, so that what must hold for all of them is decided once: a message goes to the
// shard that the topology names for its group (I4); entries of one request that go to one shard keep their order there,
// and fail together from the first failure of their group on (I2); and it is known how many messages of a slot are under
// way, without which no slot can move.

/// The way from a message to its shard, for one pool.
package final class Router: Sendable {
    private struct Table: Sendable {
        var topology: Topology
        let shards: [PoolShard]
        /// Places in `shards` by the number of a shard's index. A topology's slots name its own shards only, and these are
        /// all here: that is why a look-up needs no other way.
        let places: [Int]

        func shard(of slot: Slot) -> PoolShard { shards[places[topology.slots[slot].number]] }
    }

    private let table: Mutex<Table>
    package let traffic = SlotTraffic()

    /// - Parameter shards: all those that the topology names.
    package init(topology: Topology, shards: [PoolShard]) {
        var places = Array(repeating: -1, count: (shards.map(\.index.number).max() ?? -1) + 1)
        for (place, shard) in shards.enumerated() { places[shard.index.number] = place }
        table = Mutex(Table(topology: topology, shards: shards, places: places))
    }

    package var topology: Topology { table.withLock { $0.topology } }

    /// The shard of a message group.
    package func shard(ofGroupHash hash: UInt64) -> PoolShard {
        table.withLock { $0.shard(of: Slot(groupHash: hash)) }
    }

    /// Hands every shard its entries at once; each completion is called once.
    package func send(_ request: SendRequest) {
        let order = request.commonOrder
        if request.entries.count == 1, let entry = request.entries.first {
            let slot = Slot(groupHash: entry.message.groupHash)
            let shard = table.withLock { $0.shard(of: slot) }
            return shard.sender.send([self.entry(entry, slot, shard, order, isPaid: request.isPaid)])
        }
        // A copy, so that what is made for each entry is made without the lock.
        let table = table.withLock { $0 }
        var batches = table.shards.map { _ in [BatcherEntry<SendTicket>]() }
        for entry in request.entries {
            let slot = Slot(groupHash: entry.message.groupHash)
            let place = table.places[table.topology.slots[slot].number]
            batches[place].append(self.entry(entry, slot, table.shards[place], order, isPaid: request.isPaid))
        }
        for (shard, entries) in zip(table.shards, batches) where !entries.isEmpty { shard.sender.send(entries) }
    }

    private func entry(
        _ entry: SendRequest.Entry, _ slot: Slot, _ shard: PoolShard, _ order: RequestOrder?, isPaid: Bool
    ) -> BatcherEntry<SendTicket> {
        traffic.began(slot)
        let completion = entry.completion
        let ticket = SendTicket { [traffic] result in
            traffic.ended(slot)
            completion(result, shard)
        }
        return BatcherEntry(
            message: entry.message, ticket: ticket, isPaid: isPaid, order: order, position: entry.position)
    }
}
