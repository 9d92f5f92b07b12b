// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolJSON
import QueuePoolTestSupport
import Testing

@Suite struct `JSON reader on random texts` {
    /// A sound text of random shape.
    private func text(_ random: inout SplitMix64, depth: Int = 0) -> String {
        let blank = ["", "", "", " ", "\n", "\t "].randomElement(using: &random) ?? ""
        switch Int.random(in: 0..<(depth > 4 ? 5 : 7), using: &random) {
        case 0: return blank + (["null", "true", "false"].randomElement(using: &random) ?? "") + blank
        case 1: return "\(Int.random(in: -1_000...1_000, using: &random))"
        case 2: return ["0.5", "-1.25e2", "1E-3", "-0", "12e+1"].randomElement(using: &random) ?? ""
        case 3, 4: return string(&random)
        case 5:
            let parts = (0..<Int.random(in: 0..<4, using: &random)).map { _ in text(&random, depth: depth + 1) }
            return blank + "[" + blank + parts.joined(separator: ",") + "]"
        default:
            let parts = (0..<Int.random(in: 0..<4, using: &random)).map { place in
                "\"k\(place)\"" + blank + ":" + text(&random, depth: depth + 1)
            }
            return "{" + blank + parts.joined(separator: blank + ",") + "}" + blank
        }
    }

    private func string(_ random: inout SplitMix64) -> String {
        let pieces = [
            "a", "bcdefghi", "0123456789abcdef", "\\n", "\\\"", "\\\\", "\\u0041", "\\ud83d\\ude00", "é", "漢", "😀",
            " ", "/",
        ]
        let count = Int.random(in: 0..<8, using: &random)
        return "\"" + (0..<count).map { _ in pieces.randomElement(using: &random) ?? "" }.joined() + "\""
    }

    /// Where Foundation is not a judge: it takes a comma before a closing bracket in places, and refuses numbers that
    /// no `Double` holds.
    private func isBeyondFoundation(_ bytes: [UInt8]) -> Bool {
        var digits = 0
        var follows: UInt8 = 0
        for byte in bytes where byte > 0x20 {
            if follows == UInt8(ascii: ","), byte == UInt8(ascii: "}") || byte == UInt8(ascii: "]") { return true }
            if byte | 0x20 == UInt8(ascii: "e") {
                digits = 1
            } else if digits > 0, byte >= 0x30, byte <= 0x39 {
                digits += 1
            } else if byte != UInt8(ascii: "-"), byte != UInt8(ascii: "+") {
                digits = 0
            }
            if digits > 3 { return true }
            follows = byte
        }
        return false
    }

