// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// A default that is written in two places becomes two defaults. Those that more than one part knows are here.

/// What holds where nothing else is said.
public enum Defaults {
    /// Messages and bytes that may wait for one shard.
    public static let waitingEntriesMax = 20_000
    public static let waitingBytesMax = 64 << 20
    /// What messages may take, in bytes, that wait for all shards of a process.
    public static let waitingBudgetBytes = 256 << 20
    /// From the acceptance of a send until its sender is told: far inside of the deduplication interval.
    public static let sendDeadlineMilliseconds: Int64 = 30_000
    /// Bytes of bodies that one embedded shard keeps for receivers.
    public static let shardCacheBytes = 32 << 20
    /// Bytes of bodies that all embedded shards of a process keep.
    public static let cacheBytes = 256 << 20
    /// For how long a queue hides what it gave out; and for how long a worker has it hidden at a time.
    public static let visibilitySeconds = 30
    /// For how long a queue keeps a message: four days.
    public static let retentionSeconds = 345_600
    /// Pools and shards of one process, beside those that exist when it starts.
    public static let poolsMax = 1_000
    public static let shardsMax = 1_024
    /// Deliveries that a worker has under way at once.
    public static let workerConcurrency = 64
    /// Requests a second of one action at which a queue of SQS begins to be asked: the quota of a FIFO queue that is not a
    /// high-throughput one.
    public static let queueRequestsPerSecond = 300
    /// More is never asked of one queue; the largest quota of a region is 70,000.
    public static let queueRequestsPerSecondMax = 100_000
    /// For how long deliveries under way may go on when a worker is told to stop.
    public static let workerGraceSeconds = 30
}
