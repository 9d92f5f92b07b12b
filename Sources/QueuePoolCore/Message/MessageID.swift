// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Message ids and receipt handles carry where their message is, so that neither needs an index: the id is a UUID
// (version 8, RFC 9562) made of the shard's 60-bit tag and the sequence number; the handle adds the number of the
// delivery it belongs to and a hint of the place in memory. Both are secrets of nobody: they grant nothing by
// themselves, and a handle that was altered fails its check word.

/// What makes a shard's ids its own: 60 random bits drawn when the shard's file is made.
public struct ShardTag: Hashable, Sendable {
    public static let bits: UInt64 = (1 << 60) - 1
    public let rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue & ShardTag.bits }
}

/// A message's UUID.
public struct MessageID: Hashable, Sendable, CustomStringConvertible {
    public let high: UInt64
    public let low: UInt64

    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    public init(shard: ShardTag, sequence: SequenceNumber) {
        high = (shard.rawValue >> 12) << 16 | 0x8000 | (shard.rawValue & 0xFFF)
        low = 0x8000_0000_0000_0000 | (UInt64(bitPattern: sequence.rawValue) & 0x3FFF_FFFF_FFFF_FFFF)
    }

    /// Reads the 36 characters of a UUID; `nil` for anything else.
    public init?(_ text: String) {
        let digits = text.utf8.filter { $0 != UInt8(ascii: "-") }
        guard text.utf8.count == 36, digits.count == 32 else { return nil }
        var words: (UInt64, UInt64) = (0, 0)
        for (position, digit) in digits.enumerated() {
            guard let value = Hexadecimal.value(of: digit) else { return nil }
            if position < 16 { words.0 = words.0 << 4 | value } else { words.1 = words.1 << 4 | value }
        }
        self.init(high: words.0, low: words.1)
    }

    /// The tag of the shard that gave the id; meaningless for ids that were not made here.
    public var shard: ShardTag { ShardTag(rawValue: (high >> 16) << 12 | (high & 0xFFF)) }
    public var sequence: SequenceNumber { SequenceNumber(rawValue: Int64(low & 0x3FFF_FFFF_FFFF_FFFF)) }

    public var description: String { String(decoding: utf8, as: UTF8.self) }

    /// The 36 characters of the UUID, lower case.
    public var utf8: [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(36)
        for position in 0..<32 {
            if position == 8 || position == 12 || position == 16 || position == 20 { out.append(UInt8(ascii: "-")) }
            let word = position < 16 ? high : low
            out.append(Hexadecimal.digit(word >> UInt64(60 - 4 * (position & 15)) & 15))
        }
        return out
    }
}

/// Lower-case hexadecimal digits.
public enum Hexadecimal {
    public static func digit(_ value: UInt64) -> UInt8 {
        UInt8(truncatingIfNeeded: value < 10 ? 48 + value : 87 + value)
    }

    public static func value(of digit: UInt8) -> UInt64? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt64(digit - 48)
        case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt64(digit - 87)
        case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt64(digit - 55)
        default: nil
        }
    }
}
