// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolJSON
import QueuePoolTestSupport
import Testing

// The reader looks at 32 bytes at a time, then at 8, then at one. What is special in a string must be found wherever it
// lies about those borders, so the reader is held to a plain reading that looks at each byte by itself.

@Suite struct `Strings about the borders of words` {
    /// What may end a string or change how it is read, and what differs little from it.
    static let pieces: [[UInt8]] =
        [
            "\"", "\\", "\\x", "\\u", "\\u12", "\\u12g4", "\\ud800", "\\ud800\\n", "\\ud800\\ud800", "\\ud800\\u00g0",
            "\\udc00", "\\\"", "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r", "\\t", "\\u0000", "\\u0041", "\\u00e9",
            "\\u6F22", "\\ud83d\\uDE00", "\\n\\n\\n\\n\\n", "\\\\\\\"", "é", "漢", "😀", "漢\\u6f22漢", "é\"", "😀\\",
            "\u{7FF}",
            "\u{80}", "\u{800}", "\u{D7FF}", "\u{E000}", "\u{FFFF}", "\u{10000}", "\u{10FFFF}", "!", "#", "[", "]", " ",
            "\u{7F}",
        ].map { Array($0.utf8) }
        + [
            [0x00], [0x01], [0x09], [0x0A], [0x0D], [0x1F], [0x80], [0xA2], [0xBF], [0xC2], [0xDC], [0xFF],
            [0xC0, 0x80],
            [0xE0, 0x80, 0x80], [0xE2, 0x82], [0xED, 0xA0, 0x80], [0xF0, 0x9F, 0x98], [0xF4, 0x90, 0x80, 0x80],
            [0xC3, 0xA9, 0x00], [0xE6, 0xBC, 0xA2, 0x80],
        ]

    /// Those that may stand in a string.
    private static let sound = pieces.filter { $0 != [0x22] && PlainString([0x22] + $0 + [0x22]).isWhole }

    /// Plain bytes that differ in one bit, or by one, from those that are not.
    private func filler(_ count: Int) -> [UInt8] {
        let plain: [UInt8] = [0x21, 0x23, 0x5B, 0x5D, 0x20, 0x7F, 0x61, 0x5C ^ 0x20, 0x22 ^ 0x40]
        return (0..<count).map { plain[$0 % plain.count] }
    }

    @Test(arguments: pieces) func `are read as byte by byte, whatever lies where`(piece: [UInt8]) {
        for offset in 0...70 {
            for rest in [0, 1, 7, 8, 31, 32, 33] {
                for ending in [[], [0x22], [0x22] + [UInt8](repeating: 0x20, count: 40)] as [[UInt8]] {
                    _ = compare([0x22] + filler(offset) + piece + filler(rest) + ending, "offset \(offset)")
                }
            }
        }
    }

    @Test func `are read as byte by byte where several things lie in one`() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SplitMix64(seed: seed)
        var counts: [PlainString.Kind: Int] = [:]
        // Those that most strings have are drawn more often, or no long string would be sound.
        for _ in 0..<10_000 {
            var text: [UInt8] = [0x22]
            for _ in 0..<Int.random(in: 0..<6, using: &random) {
                text += filler(Int.random(in: 0..<45, using: &random))
                let from = Int.random(in: 0..<8, using: &random) == 0 ? Self.pieces : Self.sound
                text += from.randomElement(using: &random) ?? []
            }
            counts[compare(text + [0x22], "seed \(seed)"), default: 0] += 1
        }
        #expect(PlainString.Kind.allCases.allSatisfy { counts[$0, default: 0] > 500 }, "seed \(seed): one-sided")
    }

    /// Reads a text both ways, and steps over it.
    private func compare(_ text: [UInt8], _ place: Comment) -> PlainString.Kind {
        let plain = PlainString(text)
        text.withUnsafeBytes { raw in
            var json = JSONReader(raw)
            do throws(JSONFault) {
                let found = try json.readString()
                #expect(plain.fault == nil && found.array == plain.content, "\(place): \(text)")
                if case .slice(let bytes) = found {
                    #expect(plain.kind == .slice && bytes.baseAddress == raw.baseAddress.map { $0 + 1 }, "\(place)")
                } else {
                    #expect(plain.kind == .decoded, "\(place): \(text)")
                }
            } catch {
                #expect(error == plain.fault, "\(place): \(text)")
            }
        }
        #expect(fault(in: text) == plain.fault ?? plain.trailing, "\(place): stepped over \(text)")
        return plain.kind
    }
}

/// A string as it is read one byte after the other.
private struct PlainString {
    enum Kind: CaseIterable { case slice, decoded, fault }

    private let text: [UInt8]
    private var place = 1
    private(set) var content: [UInt8] = []
    private(set) var fault: JSONFault?
    private var isEscaped = false

    var kind: Kind { fault != nil ? .fault : isEscaped ? .decoded : .slice }
    /// Nothing is behind it.
    var isWhole: Bool { fault == nil && place == text.count }
    /// What is behind it is not blank.
    var trailing: JSONFault? {
        text[place...].firstIndex { ![0x20, 0x09, 0x0A, 0x0D].contains($0) }
            .map { JSONFault(offset: $0, reason: .trailingData) }
    }

    /// - Parameter text: begins with a quote.
    init(_ text: [UInt8]) {
        self.text = text
        do throws(JSONFault) { while try step() {} } catch { fault = error }
    }

    /// - Returns: `false` behind the closing quote.
    private mutating func step() throws(JSONFault) -> Bool {
        switch try byte(place) {
        case 0x22:
            place += 1
            return false
        case 0x5C:
            isEscaped = true
            try escape()
        case ..<0x20: throw JSONFault(offset: place, reason: .controlCharacter)
        case 0x80...:
            let candidates = (2...4).filter { place + $0 <= text.count }.map { text[place..<(place + $0)] }
            guard let character = candidates.first(where: { String(validating: $0, as: UTF8.self) != nil }) else {
                throw JSONFault(offset: place, reason: .invalidUTF8)
            }
            content += character
            place += character.count
        default:
            content.append(text[place])
            place += 1
        }
        return true
    }

    private mutating func escape() throws(JSONFault) {
        let letters = Array("\"\\/bfnrt".utf8)
        let values: [UInt8] = [0x22, 0x5C, 0x2F, 0x08, 0x0C, 0x0A, 0x0D, 0x09]
        let letter = try byte(place + 1)
        if let known = letters.firstIndex(of: letter) {
            content.append(values[known])
            place += 2
            return
        }
        guard letter == UInt8(ascii: "u") else { throw JSONFault(offset: place, reason: .invalidEscape) }
        var units = [try hex(place + 2)]
        if units[0] & 0xFC00 == 0xD800, text[(place + 6)...].starts(with: Array("\\u".utf8)) {
            units.append(try hex(place + 8))
        }
        guard let decoded = String(validating: units, as: UTF16.self) else {
            throw JSONFault(offset: place, reason: .loneSurrogate)
        }
        content += Array(decoded.utf8)
        place += 6 * units.count
    }

    private func hex(_ start: Int) throws(JSONFault) -> UInt16 {
        var value: UInt16 = 0
        for place in start..<(start + 4) {
            guard let digit = Character(Unicode.Scalar(try byte(place))).hexDigitValue else {
                throw JSONFault(offset: place, reason: .invalidEscape)
            }
            value = value * 16 + UInt16(digit)
        }
        return value
    }

    private func byte(_ place: Int) throws(JSONFault) -> UInt8 {
        guard place < text.count else { throw JSONFault(offset: text.count, reason: .unexpectedEnd) }
        return text[place]
    }
}
