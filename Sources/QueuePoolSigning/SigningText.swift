// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Bytes as signatures write and read them.
package enum SigningText {
    /// Removes blanks at the ends of what begins at `start`, and makes one space of each run inside.
    static func fold(_ bytes: inout [UInt8], from start: Int) {
        let end = bytes.withUnsafeMutableBufferPointer { bytes in
            var target = start
            var hasGap = false
            for index in start..<bytes.count {
                let byte = bytes[index]
                guard !isBlank(byte) else {
                    hasGap = true
                    continue
                }
                if hasGap, target > start {
                    bytes[target] = UInt8(ascii: " ")
                    target += 1
                }
                hasGap = false
                bytes[target] = byte
                target += 1
            }
            return target
        }
        bytes.removeLast(bytes.count - end)
    }

    static func isBlank(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }

    static func equal(_ bytes: [UInt8], _ range: Range<Int>, _ text: StaticString) -> Bool {
        range.count == text.utf8CodeUnitCount && has(bytes, range, prefix: text)
    }

    static func has(_ bytes: [UInt8], _ range: Range<Int>, prefix: StaticString) -> Bool {
        let count = prefix.utf8CodeUnitCount
        guard range.count >= count else { return false }
        for index in 0..<count where bytes[range.lowerBound + index] != prefix.utf8Start[index] { return false }
        return true
    }

    static func equal(_ a: [UInt8], _ aRange: Range<Int>, _ b: [UInt8], _ bRange: Range<Int>) -> Bool {
        guard aRange.count == bRange.count else { return false }
        var (i, j) = (aRange.lowerBound, bRange.lowerBound)
        while i < aRange.upperBound {
            if a[i] != b[j] { return false }
            i += 1
            j += 1
        }
        return true
    }

    static func addHex(_ source: some Sequence<UInt8>, to out: inout [UInt8]) {
        for byte in source {
            out.append(digit(byte >> 4))
            out.append(digit(byte & 15))
        }
    }

    /// 32 bytes from exactly 64 lower-case hex digits.
    static func hash(_ bytes: [UInt8], _ range: Range<Int>) -> [UInt8]? {
        guard range.count == 64 else { return nil }
        var out: [UInt8] = []
        out.reserveCapacity(32)
        for index in stride(from: range.lowerBound, to: range.upperBound, by: 2) {
            guard let high = value(bytes[index]), let low = value(bytes[index + 1]) else { return nil }
            out.append(high << 4 | low)
        }
        return out
    }

    static func digit(_ value: UInt8, upper: Bool = false) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: upper ? "A" : "a") + value - 10
    }

    /// Of a hex digit, upper-case ones only if `anyCase`.
    static func value(_ digit: UInt8, anyCase: Bool = false) -> UInt8? {
        switch digit {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F") where anyCase: digit - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    static func isUnreserved(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"): true
        default: false
        }
    }

    /// Without the percent-encoding; `nil` if it is broken.
    static func decoded(_ bytes: [UInt8], _ range: Range<Int>) -> [UInt8]? {
        var out: [UInt8] = []
        out.reserveCapacity(range.count)
        var index = range.lowerBound
        while index < range.upperBound {
            guard bytes[index] == UInt8(ascii: "%") else {
                out.append(bytes[index])
                index += 1
                continue
            }
            guard index + 2 < range.upperBound, let high = value(bytes[index + 1], anyCase: true),
                let low = value(bytes[index + 2], anyCase: true)
            else { return nil }
            out.append(high << 4 | low)
            index += 3
        }
        return out
    }
}
