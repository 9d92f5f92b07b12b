// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// A pull reader: the caller says what it expects next and gets it, or a fault. No tree is built and nothing is copied
// but strings with escapes. Guarantees: accepts exactly RFC 8259 texts that are well-formed UTF-8, with three limits
// stated here: containers nest at most 64 deep, lone surrogates (`\ud800`) are refused, because they have no UTF-8 form,
// and so are members of one object with the same name. No input makes it trap or recurse: the stack of open containers
// is one 64-bit word. The work is linear in the input; names beyond an object's first sixteen, and those with escapes,
// cost the most, so a text may have 65,536 of them.

/// Reads one JSON text from memory.
///
/// - Important: the input must outlive the reader and the slices that it returned.
public struct JSONReader {
    public static let depthMax = 64

    let input: UnsafeRawBufferPointer
    /// Offset of the next byte to be read.
    public internal(set) var offset = 0
    /// Containers that are open.
    public private(set) var depth = 0
    /// One bit a container, the innermost lowest: set for an object.
    private var objects: UInt64 = 0
    /// One bit a container, the innermost lowest: set once a member or an element was begun.
    private var begun: UInt64 = 0
    private var keys = JSONKeys()

    public init(_ input: UnsafeRawBufferPointer) { self.input = input }

    // MARK: Containers

    public mutating func beginObject() throws(JSONFault) {
        try open(UInt8(ascii: "{"), isObject: true)
    }

    /// The next member's name, with the reader standing before its value; `nil` when the object has ended. A name that the
    /// object has already is a fault.
    public mutating func nextKey() throws(JSONFault) -> JSONString? {
        guard try advance(close: UInt8(ascii: "}")) else { return nil }
        guard offset < input.count, input[offset] == UInt8(ascii: "\"") else { throw unexpected() }
        let place = offset
        let key = try scanString()
        if let reason = keys.insert(key, at: place, depth: depth, in: input) { throw fault(reason, at: place) }
        skipSpace()
        guard offset < input.count, input[offset] == UInt8(ascii: ":") else { throw unexpected() }
        offset &+= 1
        return key
    }

    public mutating func beginArray() throws(JSONFault) {
        try open(UInt8(ascii: "["), isObject: false)
    }

    /// Whether there is another element, with the reader standing before it; `false` when the array has ended.
    public mutating func nextElement() throws(JSONFault) -> Bool {
        try advance(close: UInt8(ascii: "]"))
    }

    /// The text must end here.
    public mutating func finish() throws(JSONFault) {
        skipSpace()
        guard depth == 0 else { throw unexpected() }
        guard offset == input.count else { throw fault(.trailingData) }
    }

    private mutating func open(_ byte: UInt8, isObject: Bool) throws(JSONFault) {
        skipSpace()
        guard offset < input.count else { throw fault(.unexpectedEnd) }
        guard input[offset] == byte else { throw fault(.wrongKind) }
        guard depth < JSONReader.depthMax else { throw fault(.nestedTooDeep) }
        depth &+= 1
        objects = objects << 1 | (isObject ? 1 : 0)
        begun <<= 1
        offset &+= 1
    }

    /// Steps over the comma to the next member or element, or over the end of the container.
    @inline(__always)
    private mutating func advance(close: UInt8) throws(JSONFault) -> Bool {
        skipSpace()
        guard offset < input.count else { throw fault(.unexpectedEnd) }
        if input[offset] == close {
            offset &+= 1
            if objects & 1 == 1 { keys.end(depth: depth) }
            depth &-= 1
            objects >>= 1
            begun >>= 1
            return false
        }
        if begun & 1 == 0 {
            begun |= 1
            return true
        }
        guard input[offset] == UInt8(ascii: ",") else { throw fault(.unexpectedByte) }
        offset &+= 1
        skipSpace()
        // A comma promises another one.
        guard offset < input.count, input[offset] != close else { throw unexpected() }
        return true
    }

    // MARK: Values

    /// The kind of the value that comes next; `nil` at the end or where no value can begin. Moves over blanks only.
    public mutating func peekKind() -> JSONKind? {
        skipSpace()
        guard offset < input.count else { return nil }
        switch input[offset] {
        case UInt8(ascii: "\""): return .string
        case UInt8(ascii: "{"): return .object
        case UInt8(ascii: "["): return .array
        case UInt8(ascii: "t"), UInt8(ascii: "f"): return .boolean
        case UInt8(ascii: "n"): return .null
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number
        default: return nil
        }
    }

    public mutating func readString() throws(JSONFault) -> JSONString {
        skipSpace()
        guard offset < input.count else { throw fault(.unexpectedEnd) }
        guard input[offset] == UInt8(ascii: "\"") else { throw fault(.wrongKind) }
        return try scanString()
    }

    public mutating func readBool() throws(JSONFault) -> Bool {
        skipSpace()
        guard offset < input.count else { throw fault(.unexpectedEnd) }
        if input[offset] == UInt8(ascii: "t") {
            try literal("true")
            return true
        }
        guard input[offset] == UInt8(ascii: "f") else { throw fault(.wrongKind) }
        try literal("false")
        return false
    }

    public mutating func readNull() throws(JSONFault) {
        skipSpace()
        guard offset < input.count else { throw fault(.unexpectedEnd) }
        guard input[offset] == UInt8(ascii: "n") else { throw fault(.wrongKind) }
        try literal("null")
    }

    /// Steps over the next value, whatever it is, holding it to every rule.
    public mutating func skipValue() throws(JSONFault) {
        let floor = depth
        repeat {
            guard let kind = peekKind() else { throw unexpected() }
            switch kind {
            case .object: try beginObject()
            case .array: try beginArray()
            case .string: try skipString()
            case .number: _ = try readNumberText()
            case .boolean: _ = try readBool()
            case .null: try readNull()
            }
            // On to the next value inside what was opened here, closing whatever ends.
            while depth > floor {
                if objects & 1 == 1 {
                    if try nextKey() != nil { break }
                } else {
                    if try nextElement() { break }
                }
            }
        } while depth > floor
    }

    private mutating func literal(_ text: StaticString) throws(JSONFault) {
        let length = text.utf8CodeUnitCount
        var matched = 0
        while matched < length {
            guard offset &+ matched < input.count else { throw fault(.unexpectedEnd, at: input.count) }
            guard input[offset &+ matched] == text.utf8Start[matched] else {
                throw fault(.unexpectedByte, at: offset &+ matched)
            }
            matched &+= 1
        }
        offset &+= length
    }

    // MARK: Shared by the parts

    @inline(__always)
    mutating func skipSpace() {
        while offset < input.count {
            switch input[offset] {
            case 0x20, 0x09, 0x0A, 0x0D: offset &+= 1
            default: return
            }
        }
    }

    func fault(_ reason: JSONFault.Reason, at place: Int? = nil) -> JSONFault {
        JSONFault(offset: place ?? offset, reason: reason)
    }

    func unexpected() -> JSONFault { fault(offset < input.count ? .unexpectedByte : .unexpectedEnd) }
}
