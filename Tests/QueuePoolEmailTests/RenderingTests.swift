// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolEmail

@Suite struct `A rendered email` {
    private static func lines(_ json: String) throws -> [String] {
        let bytes = try email(json).rendered(messageID: "0-1-2", date: "Tue, 24 Nov 2026 00:00:00 +0000")
        #expect(bytes.allSatisfy { $0 < 127 && ($0 >= 32 || $0 == 13 || $0 == 10) })
        // Each line end is CR LF, and neither stands alone.
        let text = String(decoding: bytes, as: UTF8.self)
        let lines = text.unicodeScalars.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        #expect(lines.last == "")
        #expect(lines.dropLast().allSatisfy { $0.hasSuffix("\r") && $0.utf8.count <= 79 })
        return lines.dropLast().map { String($0.unicodeScalars.dropLast()) }
    }

    @Test func `has the headers of a mail, and not who gets it blindly`() throws {
        let lines = try Self.lines(
            #"{"from":"Björn <a@b.example>","to":["c@d.example","D, E <e@d.example>"],"bcc":"hidden@d.example","#
                + #""subject":"Grüße","text":"hi","headers":{"X-Campaign":"7"}}"#)
        let head = Array(lines.prefix { !$0.isEmpty })
        #expect(head.contains("From: =?UTF-8?Q?Bj=C3=B6rn?= <a@b.example>"))
        #expect(head.contains(#"To: c@d.example, "D, E" <e@d.example>"#))
        #expect(head.contains("Subject: =?UTF-8?Q?Gr=C3=BC=C3=9Fe?="))
        #expect(head.contains("Message-ID: <0-1-2@queuepool>"))
        #expect(head.contains("MIME-Version: 1.0"))
        #expect(head.contains("Date: Tue, 24 Nov 2026 00:00:00 +0000"))
        #expect(head.contains("X-Campaign: 7"))
        #expect(head.contains("Content-Type: text/plain; charset=utf-8"))
        #expect(!lines.contains { $0.contains("hidden") })
    }

    @Test(arguments: [
        (#""bcc":["hidden@d.example","other@d.example"]"#, "To: undisclosed-recipients:;"),
        (#""to":[],"cc":"c@d.example","bcc":"hidden@d.example""#, "Cc: c@d.example"),
    ])
    func `without anybody in To shows nobody who gets it blindly`(recipients: String, line: String) throws {
        let lines = try Self.lines(#"{"from":"a@b.example",\#(recipients),"text":"hi"}"#)
        #expect(lines.filter { $0.hasPrefix("To:") || $0.hasPrefix("Cc:") } == [line])
        #expect(!lines.contains { $0.lowercased().hasPrefix("bcc") || $0.contains("hidden") || $0.contains("other@") })
    }

    @Test func `folds long subjects without cutting a character in two`() throws {
        let lines = try Self.lines(
            #"{"from":"a@b.example","to":"c@d.example","subject":"\#(String(repeating: "ü", count: 200))","text":"x"}"#)
        let words = lines.filter { $0.contains("=?UTF-8?Q?") }
        #expect(words.count > 10)
        for word in words {
            let coded = word.split(separator: "?")[3]
            #expect(coded.utf8.count % 6 == 0, "whole pairs of =C3=BC")
        }
    }

    @Test func `offers text and HTML as alternatives, with attachments beside them`() throws {
        let lines = try Self.lines(
            #"{"from":"a@b.example","to":"c@d.example","text":"t","html":"<p>h</p>","attachments":["#
                + #"{"filename":"größe.pdf","contentType":"application/pdf","content":"aGVsbG8="}]}"#)
        let types = lines.filter { $0.hasPrefix("Content-Type: ") }.map { $0.dropFirst(14).prefix { $0 != ";" } }
        #expect(types == ["multipart/mixed", "multipart/alternative", "text/plain", "text/html", "application/pdf"])
        #expect(lines.contains(" filename*=UTF-8''gr%C3%B6%C3%9Fe.pdf"))
        #expect(lines.contains("aGVsbG8="))
        #expect(lines.last == "--=_mixed-0-1-2--")
    }

    @Test func `keeps lines short and blanks at their ends, whatever the text`() throws {
        let lines = try Self.lines(
            #"{"from":"a@b.example","to":"c@d.example","text":"\#(String(repeating: "x", count: 5_000)) \n.\nend=1"}"#)
        #expect(lines.contains("."))
        #expect(lines.contains("end=3D1"))
        #expect(lines.contains { $0.hasSuffix("=20") })
    }
}

@Suite struct `A header` {
    private static func unfolded(_ name: String, _ value: String) throws -> (value: String, lines: [String]) {
        let text = HeaderText.field(name, value)
        #expect(text.hasSuffix("\r\n") && text.utf8.allSatisfy { $0 < 127 })
        let whole = text.replacing("\r\n", with: "")
        let lines = text.split(separator: "\r\n").map(String.init)
        #expect(lines.dropFirst().allSatisfy { $0.hasPrefix(" ") && $0.contains { $0 != " " } })
        #expect(lines[0].count > name.count + 1, "the first line has a value")
        try #require(whole.hasPrefix(name + ": "))
        return (String(whole.dropFirst(name.count + 2)), lines)
    }

    private static let url = "<https://example.com/u?t=" + String(repeating: "abc=?utf-8", count: 40) + ">"
    private static let ids = (0..<30).map { "<\(String(repeating: "i", count: 80))\($0)@example.com>" }

    @Test(arguments: [
        ("List-Unsubscribe", url + ", <mailto:u@example.com>"), ("References", ids.joined(separator: " ")),
        ("In-Reply-To", ids[0]), ("List-Id", "\"A, list\" (of ours) <news.example.com>"),
        ("X-Token", String(repeating: "t", count: 900)), ("X-Link", "see https://example.com/" + ids[0] + " or not"),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"), ("X-Empty-Not", "a"),
    ])
    func `in ASCII goes out as it came, and is folded at blanks alone`(name: String, value: String) throws {
        let (unfolded, lines) = try Self.unfolded(name, value)
        #expect(unfolded == value)
        for line in lines { #expect(line.utf8.count <= 76 || line.split(separator: " ").count <= 2) }
    }

    @Test func `as free text is encoded if it is beyond ASCII, looks encoded or would not keep its blanks`() throws {
        for value in ["ü", "=?utf-8?q?no?=", " a", "a ", "a  b"] {
            #expect(try Self.unfolded("X-A", value).value.hasPrefix("=?UTF-8?Q?"))
        }
        let (_, lines) = try Self.unfolded("X-A", String(repeating: "x", count: 1_500))
        #expect(lines.allSatisfy { $0.utf8.count <= 78 }, "a word that fits no line at all")
    }

    @Test(arguments: [
        ("Größe News <news.example.com>", "=?UTF-8?Q?Gr=C3=B6=C3=9Fe?= News <news.example.com>"),
        ("Grüße Überall, b", "=?UTF-8?Q?Gr=C3=BC=C3=9Fe_=C3=9Cberall?= , b"),
        ("\"Grüße, Sie\" <n.example>", "=?UTF-8?Q?Gr=C3=BC=C3=9Fe=2C_Sie?= <n.example>"),
        ("<https://example.com/ü> (für Sie)", "<https://example.com/%C3%BC> ( =?UTF-8?Q?f=C3=BCr?= Sie )"),
    ])
    func `that programs read is encoded in phrases and comments, and never in a URL`(value: String, out: String) throws
    {
        #expect(try Self.unfolded("List-Id", value).value == out)
    }
}
