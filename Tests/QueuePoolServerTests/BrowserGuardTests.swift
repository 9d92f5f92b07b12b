// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolServer

@Suite("What a browser may send")
struct BrowserGuardTests {
    private let loopback = BrowserGuard(isLoopback: true, allowedHosts: ["Queue.example.com"])
    private let network = BrowserGuard(isLoopback: false, allowedHosts: [])

    @Test(
        "answers to the names of this machine",
        arguments: [
            "localhost", "LocalHost:80", "127.0.0.1", "127.255.0.9:65535", "[::1]", "[::1]:9324", "queue.example.com:1",
        ])
    func ownNames(host: String) {
        #expect(loopback.refusal(host: host, origin: nil, fetchSite: nil) == nil)
        #expect(loopback.refusal(host: host, origin: "http://\(host)", fetchSite: "same-origin") == nil)
    }

    @Test(
        "refuses every other name on loopback, also one that begins or ends like its own",
        arguments: [
            "a.example", "localhost.a.example", "127.0.0.1.a.example", "127.a.example", "127.0.0", "127.0.0.1.",
            "127.0..1",
            "[::1", "[::1]a", "[::1]:a", "::1", "localhost:", "localhost:123456", "a@localhost", "localhost ", ":80",
            "[]",
            "10.0.0.1", "0x7f.0.0.1", "2130706433",
        ])
    func foreignNames(host: String) {
        let refusal = loopback.refusal(host: host, origin: nil, fetchSite: nil)
        #expect(host == "localhost:" ? refusal == nil : refusal == .foreignHost)
        #expect(network.refusal(host: host, origin: nil, fetchSite: nil) == nil)
    }

    @Test("requires a name")
    func noName() {
        for text in [nil, ""] { #expect(network.refusal(host: text, origin: nil, fetchSite: nil) == .noHost) }
    }

    @Test(
        "refuses pages of other origins, on loopback and off it",
        arguments: [
            "null", "", "http://a.example", "http://127.0.0.1", "http://127.0.0.1:93240",
            "http://127.0.0.1:9324.a.example",
            "file://", "chrome-extension://127.0.0.1:9324", "127.0.0.1:9324", "http://a@127.0.0.1:9324",
            "http://a.example/127.0.0.1:9324",
        ])
    func foreignOrigins(origin: String) {
        for rules in [loopback, network] {
            #expect(rules.refusal(host: "127.0.0.1:9324", origin: origin, fetchSite: nil) == .foreignOrigin)
            #expect(rules.refusal(host: "127.0.0.1:9324", origin: origin, fetchSite: "same-origin") == .foreignOrigin)
        }
    }

    @Test("takes a browser's word for where a request comes from", arguments: ["cross-site", "same-site", "", "x"])
    func otherSites(site: String) {
        #expect(network.refusal(host: "h", origin: nil, fetchSite: site) == .foreignOrigin)
        #expect(network.refusal(host: "h", origin: "http://h", fetchSite: site) == .foreignOrigin)
    }

    @Test("lets the pages of an allowed host in, whatever name the proxy passes on")
    func allowedHost() {
        let origin = "https://queue.example.com"
        #expect(loopback.refusal(host: "127.0.0.1:9324", origin: origin, fetchSite: "cross-site") == nil)
        #expect(network.refusal(host: "127.0.0.1:9324", origin: origin, fetchSite: nil) == .foreignOrigin)
    }
}
