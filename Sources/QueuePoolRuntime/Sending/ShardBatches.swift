// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

/// The entries of one request by the shard that takes them; in order on each.
package struct ShardBatches {
    private var batches: [(shard: PoolShard, entries: [BatcherEntry<SendTicket>])] = []
    private var places: [ObjectIdentifier: Int] = [:]

    package init() {}

    package mutating func add(_ entry: BatcherEntry<SendTicket>, to shard: PoolShard) {
        let key = ObjectIdentifier(shard)
        if let place = places[key] {
            batches[place].entries.append(entry)
        } else {
            places[key] = batches.count
            batches.append((shard, [entry]))
        }
    }

    /// Hands every shard its entries at once.
    package func send() { for batch in batches { batch.shard.sender.send(batch.entries) } }
}
