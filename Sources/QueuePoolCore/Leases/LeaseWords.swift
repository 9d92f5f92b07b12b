// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// The times of leases. All workers of a pool have the same.
public struct LeaseLimits: Hashable, Sendable {
    /// How long a beat stands still, as another worker sees it, before the heartbeat is removed.
    public var termMilliseconds: Int64 = 10_000
    /// From one renewal to the next, and from one read of the table to the next.
    public var renewMilliseconds: Int64 = 2_000
    /// How much earlier than others may remove its heartbeat a worker stops by itself. It covers clocks that run at
    /// different rates: 15 % of the term are more than quartz clocks and their correction ever differ.
    public var marginMilliseconds: Int64 = 1_500
    /// How long a worker may go on delivering from a shard that it gives away.
    public var drainMilliseconds: Int64 = 30_000
    /// How long after its deadline a drain that nobody reported as done is ended.
    public var graceMilliseconds: Int64 = 500

    public init() {}

    /// For how long a renewal counts, from the moment it left.
    var validMilliseconds: Int64 {
        max(0, termMilliseconds - (Mutation.leaseWithoutMargin.isOn ? 0 : marginMilliseconds))
    }
}

/// One stretch of one worker on one shard, from its beginning until it is drained or dropped. A worker that gets a shard
/// a second time has another hold, so that what is still under way from the first cannot pass for the second.
public struct ShardHold: Hashable, Sendable {
    public let shard: ShardIndex
    /// Counts the holds of this worker, from 1.
    public let number: Int

    public init(shard: ShardIndex, number: Int) {
        self.shard = shard
        self.number = number
    }
}

/// What a worker's metrics say of its leases.
public struct LeaseFigures: Hashable, Sendable {
    /// Shards that it works on, those that it drains included.
    public var owned = 0
    public var draining = 0
    /// Workers with a heartbeat, itself included, as of the last read.
    public var workersSeen = 0
    /// Holds begun so far.
    public var begun = 0
    /// Holds ended so far because the worker was not, or not surely, the owner any more.
    public var lost = 0
    /// Shards given to another worker, or to nobody, so far.
    public var given = 0
    /// Heartbeats of other workers removed so far, because they stood still.
    public var removed = 0
    /// Heartbeats of its own lost so far, by lapse or removal.
    public var livesLost = 0

    public init() {}
}
