// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import HummingbirdCore
import Logging
import NIOCore
import NIOHTTPTypes
import Synchronization

/// A connection's handlers: TLS if there is any, the front door, and behind it what Hummingbird sets up for HTTP/1.1.
struct DoorChannel: ServerChildChannel {
    typealias Value = HTTP1Channel.Value

    private static let sendBufferBytes = 256 << 10

    let shared: DoorState
    /// `nil`: plain HTTP.
    let tls: TLSDoor?
    let responder: HTTPChannelHandler.Responder

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        let refusal = shared.refusal(of: channel)
        let door = FrontDoor(shared: shared, eventLoop: channel.eventLoop, refusal: refusal)
        let inner = HTTP1Channel(
            responder: responder,
            configuration: .init(
                additionalChannelHandlers: [DecoderWatch(door: door, counters: shared.counters)],
                httpDecoderConfiguration: .init(maxHeaderFieldSize: 16 << 10, maxHeaderListSize: 32 << 10)))
        return channel.eventLoop.makeCompletedFuture {
            // The system tells that a client reads only when a good part of its buffer is free: were that megabytes, a slow
            // reader would seem to read nothing for a long time.
            try channel.syncOptions?.setOption(.socketOption(.so_sndbuf), value: DoorChannel.sendBufferBytes)
            if let tls { try addTLS(tls, to: channel, refusal: refusal) }
            try channel.pipeline.syncOperations.addHandler(door)
        }.flatMap { inner.setup(channel: channel, logger: logger) }
    }

    private func addTLS(_ tls: TLSDoor, to channel: any Channel, refusal: ConnectionCounters.Reason?) throws {
        let pipeline = channel.pipeline.syncOperations
        guard let refusal else {
            let turn = HandshakeTurn(pace: shared.paces.pace(of: channel.eventLoop))
            try pipeline.addHandlers([turn, tls.handler(), TLSGate(shared: shared, turn: turn)])
            return
        }
        try pipeline.addHandler(TLSTurnAway(refusal, shared: shared))
    }

    func handle(value: Value, logger: Logger) async {
        await HTTP1Channel(responder: responder).handle(value: value, logger: logger)
    }
}