    private func accepts(_ bytes: [UInt8]) -> Bool {
        (try? JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)) != nil
    }

    @Test func `accepts and refuses what Foundation does`() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SplitMix64(seed: seed)
        let alphabet = Array("{}[],:\"\\ 0123456789.eE+-truefalsnu\n\tabd/".utf8)
        var accepted = 0
        for _ in 0..<20_000 {
            var bytes = Array(text(&random).utf8)
            for _ in 0..<Int.random(in: 0..<3, using: &random) where !bytes.isEmpty {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                let byte = alphabet.randomElement(using: &random) ?? 0x20
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes[place] = byte
                case 1: bytes.remove(at: place)
                case 2: bytes.insert(byte, at: place)
                default: bytes.removeSubrange(place...)
                }
            }
            if isBeyondFoundation(bytes) { continue }
            let ours = fault(in: bytes)
            // Foundation takes one of two members of the same name.
            if ours?.reason == .duplicateKey { continue }
            #expect(
                (ours == nil) == accepts(bytes),
                "seed \(seed): \(String(decoding: bytes, as: UTF8.self)) \(String(describing: ours))")
            #expect((faultWhenRead(bytes) == nil) == (ours == nil), "seed \(seed)")
            if ours == nil { accepted += 1 }
        }
        #expect(accepted > 2_000 && accepted < 18_000, "seed \(seed): the corpus is one-sided")
    }

    @Test func `random bytes never trap`() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SplitMix64(seed: seed)
        print("seed \(seed)")
        let alphabet =
            Array("{}[],:\"\\u0d8c1eE.-tfn".utf8) + [0x00, 0x1F, 0x7F, 0x80, 0xBF, 0xC2, 0xE2, 0xED, 0xF0, 0xFF]
        for _ in 0..<50_000 {
            let count = Int.random(in: 0..<48, using: &random)
            let bytes = (0..<count).map { _ in
                Bool.random(using: &random)
                    ? UInt8.random(in: 0...255, using: &random) : (alphabet.randomElement(using: &random) ?? 0)
            }
            #expect((fault(in: bytes) == nil) == (faultWhenRead(bytes) == nil), "seed \(seed)")
            if let text = decodedString(in: bytes) {
                #expect(String(validating: text, as: UTF8.self) != nil, "seed \(seed)")
            }
        }
    }

    @Test func `every beginning of a sound text is refused`() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SplitMix64(seed: seed)
        for _ in 0..<500 {
            let bytes = Array(("{\"a\":" + text(&random) + "}").utf8)
            #expect(fault(in: bytes) == nil, "seed \(seed)")
            for count in 0..<bytes.count { #expect(fault(in: Array(bytes[..<count])) != nil, "seed \(seed)") }
        }
    }

    @Test func `what the writer writes, the reader reads`() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SplitMix64(seed: seed)
        for _ in 0..<5_000 {
            var text = ""
            for _ in 0..<Int.random(in: 0..<40, using: &random) {
                let limit: UInt32 = [0x30, 0x80, 0x3000, 0x11_0000].randomElement(using: &random) ?? 0x80
                if let scalar = Unicode.Scalar(UInt32.random(in: 0..<limit, using: &random)) {
                    text.unicodeScalars.append(scalar)
                }
            }
            var json = JSONWriter()
            json.string(text)
            #expect(decodedString(in: json.bytes) == Array(text.utf8), "seed \(seed)")
            let other = try? JSONSerialization.jsonObject(with: Data(json.bytes), options: .fragmentsAllowed) as? String
            #expect(other.map { Array($0.utf8) } == Array(text.utf8), "seed \(seed)")
        }
    }
}

@Suite struct `JSON writer` {
    @Test func `puts commas where they belong`() {
        var json = JSONWriter()
        json.beginObject()
        json.key("a")
        json.beginArray()
        json.int(1)
        json.beginObject()
        json.endObject()
        json.string("x\"\\\n\u{1}/é")
        json.beginArray()
        json.endArray()
        json.endArray()
        json.key(text: "b\"")
        json.bool(true)
        json.key("c")
        json.null()
        json.key("d")
        json.string(number: -12)
        json.key("e")
        json.string(literal: "lit")
        json.endObject()
        let expected = #"{"a":[1,{},"x\"\\\n\u0001/é",[]],"b\"":true,"c":null,"d":"-12","e":"lit"}"#
        #expect(String(decoding: json.bytes, as: UTF8.self) == expected)
    }

    @Test(arguments: [0, 1, -1, 9, 10, 99, 100, -100, 1_234_567_890, Int64.max, Int64.min])
    func `writes whole numbers`(_ value: Int64) {
        var json = JSONWriter()
        json.int(value)
        #expect(String(decoding: json.bytes, as: UTF8.self) == String(value))
    }

    @Test func `writes lines`() {
        var json = JSONWriter()
        for line in 1...2 {
            json.beginObject()
            json.key("line")
            json.int(line)
            json.endObject()
            json.endLine()
        }
        #expect(String(decoding: json.take(), as: UTF8.self) == "{\"line\":1}\n{\"line\":2}\n")
        #expect(json.bytes.isEmpty)
    }
}
