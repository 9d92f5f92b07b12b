// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Wall-clock milliseconds since 1970, read from a clock that never steps back while the process lives.
///
/// Decisions take it as an argument; only drivers read a clock.
package struct Timestamp: Hashable, Comparable, Sendable {
    package var milliseconds: Int64

    package init(milliseconds: Int64) { self.milliseconds = milliseconds }

    package static func < (a: Timestamp, b: Timestamp) -> Bool { a.milliseconds < b.milliseconds }
    package static func + (a: Timestamp, milliseconds: Int64) -> Timestamp {
        Timestamp(milliseconds: a.milliseconds &+ milliseconds)
    }
    package static func - (a: Timestamp, b: Timestamp) -> Int64 { a.milliseconds &- b.milliseconds }

    package static let distantPast = Timestamp(milliseconds: 0)
    package static let distantFuture = Timestamp(milliseconds: Int64.max / 4)
}

/// One of the 16,384 equal parts of the hash space.
package struct Slot: Hashable, Sendable {
    package let index: Int

    /// Slots of the ring; fixed for ever, because every published placement depends on it.
    package static let count = 16_384

    package init(index: Int) { self.index = index }

    /// The slot of a message group: XXH64 (seed 0) of the group id's UTF-8, modulo 16,384.
    package init(groupHash: UInt64) { index = Int(groupHash % UInt64(Slot.count)) }
}

/// The version of a topology; 1 is the first, each committed change adds one.
package struct Epoch: Hashable, Comparable, Sendable {
    package var number: Int
    package init(_ number: Int) { self.number = number }
    package static func < (a: Epoch, b: Epoch) -> Bool { a.number < b.number }
}

/// A shard's place in its pool, from 0; never given to another shard of the pool.
package struct ShardIndex: Hashable, Comparable, Sendable {
    package let number: Int
    package init(_ number: Int) { self.number = number }
    package static func < (a: ShardIndex, b: ShardIndex) -> Bool { a.number < b.number }
}

/// The position of a message in its shard: growing, never reused, at most 20 decimal digits.
///
/// The upper 43 bits are the millisecond of the send, the lower 20 count within it. So numbers grow along a group
/// also when the group moves to another shard, and the time of the send needs no storage of its own.
package struct SequenceNumber: Hashable, Comparable, Sendable {
    package let rawValue: Int64

    package init(rawValue: Int64) { self.rawValue = rawValue }

    /// The lowest number of a millisecond.
    package init(firstOf time: Timestamp) { rawValue = time.milliseconds << 20 }

    package var sentAt: Timestamp { Timestamp(milliseconds: rawValue >> 20) }

    package static func < (a: SequenceNumber, b: SequenceNumber) -> Bool { a.rawValue < b.rawValue }

    /// 20 decimal digits, padded with zeros, as SQS shows it.
    package var text: String {
        let digits = String(rawValue)
        return String(repeating: "0", count: max(0, 20 - digits.count)) + digits
    }
}
