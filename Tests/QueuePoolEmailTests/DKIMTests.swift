// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolEmail

private func relaxed(_ body: String) -> String {
    String(decoding: DKIMCanonical.body(Array(body.utf8)[...]), as: UTF8.self)
}

private func fields(_ mail: String, _ names: [String]) -> String {
    String(decoding: DKIMMail(Array(mail.utf8)).canonicalFields(names), as: UTF8.self)
}

@Suite struct `The relaxed form of a mail` {
    @Test(arguments: [
        ("", ""), ("\r\n", ""), ("\r\n\r\n\r\n", ""), (" \t\r\n \r\n", ""), ("  ", ""),
        ("a", "a\r\n"), ("a\r\n", "a\r\n"), ("a\r\n\r\n\r\n", "a\r\n"), ("a\r\n \t \r\n", "a\r\n"), ("a \t", "a\r\n"),
        ("\r\na", "\r\na\r\n"), (" a\t \tb \r\n", " a b\r\n"), ("a \r\n\r\n\tb", "a\r\n\r\n b\r\n"),
        ("a\rb\nc\r", "a\rb\nc\r\r\n"),
        // RFC 6376, 3.4.5.
        (" C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n"),
    ])
    func `has a body without what may change on its way`(body: String, expected: String) {
        #expect(relaxed(body) == expected)
    }

    @Test(arguments: [
        // RFC 6376, 3.4.5.
        ("A: X\r\nB : Y\t\r\n\tZ  \r\n\r\n C \r\n", ["a", "b"], "a:X\r\nb:Y Z\r\n"),
        ("SUBJect \t:\t a\tb  c \t\r\n\r\n", ["Subject"], "subject:a b c\r\n"),
        ("Subject:\r\n a\r\n  \t\r\n b\r\n\r\n", ["Subject"], "subject:a b\r\n"), ("A:\r\n\r\n", ["A"], "a:\r\n"),
        ("A: b: c\r\n", ["A"], "a:b: c\r\n"), ("A: b", ["A"], "a:b\r\n"),
        ("no field\r\nA: b\r\n\r\n", ["A"], "a:b\r\n"),
        // In the body there are no fields.
        ("A: b\r\n\r\nC: d\r\n", ["C", "A"], "a:b\r\n"), ("\r\nA: b\r\n", ["A"], ""), ("", ["A"], ""),
        // A name again means the field above; when all are taken, nothing.
        ("A: 1\r\nB: 2\r\na: 3\r\n\r\n", ["A", "B", "A", "A", "C"], "a:3\r\nb:2\r\na:1\r\n"),
    ])
    func `has fields on one line`(mail: String, names: [String], expected: String) {
        #expect(fields(mail, names) == expected)
    }

    @Test func `has the body after the first empty line`() {
        let bodies = ["A: b\r\n\r\nC: d\r\n\r\ne", "\r\nA: b", "A: b\r\n", "A: b\r\n\r\n"].map {
            String(decoding: DKIMMail(Array($0.utf8)).body, as: UTF8.self)
        }
        #expect(bodies == ["C: d\r\n\r\ne", "A: b", "", ""])
    }
}

@Suite struct `RFC 8463's example` {
    private static let mail = [
        "From: Joe SixPack <joe@football.example.com>", "To: Suzie Q <suzie@shopping.example.net>",
        "Subject: Is dinner ready?", "Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)",
        "Message-ID: <20030712040037.46341.5F8J@football.example.com>", "", "Hi.", "",
        "We lost the game.  Are you hungry yet?", "", "Joe.", "",
    ].joined(separator: "\r\n")
    private static let names = ["from", "to", "subject", "date", "message-id", "from", "subject", "date"]
    private static let bodyHash = "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8="

