// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolTestSupport
import Testing

@testable import QueuePoolCurl

@Suite struct `The lanes of transfers` {
    private func lanes(polls: Int = 2, calls: Int = 2) -> TransferLanes<Int> {
        TransferLanes { $0 == .polls ? polls : calls }
    }

    @Test func `a full lane takes no room from another`() {
        var lanes = lanes()
        for id in 1...5 { lanes.add(id, id: UInt64(id), lane: .polls, deadline: 20_000) }
        lanes.add(6, id: 6, lane: .calls, deadline: 10_000)
        #expect(lanes.start(now: 0).begin.map(\.item) == [6, 1, 2])
        #expect(lanes.start(now: 1).begin.isEmpty)
        lanes.end(.polls)
        #expect(lanes.start(now: 2).begin.map(\.item) == [3])
    }

    @Test func `the time limit counts from when a transfer was handed in`() {
        var lanes = lanes(polls: 1)
        lanes.add(1, id: 1, lane: .polls, deadline: 20_000)
        lanes.add(2, id: 2, lane: .polls, deadline: 20_000)
        lanes.add(3, id: 3, lane: .polls, deadline: 5_000)
        #expect(lanes.start(now: 0).begin.map(\.milliseconds) == [20_000])
        #expect(lanes.start(now: 5_000).overdue == [3])
        lanes.end(.polls)
        #expect(lanes.start(now: 15_000).begin.map(\.milliseconds) == [5_000])
    }

    @Test func `what is not wanted any more leaves its line`() {
        var lanes = lanes(polls: 1)
        for id in 1...3 { lanes.add(id, id: UInt64(id), lane: .polls, deadline: 20_000) }
        _ = lanes.start(now: 0)
        #expect(lanes.removeWaiting { $0 == 2 } == [2])
        lanes.end(.polls)
        #expect(lanes.start(now: 1).begin.map(\.item) == [3])
    }

    @Test func `an engine whose long polls take all their room still sends`() async throws {
        let silent = try #require(AnsweringServer(answer: nil))
        let other = try #require(AnsweringServer(answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
        let engine = CurlEngine { _ in 1 }
        defer {
            engine.shutdown()
            silent.close()
            other.close()
        }
        func poll(_ milliseconds: Int) -> HTTPRequest {
            HTTPRequest(
                method: "GET", url: "http://127.0.0.1:\(silent.port)/", timeoutMilliseconds: milliseconds, lane: .polls)
        }
        async let first = engine.outcome(poll(3_000))
        async let second = engine.outcome(poll(500))
        let call = try await engine.perform(HTTPRequest(method: "GET", url: "http://127.0.0.1:\(other.port)/"))
        #expect(call.status == 200)
        for outcome in await [first, second] {
            guard case .failure(let failure) = outcome else { return #expect(Bool(false), "a poll was answered") }
            #expect(failure.error == .timeout)
        }
    }

    @Test func `what gets no room in time fails unsent, by the engine's clock`() async throws {
        let silent = try #require(AnsweringServer(answer: nil))
        let clock = ManualClock()
        let engine = CurlEngine(now: { clock.now().milliseconds }) { _ in 1 }
        defer {
            engine.shutdown()
            silent.close()
        }
        func poll(_ milliseconds: Int) -> HTTPRequest {
            HTTPRequest(
                method: "GET", url: "http://127.0.0.1:\(silent.port)/", timeoutMilliseconds: milliseconds, lane: .polls)
        }
        let first = Task { await engine.outcome(poll(3_600_000)) }
        while silent.requests.isEmpty { try await Task.sleep(for: .milliseconds(10)) }
        let second = Task { await engine.outcome(poll(1_800_000)) }
        // As often as it takes: the second may not have been handed in yet.
        let advance = Task {
            while !Task.isCancelled {
                clock.advance(milliseconds: 1_800_000)
                try? await Task.sleep(for: .milliseconds(50))
            }
        }
        guard case .failure(let failure) = await second.value else {
            return #expect(Bool(false), "a poll was answered")
        }
        advance.cancel()
        #expect(failure.error == .timeout && !failure.wasSent)
        // The one under way has libcurl's own timeout, in real time.
        first.cancel()
        guard case .failure(let failure) = await first.value else {
            return #expect(Bool(false), "a poll was answered")
        }
        #expect(failure.error == .cancelled && failure.wasSent)
    }

    @Test func `an answer has the length that its request allows`() async throws {
        let body = String(repeating: "x", count: 2_000)
        let server = try #require(
            AnsweringServer(answer: "HTTP/1.1 200 OK\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"))
        let engine = CurlEngine()
        defer {
            engine.shutdown()
            server.close()
        }
        let url = "http://127.0.0.1:\(server.port)/"
        await #expect(throws: CurlError.answerTooLarge(limit: 1_999)) {
            try await engine.perform(HTTPRequest(method: "GET", url: url, answerBytesMax: 1_999))
        }
        #expect(try await engine.perform(HTTPRequest(method: "GET", url: url, answerBytesMax: 2_000)).status == 200)
    }
}
