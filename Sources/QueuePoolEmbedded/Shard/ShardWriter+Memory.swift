// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Synchronization

// A shard's part of what all shards may keep in memory. Looked at in each of its turns, which a shard that nobody uses has
// every second: so bodies that others need the room of go, and ids past their interval are not counted any longer.

/// What a shard takes of the process's memory.
struct MemoryShare {
    let all: ShardMemory
    /// The shard's own bound.
    let cacheBytesMax: Int
    /// Deduplication ids that are counted as this shard's.
    var keys = 0

    /// Bytes of bodies it may keep now.
    var cacheBytes: Int { all.cacheBytes(own: cacheBytesMax) }
}

extension ShardWriter {
    /// Says how many ids the shard remembers now.
    func note(keys: Int) {
        guard keys != memory.keys else { return }
        memory.all.changed(keysBy: keys - memory.keys)
        memory.keys = keys
    }

    /// Keeps no more than the shard may.
    func trimMemory(_ now: Timestamp) {
        let bytes = memory.cacheBytes
        note(
            keys: shard.index.withLock { index in
                index.advance(to: now)
                index.limitCache(toBytes: bytes)
                return index.deduplicationCount
            })
    }

    /// The shard is closed.
    func giveMemoryBack() {
        note(keys: 0)
        memory.all.closed()
        store.watch?.forgetUnopened(of: shard.name, in: store.path)
    }
}