    @Test(arguments: [
        (
            DKIMTestKeys.ed25519,
            [
                "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;",
                " d=football.example.com; i=@football.example.com;",
                " q=dns/txt; s=brisbane; t=1528637909; h=from : to :",
                " subject : date : message-id : from : subject : date;", " bh=\(bodyHash);", " b=",
            ],
            "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw=="
        ),
        (
            DKIMTestKeys.rsa,
            [
                "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;",
                " d=football.example.com; i=@football.example.com;",
                " q=dns/txt; s=test; t=1528637909; h=from : to : subject :",
                " date : message-id : from : subject : date;", " bh=\(bodyHash);", " b=",
            ],
            "F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsge"
                + "efOsk2JzdA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8="
        ),
    ])
    func `is signed as it is there`(pem: String, header: [String], signature: String) throws {
        let mail = DKIMMail(Array(Self.mail.utf8))
        let unsigned = DKIMCanonical.field(Array(header.joined(separator: "\r\n").utf8)[...])
        let made = try DKIMKey(pem: pem).signature(of: mail.canonicalFields(Self.names) + unsigned)
        #expect(String(decoding: Base64Text.encode(made), as: UTF8.self) == signature)
    }

    @Test func `has the body's hash`() throws {
        let signer = try DKIMSigner(
            domain: "football.example.com", selector: "brisbane", key: DKIMKey(pem: DKIMTestKeys.ed25519))
        let header = try signer.header(for: Array(Self.mail.utf8), now: 1_528_637_909)
        #expect(String(decoding: header, as: UTF8.self).contains("bh=\(Self.bodyHash);"))
    }
}

@Suite struct `A signer` {
    private static let mail = "Subject: two\r\n words\r\nFrom:  a@b.example\r\nX-Other: x\r\n\r\nHi  there \r\n\r\n"
    private static let now: Int64 = 1_800_000_000

    private static func header(
        _ mail: String, pem: String = DKIMTestKeys.ed25519, domain: String = "b.example",
        headers: [String] = DKIMSigner.usualHeaders, expirySeconds: Int64? = nil
    ) throws -> String {
        let signer = try DKIMSigner(
            domain: domain, selector: "s1", key: DKIMKey(pem: pem), headers: headers, expirySeconds: expirySeconds)
        return String(decoding: try signer.header(for: Array(mail.utf8), now: now), as: UTF8.self)
    }

    /// The tags of the first signature, without the white space of folding.
    private static func tags(_ header: String) -> [String: String] {
        let value = header.utf8.drop { $0 != UInt8(ascii: ":") }.dropFirst().filter { $0 > 32 }
        let tags = String(decoding: value, as: UTF8.self).split(separator: ";")
        return Dictionary(
            tags.map { tag in
                let pair = tag.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                return (String(pair[0]), String(pair.last ?? ""))
            }, uniquingKeysWith: { first, _ in first })
    }

    @Test func `signs the headers that are there, From against a second one, and its own header`() throws {
        let tags = Self.tags(try Self.header(Self.mail, domain: "B.Example"))
        let bodyHash = "LaegeaE4sWd4l9K7YWNlAinmqUePEZwKG9dMjiYmLn8="
        #expect(tags["h"] == "From:Subject:From" && tags["t"] == "1800000000" && tags["x"] == nil)
        #expect(tags["v"] == "1" && tags["c"] == "relaxed/relaxed" && tags["d"] == "b.example" && tags["s"] == "s1")
        #expect(tags["bh"] == bodyHash)
        let signed =
            "from:a@b.example\r\nsubject:two words\r\ndkim-signature:v=1; a=ed25519-sha256; c=relaxed/relaxed; "
            + "d=b.example; s=s1; t=1800000000; h=From:Subject:From; bh=\(bodyHash); b="
        let signature = try DKIMKey(pem: DKIMTestKeys.ed25519).signature(of: Array(signed.utf8))
        #expect(tags["b"] == String(decoding: Base64Text.encode(signature), as: UTF8.self))
    }

    @Test func `signs unsubscription and all that a reader sees of a rendered mail`() throws {
        let email = try email(
            #"{"from":"a@b.example","to":"c@d.example","cc":"e@d.example","replyTo":"r@b.example","subject":"s","#
                + #""text":"t","headers":{"List-Unsubscribe":"<https://b.example/u>","X-Tag":"1","#
                + #""List-Unsubscribe-Post":"List-Unsubscribe=One-Click"}}"#)
        let mail = String(
            decoding: email.rendered(messageID: "0-1-2", date: "Tue, 24 Nov 2026 00:00:00 +0000"), as: UTF8.self)
        let names = try #require(Self.tags(try Self.header(mail))["h"])
        #expect(
            names == "From:Reply-To:Subject:Date:Message-ID:To:Cc:MIME-Version:Content-Type:"
                + "Content-Transfer-Encoding:List-Unsubscribe:List-Unsubscribe-Post:From")
    }

