// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import QueuePoolCore
import QueuePoolTestSupport
import Testing

@testable import QueuePoolCurl

@Suite struct `The mail engine` {
    private static func mail(
        _ server: MailServer, recipients: [String] = ["c@d.example"], payload: String = "Subject: s\r\n\r\n.\r\nx\r\n"
    ) -> MailTransfer {
        MailTransfer(
            url: server.url, requiresTLS: false, from: "a@b.example", recipients: recipients,
            payload: Array(payload.utf8))
    }

    private static func limits(_ milliseconds: Int64) -> MailLimits {
        var limits = MailLimits()
        limits.command = milliseconds
        limits.dataStart = milliseconds
        limits.dataEnd = milliseconds
        return limits
    }

    @Test func `hands mails over one after another on one connection`() async throws {
        let server = try #require(MailServer { word, _ in MailServer.usual(word) })
        defer { server.close() }
        let engine = MailEngine(idleSeconds: 600)
        for _ in 0..<3 { #expect(await engine.send(Self.mail(server)) == .taken(codes: [250])) }
        let seen = server.seen
        #expect(seen.connections == 1 && engine.threadCount == 1)
        #expect(seen.lines.count { $0 == "RCPT TO:<c@d.example>" } == 3)
        #expect(seen.lines.contains(".."), "a dot at the start of a line is doubled")
        #expect(seen.lines.count { $0 == "." } == 3)
    }

    @Test func `has as many threads as mails are under way, and no more than it may`() async throws {
        // No mail is answered before three of them are under way.
        let server = try #require(
            MailServer { word, seen in
                if word == "DOT", seen.lines.count(where: { $0 == "." }) < 3 { usleep(200_000) }
                return MailServer.usual(word)
            })
        defer { server.close() }
        let engine = MailEngine(threadsMax: 3, idleSeconds: 600)
        let results = await withTaskGroup(of: MailResult.self) { group in
            for _ in 0..<9 { group.addTask { await engine.send(Self.mail(server)) } }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(results == Array(repeating: .taken(codes: [250]), count: 9))
        #expect(engine.threadCount == 3 && server.seen.connections == 3)
    }

    @Test func `ends threads that have nothing to do`() async throws {
        let server = try #require(MailServer { word, _ in MailServer.usual(word) })
        defer { server.close() }
        let engine = MailEngine(idleSeconds: 0)
        #expect(await engine.send(Self.mail(server)) == .taken(codes: [250]))
        for _ in 0..<500 where !server.seen.lines.contains("QUIT") { try await Task.sleep(for: .milliseconds(20)) }
        #expect(server.seen.lines.last == "QUIT" && engine.threadCount == 0)
        #expect(await engine.send(Self.mail(server)) == .taken(codes: [250]))
    }

    @Test(arguments: ["421 idle for too long", ""])
    func `begins again on a new connection if the kept one is closed`(farewell: String) async throws {
        let server = try #require(
            MailServer { word, seen in
                word == "MAIL" && seen.connections == 1 && seen.lines.contains(".") ? farewell : MailServer.usual(word)
            })
        defer { server.close() }
        let engine = MailEngine(idleSeconds: 600)
        for _ in 0..<2 { #expect(await engine.send(Self.mail(server)) == .taken(codes: [250])) }
        #expect(server.seen.connections == 2 && server.seen.lines.count { $0 == "." } == 2)
    }

    @Test func `gives the good recipients their mail and tells of the others`() async throws {
        let server = try #require(
            MailServer { word, seen in
                guard word == "RCPT", let line = seen.lines.last else { return MailServer.usual(word) }
                return line.contains("bad") ? "550-no\r\n550 no" : line.contains("later") ? "451 later" : "250 OK"
            })
        defer { server.close() }
        let engine = MailEngine(idleSeconds: 600)
        let mixed = Self.mail(server, recipients: ["bad@d.example", "good@d.example", "later@d.example"])
        for _ in 0..<2 { #expect(await engine.send(mixed) == .taken(codes: [550, 250, 451])) }
        #expect(server.seen.connections == 1)
        #expect(await engine.send(Self.mail(server, recipients: ["bad@d.example"])) == .rejected(code: 550))
        let none = Self.mail(server, recipients: ["bad@d.example", "later@d.example"])
        #expect(await engine.send(none) == .rejected(code: 451))
        #expect(server.seen.lines.count { $0 == "." } == 2)
    }

    @Test(arguments: [
        ("GREETING", MailResult.unavailable(.timeout)), ("MAIL", .unavailable(.timeout)),
        ("DATA", .unavailable(.timeout)), ("DOT", .unknown(.timeout)),
    ])
    func `gives a server up that is silent for too long`(word: String, result: MailResult) async throws {
        let server = try #require(MailServer { said, _ in said == word ? nil : MailServer.usual(said) })
        defer { server.close() }
        let clock = ManualClock()
        let engine = MailEngine(now: { clock.now().milliseconds })
        let waiting = Task { await engine.send(Self.mail(server)) }
        let isWaited = {
            word == "GREETING"
                ? server.seen.connections == 1
                : server.seen.lines.contains { $0.hasPrefix(word == "DOT" ? "." : word) }
        }
        while !isWaited() { try await Task.sleep(for: .milliseconds(10)) }
        clock.advance(milliseconds: 600_001)
        #expect(await waiting.value == result)
    }

    @Test func `counts silence by its clock alone`() async throws {
        let server = try #require(MailServer { word, _ in MailServer.usual(word) })
        defer { server.close() }
        let clock = ManualClock()
        let engine = MailEngine(idleSeconds: 600, limits: Self.limits(0), now: { clock.now().milliseconds })
        // No time passes, so no silence is too long.
        for _ in 0..<3 { #expect(await engine.send(Self.mail(server)) == .taken(codes: [250])) }
    }

    @Test(arguments: [("DATA", "the mail was not begun"), ("DOT", "the mail was given")])
    func `knows whether a connection was lost before the mail or within`(word: String, what: String) async throws {
        let server = try #require(MailServer { said, _ in said == word ? "" : MailServer.usual(said) })
        defer { server.close() }
        switch await MailEngine(idleSeconds: 600).send(Self.mail(server)) {
        case .unavailable: #expect(word == "DATA", "\(what)")
        case .unknown: #expect(word == "DOT", "\(what)")
        case let other: Issue.record("\(other)")
        }
    }

    @Test(arguments: [("MAIL", MailResult.unavailable(.cancelled)), ("DOT", .unknown(.cancelled))])
    func `gives a mail up whose task is cancelled`(word: String, result: MailResult) async throws {
        let server = try #require(MailServer { said, _ in said == word ? nil : MailServer.usual(said) })
        defer { server.close() }
        let engine = MailEngine(threadsMax: 1)
        let first = Task { await engine.send(Self.mail(server)) }
        let isWaited = { server.seen.lines.contains { $0.hasPrefix(word == "DOT" ? "." : word) } }
        while !isWaited() { try await Task.sleep(for: .milliseconds(10)) }
        // One that has no thread yet is given up too.
        let second = Task { await engine.send(Self.mail(server)) }
        second.cancel()
        #expect(await second.value == .unavailable(.cancelled))
        first.cancel()
        #expect(await first.value == result)
    }

    @Test func `sends no mail that may not begin any more, neither before MAIL nor after DATA`() async throws {
        let server = try #require(MailServer { word, _ in MailServer.usual(word) })
        defer { server.close() }
        let engine = MailEngine(threadsMax: 1, idleSeconds: 600)
        for _ in 0..<2 {
            var mail = Self.mail(server)
            mail.mayBegin = { false }
            #expect(await engine.send(mail) == .unavailable(.cancelled))
        }
        #expect(!server.seen.lines.contains { $0.hasPrefix("MAIL") })
        var mail = Self.mail(server)
        mail.mayBegin = { !server.seen.lines.contains("DATA") }
        #expect(await engine.send(mail) == .unavailable(.cancelled))
        #expect(server.seen.lines.contains("DATA"))
        #expect(await engine.send(Self.mail(server)) == .taken(codes: [250]))
        #expect(server.seen.lines.count { $0 == "." } == 1, "that of the last alone")
    }

    @Test func `gives up what is under way when it is shut down, and takes nothing more`() async throws {
        let server = try #require(MailServer { said, _ in said == "DOT" ? nil : MailServer.usual(said) })
        defer { server.close() }
        let engine = MailEngine(idleSeconds: 600)
        let waiting = Task { await engine.send(Self.mail(server)) }
        while !server.seen.lines.contains(".") { try await Task.sleep(for: .milliseconds(10)) }
        engine.shutdown()
        #expect(await waiting.value == .unknown(.closed))
        #expect(await engine.send(Self.mail(server)) == .unavailable(.closed))
    }

    @Test func `knows a server that nobody is at, and one without the encryption that is asked for`() async throws {
        let server = try #require(MailServer { word, _ in MailServer.usual(word) })
        defer { server.close() }
        var mail = Self.mail(server)
        mail.requiresTLS = true
        #expect(await MailEngine(idleSeconds: 600).send(mail) == .unavailable(.tls))
        mail.url = "smtp://127.0.0.1:1"
        #expect(await MailEngine(idleSeconds: 600).send(mail) == .unavailable(.unreachable))
        #expect(!server.seen.lines.contains { $0.hasPrefix("MAIL") })
    }

    @Test(arguments: [["c@d.example>\r\nDATA"], ["c@d.example", "e\n@d.example"], ["c\0@d.example"], []])
    func `takes no recipient with a line break, and no mail without one`(recipients: [String]) async throws {
        let server = try #require(MailServer { word, _ in MailServer.usual(word) })
        defer { server.close() }
        #expect(await MailEngine(idleSeconds: 600).send(Self.mail(server, recipients: recipients)) == .invalid)
        #expect(server.seen.connections == 0)
    }
}
