// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOEmbedded
import NIOSSL
import NIOTLS
import Testing

@testable import QueuePoolServer

private final class Unused: PlainService {
    func handle(_ request: PlainRequest, reply: @escaping Reply) {}
    func tooLarge(_ route: PlainRoute, limit: Int) -> Answer { noRoom(route) }
    func noRoom(_ route: PlainRoute) -> Answer { Answer(status: 503, contentType: "text/plain", body: []) }
}

/// What reaches the door behind the gate.
private final class Door: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    var events: [String] = []
    var errors: [String] = []

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) { events.append("\(event)") }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { errors.append("\(error)") }
}

private struct Fault: Error {}

/// A connection that was opened, with a clock of its own.
private struct Stage {
    let channel = EmbeddedChannel()
    let shared: DoorState
    let door = Door()

    init(_ first: (DoorState) throws -> any ChannelHandler) throws {
        var limits = DoorLimits()
        limits.headSeconds = 5
        shared = DoorState(
            limits: limits, browsers: BrowserGuard(isLoopback: true, allowedHosts: []), service: Unused(),
            counters: RequestCounters())
        try channel.pipeline.syncOperations.addHandlers([try first(shared), door])
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
    }

    func pass(seconds: Int64) { channel.embeddedEventLoop.advanceTime(by: .seconds(seconds)) }
    func happen(_ event: any Sendable) { channel.pipeline.fireUserInboundEventTriggered(event) }
}

private func gated() throws -> Stage {
    try Stage { TLSGate(shared: $0) }
}

@Suite struct `The gate between TLS and the door` {
    @Test func `a handshake has the time of a head`() throws {
        let stage = try gated()
        stage.pass(seconds: 4)
        #expect(stage.channel.isActive && stage.shared.cuts.value(.slowRequest) == 0)
        stage.pass(seconds: 1)
        #expect(!stage.channel.isActive && stage.shared.cuts.value(.slowRequest) == 1)
    }

    @Test func `a handshake that is over is not cut`() throws {
        let stage = try gated()
        stage.happen(TLSUserEvent.handshakeCompleted(negotiatedProtocol: nil))
        stage.pass(seconds: 60)
        #expect(stage.channel.isActive && stage.shared.cuts.value(.slowRequest) == 0)
        _ = try stage.channel.finish()
    }

    @Test func `a connection that ends in its handshake is not cut as well`() throws {
        let stage = try gated()
        try stage.channel.close().wait()
        stage.pass(seconds: 60)
        #expect(stage.shared.cuts.value(.slowRequest) == 0)
    }

    @Test func `the door hears of no event of TLS, and of all others`() throws {
        let stage = try gated()
        stage.happen(TLSUserEvent.handshakeCompleted(negotiatedProtocol: nil))
        stage.happen(TLSUserEvent.shutdownCompleted)
        #expect(stage.door.events == [])
        stage.happen(ChannelEvent.inputClosed)
        #expect(stage.door.events == ["inputClosed"])
        _ = try stage.channel.finish()
    }

    @Test func `the door hears of no failure of TLS, and of all others`() throws {
        let stage = try gated()
        stage.channel.pipeline.fireErrorCaught(NIOSSLError.uncleanShutdown)
        stage.channel.pipeline.fireErrorCaught(BoringSSLError.sslError([]))
        #expect(stage.door.errors == [])
        stage.channel.pipeline.fireErrorCaught(Fault())
        #expect(stage.door.errors == ["Fault()"])
        _ = try stage.channel.finish()
    }

    @Test(arguments: [ConnectionCounters.Reason.tooMany, .tooManyOfAddress])
    func `a connection that is one too many is ended and counted`(reason: ConnectionCounters.Reason) throws {
        let stage = try Stage { TLSTurnAway(reason, shared: $0) }
        #expect(!stage.channel.isActive)
        #expect(stage.shared.cuts.value(reason) == 1)
        #expect(try stage.channel.readOutbound(as: ByteBuffer.self) == nil)
    }
}

@Suite struct `The name in a client's certificate` {
    private func name(_ pem: String) throws -> String? {
        PeerName.of(try NIOSSLCertificate(bytes: Array(pem.utf8), format: .pem))
    }

    @Test func `is the first mail address, DNS name or URI among the alternative names`() throws {
        #expect(try name(TestCertificates.mail) == "mailer@example.com")
        #expect(try name(TestCertificates.dns) == "worker.example")
        #expect(try name(TestCertificates.uri) == "spiffe://example/worker")
    }

    @Test func `is the common name if no alternative name is a name`() throws {
        #expect(try name(TestCertificates.commonName) == "sender-7")
        #expect(try name(TestCertificates.brackets) == "x>;common_name=y")
    }

    @Test func `is none where there is none, or it cannot stand in a log`() throws {
        #expect(try name(TestCertificates.nameless) == nil)
        #expect(try name(TestCertificates.words) == nil)
    }
}

@Suite struct `The certificate of the door` {
    @Test func `tells when it ends`() throws {
        let door = try TLSDoor(
            TLSMaterial(certificate: Array(TestCertificates.dns.utf8), key: Array(TestCertificates.key.utf8)))
        // A hundred years from when it was made.
        #expect((4_930_000_000...4_950_000_000).contains(door.endsAt))
    }

    @Test func `is not replaced by what is none`() throws {
        let whole = TLSMaterial(
            certificate: Array(TestCertificates.dns.utf8), key: Array(TestCertificates.key.utf8))
        let door = try TLSDoor(whole)
        let end = door.endsAt
        #expect(throws: TLSFault.noCertificate) { try door.replace(TLSMaterial(certificate: [], key: whole.key)) }
        #expect(throws: TLSFault.noKey) { try door.replace(TLSMaterial(certificate: whole.certificate, key: [])) }
        #expect(door.endsAt == end)
    }
}
