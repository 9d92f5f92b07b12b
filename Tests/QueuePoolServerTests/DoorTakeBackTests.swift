// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOEmbedded
import QueuePoolCore
import Synchronization
import Testing

@testable import QueuePoolServer

/// A service that answers when the test says.
private final class LateService: PlainService {
    private let waiting = Mutex<Reply?>(nil)

    func handle(_ request: PlainRequest, reply: @escaping Reply) { waiting.withLock { $0 = reply } }
    func tooLarge(_ route: PlainRoute, limit: Int) -> Answer {
        Answer(status: 413, contentType: "text/plain", body: [])
    }
    func noRoom(_ route: PlainRoute) -> Answer { Answer(status: 503, contentType: "text/plain", body: []) }

    /// - Returns: whether a request waited.
    func answer(takeBack: @escaping @Sendable () -> Void) -> Bool {
        guard let reply = waiting.withLock({ $0.take() }) else { return false }
        var answer = Answer(status: 200, contentType: "text/plain", body: [])
        answer.takeBack = takeBack
        reply(answer)
        return true
    }
}

/// A connection at the front door, without a socket.
private struct Connection {
    let channel = EmbeddedChannel()
    let service = LateService()

    init() throws {
        let shared = DoorState(
            limits: DoorLimits(), browsers: BrowserGuard(isLoopback: true, allowedHosts: []), service: service,
            counters: RequestCounters())
        let door = FrontDoor(shared: shared, eventLoop: channel.eventLoop, refusal: nil)
        try channel.pipeline.syncOperations.addHandler(door)
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
    }

    func request() throws {
        let text = "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AmazonSQS.A\r\nContent-Length: 2\r\n\r\n{}"
        try channel.writeInbound(ByteBuffer(string: text))
    }
}

@Suite struct `What was taken for a client at the front door` {
    @Test func `is given back if the client has left before the answer`() throws {
        let connection = try Connection()
        try connection.request()
        connection.channel.close(promise: nil)
        connection.channel.embeddedEventLoop.run()
        let count = Atomic(0)
        #expect(connection.service.answer { count.wrappingAdd(1, ordering: .relaxed) })
        #expect(count.load(ordering: .relaxed) == 0, "not from within the answer")
        connection.channel.embeddedEventLoop.run()
        #expect(count.load(ordering: .relaxed) == 1)
    }

    @Test func `is not given back while the client reads its answer`() throws {
        let connection = try Connection()
        try connection.request()
        let count = Atomic(0)
        #expect(connection.service.answer { count.wrappingAdd(1, ordering: .relaxed) })
        connection.channel.embeddedEventLoop.run()
        #expect(count.load(ordering: .relaxed) == 0)
        #expect(
            try connection.channel.readOutbound(as: ByteBuffer.self).map { String(buffer: $0).prefix(12) }
                == "HTTP/1.1 200")
        _ = try connection.channel.finish()
    }
}
