// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolJSON
import Testing

@Suite struct `JSON reader` {
    @Test(arguments: [
        "null", "true", "false", "0", "-0", "1", "-1", "123", "1.5", "-0.0", "1e5", "1E+5", "1e-5", "12.34e56", "\"\"",
        "\"a\"", "{}", "[]", " [ ] ", "\t{\r\n} ", "[1]", "[1,2]", "[1 , 2]", "[[],{},[[]]]", "{\"a\":1}",
        "{\"a\":1,\"A\":2}", "{\"\":{\"\":[]}}", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\u0000\"",
        "\"\\u00e9\\uD83D\\ude00\"",
        "\"\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}\"", "\"/\"", "[\"a\",1,null,true,false,{\"b\":[]}]",
    ])
    func `sound texts are accepted`(_ text: String) {
        #expect(fault(in: text) == nil)
        #expect(faultWhenRead(Array(text.utf8)) == nil)
    }

    @Test(arguments: [
        "", " ", "nul", "nulll", "True", "tru", "falsee", "00", "01", "-", "-01", "+1", ".5", "1.", "1.e5", "1e", "1e+",
        "0x10", "1 2", "NaN", "Infinity", "-Infinity", "\"", "\"a", "'a'", "\"\\\"", "\"\\x\"", "\"\\u12\"",
        "\"\\u123g\"",
        "\"\\", "\"\\u", "\"\n\"", "\"\t\"", "\"\u{1f}\"", "\"\u{0}\"", "[", "]", "[1", "[1,", "[1,]", "[,1]", "[1,,2]",
        "[1 2]",
        "[1}", "{", "}", "{]", "{\"a\"", "{\"a\":", "{\"a\":}", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{,}",
        "{\"a\" 1}",
        "{a:1}", "{1:1}", "{null:1}", "{\"a\":1 \"b\":2}", "{\"a\":1}}", "[]]", "{}{}", "[1]x", "//", "[/**/]",
        "\u{feff}{}",
        "{\"a\":1,,\"b\":2}", "\u{a0}1", "[1\u{c}]", ",", ":", "{\"a\"::1}", "[:]", "{\"a\":1:2}",
    ])
    func `unsound texts are refused`(_ text: String) {
        #expect(fault(in: text) != nil)
        #expect(faultWhenRead(Array(text.utf8)) != nil)
    }

    @Test(arguments: [
        ("\"\\ud800\"", JSONFault.Reason.loneSurrogate), ("\"\\udc00\"", .loneSurrogate),
        ("\"\\ud800\\ud800\"", .loneSurrogate), ("\"\\ud800x\"", .loneSurrogate), ("\"\\ud800\\n\"", .loneSurrogate),
        ("\"\\q\"", .invalidEscape), ("\"\u{1}\"", .controlCharacter), ("[1] 2", .trailingData), ("01", .invalidNumber),
        ("[", .unexpectedEnd), ("\"abc", .unexpectedEnd), ("[1;2]", .unexpectedByte),
    ])
    func `a fault names its cause`(_ text: String, _ reason: JSONFault.Reason) {
        #expect(fault(in: text)?.reason == reason)
    }

    @Test(
        arguments: [
            [0x80], [0xBF], [0xC0, 0x80], [0xC1, 0xBF], [0xC2], [0xC2, 0x41], [0xE0, 0x80, 0x80], [0xE0, 0x9F, 0xBF],
            [0xE2, 0x82], [0xE2, 0x28, 0xA1], [0xED, 0xA0, 0x80], [0xED, 0xBF, 0xBF], [0xF0, 0x80, 0x80, 0x80],
            [0xF0, 0x8F, 0xBF, 0xBF], [0xF0, 0x9F, 0x98], [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xFE],
            [0xFF],
            [0xF0, 0x28, 0x8C, 0xBC], [0xF8, 0x88, 0x80, 0x80, 0x80],
        ] as [[UInt8]])
    func `bytes that are no UTF-8 are refused at every alignment`(_ bytes: [UInt8]) {
        for padding in 0..<17 {
            for lead in [[], [0x5C, 0x6E]] as [[UInt8]] {
                let text = [0x22] + lead + [UInt8](repeating: 0x61, count: padding) + bytes + [0x22]
                #expect(fault(in: text)?.reason == .invalidUTF8)
                #expect(decodedString(in: text) == nil)
            }
        }
    }

