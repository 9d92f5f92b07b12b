// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolEmail

private func emailOf(_ json: String) throws -> EmailMessage {
    let bytes = Array(json.utf8)
    return try bytes.withUnsafeBytes { try EmailMessage.read($0).email }
}

/// The field that is refused; `nil` if none is.
private func fieldRefused(_ json: String) -> String? {
    do {
        _ = try emailOf(json)
        return nil
    } catch EmailMessage.ReadingError.field(let error) {
        return error.field
    } catch {
        return "\(error)"
    }
}

private func base(_ more: String) -> String {
    #"{"from":"a@example.com","to":"b@example.com","text":"t"\#(more.isEmpty ? "" : "," + more)}"#
}

struct EmailTests {
    // MARK: - Addresses -

    @Test(arguments: [
        ("a@b.example", "", "a@b.example"), ("  a@b  ", "", "a@b"), ("Ada <ada@x.example>", "Ada", "ada@x.example"),
        (#""Quoted, \"Name\"" <a@b>"#, #"Quoted, "Name""#, "a@b"), ("<a@b>", "", "a@b"), ("a+tag.x@b", "", "a+tag.x@b"),
        ("Größe <a@b>", "Größe", "a@b"),
    ])
    func `addresses are read`(text: String, name: String, address: String) throws {
        let found = try EmailAddress(text, field: "to")
        #expect(found.name == name && found.address == address)
    }

    @Test(arguments: [
        "", "a", "a@", "@b", "a@b@c", "a b@c", "a@b..c", "a..b@c", ".a@b", "a.@b", "a@-b", "a@b-", "a@b_c", "ä@b",
        "a@b\r\nBcc: x@y",
        "A\u{0}B <a@b>", "a@b, c@d", "A <a@b> trailing",
    ])
    func `what is no address is refused, and not shown`(text: String) {
        let error = #expect(throws: EmailError.self) { try EmailAddress(text, field: "to[1]") }
        #expect(error?.field == "to[1]")
        if text.count > 4 { #expect(error?.detail.contains(text) == false) }
    }

    @Test func `lengths of addresses are bounded`() throws {
        let label = String(repeating: "d", count: 63)
        _ = try EmailAddress(String(repeating: "l", count: 64) + "@" + label, field: "to")
        for text in [
            String(repeating: "l", count: 65) + "@b", "a@" + label + "d",
            "a@" + Array(repeating: label, count: 4).joined(separator: "."),
            String(repeating: "n", count: 257) + " <a@b>",
        ] { #expect(throws: EmailError.self) { try EmailAddress(text, field: "to") } }
    }

    // MARK: - Reading -

    @Test(arguments: [
        "From", "bcc", "Subject", "DATE", "Message-Id", "MIME-Version", "Content-Type", "Return-Path", "Received",
        "Sender",
    ])
    func `headers of the renderer and of the carriers are reserved`(name: String) {
        #expect(fieldRefused(base(#""headers":{"\#(name)":"x"}"#)) == "headers[0]")
    }

    @Test func `nothing is smuggled into a header`() {
        #expect(fieldRefused(base(#""subject":"a\r\nBcc: x@y.example""#)) == "subject")
        #expect(fieldRefused(base(#""subject":"a\nb""#)) == "subject")
        #expect(fieldRefused(base(#""headers":{"X-A":"a\r\n b"}"#)) == "headers[0]")
        #expect(fieldRefused(base(#""headers":{"X A":"a"}"#)) == "headers[0]")
        #expect(fieldRefused(base(#""headers":{"X:A":"a"}"#)) == "headers[0]")
        #expect(fieldRefused(base(#""replyTo":"a@b\nBcc: c@d""#)) == "replyTo")
        let file = #""contentType":"a/b","content":"""#
        #expect(fieldRefused(base(#""attachments":[{"filename":"a\r\nb",\#(file)}]"#)) == "attachments[0].filename")
        #expect(
            fieldRefused(base(#""attachments":[{"filename":"a","contentType":"a/b;\r\nX: y","content":""}]"#))
                == "attachments[0].contentType")
        #expect(
            fieldRefused(base(#""attachments":[{"filename":"a","contentId":"x>\r\n",\#(file)}]"#))
                == "attachments[0].contentId")
    }

    @Test func `a field that is missing, unknown or of the wrong kind is named`() {
        #expect(fieldRefused(#"{"to":"b@c","text":"t"}"#) == "from")
        #expect(fieldRefused(#"{"from":"a@b","text":"t"}"#) == "to")
        #expect(fieldRefused(#"{"from":"a@b","to":[],"text":"t"}"#) == "to")
        #expect(fieldRefused(#"{"from":"a@b","to":"b@c"}"#) == "text")
        #expect(fieldRefused(base(#""colour":1"#)) == "email")
        #expect(fieldRefused(base(#""subject":7"#)) == "subject")
        #expect(fieldRefused(base(#""cc":["c@d","no"]"#)) == "cc[1]")
        #expect(fieldRefused(base(#""attachments":[{"filename":"a","content":"abc"}]"#)) == "attachments[0].content")
        let many = (0..<50).map { #""r\#($0)@b""# }.joined(separator: ",")
        #expect(fieldRefused(base(#""cc":[\#(many)]"#)) == "to", "to and cc together are 51")
    }

    @Test func `an email that is encoded and read again is the same`() throws {
        let email = try emailOf(
            #"{"from":"\"Q, \\\"N\\\"\" <a@b>","to":["Größe <c@d>","e@f"],"cc":"g@h","bcc":["i@j"],"replyTo":"k@l","#
                + #""subject":"✓ 日本","text":"a\nb","html":"<p>","headers":{"X-B":"1","X-A":"2"},"#
                + #""attachments":[{"filename":"ü.pdf","contentType":"application/pdf","content":"AAEC/w==","contentId":"x@y"}]}"#
        )
        let bytes = email.encoded()
        let again = try bytes.withUnsafeBytes { try EmailMessage.read($0).email }
        #expect(again == email)
        #expect(again.encoded() == bytes)
        #expect(email.attachments[0].content == [0, 1, 2, 255])
        #expect(email.recipients == ["c@d", "e@f", "g@h", "i@j"])
    }

    @Test func `the default group depends on the first recipient only and does not show it`() throws {
        let one = try emailOf(#"{"from":"a@b","to":["Ada@Example.com","x@y"],"text":"1"}"#)
        let two = try emailOf(#"{"from":"z@b","to":"ada@example.com","text":"2"}"#)
        #expect(one.defaultGroup == two.defaultGroup)
        #expect(!one.defaultGroup.lowercased().contains("ada"))
    }

    // MARK: - Encodings -

    @Test func `base64 of every length comes back, in lines of at most 76`() {
        for count in 0...200 {
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ count) }
            #expect(Base64Text.decode(String(decoding: Base64Text.encode(bytes), as: UTF8.self)) == bytes)
            let lines = String(decoding: Base64Text.encode(bytes, lineLength: 76), as: UTF8.self).split(
                separator: "\r\n")
            #expect(lines.allSatisfy { $0.utf8.count <= 76 } && lines.dropLast().allSatisfy { $0.utf8.count == 76 })
        }
    }

    @Test(arguments: ["A", "AB", "ABC", "A===", "=AAA", "AA=A", "AA==AAAA", "AA A", "AA-_", "AAAA\n"])
    func `what is no base64 is refused`(text: String) {
        #expect(Base64Text.decode(text) == nil)
    }

    @Test(arguments: [
        ("a=b", "a=3Db"), ("a \r\nb", "a=20\r\nb"), ("a\t", "a=09"), ("ü", "=C3=BC"), (".\r\n..", ".\r\n.."), ("", ""),
        ("a b", "a b"),
    ])
    func `quoted-printable`(text: String, expected: String) {
        #expect(String(decoding: QuotedPrintable.encode(Array(text.utf8)), as: UTF8.self) == expected)
    }

    @Test func `long lines of quoted-printable are broken at 76 and no escape is cut`() {
        let encoded = QuotedPrintable.encode(Array(String(repeating: "aü", count: 500).utf8))
        for line in String(decoding: encoded, as: UTF8.self).split(separator: "\r\n") {
            #expect(line.utf8.count <= 76)
            let tail = line.dropLast(line.hasSuffix("=") ? 1 : 0).suffix(2)
            #expect(!tail.contains("=") || tail.count < 2, "an escape is cut in \(line)")
        }
    }

    @Test func `line ends become CR LF`() {
        #expect(CRLF.normalized(Array("a\nb\rc\r\nd\r".utf8)) == Array("a\r\nb\r\nc\r\nd\r\n".utf8))
    }

    // MARK: - Headers -

    @Test(arguments: [
        String(repeating: "word ", count: 60) + "end", String(repeating: "ü", count: 300),
        String(repeating: "x", count: 1_500),
        "日本語" + String(repeating: "語", count: 200),
    ])
    func `headers are folded to 78 characters of ASCII`(value: String) {
        let text = HeaderText.unstructured("Subject", value)
        #expect(text.hasSuffix("\r\n"))
        let lines = text.dropLast(1).split(separator: "\r\n")
        for (number, line) in lines.enumerated() {
            #expect(line.utf8.count <= 78 && line.utf8.allSatisfy { $0 < 127 })
            #expect(number == 0 || line.hasPrefix(" "))
        }
    }

    @Test func `encoded words are at most 75 characters and each is whole UTF-8`() throws {
        let value = String(repeating: "aß漢😀 ", count: 40) + "end"
        let words = HeaderText.unstructured("Subject", value).split { $0.isWhitespace }.dropFirst()
        var decoded: [UInt8] = []
        for word in words {
            #expect(word.utf8.count <= 75 && word.hasPrefix("=?UTF-8?Q?") && word.hasSuffix("?="))
            var bytes: [UInt8] = []
            var rest = Array(word.dropFirst(10).dropLast(2).utf8)[...]
            while let byte = rest.popFirst() {
                switch byte {
                case UInt8(ascii: "_"): bytes.append(32)
                case UInt8(ascii: "="):
                    bytes.append(try #require(UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)))
                    rest = rest.dropFirst(2)
                default: bytes.append(byte)
                }
            }
            #expect(String(validating: bytes, as: UTF8.self) != nil, "a character is cut in two")
            decoded += bytes
        }
        #expect(String(decoding: decoded, as: UTF8.self) == value)
    }

    @Test func `plain text stays plain and a look-alike of an encoded word does not`() {
        #expect(HeaderText.unstructured("Subject", "Hello you") == "Subject: Hello you\r\n")
        #expect(HeaderText.unstructured("Subject", "=?utf-8?q?no?=").contains("=3D=3Futf-8"))
    }

    // MARK: - The whole -

    @Test func `blind recipients get it and are in no header`() throws {
        let email = try emailOf(base(#""bcc":"hidden@example.com""#))
        let text = String(decoding: email.rendered(messageID: "id-1", date: "D"), as: UTF8.self)
        #expect(!text.contains("hidden"))
        #expect(email.recipients.contains("hidden@example.com"))
        #expect(text.contains("Message-ID: <id-1@queuepool>\r\n"))
    }
}
