// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOEmbedded
import Synchronization
import Testing

@testable import QueuePoolServer

@Suite struct `Handshakes under way` {
    @Test func `the oldest yields to one that is one too many`() {
        let handshakes = Handshakes(limit: 2)
        let cut = Mutex<[Int]>([])
        func begin(_ name: Int) -> Int { handshakes.begin { cut.withLock { $0.append(name) } } }
        let first = begin(1)
        _ = begin(2)
        handshakes.end(first)
        _ = begin(3)
        #expect(cut.withLock { $0 } == [])
        _ = begin(4)
        #expect(cut.withLock { $0 } == [2])
        _ = begin(5)
        #expect(cut.withLock { $0 } == [2, 3])
    }

    private func channel(_ pace: HandshakePace, _ loop: EmbeddedEventLoop) throws -> (EmbeddedChannel, HandshakeTurn) {
        let turn = HandshakeTurn(pace: pace)
        let channel = EmbeddedChannel(handler: turn, loop: loop)
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        return (channel, turn)
    }

    private func said(_ channel: EmbeddedChannel) throws -> String? {
        try channel.readInbound(as: ByteBuffer.self).map { String(buffer: $0) }
    }

    @Test func `take turns, and those that have begun come first`() throws {
        let loop = EmbeddedEventLoop()
        let pace = HandshakePace(eventLoop: loop)
        let channels = try (0..<3).map { _ in try channel(pace, loop) }
        for (channel, _) in channels { try channel.writeInbound(ByteBuffer(string: "hello")) }
        #expect(try channels.map { try said($0.0) } == ["hello", nil, nil])
        try channels[0].0.writeInbound(ByteBuffer(string: "finished"))
        loop.advanceTime(by: HandshakePace.pause)
        #expect(try channels.map { try said($0.0) } == ["finished", nil, nil])
        loop.advanceTime(by: HandshakePace.pause)
        #expect(try channels.map { try said($0.0) } == [nil, "hello", nil])
        // What is over waits for nobody.
        channels[0].1.end()
        try channels[0].0.writeInbound(ByteBuffer(string: "request"))
        #expect(try said(channels[0].0) == "request")
        loop.advanceTime(by: HandshakePace.pause)
        #expect(try said(channels[2].0) == "hello")
        for (channel, _) in channels { _ = try? channel.finish() }
    }

    @Test func `who is gone, or leaves before he is heard, takes no turn`() throws {
        let loop = EmbeddedEventLoop()
        let pace = HandshakePace(eventLoop: loop)
        let channels = try (0..<4).map { _ in try channel(pace, loop).0 }
        for channel in channels { try channel.writeInbound(ByteBuffer(string: "hello")) }
        channels[1].close(promise: nil)
        channels[2].pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        #expect(!channels[2].isActive)
        loop.advanceTime(by: HandshakePace.pause)
        #expect(try channels.map { try said($0) } == ["hello", nil, nil, "hello"])
        for channel in channels { _ = try? channel.finish() }
    }
}
