// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import NIOCore

// One request is under way at a time. Bytes that arrive meanwhile wait, and beyond 64 KiB of them the socket is not read.
// No request is begun while the client has not read what it was sent before. Every wait for the client has an end: a head
// must arrive within seconds, a body must keep coming, an answer must be read, an idle connection is closed. What all
// connections hold together is bounded as well.
//
// An answer may come before its request has arrived whole: its body is too large, or nobody wants it. Many clients write
// all of a request before they read. One that is not read hangs, and one whose connection is closed with bytes of it
// unread is reset, which takes the answer from it. So the rest is read and thrown away, at most so many bytes and so long.
// Where the answer was the last one, nothing more is said from there on, which the client sees as the end.

/// What one connection's front door does next. Pure: it knows how many bytes wait, not what they are, and no clock.
struct DoorMachine: Hashable, Sendable {
    /// Whose bytes they are.
    enum Side: Hashable, Sendable {
        /// Of requests that have not arrived whole.
        case requests
        /// Of answers that the client has not read.
        case answers
    }

    /// What the bytes that wait begin with.
    enum Sight: Hashable, Sendable {
        /// Nothing that can be told yet.
        case incomplete
        /// A plain request, whole or not.
        case plain(headBytes: Int, bodyBytes: Int, closes: Bool)
        /// Something for the decoder.
        case other
    }

    /// Why a request is not handed to the service.
    enum Refusal: Hashable, Sendable {
        case tooManyConnections(ConnectionCounters.Reason)
        case tooLarge
        case noRoom
    }

    /// What happened. Those that a deadline depends on carry their time.
    enum Event: Hashable, Sendable {
        case active
        /// So many bytes more wait.
        case arrived(Int, at: NIODeadline)
        case readComplete
        /// Somebody wants more to be read.
        case readAsked
        /// Answers `Effect.look`.
        case seen(Sight)
        /// Answers `Effect.begin`: the service has the request, and may have answered it within the call.
        case begun
        /// There is an answer to the request that is under way.
        case answered(at: NIODeadline, isLast: Bool = false)
        /// So many bytes were given to the channel, by whom ever.
        case wrote(Int)
        /// The last answer was taken by the system, or will never be.
        case lastWritten
        /// The decoder says nothing more: its last answer was given to the channel.
        case outputClosed(at: NIODeadline)
        /// Whether the channel takes more, and how many bytes the system has not taken.
        case writability(Bool, unread: Int, at: NIODeadline)
        /// Answers `Effect.measure`.
        case unread(Int)
        /// Answers `Effect.hold`.
        case held(Side, isWithin: Bool)
        /// The client says nothing more.
        case inputClosed
        /// The server is about to stop.
        case quiesce
        /// Answers `Effect.awaitGrace`, after a moment.
        case graceOver
        case decoding(DecoderProgress.Step, at: NIODeadline)
        case ticked(at: NIODeadline, unread: Int)
        /// The connection is gone.
        case ended
    }

    /// What is to be done, in this order.
    enum Effect: Hashable, Sendable {
        /// Say what the bytes that wait begin with.
        case look
        /// Hand the request that was seen to the service; its bytes wait no more.
        case begin
        /// Answer in the service's stead.
        case refuse(Refusal)
        /// Give the client its answer.
        case write
        /// Give the client its answer, flush, and say when that is done.
        case writeLast
        case flush
        case read
        /// Tell the client that nothing more is said to it.
        case closeOutput
        case close
        /// Say how many bytes the system has not taken.
        case measure
        /// Say to the budget of all connections how many bytes this one holds.
        case hold(Side, Int)
        /// Forget the bytes that wait.
        case forget
        /// Pass the bytes that wait on to the decoder.
        case passOn
        case passReadComplete
        case passInputClosed
        case passQuiesce
        /// Give back what was taken for the answer's client.
        case takeBack
        case count(ConnectionCounters.Reason)
        /// Tell those who wait on the client's account that it is gone.
        case endLife
        case awaitGrace
        /// Let go of everything, and tell those who wait on the client's account that it is gone.
        case end
    }

    enum Mode: Hashable, Sendable {
        /// Waiting for a plain request, or for the rest of one.
        case open
        /// A plain request is being carried out.
        case busy
        /// The last answer is on its way.
        case closing
        /// The last answer is given; what the client still says is thrown away until its end.
        case lingering
        /// The decoder has the connection.
        case turnedOver
        /// It was told to close.
        case closed
        /// It is gone.
        case ended
    }

    /// Bytes that may wait behind a request that is under way.
    static let waitingBytesMax = 64 << 10

    let limits: DoorLimits
    /// There are too many connections: this one is told so and closed.
    let refusal: ConnectionCounters.Reason?
    private let waitingBytesMax: Int
    private(set) var mode = Mode.open
    /// Bytes that wait.
    var waiting = 0
    /// Bytes that the request which is arriving has with its head; 0 until that is known.
    var awaited = 0
    var isLooking = false
    /// Whether what is being looked at has no room.
    var isRefusing = false
    /// Whether the service has not yet returned from being handed a request.
    var isBeginning = false
    /// Between the first bytes of a read and its end.
    var isInRead = false
    var isReadHeld = false
    var isWritable = true
    var mustFlush = false
    var closesAfterAnswer = false
    /// Whether what arrives is thrown away: it belongs to a request that was refused, or comes after the last answer.
    var isThrowing = false
    /// Whether the request that is arriving was refused: its rest is still to come.
    var isRefused = false
    /// Bytes that were thrown away.
    var thrown = 0
    var isQuiescing = false
    /// Whether those who wait on the client's account were told that it is gone.
    var isGone = false
    /// When the connection fell idle, or began to linger.
    var since: NIODeadline
    /// The last event's time.
    var moment: NIODeadline
    var arrival: ArrivalPace
    var pace = ReadingPace()
    var progress: DecoderProgress
    var heldForRequests = 0
    var heldForAnswers = 0

    init(
        limits: DoorLimits, refusal: ConnectionCounters.Reason?, now: NIODeadline,
        waitingBytesMax: Int = DoorMachine.waitingBytesMax
    ) {
        self.limits = limits
        self.refusal = refusal
        self.waitingBytesMax = waitingBytesMax
        since = now
        moment = now
        arrival = ArrivalPace(now: now)
        progress = DecoderProgress(now: now)
    }

    /// Whether no more is said to the client.
    var isOver: Bool { mode == .closed || mode == .ended }

    /// Whether more may be read now: behind a request under way, or unread answers, only so many bytes wait.
    var mayRead: Bool { waiting <= waitingBytesMax || isWritable && (mode == .open || mode == .turnedOver) }

    /// Whether the client owes the rest of a request, as far as is known.
    var isOwed: Bool { isRefused || progress.isArriving }

    mutating func become(_ mode: Mode) { self.mode = mode }
}
