// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Wall-clock milliseconds since 1970, read from a clock that never steps back while the process lives.
///
/// Decisions take it as an argument; only drivers read a clock.
public struct Timestamp: Hashable, Comparable, Sendable {
    public var milliseconds: Int64

    public init(milliseconds: Int64) { self.milliseconds = milliseconds }

    public static func < (a: Timestamp, b: Timestamp) -> Bool { a.milliseconds < b.milliseconds }
    public static func + (a: Timestamp, milliseconds: Int64) -> Timestamp {
        Timestamp(milliseconds: a.milliseconds &+ milliseconds)
    }
    public static func - (a: Timestamp, b: Timestamp) -> Int64 { a.milliseconds &- b.milliseconds }

    public static let distantPast = Timestamp(milliseconds: 0)
    public static let distantFuture = Timestamp(milliseconds: Int64.max / 4)
}

/// One of the 16,384 equal parts of the hash space.
public struct Slot: Hashable, Sendable {
    public let index: Int

    /// Slots of the ring; fixed for ever, because every published placement depends on it.
    public static let count = 16_384

    public init(index: Int) { self.index = index }

    /// The slot of a message group: XXH64 (seed 0) of the group id's UTF-8, modulo 16,384.
    public init(groupHash: UInt64) { index = Int(groupHash % UInt64(Slot.count)) }
}

/// The version of a topology; 1 is the first, each committed change adds one.
public struct Epoch: Hashable, Comparable, Sendable {
    public var number: Int
    public init(_ number: Int) { self.number = number }
    public static func < (a: Epoch, b: Epoch) -> Bool { a.number < b.number }
}

/// A shard's place in its pool, from 0; never given to another shard of the pool.
public struct ShardIndex: Hashable, Comparable, Sendable {
    public let number: Int
    public init(_ number: Int) { self.number = number }
    public static func < (a: ShardIndex, b: ShardIndex) -> Bool { a.number < b.number }
}

/// The position of a message in its shard: growing, never reused, at most 20 decimal digits.
///
/// The upper 43 bits are the millisecond of the send, the lower 20 count within it. So numbers grow along a group
/// also when the group moves to another shard, and the time of the send needs no storage of its own.
public struct SequenceNumber: Hashable, Comparable, Sendable {
    public let rawValue: Int64

    public init(rawValue: Int64) { self.rawValue = rawValue }

    /// The lowest number of a millisecond.
    public init(firstOf time: Timestamp) { rawValue = time.milliseconds << 20 }

    public var sentAt: Timestamp { Timestamp(milliseconds: rawValue >> 20) }

    public static func < (a: SequenceNumber, b: SequenceNumber) -> Bool { a.rawValue < b.rawValue }

    /// 20 decimal digits, padded with zeros, as SQS shows it.
    public var text: String {
        let digits = String(rawValue)
        return String(repeating: "0", count: max(0, 20 - digits.count)) + digits
    }
}
