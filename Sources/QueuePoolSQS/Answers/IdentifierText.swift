// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

public import QueuePoolCore

// Ids, handles and digests are most of what an answer holds beside the body, so their digits are made eight at a time,
// and read without a generic call for each.

/// Hexadecimal digits, eight in a word.
enum HexWords {
    /// The eight lower-case digits of 32 bits, the first one in the lowest byte.
    @inline(__always)
    static func digits(_ value: UInt32) -> UInt64 {
        // One digit's value a byte, the highest in the lowest byte.
        var word = UInt64(value.byteSwapped)
        word = (word | word << 16) & 0x0000_FFFF_0000_FFFF
        word = (word | word << 8) & 0x00FF_00FF_00FF_00FF
        word = ((word & 0x000F_000F_000F_000F) << 8) | ((word >> 4) & 0x000F_000F_000F_000F)
        // 10...15 have 16 set after 6 is added: those get 39 more, from behind the nines to the letters.
        let letters = ((word &+ 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101
        return word &+ 0x3030_3030_3030_3030 &+ letters &* 39
    }

    @inline(__always)
    static func append(_ value: UInt32, to out: inout [UInt8]) {
        withUnsafeBytes(of: digits(value).littleEndian) { out.append(contentsOf: $0) }
    }
}

extension MessageID {
    /// The 36 characters of the UUID.
    public func write(to out: inout [UInt8]) {
        let words = (
            HexWords.digits(UInt32(truncatingIfNeeded: high >> 32)), HexWords.digits(UInt32(truncatingIfNeeded: high)),
            HexWords.digits(UInt32(truncatingIfNeeded: low >> 32)), HexWords.digits(UInt32(truncatingIfNeeded: low))
        )
        withUnsafeTemporaryAllocation(byteCount: 36, alignment: 1) { room in
            let hyphen = UInt8(ascii: "-")
            room.storeBytes(of: words.0.littleEndian, toByteOffset: 0, as: UInt64.self)
            room[8] = hyphen
            room.storeBytes(of: UInt32(truncatingIfNeeded: words.1).littleEndian, toByteOffset: 9, as: UInt32.self)
            room[13] = hyphen
            room.storeBytes(
                of: UInt32(truncatingIfNeeded: words.1 >> 32).littleEndian, toByteOffset: 14, as: UInt32.self)
            room[18] = hyphen
            room.storeBytes(of: UInt32(truncatingIfNeeded: words.2).littleEndian, toByteOffset: 19, as: UInt32.self)
            room[23] = hyphen
            room.storeBytes(
                of: UInt32(truncatingIfNeeded: words.2 >> 32).littleEndian, toByteOffset: 24, as: UInt32.self)
            room.storeBytes(of: words.3.littleEndian, toByteOffset: 28, as: UInt64.self)
            out.append(contentsOf: room)
        }
    }
}

extension SequenceNumber {
    /// 20 decimal digits.
    public func write(to out: inout [UInt8]) {
        withUnsafeTemporaryAllocation(byteCount: 20, alignment: 1) { room in
            var rest = UInt64(bitPattern: rawValue)
            for place in (0..<20).reversed() {
                room[place] = UInt8(truncatingIfNeeded: 48 &+ rest % 10)
                rest /= 10
            }
            out.append(contentsOf: room)
        }
    }
}

extension ReceiptHandle {
    /// Reads a handle's text; `nil` if it has not the form of one.
    init?(text: String) {
        var text = text
        guard let parsed = text.withUTF8({ ReceiptHandle(digits: UnsafeRawBufferPointer($0)) }) else { return nil }
        self = parsed
    }
}
