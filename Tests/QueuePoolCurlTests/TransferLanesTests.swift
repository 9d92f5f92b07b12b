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

    /// Parties hand in `each` transfers each, of which none ends; how many then begin of another's ten.
    private func begun(ofTenBehind parties: Int, each: Int, together: Bool) -> Int {
        var lanes = lanes(calls: 1_024)
        for party in 1...parties {
            for id in 0..<each {
                lanes.add(party, id: UInt64(id), lane: .calls, party: UInt64(party), deadline: 10_000)
            }
            if !together { _ = lanes.start(now: 0) }
        }
        _ = lanes.start(now: 0)
        for id in 0..<10 { lanes.add(0, id: UInt64(id), lane: .calls, party: 0, deadline: 10_000) }
        return lanes.start(now: 1).begin.count { $0.item == 0 }
    }

    @Test(arguments: [1, 8, 63]) func `parties that get no answers leave room to another`(parties: Int) {
        #expect(begun(ofTenBehind: parties, each: 140, together: true) == 10)
        #expect(begun(ofTenBehind: parties, each: 2_000, together: true) == 10)
    }

    @Test func `so do those that fall silent one after another`() {
        #expect(begun(ofTenBehind: 8, each: 2_000, together: false) == 10)
    }

    @Test func `parties take turns, each in its own order`() {
        var lanes = lanes(calls: 16)
        for id in 1...6 { lanes.add(id, id: UInt64(id), lane: .calls, party: 1, deadline: 10_000) }
        for id in 7...8 { lanes.add(id, id: UInt64(id), lane: .calls, party: 2, deadline: 10_000) }
        lanes.add(9, id: 9, lane: .calls, deadline: 10_000)
        #expect(lanes.start(now: 0).begin.map(\.item) == [1, 7, 9, 2, 8, 3])
        #expect(lanes.start(now: 1).begin.isEmpty)
        // What others gave back makes room for its next.
        lanes.end(.calls, party: 2)
        lanes.end(.calls, party: 2)
        lanes.end(.calls)
        #expect(lanes.start(now: 2).begin.map(\.item) == [4])
        #expect(lanes.removeWaiting { $0 == 5 } == [5])
        #expect(lanes.start(now: 20_000).overdue == [6])
    }

    @Test func `who names no party has the whole lane`() {
        var lanes = lanes(calls: 8)
        for id in 1...9 { lanes.add(id, id: UInt64(id), lane: .calls, deadline: 10_000) }
        #expect(lanes.start(now: 0).begin.count == 8)
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