    @Test func `signs each field of a name`() throws {
        let mail = "To: a@b.example\r\nTo: c@d.example\r\nFrom: a@b.example\r\n\r\nx"
        #expect(Self.tags(try Self.header(mail))["h"] == "From:To:To:From")
    }

    @Test func `signs From whatever it is told to sign`() throws {
        #expect(Self.tags(try Self.header(Self.mail, headers: ["X-Other", "x-other"]))["h"] == "From:X-Other:From")
        #expect(Self.tags(try Self.header("Subject: s\r\n\r\n", headers: []))["h"] == "From")
    }

    @Test func `says until when a signature is good`() throws {
        #expect(Self.tags(try Self.header(Self.mail, expirySeconds: 60))["x"] == "1800000060")
    }

    @Test(arguments: [DKIMTestKeys.rsa, DKIMTestKeys.ed25519])
    func `folds its header into short lines that end in CR LF`(pem: String) throws {
        let long = "x" + String(repeating: ".abcdefghi", count: 20)
        for domain in ["b.example", long] {
            let mail = DKIMSigner.usualHeaders.map { "\($0): v\r\n" }.joined() + "\r\nbody"
            let header = try Self.header(mail, pem: pem, domain: domain)
            #expect(header.hasPrefix("DKIM-Signature: v=1; a=") && header.hasSuffix("\r\n"))
            let lines = header.split(separator: "\r\n")
            #expect(lines.dropFirst().allSatisfy { $0.hasPrefix(" ") && !$0.hasSuffix(" ") })
            #expect(lines.allSatisfy { $0.utf8.count <= 76 || $0.contains("d=\(domain);") })
            #expect(header.split(separator: "\r\n", omittingEmptySubsequences: false).count == lines.count + 1)
        }
    }

    @Test func `makes a signature with each of its keys`() throws {
        let signer = try DKIMSigner(
            domain: "b.example",
            identities: [
                DKIMSigner.Identity(selector: "r", key: DKIMKey(pem: DKIMTestKeys.rsa)),
                DKIMSigner.Identity(selector: "e", key: DKIMKey(pem: DKIMTestKeys.ed25519)),
            ])
        let both = try signer.header(for: Array(Self.mail.utf8), now: Self.now)
        let alone = try ["r": DKIMTestKeys.rsa, "e": DKIMTestKeys.ed25519].mapValues { pem in
            try DKIMKey(pem: pem)
        }.map { selector, key in
            try DKIMSigner(domain: "b.example", selector: selector, key: key)
                .header(for: Array(Self.mail.utf8), now: Self.now)
        }
        #expect(both == alone[0] + alone[1] || both == alone[1] + alone[0])
        #expect(String(decoding: both, as: UTF8.self).contains("a=rsa-sha256; c=relaxed/relaxed; d=b.example; s=r;"))
    }

    @Test(arguments: [
        "", "example", ".example", "a..b", "a.b.", "-a.b", "a-.b", "a_b.c", "münchen.example", "a.b;x=1", "a .b",
        String(repeating: "a", count: 64) + ".example", "a" + String(repeating: ".abcdefgh", count: 29),
    ])
    func `takes no domain that is none`(domain: String) {
        #expect(throws: DKIMError.domain) { try Self.header(Self.mail, domain: domain) }
    }

    @Test(arguments: ["", "a b", "a;b", "-a", "a.", "ü", String(repeating: "a.", count: 120) + "a"])
    func `takes no selector that is none`(selector: String) throws {
        let key = try DKIMKey(pem: DKIMTestKeys.ed25519)
        #expect(throws: DKIMError.selector) { try DKIMSigner(domain: "b.example", selector: selector, key: key) }
        #expect(throws: Never.self) { try DKIMSigner(domain: "b.example", selector: "2026_a.mail", key: key) }
    }

    @Test func `takes no header or expiry that is none`() {
        for name in ["", "a b", "a:", "a;b", "ü"] {
            #expect(throws: DKIMError.headerName) { try Self.header(Self.mail, headers: [name]) }
        }
        #expect(throws: DKIMError.expiry) { try Self.header(Self.mail, expirySeconds: 0) }
    }
}
