// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import QueuePoolTestSupport
import Synchronization
import Testing

@testable import queuepool

@Suite("Lines on their way")
struct OutgoingLineTests {
    private func line(_ text: String, number: Int = 1, runID: String = "run") -> String {
        String(decoding: OutgoingLine(number: number, content: Array(text.utf8), runID: runID).bytes, as: UTF8.self)
    }

    @Test func `a line without a deduplication id gets one and stays the same JSON otherwise`() throws {
        let sent = line(#"  { "group":"g","body":"{\"deduplicationId\":1}" }"#)
        var object = try #require(try JSONSerialization.jsonObject(with: Data(sent.utf8)) as? [String: String])
        let id = object.removeValue(forKey: "deduplicationId")
        #expect(id?.count == 40)
        #expect(object == ["group": "g", "body": #"{"deduplicationId":1}"#])
    }

    @Test func `the id is the same on a repetition, and another for another line, content or run`() {
        let text = #"{"group":"g"}"#
        #expect(line(text) == line(text))
        let others = [line(text, number: 2), line(text, runID: "other"), line(#"{"group":"h"}"#)]
        for other in others { #expect(other != line(text)) }
    }

    @Test(arguments: [#"{"deduplicationId":"own","group":"g"}"#, "no JSON", "[1]", "{", #"{"a":}"#])
    func `a line with its own id, or that is no object, goes as it is`(text: String) {
        #expect(line(text) == text)
    }

    @Test func `an empty object stays valid JSON`() throws {
        let sent = line("{ }")
        #expect(try JSONSerialization.jsonObject(with: Data(sent.utf8)) is [String: String])
    }
}

@Suite("A chunk until every line is settled")
struct ChunkDeliveryTests {
    private func chunk(_ count: Int, from first: Int = 1) -> ChunkDelivery {
        ChunkDelivery((first..<(first + count)).map { OutgoingLine(number: $0, content: Array("{}".utf8), runID: "r") })
    }

    private func answer(_ lines: [String], status: Int = 200, retryAfter: String? = nil) -> ChunkDelivery.Reply {
        .answer(
            ClientAnswer(
                status: status, headers: retryAfter.map { [(name: "retry-after", value: $0)] } ?? [],
                body: Array(lines.joined(separator: "\n").utf8)))
    }

    private func accepted(_ line: Int, duplicate: Bool = false) -> String {
        #"{"line":\#(line),"id":"x","shard":"s","sequenceNumber":"1","duplicate":\#(duplicate)}"#
    }

    private func failed(_ line: Int, status: Int) -> String {
        #"{"line":\#(line),"error":{"type":"about:blank","title":"No","status":\#(status),"field":"group"}}"#
    }

    @Test func `all accepted is done, duplicates counted`() {
        var chunk = chunk(2, from: 11)
        let settled = chunk.handle(answer([accepted(1), accepted(2, duplicate: true)]), chance: 0)
        #expect(settled.acknowledged == [11, 12])
        #expect(settled.duplicates == 1)
        #expect(settled.step == .done)
    }

    @Test func `a refused line is named by its number in the file, and not sent again`() {
        var chunk = chunk(2, from: 11)
        let settled = chunk.handle(answer([failed(1, status: 400), accepted(2)]), chance: 0)
        #expect(settled.refused == [RefusedLine(number: 11, reason: "No (400): field 'group'")])
        #expect(settled.step == .done)
    }

    @Test func `busy lines go again, renumbered, no sooner than the server asks`() {
        var chunk = chunk(3, from: 11)
        let first = chunk.handle(
            answer([failed(1, status: 429), accepted(2), failed(3, status: 503)], retryAfter: "2"), chance: 0)
        #expect(first.acknowledged == [12])
        #expect(first.step == .again(afterSeconds: 2))
        #expect(chunk.pending.map(\.number) == [11, 13])
        let second = chunk.handle(answer([accepted(1), accepted(2)]), chance: 0)
        #expect(second.acknowledged == [11, 13])
        #expect(second.step == .done)
    }

    @Test func `lines that an answer leaves out go again`() {
        var chunk = chunk(3)
        let settled = chunk.handle(answer([accepted(2), accepted(99), "torn {"]), chance: 0)
        #expect(settled.acknowledged == [2])
        #expect(chunk.pending.map(\.number) == [1, 3])
        #expect(settled.step == .again(afterSeconds: 0))
    }

    @Test func `no answer and a busy server are tried again with a growing pause, then given up`() {
        for reply in [ChunkDelivery.Reply.none(NoAnswer(description: "refused")), answer([], status: 503)] {
            var chunk = chunk(1)
            var pauses: [Double] = []
            var last = ChunkDelivery.Step.done
            for _ in 0...ChunkDelivery.fruitlessRepliesMax {
                last = chunk.handle(reply, chance: 1).step
                if case .again(let seconds) = last { pauses.append(seconds) }
            }
            #expect(pauses.prefix(4) == [0.2, 0.4, 0.8, 1.6])
            #expect(pauses.max() == ChunkDelivery.pauseSecondsMax)
            #expect(pauses.count == ChunkDelivery.fruitlessRepliesMax)
            guard case .stop(let failure) = last else {
                Issue.record("not stopped")
                continue
            }
            #expect(failure.status == ExitStatus.unavailable)
        }
    }

    @Test func `a server that is not trusted stops the send at once`() {
        var chunk = chunk(1)
        let settled = chunk.handle(
            .none(NoAnswer(description: "its certificate has expired", isUntrusted: true)), chance: 1)
        #expect(
            settled.step
                == .stop(
                    CommandFailure(
                        "the server is not trusted: its certificate has expired", status: ExitStatus.configuration)))
    }

    @Test func `a request refused as a whole stops the send`() {
        var chunk = chunk(1)
        let settled = chunk.handle(answer([#"{"title":"No such pool","status":404}"#], status: 404), chance: 0)
        #expect(
            settled.step == .stop(CommandFailure("the server refused the request: No such pool (404)")))
    }
}

/// A server that remembers deduplication ids, and answers each request as its script says.
private final class ScriptedServer: HTTPClient {
    private let state = Mutex<(ids: [String], script: [Int])>(([], []))

    init(script: [Int] = []) { state.withLock { $0.script = script } }

    var ids: [String] { state.withLock { $0.ids } }

    func perform(_ request: ClientRequest) async throws(NoAnswer) -> ClientAnswer {
        let answer: ClientAnswer? = state.withLock { state in
            let next = state.script.isEmpty ? 200 : state.script.removeFirst()
            guard next == 200 || next == 0 else {
                return ClientAnswer(status: next, headers: [(name: "Retry-After", value: "0")])
            }
            var results: [String] = []
            for (index, line) in request.body.split(separator: 10).enumerated() {
                let object = try? JSONSerialization.jsonObject(with: Data(line)) as? [String: String]
                let id = object?["deduplicationId"] ?? "missing"
                let known = state.ids.contains(id)
                if !known { state.ids.append(id) }
                results.append(#"{"line":\#(index + 1),"duplicate":\#(known)}"#)
            }
            // 0: the messages are taken, and the answer is lost.
            return next == 0 ? nil : ClientAnswer(status: 200, body: Array(results.joined(separator: "\n").utf8))
        }
        guard let answer else { throw NoAnswer(description: "connection reset") }
        return answer
    }
}

@Suite("A whole send")
struct SendRunTests {
    private func input(_ text: String) throws -> Int32 {
        let path = FileManager.default.temporaryDirectory.appending(path: "send-\(UUID())").path
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        return open(path, O_RDONLY)
    }

    private func send(
        _ text: String, to server: ScriptedServer, runID: String = "run", clock: HastyClock = HastyClock()
    ) async throws -> SendProgress {
        let descriptor = try input(text)
        defer { close(descriptor) }
        var run = SendRun(
            client: server, url: "http://h/v1/pools/p.fifo/messages", runID: runID, journal: nil,
            bytesTotal: text.utf8.count, display: .nothing, clock: clock)
        try await run.run(descriptor: descriptor)
        return run.progress
    }

    @Test func `every line arrives once, blank ones and a missing last line feed included`() async throws {
        let server = ScriptedServer()
        let text = (0..<2_500).map { #"{"group":"\#($0)","body":"b"}"# }.joined(separator: "\n\n")
        let progress = try await send(text, to: server)
        #expect(progress.sent == 2_500)
        #expect(server.ids.count == 2_500)
        #expect(progress.bytesRead == text.utf8.count)
    }

    @Test func `an answer that is lost makes no second message`() async throws {
        let server = ScriptedServer(script: [0, 503, 200])
        let progress = try await send("{\"group\":\"g\"}\n{\"group\":\"g\"}\n", to: server)
        #expect(progress.sent == 2)
        #expect(progress.duplicates == 2)
        #expect(server.ids.count == 2)
    }

    @Test func `waits between tries by its clock`() async throws {
        let clock = HastyClock()
        let start = clock.now()
        // The later ones are up to seconds each; on this clock nobody waits.
        let server = ScriptedServer(script: Array(repeating: 503, count: 12) + [200])
        let progress = try await send("{\"group\":\"g\"}\n", to: server, clock: clock)
        #expect(progress.sent == 1 && clock.now() - start > 1_000)
    }

    @Test func `the same input under the same run id is known, under another it is not`() async throws {
        let server = ScriptedServer()
        for runID in ["a", "a", "b"] { _ = try await send("{\"group\":\"g\"}\n", to: server, runID: runID) }
        #expect(server.ids.count == 2)
    }

    @Test func `a line of more than the allowed bytes is refused without being sent`() async throws {
        let server = ScriptedServer()
        let long = #"{"body":""# + String(repeating: "x", count: OutgoingLine.bytesMax) + #""}"#
        let progress = try await send(long + "\n{\"group\":\"g\"}\n", to: server)
        #expect(progress.refused == 1)
        #expect(progress.sent == 1)
    }

    @Test func `the bar and the summary show counts`() {
        var progress = SendProgress()
        progress.sent = 1_234_567
        progress.bytesRead = 50
        progress.bytesTotal = 100
        #expect(
            progress.bar(elapsedSeconds: 1) == "[############............] 50%  1,234,567 sent  1,234,567/s  0 refused")
        #expect(progress.summary(elapsedSeconds: 2.04).hasSuffix("refused 0, in 2.0 s"))
    }
}
