// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Eight bytes at a time (SWAR: SIMD within a register). Source: "Bit Twiddling Hacks" (Anderson), "Determine if a word
// has a byte equal to n / less than n". Each mask has the high bit of every byte that matches; a borrow may set bits
// above the first match, so only the lowest set bit is meaningful, and the lowest is all that is read.

enum ByteScan {
    private static let ones: UInt64 = 0x0101_0101_0101_0101
    private static let highs: UInt64 = 0x8080_8080_8080_8080

    /// The first offset at or after `start` whose byte is a quote, a backslash, a control character or not ASCII;
    /// `bytes.count` if there is none.
    @inline(__always)
    static func firstSpecial(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        var offset = start
        // Four words side by side only say that there is nothing in them: which byte it is, one word says.
        while offset &+ 32 <= bytes.count {
            let words = bytes.loadUnaligned(fromByteOffset: offset, as: SIMD4<UInt64>.self)
            let found = specials(words) | (words & SIMD4(repeating: highs))
            if found[0] | found[1] | found[2] | found[3] != 0 { break }
            offset &+= 32
        }
        while offset &+ 8 <= bytes.count {
            let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            let found = specials(word) | (word & highs)
            if found != 0 { return offset &+ found.trailingZeroBitCount >> 3 }
            offset &+= 8
        }
        while offset < bytes.count {
            let byte = bytes[offset]
            if byte < 0x20 || byte >= 0x80 || byte == 0x22 || byte == 0x5C { return offset }
            offset &+= 1
        }
        return offset
    }

    /// The first offset at or after `start` whose byte must be escaped in JSON text; `bytes.count` if there is none.
    @inline(__always)
    static func firstEscaped(_ bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        var offset = start
        while offset &+ 8 <= bytes.count {
            let found = specials(UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)))
            if found != 0 { return offset &+ found.trailingZeroBitCount >> 3 }
            offset &+= 8
        }
        while offset < bytes.count {
            let byte = bytes[offset]
            if byte < 0x20 || byte == 0x22 || byte == 0x5C { return offset }
            offset &+= 1
        }
        return offset
    }

    /// Bytes of a word, as it lies in memory, before its first backslash; 8 if it has none.
    @inline(__always)
    static func bytesBeforeBackslash(_ word: UInt64) -> Int {
        let slashes = UInt64(littleEndian: word) ^ (ones &* 0x5C)
        return ((slashes &- ones) & ~slashes & highs).trailingZeroBitCount >> 3
    }

    /// Quotes, backslashes and control characters of a word.
    @inline(__always)
    private static func specials(_ word: UInt64) -> UInt64 {
        let quotes = word ^ (ones &* 0x22)
        let slashes = word ^ (ones &* 0x5C)
        let found =
            ((quotes &- ones) & ~quotes) | ((slashes &- ones) & ~slashes) | ((word &- ones &* 0x20) & ~word)
        return found & highs
    }

    @inline(__always)
    private static func specials(_ words: SIMD4<UInt64>) -> SIMD4<UInt64> {
        let quotes = words ^ SIMD4(repeating: ones &* 0x22)
        let slashes = words ^ SIMD4(repeating: ones &* 0x5C)
        let each = SIMD4(repeating: ones)
        let found =
            ((quotes &- each) & ~quotes) | ((slashes &- each) & ~slashes)
            | ((words &- SIMD4(repeating: ones &* 0x20)) & ~words)
        return found & SIMD4(repeating: highs)
    }
}

/// Strict UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF.
enum StrictUTF8 {
    /// Bytes of the well-formed sequence that begins at `offset` with a byte of 0x80 or more; `nil` if it is malformed.
    @inline(__always)
    static func length(_ bytes: UnsafeRawBufferPointer, at offset: Int) -> Int? {
        let left = bytes.count &- offset
        let lead = bytes[offset]
        switch lead {
        case 0xC2...0xDF:
            return left >= 2 && isContinuation(bytes[offset &+ 1]) ? 2 : nil
        case 0xE0...0xEF:
            guard left >= 3, isContinuation(bytes[offset &+ 2]) else { return nil }
            let second = bytes[offset &+ 1]
            let low: UInt8 = lead == 0xE0 ? 0xA0 : 0x80
            let high: UInt8 = lead == 0xED ? 0x9F : 0xBF
            return second >= low && second <= high ? 3 : nil
        case 0xF0...0xF4:
            guard left >= 4, isContinuation(bytes[offset &+ 2]), isContinuation(bytes[offset &+ 3]) else { return nil }
            let second = bytes[offset &+ 1]
            let low: UInt8 = lead == 0xF0 ? 0x90 : 0x80
            let high: UInt8 = lead == 0xF4 ? 0x8F : 0xBF
            return second >= low && second <= high ? 4 : nil
        default:
            return nil
        }
    }

    @inline(__always)
    private static func isContinuation(_ byte: UInt8) -> Bool { byte & 0xC0 == 0x80 }
}