    @Test func `every byte is found at every alignment, with and without an escape before it`() {
        for length in 0..<40 {
            for place in 0..<max(length, 1) where length > 0 {
                for byte in [0x22, 0x5C, 0x1F, 0x00, 0x20, 0x7F, 0x21, 0x23, 0x5B, 0x5D, 0xA2, 0xDC] as [UInt8] {
                    var content = [UInt8](repeating: 0x78, count: length)
                    content[place] = byte
                    checkFound(byte, content, place)
                }
            }
        }
    }

    private func checkFound(_ byte: UInt8, _ content: [UInt8], _ place: Int) {
        for lead in [[], [0x5C, 0x74]] as [[UInt8]] {
            let text = [0x22] + lead + content + [0x22]
            switch byte {
            case 0x22:
                #expect(fault(in: text) != nil)
            case 0x5C:
                // \x is no escape; \" leaves the string open.
                #expect(fault(in: text) != nil)
            case ..<0x20:
                #expect(fault(in: text) == JSONFault(offset: 1 + lead.count + place, reason: .controlCharacter))
            case 0x80...:
                #expect(fault(in: text) == JSONFault(offset: 1 + lead.count + place, reason: .invalidUTF8))
            default:
                #expect(decodedString(in: text) == (lead.isEmpty ? [] : [0x09]) + content)
            }
        }
    }

    @Test func `strings without escapes are pieces of the input, others are decoded`() throws {
        let text = Array("[\"plain ü\",\"a\\u00fc\\n\\ud83d\\ude00\\\\\"]".utf8)
        try text.withUnsafeBytes { raw in
            var json = JSONReader(raw)
            try json.beginArray()
            #expect(try json.nextElement())
            let first = try json.readString()
            guard case .slice = first else {
                Issue.record("copied")
                return
            }
            #expect(first.text == "plain ü" && first.equals("plain ü") && !first.equals("plain u"))
            #expect(try json.nextElement())
            let second = try json.readString()
            guard case .decoded = second else {
                Issue.record("not decoded")
                return
            }
            #expect(second.text == "aü\n😀\\" && second.equals("aü\n😀\\") && second.count == 9)
            #expect(try !json.nextElement())
            try json.finish()
        }
    }

    @Test func `whole numbers are read up to 64 bits`() {
        func int(_ text: String) -> Result<Int, JSONFault> {
            Array(text.utf8).withUnsafeBytes { raw in
                var json = JSONReader(raw)
                do throws(JSONFault) { return .success(try json.readInt()) } catch { return .failure(error) }
            }
        }
        #expect(int("0") == .success(0) && int("-0") == .success(0) && int(" 42") == .success(42))
        #expect(int("9223372036854775807") == .success(.max) && int("-9223372036854775808") == .success(.min))
        for text in ["9223372036854775808", "-9223372036854775809", "99999999999999999999999"] {
            #expect(int(text) == .failure(JSONFault(offset: 0, reason: .numberOutOfRange)))
        }
        for text in ["1.0", "1e3", "-1.5"] {
            #expect(int(text) == .failure(JSONFault(offset: 0, reason: .notAnInteger)))
        }
        #expect(int("\"1\"") == .failure(JSONFault(offset: 0, reason: .wrongKind)))
    }

    @Test func `containers nest 64 deep and no deeper, however deep the text is`() {
        func nested(_ depth: Int, _ open: String, _ close: String) -> String {
            String(repeating: open, count: depth) + "1" + String(repeating: close, count: depth)
        }
        #expect(fault(in: nested(64, "[", "]")) == nil)
        #expect(fault(in: nested(64, "{\"a\":", "}")) == nil)
        #expect(fault(in: nested(65, "[", "]"))?.reason == .nestedTooDeep)
        #expect(fault(in: nested(100_000, "[", "]"))?.reason == .nestedTooDeep)
        #expect(fault(in: nested(100_000, "{\"a\":", "}"))?.reason == .nestedTooDeep)
        #expect(fault(in: String(repeating: "[{\"a\":", count: 100_000))?.reason == .nestedTooDeep)
        #expect(fault(in: "[" + String(repeating: "[],", count: 100_000) + "1]") == nil)
    }
}
