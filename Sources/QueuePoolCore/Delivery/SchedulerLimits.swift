// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// How a worker treats messages.
public struct SchedulerLimits: Hashable, Sendable {
    /// Deliveries under way at one time.
    public var concurrency = 64
    public var visibilityMilliseconds = Int64(Defaults.visibilitySeconds) * 1_000
    /// How long an answer may be on its way: a twentieth of the timeout.
    var answerMilliseconds: Int64 { visibilityMilliseconds / 20 }
    /// A worker that was not ticked for so long stood still.
    public var standstillMilliseconds: Int64 = 2_000
    /// Attempts that a message has at least before it is given up; earlier deliveries by the queue count as attempts.
    public var maxAttempts = 5
    /// Time since its first receive that a message has at least before it is given up.
    public var retryMilliseconds: Int64 = 0
    /// Time since its first receive after which a message that may have arrived at a target is given up, if that target
    /// still cannot be reached: no other may get it, and its group waits.
    public var unknownMilliseconds: Int64 = 14_400_000
    /// Deliveries by the queue after which a message is given up untried: what kills its workers never fails.
    public var maxReceives = 20
    public var backOffBaseMilliseconds: Int64 = 500
    public var backOffCapMilliseconds: Int64 = 30_000
    /// Receives of one shard that are out at one time, at most; more than one only while their answers are full.
    public var receivesMax = 1
    /// Delete requests of one shard that are under way at one time, at most; more than one only while they are full.
    public var deletesMax = 1
    /// Messages of one shard in groups that can go on, beyond which it is not asked for more; fewer where deliveries are slow.
    /// Groups that wait for a retry are not counted: they would keep the others from coming.
    public var readyPerShardMax = 200
    /// Messages of one shard held in all, those that wait for a retry too: each must be extended in time.
    public var heldPerShardMax = 5_000
    /// Bytes of bodies and attributes held in all.
    public var heldBytesMax = 256 << 20

    public init() {}
}
