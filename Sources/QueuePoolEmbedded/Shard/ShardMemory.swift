// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import Synchronization

/// What all shards of a process may keep in memory beside their indexes: bodies for receivers, and deduplication ids. The
/// bodies are divided evenly, because a body that is not there is read from the file. An id must not be forgotten early
/// (I3), so when there are as many as there may be, sends are refused until the oldest are past their interval.
package final class ShardMemory: Sendable {
    /// What one deduplication id takes at most: its place in line, and its share of a table that was just made larger.
    package static let bytesOfKey = 56

    package let cacheBytesMax: Int
    package let keysMax: Int
    private let shards = Atomic(0)
    private let keys = Atomic(0)

    /// Bounds of all shards together.
    package init(cacheBytesMax: Int = Defaults.cacheBytes, keysMax: Int = .max) {
        self.cacheBytesMax = cacheBytesMax
        self.keysMax = keysMax
    }

    /// Deduplication ids of all shards, as of the last turn of each.
    package var keyCount: Int { keys.load(ordering: .relaxed) }

    /// Bytes of bodies that a shard may keep now whose own bound is `own`.
    package func cacheBytes(own: Int) -> Int {
        min(own, cacheBytesMax / max(1, shards.load(ordering: .relaxed)))
    }

    /// Why no more ids can be remembered; `nil` if they can.
    var refusal: ShardError? { keyCount >= keysMax ? .overloaded(retryAfterMilliseconds: 5_000) : nil }

    func opened() { shards.wrappingAdd(1, ordering: .relaxed) }
    func closed() { shards.wrappingSubtract(1, ordering: .relaxed) }
    func changed(keysBy change: Int) { keys.wrappingAdd(change, ordering: .relaxed) }
}
