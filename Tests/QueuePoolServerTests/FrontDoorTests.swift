// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import NIOCore
import NIOEmbedded
import Testing

@testable import QueuePoolServer

/// A service that answers within the call, with the request's body.
private final class Echo: PlainService {
    func handle(_ request: PlainRequest, reply: @escaping Reply) {
        reply(Answer(status: 200, contentType: "text/plain", body: Array(request.body)))
    }
    func tooLarge(_ route: PlainRoute, limit: Int) -> Answer {
        Answer(status: 413, contentType: "text/plain", body: [])
    }
    func noRoom(_ route: PlainRoute) -> Answer { Answer(status: 503, contentType: "text/plain", body: []) }
}

/// Notes what is passed on behind the door.
private final class Onlooker: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    var passedOn = ""

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { passedOn += String(buffer: unwrapInboundIn(data)) }
}

/// A connection at the front door with a clock of its own.
private struct Stage {
    let channel = EmbeddedChannel()
    let shared: DoorState
    let inside = Onlooker()

    init(limits: DoorLimits = DoorLimits(), refusal: ConnectionCounters.Reason? = nil) throws {
        shared = DoorState(
            limits: limits, browsers: BrowserGuard(isLoopback: true, allowedHosts: []), service: Echo(),
            counters: RequestCounters())
        let door = FrontDoor(shared: shared, eventLoop: channel.eventLoop, refusal: refusal)
        try channel.pipeline.syncOperations.addHandler(door)
        try channel.pipeline.syncOperations.addHandler(inside)
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
    }

    func send(_ text: String) throws { try channel.writeInbound(ByteBuffer(string: text)) }

    func request(_ body: String, length: Int? = nil) -> String {
        "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AmazonSQS.A\r\n"
            + "Content-Length: \(length ?? body.utf8.count)\r\n\r\n\(body)"
    }

    /// The status and the body of each answer.
    func answers() throws -> [String] {
        var all: [String] = []
        while let buffer = try channel.readOutbound(as: ByteBuffer.self) {
            let text = String(buffer: buffer)
            let body = text.range(of: "\r\n\r\n").map { text[$0.upperBound...] } ?? ""
            all.append("\(text.dropFirst(9).prefix(3)) \(body)")
        }
        return all
    }

    func pass(seconds: Int64) { channel.embeddedEventLoop.advanceTime(by: .seconds(seconds)) }
}

@Suite struct `The front door` {
    @Test func `answers requests that come together in their order`() throws {
        let stage = try Stage()
        try stage.send(stage.request("one") + stage.request("two") + stage.request("three"))
        #expect(try stage.answers() == ["200 one", "200 two", "200 three"])
        #expect(stage.channel.isActive)
        #expect(stage.shared.budget.heldBytes == 0)
        _ = try stage.channel.finish()
    }

    @Test func `puts a request together from single bytes`() throws {
        let stage = try Stage()
        for byte in stage.request("one") + stage.request("two") { try stage.send(String(byte)) }
        #expect(try stage.answers() == ["200 one", "200 two"])
        _ = try stage.channel.finish()
    }

    @Test func `passes on what is not plain with what was not taken, and all that follows`() throws {
        let stage = try Stage()
        try stage.send(stage.request("one") + "GET / HTTP/1.1\r\n")
        try stage.send("\r\n" + stage.request("two"))
        #expect(try stage.answers() == ["200 one"])
        #expect(stage.inside.passedOn == "GET / HTTP/1.1\r\n\r\n" + stage.request("two"))
        _ = try stage.channel.finish()
    }

    @Test func `refuses a body beyond the limit before it comes, and closes`() throws {
        let stage = try Stage()
        try stage.send(stage.request("", length: 3 << 20))
        #expect(try stage.answers() == ["413 "])
        stage.channel.embeddedEventLoop.run()
        #expect(!stage.channel.isActive)
    }

    @Test func `refuses a body that all connections together have no room for, and gives its bytes back`() throws {
        var limits = DoorLimits()
        limits.heldBytesMax = 1_000
        let stage = try Stage(limits: limits)
        try stage.send(stage.request(String(repeating: "x", count: 2_000), length: 4_000))
        #expect(try stage.answers() == ["503 "])
        #expect(stage.shared.budget.heldBytes == 0)
        #expect(stage.shared.budget.refusalCount == 1)
        stage.channel.embeddedEventLoop.run()
        #expect(!stage.channel.isActive)
    }

    @Test(arguments: [ConnectionCounters.Reason.tooMany, .tooManyOfAddress])
    func `tells a connection too many so, and closes it`(reason: ConnectionCounters.Reason) throws {
        let stage = try Stage(refusal: reason)
        #expect(try stage.answers().map { $0.prefix(3) } == ["503"])
        #expect(stage.shared.cuts.value(reason) == 1)
        stage.channel.embeddedEventLoop.run()
        #expect(!stage.channel.isActive)
    }

    @Test func `cuts an idle connection by the loop's clock`() throws {
        let stage = try Stage()
        stage.pass(seconds: 60)
        try stage.send(stage.request("one"))
        stage.pass(seconds: 75)
        #expect(stage.channel.isActive)
        stage.pass(seconds: 5)
        #expect(!stage.channel.isActive)
        #expect(stage.shared.cuts.value(.idle) == 1)
    }

    @Test func `cuts a request that does not go on, and gives its bytes back`() throws {
        let stage = try Stage()
        try stage.send(stage.request("half", length: 1_000))
        #expect(stage.shared.budget.heldBytes > 0)
        stage.pass(seconds: 10)
        #expect(!stage.channel.isActive)
        #expect(stage.shared.cuts.value(.slowRequest) == 1)
        #expect(stage.shared.budget.heldBytes == 0)
    }

    @Test func `begins no request until its answers are read`() throws {
        let stage = try Stage()
        stage.channel.isWritable = false
        stage.channel.pipeline.fireChannelWritabilityChanged()
        try stage.send(stage.request("one"))
        #expect(try stage.answers() == [])
        stage.channel.isWritable = true
        stage.channel.pipeline.fireChannelWritabilityChanged()
        #expect(try stage.answers() == ["200 one"])
        _ = try stage.channel.finish()
    }

    @Test func `closes an idle connection when the server stops, and gives half a request a moment`() throws {
        let idle = try Stage()
        idle.channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        #expect(!idle.channel.isActive)

        let half = try Stage()
        let request = half.request("one")
        try half.send(String(request.prefix(20)))
        half.channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        #expect(half.channel.isActive)
        try half.send(String(request.dropFirst(20)))
        #expect(try half.answers() == ["200 one"])
        half.channel.embeddedEventLoop.run()
        #expect(!half.channel.isActive)

        let silent = try Stage()
        try silent.send("POST / ")
        silent.channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        silent.pass(seconds: 1)
        #expect(!silent.channel.isActive)
    }
}
