// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc

// Reads the few members that a measurement needs out of an answer, without a tree and without a String: a string is
// skipped by `memchr`, a value is a slice. It trusts the server's JSON to be well formed; if it is not, the expected
// members are missing and the check counts that.

/// A pull scanner over one JSON text.
struct JSONScanner {
    enum Token {
        /// `"key": value` with a string's content (escapes as they are) or a bare literal.
        case member(key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer)
        /// `"key": {`, or `{` in an array with an empty key.
        case objectStart(key: UnsafeRawBufferPointer)
        /// `}` that closes an object of this depth; the root's is 1.
        case objectEnd(depth: Int)
    }

    private let bytes: UnsafeRawBufferPointer
    private var index = 0
    private var depth = 0
    private var key = UnsafeRawBufferPointer(start: nil, count: 0)

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    mutating func next() -> Token? {
        while index < bytes.count {
            switch bytes[index] {
            case UInt8(ascii: "\""):
                guard let text = string() else { return nil }
                if nextIsColon() {
                    key = text
                } else if key.count > 0 {
                    return .member(key: takeKey(), value: text)
                }
            case UInt8(ascii: "{"):
                index += 1
                depth += 1
                return .objectStart(key: takeKey())
            case UInt8(ascii: "}"):
                index += 1
                depth -= 1
                return .objectEnd(depth: depth + 1)
            case UInt8(ascii: "["):
                index += 1
                _ = takeKey()
            case UInt8(ascii: " "), UInt8(ascii: "\n"), UInt8(ascii: "\r"), UInt8(ascii: "\t"), UInt8(ascii: ","),
                UInt8(ascii: "]"), UInt8(ascii: ":"):
                index += 1
            default:
                let value = literal()
                if key.count > 0 { return .member(key: takeKey(), value: value) }
            }
        }
        return nil
    }

    private mutating func takeKey() -> UnsafeRawBufferPointer {
        defer { key = UnsafeRawBufferPointer(start: nil, count: 0) }
        return key
    }

    /// The content of the string at `index`; afterwards `index` is behind its closing quote.
    private mutating func string() -> UnsafeRawBufferPointer? {
        guard let base = bytes.baseAddress else { return nil }
        let start = index + 1
        var from = start
        while from < bytes.count, let found = memchr(base + from, 0x22, bytes.count - from) {
            let end = UnsafeRawPointer(found) - base
            var slashes = 0
            while end - slashes > start, bytes[end - slashes - 1] == 0x5C { slashes += 1 }
            if slashes & 1 == 0 {
                index = end + 1
                return UnsafeRawBufferPointer(rebasing: bytes[start..<end])
            }
            from = end + 1
        }
        index = bytes.count
        return nil
    }

    private mutating func nextIsColon() -> Bool {
        while index < bytes.count, bytes[index] == 0x20 { index += 1 }
        guard index < bytes.count, bytes[index] == UInt8(ascii: ":") else { return false }
        index += 1
        return true
    }

    private mutating func literal() -> UnsafeRawBufferPointer {
        let start = index
        while index < bytes.count {
            let byte = bytes[index]
            if byte == UInt8(ascii: ",") || byte == UInt8(ascii: "}") || byte == UInt8(ascii: "]") || byte <= 0x20 {
                break
            }
            index += 1
        }
        if index == start { index += 1 }
        return UnsafeRawBufferPointer(rebasing: bytes[start..<index])
    }
}

extension UnsafeRawBufferPointer {
    /// Whether the bytes are exactly this text.
    func equals(_ text: StaticString) -> Bool {
        guard count == text.utf8CodeUnitCount, let baseAddress else { return false }
        return memcmp(baseAddress, text.utf8Start, count) == 0
    }

    /// The bytes as a decimal number; `nil` if they are none.
    var decimal: Int? {
        guard (1...18).contains(count) else { return nil }
        var value = 0
        for digit in self {
            guard digit >= 48, digit <= 57 else { return nil }
            value = value * 10 + Int(digit - 48)
        }
        return value
    }

    /// The number in a shard's name: `emails-0003.fifo` -> 3; `nil` if there is none.
    var shardNumber: Int? {
        guard count > 5 else { return nil }
        var (value, scale, index) = (0, 1, count - 6)
        while index >= 0, self[index] >= 48, self[index] <= 57, scale < 1_000_000 {
            value += Int(self[index] - 48) * scale
            scale *= 10
            index -= 1
        }
        return scale > 1 ? value : nil
    }
}
