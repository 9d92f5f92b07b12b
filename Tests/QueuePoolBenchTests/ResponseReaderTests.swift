// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolBench

@Suite struct ResponseReaderTests {
    private static let chunked =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n"

    /// Feeds `text` in pieces and returns the answers that came out.
    private func read(_ text: String, pieces size: Int) throws -> [(status: Int, body: String)] {
        let reader = ResponseReader()
        var answers: [(status: Int, body: String)] = []
        let bytes = Array(text.utf8)
        for start in stride(from: 0, to: bytes.count, by: size) {
            let piece = bytes[start..<min(start + size, bytes.count)]
            let space = try reader.space()
            for (index, byte) in piece.enumerated() { space[index] = byte }
            reader.received(piece.count)
            while let response = try reader.next() {
                answers.append((response.status, String(decoding: response.body, as: UTF8.self)))
                reader.consume()
            }
        }
        return answers
    }

    @Test(arguments: 1...40)
    func `answers are read whatever the pieces`(size: Int) throws {
        let text =
            "HTTP/1.1 202 Accepted\r\ncontent-length: 3\r\n\r\nabc" + Self.chunked
            + "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"
            + "HTTP/1.1 429 Too Many Requests\r\nContent-Length:   2\r\nRetry-After: 1\r\n\r\n{}"
        let answers = try read(text, pieces: size)
        #expect(answers.map(\.status) == [202, 200, 204, 429])
        #expect(answers.map(\.body) == ["abc", "hello world", "", "{}"])
    }

    @Test func `a body larger than the buffer is read`() throws {
        let body = String(repeating: "0123456789", count: 30_000)
        let answers = try read("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + body, pieces: 8_000)
        #expect(answers.first?.body == body)
    }

    @Test func `a closing server is noticed`() throws {
        let reader = ResponseReader()
        let text = Array("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".utf8)
        try reader.space().copyBytes(from: text)
        reader.received(text.count)
        #expect(try reader.next()?.closes == true)
    }

    @Test(arguments: [
        "HTTP/1.1 200 OK\r\n\r\n", "nonsense\r\n\r\n", "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
    ])
    func `what is not an answer is refused`(text: String) {
        #expect(throws: ResponseReader.Malformed.self) { try read(text, pieces: 7) }
    }
}
