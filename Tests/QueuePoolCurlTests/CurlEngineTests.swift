// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolCurl

@Suite struct `The curl engine` {
    private static let answer =
        "HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 5\r\n\r\nhello"

    @Test func `gives any status, headers and body back, over one connection`() async throws {
        let server = try #require(AnsweringServer(answer: Self.answer))
        let engine = CurlEngine()
        defer {
            engine.shutdown()
            server.close()
        }
        for _ in 0..<3 {
            let response = try await engine.perform(
                HTTPRequest(
                    method: "POST", url: "http://127.0.0.1:\(server.port)/x", headers: [("X-A", "b"), ("X-Empty", "")],
                    body: Array("body".utf8)))
            #expect(response.status == 429)
            #expect(response.header("Retry-After") == "7")
            #expect(response.body == Array("hello".utf8))
        }
        let request = try #require(server.requests.first)
        #expect(request.hasPrefix("POST /x HTTP/1.1\r\n"))
        #expect(request.contains("X-A: b\r\n") && request.contains("X-Empty:\r\n"))
        #expect(request.hasSuffix("\r\n\r\nbody") && !request.contains("Expect:"))
    }

    @Test(arguments: ["b\r\nX-B: c", "b\nX-B: c", "b\0"])
    func `sends no header with a line break or NUL`(value: String) async {
        let engine = CurlEngine()
        defer { engine.shutdown() }
        await #expect(throws: CurlError.invalid) {
            try await engine.perform(HTTPRequest(method: "GET", url: "http://127.0.0.1:1/", headers: [("X-A", value)]))
        }
    }

    @Test func `knows a port that nobody listens on`() async {
        let engine = CurlEngine()
        defer { engine.shutdown() }
        await #expect(throws: CurlError.unreachable) {
            try await engine.perform(HTTPRequest(method: "GET", url: "http://127.0.0.1:1/"))
        }
    }

    @Test func `speaks HTTP only where HTTP is asked for`() async {
        let engine = CurlEngine()
        defer { engine.shutdown() }
        await #expect(throws: CurlError.self) {
            try await engine.perform(HTTPRequest(method: "GET", url: "file:///etc/hostname"))
        }
    }

    @Test func `waits no longer than it may`() async throws {
        let server = try #require(AnsweringServer(answer: nil))
        let engine = CurlEngine()
        defer {
            engine.shutdown()
            server.close()
        }
        await #expect(throws: CurlError.timeout) {
            try await engine.perform(
                HTTPRequest(method: "GET", url: "http://127.0.0.1:\(server.port)/", timeoutMilliseconds: 100))
        }
    }

    @Test func `ends a transfer whose task is cancelled, also before it began`() async throws {
        let server = try #require(AnsweringServer(answer: nil))
        let engine = CurlEngine()
        defer {
            engine.shutdown()
            server.close()
        }
        let url = "http://127.0.0.1:\(server.port)/"
        for _ in 0..<50 {
            let waiting = Task { try await engine.perform(HTTPRequest(method: "GET", url: url)) }
            waiting.cancel()
            await #expect(throws: CurlError.cancelled) { try await waiting.value }
        }
    }

    @Test func `writes nothing of a request that may not begin any more, on no connection`() async throws {
        let server = try #require(AnsweringServer(answer: Self.answer))
        let engine = CurlEngine()
        defer {
            engine.shutdown()
            server.close()
        }
        for count in 0..<3 {
            var request = HTTPRequest(
                method: "POST", url: "http://127.0.0.1:\(server.port)/", body: Array("body".utf8))
            request.mayBegin = { false }
            #expect(await engine.outcome(request).failure == CurlFailure(error: .cancelled, wasSent: false))
            #expect(server.requests.count == count)
            request.mayBegin = { true }
            #expect(try await engine.perform(request).status == 429)
        }
    }

    @Test func `takes nothing once it is shut down`() async {
        let engine = CurlEngine()
        engine.shutdown()
        engine.shutdown()
        await #expect(throws: CurlError.closed) {
            try await engine.perform(HTTPRequest(method: "GET", url: "http://127.0.0.1:1/"))
        }
    }
}

extension Result {
    fileprivate var failure: Failure? { if case .failure(let error) = self { error } else { nil } }
}
