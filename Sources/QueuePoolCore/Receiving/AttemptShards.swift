// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule

// A receive with a ReceiveRequestAttemptId that is repeated within five minutes gets the same messages. Each shard
// remembers what it gave; a pool remembers which shards gave something, and a repeat asks exactly these. Otherwise it would
// go on to others that have something new by then, or end before it has come to all of them.

/// Which shards answered recent receives with a ReceiveRequestAttemptId, for five minutes and at most 10,000 of them.
public struct AttemptShards: Sendable {
    public static let attemptsMax = 10_000
    private var shardsByID: [String: (shards: [ShardIndex], at: Timestamp)] = [:]
    private var order: Deque<(id: String, at: Timestamp)> = []

    public init() {}

    /// Attempts that are remembered.
    public var count: Int { shardsByID.count }

    /// - Parameter shards: in the order in which their messages were answered.
    public mutating func remember(_ id: String, _ shards: [ShardIndex], now: Timestamp) {
        while let front = order.first,
            order.count >= AttemptShards.attemptsMax || AttemptShards.isOver(front.at, now)
        {
            order.removeFirst()
            if shardsByID[front.id]?.at == front.at { shardsByID[front.id] = nil }
        }
        shardsByID[id] = (shards, now)
        order.append((id, now))
    }

    /// `nil` for an attempt that was not made, found nothing, or was too long ago.
    public func shards(of id: String, now: Timestamp) -> [ShardIndex]? {
        shardsByID[id].flatMap { AttemptShards.isOver($0.at, now) ? nil : $0.shards }
    }

    private static func isOver(_ at: Timestamp, _ now: Timestamp) -> Bool {
        now - at >= Int64(QueueLimits.deduplicationSeconds) * 1_000
    }
}
