// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Base64 (RFC 4648, section 4) as SQS carries binary values.
public enum Base64 {
    /// - Returns: `nil` unless the text is whole groups of the standard alphabet with their padding.
    public static func decode(_ text: UnsafeRawBufferPointer) -> [UInt8]? {
        guard text.count % 4 == 0 else { return nil }
        guard text.count > 0 else { return [] }
        let padding = text[text.count - 1] == pad ? (text[text.count - 2] == pad ? 2 : 1) : 0
        var out: [UInt8] = []
        out.reserveCapacity(text.count / 4 * 3 - padding)
        var offset = 0
        while offset < text.count {
            let isLast = offset + 4 == text.count
            let used = isLast ? 4 - padding : 4
            var word: UInt32 = 0
            for position in 0..<4 {
                var digit: UInt32 = 0
                if position < used {
                    guard let value = value(of: text[offset + position]) else { return nil }
                    digit = value
                }
                word = word << 6 | digit
            }
            for position in 0..<(used - 1) {
                out.append(UInt8(truncatingIfNeeded: word >> UInt32(16 - 8 * position)))
            }
            offset += 4
        }
        return out
    }

    public static func encode(_ bytes: [UInt8], to out: inout [UInt8]) {
        var offset = 0
        while offset < bytes.count {
            let left = min(3, bytes.count - offset)
            var word: UInt32 = 0
            for position in 0..<3 { word = word << 8 | (position < left ? UInt32(bytes[offset + position]) : 0) }
            for position in 0..<4 {
                out.append(position <= left ? digit(word >> UInt32(18 - 6 * position) & 63) : pad)
            }
            offset += 3
        }
    }

    private static let pad = UInt8(ascii: "=")

    private static func digit(_ value: UInt32) -> UInt8 {
        switch value {
        case ..<26: UInt8(truncatingIfNeeded: 65 + value)
        case ..<52: UInt8(truncatingIfNeeded: 71 + value)
        case ..<62: UInt8(truncatingIfNeeded: value - 4)
        case 62: UInt8(ascii: "+")
        default: UInt8(ascii: "/")
        }
    }

    private static func value(of digit: UInt8) -> UInt32? {
        switch digit {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): UInt32(digit - 65)
        case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt32(digit - 71)
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(digit + 4)
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }
}
