// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolServer

@Suite("The head of a request")
struct RequestHeadTests {
    private func parse(_ text: String) -> RequestHead {
        Array(text.utf8).withUnsafeBytes { RequestHead.parse($0, isHostAllowed: { _ in true }) }
    }

    private func plain(_ text: String) -> PlainHead? {
        if case .plain(let head) = parse(text) { head } else { nil }
    }

    private func isOther(_ text: String) -> Bool { if case .other = parse(text) { true } else { false } }

    private let send = "POST /v1/pools/emails.fifo/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"

    @Test("of a plain send names the pool, its own length and the body's")
    func plainSend() {
        let text = send + "Content-Length: 12\r\n\r\n"
        let head = plain(text + "{\"group\":1}")
        #expect(head?.route == .message(pool: "emails.fifo"))
        #expect(head?.headBytes == text.utf8.count && head?.bodyBytes == 12 && head?.closes == false)
    }

    @Test("of an SQS request names its target, whatever the case of the fields")
    func sqs() {
        let head = plain(
            "POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: AmazonSQS.SendMessage\r\nCONTENT-LENGTH: 2\r\n"
                + "connection: close\r\n\r\n{}")
        #expect(head?.route == .sqs(target: "AmazonSQS.SendMessage") && head?.closes == true)
    }

    @Test("is incomplete at every byte before its end, and then never changes")
    func everySplit() {
        let text = send + "Content-Length: 0\r\n\r\n"
        for count in 1..<text.utf8.count {
            guard case .incomplete = parse(String(decoding: text.utf8.prefix(count), as: UTF8.self)) else {
                Issue.record("not incomplete at \(count)")
                return
            }
        }
        #expect(plain(text) != nil && plain(text + "POST ") == plain(text))
    }

    @Test(
        "goes to the decoder when anything about it is unusual",
        arguments: [
            "GET /v1/pools HTTP/1.1\r\n\r\n", "POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\n",
            "POST /v1/pools/a.fifo/messages?x=1 HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n",
            "POST / HTTP/1.1\r\nX-Amz-Target: A\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nX-Amz-Target: A\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nX-Amz-Target: A\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "POST / HTTP/1.1\r\nX-Amz-Target: A\r\nContent-Length: +1\r\n\r\n",
            "POST / HTTP/1.1\r\nX-Amz-Target: A\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n",
            "POST / HTTP/1.1\r\nX-Amz-Target: A\r\nContent-Length : 1\r\n\r\n",
            "POST / HTTP/1.1\r\nX-Amz-Target: A\r\n Content-Length: 1\r\n\r\n",
            "POST / HTTP/1.1\nX-Amz-Target: A\r\nContent-Length: 1\r\n\r\n",
            "POST / HTTP/1.1\r\nX-Amz-Target: A\r\nConnection: upgrade\r\nContent-Length: 1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\n",
            "POST /v1/pools/a.fifo/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                + "Content-Length: 1\r\nidempotency-Key: a\r\n\r\n",
        ])
    func unusual(_ text: String) throws {
        // With a host: one without is unusual whatever else it says.
        let end = try #require(text.firstRange(of: "\r\n"))
        var named = text
        if !text.contains("Host: ") { named.replaceSubrange(end, with: "\r\nHost: x\r\n") }
        #expect(isOther(named))
    }

    @Test("goes to the decoder without a host, or with one that is not allowed")
    func host() {
        let rest = "X-Amz-Target: A\r\nContent-Length: 0\r\n\r\n"
        #expect(plain("POST / HTTP/1.1\r\nHost: x\r\n" + rest) != nil)
        #expect(isOther("POST / HTTP/1.1\r\n" + rest))
        #expect(isOther("POST / HTTP/1.1\r\nHost: x\r\nHost: x\r\n" + rest))
        let foreign = Array(("POST / HTTP/1.1\r\nHost: x\r\n" + rest).utf8).withUnsafeBytes {
            RequestHead.parse($0, isHostAllowed: { _ in false })
        }
        if case .other = foreign {} else { Issue.record("taken for a host that is not allowed") }
    }

    @Test("never traps on random bytes")
    func randomBytes() {
        var seed: UInt64 = 0x5EED
        print("seed \(seed)")
        for _ in 0..<20_000 {
            var bytes = Array("POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: A\r\nContent-Length: 1\r\n\r\n".utf8)
            for _ in 0..<3 {
                seed = seed &* 6_364_136_223_846_793_005 &+ 1
                bytes[Int(seed >> 33) % bytes.count] = UInt8(truncatingIfNeeded: seed >> 20)
            }
            _ = bytes.withUnsafeBytes { RequestHead.parse($0, isHostAllowed: { _ in true }) }
        }
    }
}
