// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

// What is under way to shards. Each message was counted when it was routed, and is counted off before its sender is told:
// who was told of everything finds nothing under way.

/// One message on its way.
final class RoutedMessage: SendListener {
    private let entry: SendRequest.Entry
    private let shard: PoolShard
    private let traffic: SlotTraffic

    init(_ entry: SendRequest.Entry, _ shard: PoolShard, _ traffic: SlotTraffic) {
        self.entry = entry
        self.shard = shard
        self.traffic = traffic
    }

    func tell(_ place: Int, _ result: Result<SendReceipt, ShardError>) { entry.ended(result, shard, traffic) }
}

/// The messages of one request on their way, each to the shard of its own.
final class RoutedRequest: SendListener {
    private let entries: [SendRequest.Entry]
    /// Of each entry's shard in `shards`.
    let places: [Int]
    private let shards: [PoolShard]
    private let traffic: SlotTraffic

    init(_ entries: [SendRequest.Entry], to places: [Int], of shards: [PoolShard], _ traffic: SlotTraffic) {
        self.entries = entries
        self.places = places
        self.shards = shards
        self.traffic = traffic
    }

    func tell(_ place: Int, _ result: Result<SendReceipt, ShardError>) {
        entries[place].ended(result, shards[places[place]], traffic)
    }
}

extension SendRequest.Entry {
    fileprivate func ended(_ result: Result<SendReceipt, ShardError>, _ shard: PoolShard, _ traffic: SlotTraffic) {
        if !Mutation.slotTrafficNeverEnds.isOn { traffic.ended(Slot(groupHash: message.groupHash)) }
        shard.ended()
        tell(result, shard)
    }
}
