// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolCurl

@Suite struct `A conversation with a mail server` {
    private static let greeting = ["220 hello\r\n", "250-me\r\n", "250-SIZE 1000\r\n", "250 HELP\r\n"]

    /// Hears the lines; `ready` stands for the moment at which MAIL goes out.
    private static func result(_ lines: [String], recipients: Int = 2, _ error: CurlError? = .timeout) -> MailResult {
        var conversation = MailConversation(recipientCount: recipients)
        for line in lines {
            if line == "ready" { conversation.isReady() } else { conversation.take(line: Array(line.utf8)) }
        }
        return conversation.result(error)
    }

    private static func after(_ lines: String..., error: CurlError? = .timeout) -> MailResult {
        result(greeting + ["ready"] + lines.map { $0 + "\r\n" }, error)
    }

    @Test func `is done when the dot at the mail's end is answered`() {
        #expect(Self.after("250", "250 a", "250 b", "354 go", "250-it\r\n", "250 is in") == .taken(codes: [250, 250]))
        #expect(Self.result(["ready", "250\n", "250 a\n", "251 b\n", "354\n", "250\n"]) == .taken(codes: [250, 251]))
        #expect(Self.after("250", "250", "250", "354", "252 odd", error: .other(code: 8)) == .taken(codes: [250, 250]))
    }

    @Test func `says what each recipient was told, of replies with many lines too`() {
        #expect(Self.after("250", "550-no\r\n", "550 no", "250", "354", "250") == .taken(codes: [550, 250]))
        #expect(Self.after("250", "250", "451 later", "354", "250") == .taken(codes: [250, 451]))
    }

    @Test func `a server that has enough recipients may take more later`() {
        #expect(Self.after("250", "250", "552 enough", "354", "250") == .taken(codes: [250, 452]))
        #expect(Self.after("250", "552 full", "250", "354", "250") == .taken(codes: [552, 250]))
    }

    @Test(arguments: [
        (["452 not now"], 452), (["552 too large"], 552), (["250", "550", "551"], 550), (["250", "550", "450"], 450),
        (["250", "250", "250", "451 no"], 451), (["250", "250", "250", "554 no"], 554),
        (["250", "250", "250", "354", "421 leaving"], 421), (["250", "550", "250", "354", "554 spam"], 554),
    ])
    func `ends with the reply that refuses, whatever comes after`(replies: [String], code: Int) {
        for more in [[], ["221 bye"], ["250 hm", "354", "250"]] {
            let lines = (["ready"] + replies + more).map { $0 == "ready" ? $0 : $0 + "\r\n" }
            #expect(Self.result(lines, .other(code: 55)) == .rejected(code: code))
        }
    }

    @Test(arguments: [530, 534, 535, 538])
    func `a refusal of who we are says nothing about the mail`(code: Int) {
        #expect(Self.after("\(code) who") == .unavailable(.refused(code: code)))
        let login = Self.greeting + ["334 go\r\n", "\(code) no\r\n", "221 bye\r\n"]
        #expect(Self.result(login, .other(code: 67)) == .unavailable(.refused(code: code)))
    }

    @Test func `a refusal before the connection is ready says nothing about the mail`() {
        #expect(Self.result(["554 not you\r\n", "221 bye\r\n"], .other(code: 8)) == .unavailable(.refused(code: 554)))
        #expect(Self.result(["421 busy\r\n"], .other(code: 8)) == .unavailable(.refused(code: 421)))
        #expect(Self.result(["220 a\r\n", "454 no TLS\r\n"], .tls) == .unavailable(.tls))
        #expect(Self.result(["220 a\r\n"], .timeout) == .unavailable(.timeout))
        #expect(Self.result([], .unreachable) == .unavailable(.unreachable))
    }

    @Test func `without an answer before the mail itself nothing was handed over`() {
        #expect(Self.after() == .unavailable(.timeout))
        #expect(Self.after("250", "250") == .unavailable(.timeout))
        #expect(Self.after("250", "250", "250", error: .cancelled) == .unavailable(.cancelled))
    }

    @Test func `without an answer to the mail itself nobody knows`() {
        #expect(Self.after("250", "250", "250", "354 go") == .unknown(.timeout))
        #expect(Self.after("250", "250", "250", "354 go", "250-half", error: .closed) == .unknown(.closed))
    }

    @Test func `that the server ends before the mail may be begun again elsewhere`() {
        func endedEarly(_ lines: String...) -> Bool {
            var conversation = MailConversation(recipientCount: 1)
            conversation.isReady()
            for line in lines { conversation.take(line: Array("\(line)\r\n".utf8)) }
            return conversation.endedEarly
        }
        #expect(endedEarly() && endedEarly("421 idle"))
        #expect(!endedEarly("451") && !endedEarly("250") && !endedEarly("250", "421"))
    }
}
