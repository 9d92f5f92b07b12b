// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

// A worker deletes what it delivered, and tells what became of it a moment later. Whoever asks in between is to wait for
// that moment, and nobody else is. A filter with one hash function is enough: it costs a delete a few nanoseconds, and one
// that says yes too often only lets somebody wait.

/// Which messages of a shard were deleted a moment ago. It never forgets one too early.
package struct RecentDeletes: Sendable {
    /// What is older may be forgotten, and is forgotten when it is twice as old.
    package static let milliseconds: Int64 = 1_000
    /// 8 KiB a generation: at 6,500 deletes a second one look in ten is wrong.
    private static let words = 1_024

    /// Empty until the first delete, because most shards of a large pool may be idle.
    private var latest: [UInt64] = []
    private var earlier: [UInt64] = []
    private var latestSince = Timestamp.distantPast

    package init() {}

    /// A message is deleted.
    package mutating func note(_ sequence: SequenceNumber, now: Timestamp) {
        turn(now)
        if latest.isEmpty { latest = Array(repeating: 0, count: RecentDeletes.words) }
        let bit = RecentDeletes.bit(sequence)
        latest[bit >> 6] |= 1 << UInt64(bit & 63)
    }

    /// Whether a message may have been deleted a moment ago; `false` is certain.
    package mutating func mayContain(_ sequence: SequenceNumber, now: Timestamp) -> Bool {
        turn(now)
        let bit = RecentDeletes.bit(sequence)
        return [latest, earlier].contains { !$0.isEmpty && $0[bit >> 6] & 1 << UInt64(bit & 63) != 0 }
    }

    private mutating func turn(_ now: Timestamp) {
        let age = now - latestSince
        guard age >= RecentDeletes.milliseconds else { return }
        earlier = age < 2 * RecentDeletes.milliseconds ? latest : []
        latest = []
        latestSince = now
    }

    /// The upper bits of a product depend on all bits of the number (Knuth, 6.4).
    private static func bit(_ sequence: SequenceNumber) -> Int {
        Int((UInt64(bitPattern: sequence.rawValue) &* 0x9E37_79B9_7F4A_7C15) >> 48)
    }
}
