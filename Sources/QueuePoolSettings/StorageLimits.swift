// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Bounds of one shard.
package struct ShardLimits: Hashable, Sendable {
    package var waitingEntriesMax: Int
    package var waitingBytesMax: Int
    package var cacheBytes: Int

    package init(waitingEntriesMax: Int, waitingBytesMax: Int, cacheBytes: Int) {
        self.waitingEntriesMax = waitingEntriesMax
        self.waitingBytesMax = waitingBytesMax
        self.cacheBytes = cacheBytes
    }
}

/// Bounds of all pools and shards of the process together.
package struct StorageLimits: Hashable, Sendable {
    package var poolsMax: Int
    package var shardsMax: Int
    package var waitingBytesMax: Int
    package var cacheBytesMax: Int
    /// `nil`: as the machine's memory allows.
    package var deduplicationEntriesMax: Int?
}

extension SettingsReader {
    mutating func shardLimits() -> ShardLimits? {
        let entries = integer(.waitingEntriesMax)
        let bytes = integer(.waitingBytesMax)
        let cache = integer(.cacheBytes)
        guard let entries, let bytes, let cache else { return nil }
        return ShardLimits(waitingEntriesMax: entries, waitingBytesMax: bytes, cacheBytes: cache)
    }

    mutating func storageLimits() -> StorageLimits? {
        let pools = integer(.maxPools)
        let shards = integer(.maxShards)
        let waiting = integer(.waitingBytesTotalMax)
        let cache = integer(.cacheBytesTotalMax)
        let entries = integer(.deduplicationEntriesMax)
        guard let pools, let shards, let waiting, let cache else { return nil }
        return StorageLimits(
            poolsMax: pools, shardsMax: shards, waitingBytesMax: waiting, cacheBytesMax: cache,
            deduplicationEntriesMax: entries)
    }
}
