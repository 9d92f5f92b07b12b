// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule
import NIOCore
import Synchronization

// A handshake is the most expensive thing that somebody whom nobody knows can ask for. Two things bound it. Those that
// are under way are counted, and if there are too many, the oldest yields to the newest: an honest client is through in a
// moment, and one that only holds the place is not. And on each event loop their bytes wait for their turn: between two
// of them the loop looks at all its other connections.

extension DoorLimits {
    /// Handshakes under way at one time: those who have not said who they are never take all places.
    var handshakesMax: Int { max(1, connectionsMax / 4) }
}

/// The handshakes that are under way at a door.
final class Handshakes: Sendable {
    private struct State {
        /// Ends one, by its number.
        var cuts: [Int: @Sendable () -> Void] = [:]
        /// There is none below it.
        var oldest = 0
        var next = 0
    }

    private let limit: Int
    private let state = Mutex(State())

    init(limit: Int) { self.limit = limit }

    /// Begins one, and ends the oldest if it is one too many.
    /// - Parameter cut: called when a later one takes its place, on any thread.
    /// - Returns: what `end` takes.
    func begin(cut: @escaping @Sendable () -> Void) -> Int {
        let (number, victim) = state.withLock { state in
            let victim = state.cuts.count >= limit ? state.cuts.removeValue(forKey: state.oldest) : nil
            state.cuts[state.next] = cut
            state.next += 1
            Handshakes.advance(&state)
            return (state.next - 1, victim)
        }
        victim?()
        return number
    }

    /// It is over, in whichever way.
    func end(_ number: Int) {
        state.withLock { state in
            state.cuts[number] = nil
            Handshakes.advance(&state)
        }
    }

    private static func advance(_ state: inout State) {
        while state.oldest < state.next, state.cuts[state.oldest] == nil { state.oldest += 1 }
    }
}

/// Whose turn it is on one event loop.
final class HandshakePace {
    /// Long enough for the loop to look at its other connections between two turns.
    static let pause = TimeAmount.microseconds(50)

    private let eventLoop: any EventLoop
    private var waiting: Deque<HandshakeTurn> = []
    /// Those for whom something was computed already; what they say ends it.
    private var begun: Deque<HandshakeTurn> = []
    private var isResting = false

    init(eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    /// Calls its `go`, now or later.
    func ask(_ turn: HandshakeTurn) {
        if turn.hasGone { begun.append(turn) } else { waiting.append(turn) }
        if !isResting { goOn() }
    }

    private func goOn() {
        isResting = true
        // Those that are gone meanwhile take no turn.
        while let next = begun.popFirst() ?? waiting.popFirst(), !next.go() {}
        let pace = NIOLoopBound(self, eventLoop: eventLoop)
        eventLoop.scheduleTask(in: HandshakePace.pause) {
            let pace = pace.value
            pace.isResting = false
            if !pace.begun.isEmpty || !pace.waiting.isEmpty { pace.goOn() }
        }
    }
}

/// The paces of a door's event loops.
final class HandshakePaces: Sendable {
    private let paces = Mutex<[ObjectIdentifier: NIOLoopBound<HandshakePace>]>([:])

    /// To be called on the loop.
    func pace(of eventLoop: any EventLoop) -> HandshakePace {
        paces.withLock { paces in
            let key = ObjectIdentifier(eventLoop)
            if let pace = paces[key] { return pace }
            let pace = NIOLoopBound(HandshakePace(eventLoop: eventLoop), eventLoop: eventLoop)
            paces[key] = pace
            return pace
        }.value
    }
}

/// Before TLS: holds what a client says until it is its turn, for as long as its handshake is not over. Nothing is read
/// meanwhile, so that it holds no more than one read gave.
final class HandshakeTurn: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let pace: HandshakePace
    private var context: ChannelHandlerContext?
    private var held = ByteBuffer()
    private var isWaiting = false
    private var isReadAsked = false
    private var endsInput = false
    private var isOver = false
    /// Whether it has had a turn.
    private(set) var hasGone = false

    init(pace: HandshakePace) { self.pace = pace }

    /// The handshake is over: bytes go by from here on.
    func end() { isOver = true }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) { forget() }

    func channelInactive(context: ChannelHandlerContext) {
        forget()
        context.fireChannelInactive()
    }

    private func forget() {
        context = nil
        held = ByteBuffer()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isOver else { return context.fireChannelRead(data) }
        var bytes = unwrapInboundIn(data)
        if held.readableBytes == 0 { held = bytes } else { held.writeBuffer(&bytes) }
    }

    func read(context: ChannelHandlerContext) {
        if isWaiting { isReadAsked = true } else { context.read() }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        guard !isOver, held.readableBytes > 0 else { return context.fireChannelReadComplete() }
        guard !isWaiting else { return }
        isWaiting = true
        pace.ask(self)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard isWaiting, case ChannelEvent.inputClosed? = event as? ChannelEvent else {
            return context.fireUserInboundEventTriggered(event)
        }
        endsInput = true
        // Who leaves before he has heard anything waits for nothing.
        if !hasGone { context.close(promise: nil) }
    }

    /// It is its turn.
    /// - Returns: whether there was anything to do.
    func go() -> Bool {
        isWaiting = false
        hasGone = true
        guard let context else { return false }
        let bytes = held
        held = ByteBuffer()
        context.fireChannelRead(wrapInboundOut(bytes))
        context.fireChannelReadComplete()
        if endsInput { context.fireUserInboundEventTriggered(ChannelEvent.inputClosed) }
        if isReadAsked {
            isReadAsked = false
            context.read()
        }
        return true
    }
}
