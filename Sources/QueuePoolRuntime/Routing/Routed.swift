// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

// What is under way to shards. Each message was counted when it was routed, and is counted off before its sender is told:
// who was told of everything finds nothing under way.

/// One message on its way.
final class RoutedMessage: SendListener {
    private let slot: Slot
    private let listener: SendRequest.Listener
    private let shard: PoolShard
    private let traffic: SlotTraffic

    init(_ entry: SendRequest.Entry, _ shard: PoolShard, _ traffic: SlotTraffic) {
        slot = Slot(groupHash: entry.message.groupHash)
        listener = entry.listener
        self.shard = shard
        self.traffic = traffic
    }

    func tell(_ place: Int, _ result: Result<SendReceipt, ShardError>) {
        if !Mutation.slotTrafficNeverEnds.isOn { traffic.ended(slot) }
        shard.ended()
        listener.tell(result, shard)
    }
}

/// The messages of one request on their way, each to the shard of its own.
final class RoutedRequest: SendListener {
    /// What is known of a message without the message itself, which whoever has it may forget.
    private struct Message {
        let slot: Slot
        let listener: SendRequest.Listener
    }

    private let messages: [Message]
    /// Of each message's shard in `shards`.
    let places: [Int]
    private let shards: [PoolShard]
    private let traffic: SlotTraffic

    init(_ entries: [SendRequest.Entry], to places: [Int], of shards: [PoolShard], _ traffic: SlotTraffic) {
        messages = entries.map { Message(slot: Slot(groupHash: $0.message.groupHash), listener: $0.listener) }
        self.places = places
        self.shards = shards
        self.traffic = traffic
    }

    func tell(_ place: Int, _ result: Result<SendReceipt, ShardError>) {
        let shard = shards[places[place]]
        if !Mutation.slotTrafficNeverEnds.isOn { traffic.ended(messages[place].slot) }
        shard.ended()
        messages[place].listener.tell(result, shard)
    }
}
