// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import NIOSSL
import NIOTLS

// Between TLS and the front door. The door knows nothing of TLS: it is shown a connection that speaks plain HTTP, and
// what is TLS' own is settled here. The bytes pass by untouched.

/// Bounds the handshake, notes the client's name, and ends connections the way TLS wants it.
final class TLSGate: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let shared: DoorState
    private let turn: HandshakeTurn?
    private var handshake: Int?
    private var deadline: Scheduled<Void>?
    private var isClosing = false

    /// - Parameter turn: to be told when the handshake is over.
    init(shared: DoorState, turn: HandshakeTurn? = nil) {
        self.shared = shared
        self.turn = turn
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let cut = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        deadline = context.eventLoop.scheduleTask(in: .seconds(Int64(shared.limits.headSeconds))) {
            let (gate, context) = cut.value
            gate.cutHandshake(context, .slowRequest)
        }
        handshake = shared.handshakes.begin { [eventLoop = context.eventLoop] in
            eventLoop.execute {
                let (gate, context) = cut.value
                gate.cutHandshake(context, .tooManyHandshakes)
            }
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) { endHandshake() }

    private func endHandshake() {
        deadline?.cancel()
        deadline = nil
        if let handshake { shared.handshakes.end(handshake) }
        handshake = nil
    }

    /// A client that does not finish its handshake is one that does not finish its head. It is not waited for any more,
    /// not even for its goodbye.
    private func cutHandshake(_ context: ChannelHandlerContext, _ reason: ConnectionCounters.Reason) {
        guard deadline != nil else { return }
        endHandshake()
        shared.cuts.count(reason)
        close(context: context, mode: .all, promise: nil)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case TLSUserEvent.handshakeCompleted:
            endHandshake()
            turn?.end()
            noteName(context)
        case TLSUserEvent.shutdownCompleted: break
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    private func noteName(_ context: ChannelHandlerContext) {
        let handler = try? context.pipeline.syncOperations.handler(type: NIOSSLServerHandler.self)
        guard let certificate = handler?.peerCertificate else { return }
        shared.lives.life(of: context.channel)?.certificateName = PeerName.of(certificate)
    }

    /// What fails in TLS ends the connection there. The one failure that does not is a client that ends without a
    /// goodbye, which is to the door what it is without TLS: the end of what the client says.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        case is NIOSSLError, is BoringSSLError, is NIOSSLExtraError, is NIOTLSUnwrappingError,
            is NIOSSLCloseTimedOutError:
            break
        default: context.fireErrorCaught(error)
        }
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        context.close(mode: mode, promise: promise)
        guard mode == .all, !isClosing else { return }
        isClosing = true
        // The client's goodbye must be read, and the door reads no more.
        context.read()
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.fireChannelReadComplete()
        if isClosing { context.read() }
    }
}

/// Ends a connection that is one too many before anything is computed for it.
///
/// Without TLS it would be told why. With it the answer would wait for the client's handshake, and connections that are
/// one too many would stay for as long as their clients like.
final class TLSTurnAway: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let reason: ConnectionCounters.Reason
    private let shared: DoorState

    init(_ reason: ConnectionCounters.Reason, shared: DoorState) {
        self.reason = reason
        self.shared = shared
    }

    func channelActive(context: ChannelHandlerContext) {
        shared.cuts.count(reason)
        context.close(promise: nil)
    }
}
