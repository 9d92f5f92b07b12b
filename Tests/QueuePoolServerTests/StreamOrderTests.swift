// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import HTTPTypes
import Hummingbird
import NIOCore
import QueuePoolCore
import QueuePoolRuntime
import Synchronization
import Testing

@testable import QueuePoolServer

/// What a stream answered.
private final class Written: Sendable {
    private let state = Mutex(ByteBuffer())

    func append(_ buffer: ByteBuffer) { state.withLock { _ = $0.writeImmutableBuffer(buffer) } }

    /// The lines, parsed.
    func lines() throws -> [[String: Any]] {
        let text = state.withLock { String(buffer: $0) }
        return try text.split(separator: "\n").map {
            try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
        }
    }
}

private struct Writer: ResponseBodyWriter {
    let written: Written

    mutating func write(_ buffer: ByteBuffer) async throws { written.append(buffer) }
    consuming func finish(_ trailingHeaders: HTTPFields?) async throws {}
}

/// I2 at the door of NDJSON streams.
@Suite struct `Lines of a stream` {
    private func line(_ group: String, _ body: String) -> String {
        "{\"group\":\"\(group)\",\"body\":\"\(body)\",\"deduplicationId\":\"\(group)-\(body)\"}\n"
    }

    /// Streams the pieces.
    /// - Returns: each line's refusal, or "stored".
    private func stream(_ pieces: [String], to stage: ServiceStage) async throws -> [String] {
        let pool = try #require(stage.registry.pool("mail.fifo"))
        let (body, source) = AsyncStream<ByteBuffer>.makeStream()
        for piece in pieces { source.yield(ByteBuffer(string: piece)) }
        source.finish()
        let head = HTTPRequest(method: .post, scheme: "http", authority: "x", path: "/v1/pools/mail.fifo/messages")
        let request = Request(head: head, body: RequestBody(asyncSequence: body))
        let written = Written()
        let response = MessageStream(pool: pool, ids: stage.service.messages.ids, budget: ByteBudget(limit: .max))
            .response(request, caller: .anybody, channel: nil)
        try await response.body.write(Writer(written: written))
        let lines = try written.lines()
        #expect(lines.map { $0["line"] as? Int } == Array(1...lines.count))
        return lines.map { line in
            guard let error = line["error"] as? [String: Any] else { return line["id"] is String ? "stored" : "?" }
            return (error["type"] as? String ?? "?").split(separator: ":").last.map(String.init) ?? "?"
        }
    }

    @Test func `behind one that is not valid fail with it, in its group only`() async throws {
        let stage = try ServiceStage()
        let lines = [
            line("a", "1"), "{\"group\":\"a\",\"body\":\"2\",\"typo\":1}\n", line("b", "1"), line("a", "3"),
            line("b", "2"),
        ]
        let results = try await stream([lines.joined()], to: stage)
        #expect(results.count == 5)
        #expect([0, 2, 4].allSatisfy { results[$0] == "stored" })
        #expect(results[1] != "stored" && results[3] != "stored")
        let counts = try #require(stage.registry.pool("mail.fifo")).snapshot.shards.map { $0.shard.counts().backlog }
        #expect(counts.reduce(0, +) == 3)
        // The sender repeats them in order.
        #expect(try await stream([line("a", "2"), line("a", "3")], to: stage) == ["stored", "stored"])
    }

    @Test func `fail behind one of an earlier piece too`() async throws {
        let stage = try ServiceStage()
        let wrong = "{\"group\":\"a\",\"body\":7}\n"
        let results = try await stream(
            [line("a", "1"), wrong, line("a", "2"), line("b", "1"), line("a", "3")], to: stage)
        #expect(results.map { $0 == "stored" } == [true, false, false, true, false])
    }

    @Test func `behind one whose group could not be read go on`() async throws {
        let stage = try ServiceStage()
        let results = try await stream([line("a", "1"), "no JSON\n", line("a", "2")], to: stage)
        #expect(results.map { $0 == "stored" } == [true, false, true])
    }
}
