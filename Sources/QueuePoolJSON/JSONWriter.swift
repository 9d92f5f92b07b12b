// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Appends JSON text to one array of bytes. One flag is all the state that commas need: whether a value ended right
// before. Keys come from literals and are written as they are; texts are copied in whole runs between what must be
// escaped. The caller keeps objects and arrays balanced.

/// Writes one JSON text.
public struct JSONWriter: Sendable {
    /// What was written so far.
    public private(set) var bytes: [UInt8]
    private var needsComma = false

    /// - Parameter capacity: bytes to make room for at once.
    public init(capacity: Int = 256) {
        bytes = []
        bytes.reserveCapacity(capacity)
    }

    /// Appends to bytes that are there already.
    public init(appendingTo bytes: consuming [UInt8]) { self.bytes = bytes }

    /// Hands the bytes out without a copy and begins anew.
    public mutating func take() -> [UInt8] {
        needsComma = false
        var out: [UInt8] = []
        swap(&out, &bytes)
        return out
    }

    public mutating func reserve(_ more: Int) { bytes.reserveCapacity(bytes.count + more) }

    // MARK: Containers

    public mutating func beginObject() { open(UInt8(ascii: "{")) }
    public mutating func endObject() { close(UInt8(ascii: "}")) }
    public mutating func beginArray() { open(UInt8(ascii: "[")) }
    public mutating func endArray() { close(UInt8(ascii: "]")) }

    /// - Parameter name: ASCII without quotes, backslashes and control characters.
    public mutating func key(_ name: StaticString) {
        comma()
        bytes.append(UInt8(ascii: "\""))
        bytes.append(contentsOf: UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount))
        bytes.append(UInt8(ascii: "\""))
        bytes.append(UInt8(ascii: ":"))
        needsComma = false
    }

    /// A name that is not known to the program.
    public mutating func key(text name: String) {
        string(name)
        bytes.append(UInt8(ascii: ":"))
        needsComma = false
    }

    // MARK: Values

    /// - Parameter value: well-formed UTF-8.
    public mutating func string(_ value: UnsafeRawBufferPointer) {
        comma()
        bytes.append(UInt8(ascii: "\""))
        escape(value)
        bytes.append(UInt8(ascii: "\""))
        needsComma = true
    }

    public mutating func string(_ value: [UInt8]) { value.withUnsafeBytes { string($0) } }

    public mutating func string(_ value: String) {
        var value = value
        value.withUTF8 { string(UnsafeRawBufferPointer($0)) }
    }

    /// - Parameter value: ASCII without quotes, backslashes and control characters.
    public mutating func string(literal value: StaticString) {
        comma()
        bytes.append(UInt8(ascii: "\""))
        bytes.append(contentsOf: UnsafeBufferPointer(start: value.utf8Start, count: value.utf8CodeUnitCount))
        bytes.append(UInt8(ascii: "\""))
        needsComma = true
    }

    /// A string whose characters `write` appends itself; they must need no escape.
    public mutating func string(plain write: (inout [UInt8]) -> Void) {
        comma()
        bytes.append(UInt8(ascii: "\""))
        write(&bytes)
        bytes.append(UInt8(ascii: "\""))
        needsComma = true
    }

    /// A whole number as a number.
    public mutating func int(_ value: Int64) {
        comma()
        digits(value)
        needsComma = true
    }

    public mutating func int(_ value: Int) { int(Int64(value)) }

    /// A number that is not negative, rounded to one digit after the point; what is none is 0.
    public mutating func tenths(_ value: Double) {
        comma()
        let tenths = value.isFinite && value > 0 ? Int64(min(value, 1e15) * 10 + 0.5) : 0
        digits(tenths / 10)
        if tenths % 10 != 0 {
            bytes.append(UInt8(ascii: "."))
            digits(tenths % 10)
        }
        needsComma = true
    }

    /// A whole number as a string, as SQS writes its attributes.
    public mutating func string(number value: Int64) {
        comma()
        bytes.append(UInt8(ascii: "\""))
        digits(value)
        bytes.append(UInt8(ascii: "\""))
        needsComma = true
    }

    public mutating func bool(_ value: Bool) { raw(value ? "true" : "false") }
    public mutating func null() { raw("null") }

    /// A whole value, written as it is.
    public mutating func raw(_ text: StaticString) {
        comma()
        bytes.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
        needsComma = true
    }

    /// A whole value that `write` appends itself, as JSON.
    public mutating func value(_ write: (inout [UInt8]) -> Void) {
        comma()
        write(&bytes)
        needsComma = true
    }

    /// A whole value that is JSON already.
    public mutating func raw(_ text: [UInt8]) {
        comma()
        bytes.append(contentsOf: text)
        needsComma = true
    }

    /// Ends a line of newline-delimited JSON.
    public mutating func endLine() {
        bytes.append(0x0A)
        needsComma = false
    }

    // MARK: Parts

    private mutating func open(_ byte: UInt8) {
        comma()
        bytes.append(byte)
        needsComma = false
    }

    private mutating func close(_ byte: UInt8) {
        bytes.append(byte)
        needsComma = true
    }

    @inline(__always)
    private mutating func comma() {
        if needsComma { bytes.append(UInt8(ascii: ",")) }
    }

    private mutating func escape(_ value: UnsafeRawBufferPointer) {
        var start = 0
        while true {
            let place = ByteScan.firstEscaped(value, from: start)
            if place > start {
                bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: value[start..<place]))
            }
            guard place < value.count else { return }
            escape(value[place])
            start = place &+ 1
        }
    }

    private mutating func escape(_ byte: UInt8) {
        bytes.append(UInt8(ascii: "\\"))
        switch byte {
        case 0x22, 0x5C: bytes.append(byte)
        case 0x0A: bytes.append(UInt8(ascii: "n"))
        case 0x0D: bytes.append(UInt8(ascii: "r"))
        case 0x09: bytes.append(UInt8(ascii: "t"))
        case 0x08: bytes.append(UInt8(ascii: "b"))
        case 0x0C: bytes.append(UInt8(ascii: "f"))
        default:
            bytes.append(contentsOf: [0x75, 0x30, 0x30, JSONWriter.hex(byte >> 4), JSONWriter.hex(byte & 15)])
        }
    }

    private static func hex(_ value: UInt8) -> UInt8 { value < 10 ? 48 &+ value : 87 &+ value }

    private mutating func digits(_ value: Int64) {
        // 20 bytes hold the longest, -9223372036854775808. Division by a constant is a multiplication.
        withUnsafeTemporaryAllocation(byteCount: 20, alignment: 1) { room in
            var start = room.count
            var rest = value.magnitude
            repeat {
                start &-= 1
                room[start] = UInt8(truncatingIfNeeded: 48 &+ rest % 10)
                rest /= 10
            } while rest > 0
            if value < 0 {
                start &-= 1
                room[start] = UInt8(ascii: "-")
            }
            bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: room[start...]))
        }
    }
}
