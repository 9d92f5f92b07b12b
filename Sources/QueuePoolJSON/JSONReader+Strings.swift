// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Strings: the quick way returns a piece of the input and touches each byte once, eight at a time; only a backslash
// leads to the slow way, which copies clean runs whole and decodes what is between them.

extension JSONReader {
    /// Reads the string whose opening quote is at `offset`.
    mutating func scanString() throws(JSONFault) -> JSONString {
        let start = offset &+ 1
        var place = start
        while true {
            place = ByteScan.firstSpecial(input, from: place)
            guard place < input.count else { throw fault(.unexpectedEnd, at: input.count) }
            switch input[place] {
            case 0x22:
                offset = place &+ 1
                return .slice(UnsafeRawBufferPointer(rebasing: input[start..<place]))
            case 0x5C:
                return .decoded(try decodeString(start, firstEscape: place))
            default:
                place = try overMultibyte(place)
            }
        }
    }

    /// Steps over the string whose opening quote is at `offset`, without decoding it.
    mutating func skipString() throws(JSONFault) {
        offset = try stringEnd(from: offset &+ 1) &+ 1
    }

    /// Offset of the closing quote of a string of which everything before `start` was looked at.
    private func stringEnd(from start: Int) throws(JSONFault) -> Int {
        var place = start
        while true {
            place = ByteScan.firstSpecial(input, from: place)
            guard place < input.count else { throw fault(.unexpectedEnd, at: input.count) }
            switch input[place] {
            case 0x22: return place
            case 0x5C: _ = try escape(&place)
            default: place = try overMultibyte(place)
            }
        }
    }

    /// Decodes in two passes: the first holds the string to every rule and finds its end, which bounds the length of
    /// what the second writes; so there is one allocation and nothing grows.
    private mutating func decodeString(_ start: Int, firstEscape: Int) throws(JSONFault) -> [UInt8] {
        let end = try stringEnd(from: firstEscape)
        offset = end &+ 1
        return [UInt8](unsafeUninitializedCapacity: end &- start) { buffer, count in
            let out = UnsafeMutableRawBufferPointer(buffer)
            count = firstEscape &- start
            out.copyMemory(from: UnsafeRawBufferPointer(rebasing: input[start..<firstEscape]))
            var place = firstEscape
            while true {
                copyRun(from: &place, to: end, into: out, &count)
                guard place < end, let scalar = try? escape(&place) else { return }
                if scalar < 0x80 {
                    out[count] = UInt8(truncatingIfNeeded: scalar)
                    count &+= 1
                } else {
                    JSONReader.put(scalar, to: out, &count)
                }
            }
        }
    }

    /// Copies what comes before the next backslash, eight bytes at a time; those of a word that lie behind it are
    /// overwritten by what follows. There is room for them: the output is never ahead of the input.
    @inline(__always)
    private func copyRun(
        from place: inout Int, to end: Int, into out: UnsafeMutableRawBufferPointer, _ count: inout Int
    ) {
        while place &+ 8 <= end {
            let word = input.loadUnaligned(fromByteOffset: place, as: UInt64.self)
            out.storeBytes(of: word, toByteOffset: count, as: UInt64.self)
            let run = ByteScan.bytesBeforeBackslash(word)
            place &+= run
            count &+= run
            if run < 8 { return }
        }
        while place < end, input[place] != 0x5C {
            out[count] = input[place]
            place &+= 1
            count &+= 1
        }
    }

    /// Reads the escape that begins at `place` with a backslash, moves `place` past it, returns its scalar value.
    @inline(__always)
    private func escape(_ place: inout Int) throws(JSONFault) -> UInt32 {
        guard place &+ 1 < input.count else { throw fault(.unexpectedEnd, at: input.count) }
        let letter = input[place &+ 1]
        if letter != UInt8(ascii: "u") {
            guard let scalar = JSONReader.simpleEscape(letter) else { throw fault(.invalidEscape, at: place) }
            place &+= 2
            return scalar
        }
        return try unicodeEscape(&place)
    }

    private func unicodeEscape(_ place: inout Int) throws(JSONFault) -> UInt32 {
        let first = try hexDigits(place &+ 2)
        if first < 0xD800 || first > 0xDFFF {
            place &+= 6
            return first
        }
        guard first <= 0xDBFF, place &+ 7 < input.count, input[place &+ 6] == 0x5C,
            input[place &+ 7] == UInt8(ascii: "u")
        else { throw fault(.loneSurrogate, at: place) }
        let second = try hexDigits(place &+ 8)
        guard second >= 0xDC00, second <= 0xDFFF else { throw fault(.loneSurrogate, at: place) }
        place &+= 12
        return 0x10000 &+ (first &- 0xD800) << 10 &+ (second &- 0xDC00)
    }

    private static func simpleEscape(_ letter: UInt8) -> UInt32? {
        switch letter {
        case UInt8(ascii: "n"): 0x0A
        case UInt8(ascii: "\""): 0x22
        case UInt8(ascii: "\\"): 0x5C
        case UInt8(ascii: "/"): 0x2F
        case UInt8(ascii: "r"): 0x0D
        case UInt8(ascii: "t"): 0x09
        case UInt8(ascii: "b"): 0x08
        case UInt8(ascii: "f"): 0x0C
        default: nil
        }
    }

    private func hexDigits(_ start: Int) throws(JSONFault) -> UInt32 {
        var value: UInt32 = 0
        for place in start..<(start &+ 4) {
            guard place < input.count else { throw fault(.unexpectedEnd, at: input.count) }
            let digit: UInt8
            switch input[place] {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = input[place] &- 48
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = input[place] &- 87
            case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = input[place] &- 55
            default: throw fault(.invalidEscape, at: place)
            }
            value = value << 4 | UInt32(digit)
        }
        return value
    }

    @inline(__always)
    private func overMultibyte(_ place: Int) throws(JSONFault) -> Int {
        guard input[place] >= 0x20 else { throw fault(.controlCharacter, at: place) }
        var place = place
        // Text that is not ASCII seldom stops after one character.
        repeat {
            guard let length = StrictUTF8.length(input, at: place) else { throw fault(.invalidUTF8, at: place) }
            place &+= length
        } while place < input.count && input[place] >= 0x80
        return place
    }

    /// - Parameter scalar: 0x80...0x10FFFF, no surrogate; its UTF-8 is never longer than its escape.
    private static func put(_ scalar: UInt32, to out: UnsafeMutableRawBufferPointer, _ count: inout Int) {
        var shift: UInt32
        if scalar < 0x800 {
            shift = 6
            out[count] = UInt8(truncatingIfNeeded: 0xC0 | scalar >> 6)
        } else if scalar < 0x10000 {
            shift = 12
            out[count] = UInt8(truncatingIfNeeded: 0xE0 | scalar >> 12)
        } else {
            shift = 18
            out[count] = UInt8(truncatingIfNeeded: 0xF0 | scalar >> 18)
        }
        count &+= 1
        while shift > 0 {
            shift &-= 6
            out[count] = UInt8(truncatingIfNeeded: 0x80 | (scalar >> shift & 0x3F))
            count &+= 1
        }
    }
}
