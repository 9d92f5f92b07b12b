// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import NIOCore
import NIOHTTP1
import Synchronization

// The first handler of every connection. Plain requests (see `RequestHead`), which are nearly all of a busy server's,
// are taken here from the bytes and answered with bytes: no HTTP objects, no header dictionary, no task, no actor. The
// first request that is not plain turns the connection over to NIO's decoder and Hummingbird behind it, for good; both
// ways end in the same service, so there is one implementation of the rules.
//
// One request is under way at a time. Bytes that arrive meanwhile wait, and beyond 64 KiB of them the socket is not read.
// No request is begun while the client has not read what it was sent before. Every wait has an end: a head must arrive
// within seconds, a body must keep coming, an answer must be read, an idle connection is closed. What all connections
// hold together is bounded as well.

/// Plain requests in, answers out; everything else is passed on.
///
/// - Important: all state is touched on the channel's event loop only; that makes it safe to name in `@Sendable` closures.
final class FrontDoor: ChannelDuplexHandler, @unchecked Sendable {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum Mode {
        /// Waiting for a plain request, or for the rest of one.
        case open
        /// A plain request is being carried out.
        case busy
        /// The decoder has the connection.
        case turnedOver
    }

    /// Bytes that may wait behind a request that is under way.
    private static let waitingBytesMax = 64 << 10
    private static let tick = TimeAmount.seconds(5)

    private let shared: DoorState
    private let progress: DecoderProgress
    private let life = ConnectionLife()
    private var mode = Mode.open
    private var waiting = ByteBuffer()
    private var context: ChannelHandlerContext?
    private var mailbox: LoopMailbox?
    /// The client's.
    private var address: String?
    private var ticker: RepeatedTask?
    private var isAdvancing = false
    private var mustFlush = false
    private var isReadHeld = false
    private var closesAfterAnswer = false
    private var isQuiescing = false
    /// When the connection fell idle.
    private var since = NIODeadline.now()
    private var arrival = ArrivalPace(now: .now())
    /// Bytes that the request which is arriving has with its head; 0 until that is known.
    private var awaitedBytes = 0
    private var pace = ReadingPace()
    private var heldIn: HeldBytes
    private var heldOut: HeldBytes
    /// The header Host that was allowed last.
    private var allowedHost: [UInt8] = []

    /// There are too many connections: this one is told so and closed.
    private let refusal: ConnectionCounters.Reason?

    init(shared: DoorState, progress: DecoderProgress, refusal: ConnectionCounters.Reason?) {
        self.shared = shared
        self.progress = progress
        self.refusal = refusal
        heldIn = HeldBytes(of: shared.budget)
        heldOut = HeldBytes(of: shared.budget)
    }

    // MARK: - Life

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        mailbox = shared.mailboxes.box(of: context.eventLoop)
        shared.connections.wrappingAdd(1, ordering: .relaxed)
        shared.lives.add(life, of: context.channel)
        address = context.channel.remoteAddress?.ipAddress
        if let address { shared.addresses.add(address) }
        ticker = context.eventLoop.scheduleRepeatedTask(initialDelay: FrontDoor.tick, delay: FrontDoor.tick) {
            [weak self] _ in self?.checkTime()
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        shared.connections.wrappingSubtract(1, ordering: .relaxed)
        shared.lives.remove(context.channel)
        if let address { shared.addresses.remove(address) }
        end()
    }

    func channelActive(context: ChannelHandlerContext) {
        context.fireChannelActive()
        guard let refusal else { return }
        shared.cuts.count(refusal)
        mode = .busy
        closesAfterAnswer = true
        let limits = shared.limits
        answer(
            Problem(
                "too-many-connections", status: 503, title: "Too many connections",
                detail: refusal == .tooMany
                    ? "The server takes \(limits.connectionsMax) connections at one time."
                    : "The server takes \(limits.connectionsOfAddressMax) connections of one address at one time.",
                retryAfterSeconds: 1
            ).answer)
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    private func end() {
        ticker?.cancel()
        ticker = nil
        context = nil
        waiting = ByteBuffer()
        _ = heldIn.set(0)
        _ = heldOut.set(0)
        // Last: what waits on this connection's account answers now, and there is nobody to write to.
        life.close()
    }

    // MARK: - In

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        if mode == .turnedOver {
            progress.arrived(bytes.readableBytes)
            return context.fireChannelRead(data)
        }
        if waiting.readableBytes == 0 {
            if mode == .open { arrival = ArrivalPace(now: .now()) }
            arrival.arrived(bytes.readableBytes)
            waiting = bytes
        } else {
            arrival.arrived(bytes.readableBytes)
            waiting.writeBuffer(&bytes)
        }
        advance(context)
        if !heldIn.set(waiting.readableBytes) { refuseForMemory(context) }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        flushIfNeeded(context)
        progress.isReading = false
        context.fireChannelReadComplete()
    }

    func read(context: ChannelHandlerContext) {
        if mode == .busy || !context.channel.isWritable, waiting.readableBytes > FrontDoor.waitingBytesMax {
            isReadHeld = true
        } else {
            progress.isReading = true
            context.read()
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ChannelShouldQuiesceEvent where mode != .turnedOver:
            isQuiescing = true
            guard mode == .open else { break }
            if waiting.readableBytes == 0 { return context.close(promise: nil) }
            // Nothing of a request that has not arrived whole was accepted; the rest of it gets a moment.
            context.eventLoop.scheduleTask(in: .seconds(1)) { [weak self] in
                guard let self, mode == .open, let context = self.context else { return }
                context.close(promise: nil)
            }
        case let event as ChannelEvent where event == .inputClosed && mode == .busy:
            // Either the client has said all it will and still reads its answer, or it is gone: nothing tells which before
            // something is written. It is answered, but no message is taken for it any more.
            closesAfterAnswer = true
            life.close()
        case let event as ChannelEvent where event == .inputClosed && mode == .open:
            context.close(promise: nil)
        default:
            if let event = event as? ChannelEvent, event == .inputClosed { life.close() }
            context.fireUserInboundEventTriggered(event)
        }
    }

    // MARK: - Out

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        pace.wrote(unwrapOutboundIn(data).readableBytes)
        context.write(data, promise: promise)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        noteUnread(context)
        if context.channel.isWritable, mode == .open, !isAdvancing {
            advance(context)
            flushIfNeeded(context)
            readAgain(context)
        }
        context.fireChannelWritabilityChanged()
    }

    private func unreadBytes(_ context: ChannelHandlerContext) -> Int {
        (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
    }

    private func noteUnread(_ context: ChannelHandlerContext) {
        guard !heldOut.set(unreadBytes(context)) else { return }
        // There is no room for a client that does not read.
        context.close(promise: nil)
    }

    private func flushIfNeeded(_ context: ChannelHandlerContext) {
        guard mustFlush else { return }
        mustFlush = false
        context.flush()
    }

    private func readAgain(_ context: ChannelHandlerContext) {
        guard isReadHeld, mode == .open, context.channel.isWritable else { return }
        isReadHeld = false
        context.read()
    }

    private func cut(_ reason: ConnectionCounters.Reason, _ context: ChannelHandlerContext) {
        shared.cuts.count(reason)
        context.close(promise: nil)
    }

    // MARK: - Plain requests

    /// The request that is arriving has no room.
    private func refuseForMemory(_ context: ChannelHandlerContext) {
        let head = waiting.withUnsafeReadableBytes { RequestHead.parse($0, isHostAllowed: isHostAllowed) }
        guard mode == .open, case .plain(let head) = head else { return context.close(promise: nil) }
        mode = .busy
        closesAfterAnswer = true
        waiting = ByteBuffer()
        _ = heldIn.set(0)
        answer(shared.service.noRoom(head.route))
    }

    private func advance(_ context: ChannelHandlerContext) {
        guard !isAdvancing else { return }
        isAdvancing = true
        defer { isAdvancing = false }
        while mode == .open, waiting.readableBytes > 0, waiting.readableBytes >= awaitedBytes {
            awaitedBytes = 0
            // What was answered already may only wait for the flush at the end.
            if !context.channel.isWritable { flushIfNeeded(context) }
            guard context.channel.isWritable else { return }
            switch waiting.withUnsafeReadableBytes({ RequestHead.parse($0, isHostAllowed: isHostAllowed) }) {
            case .incomplete: return
            case .other: return turnOver(context)
            case .plain(let head):
                guard head.bodyBytes <= shared.limits.requestBytesMax else {
                    closesAfterAnswer = true
                    mode = .busy
                    return answer(shared.service.tooLarge(head.route, limit: shared.limits.requestBytesMax))
                }
                // The buffer grows as bytes arrive: what a head says costs nothing.
                guard head.headBytes + head.bodyBytes <= waiting.readableBytes else {
                    awaitedBytes = head.headBytes + head.bodyBytes
                    return
                }
                handle(head)
            }
        }
    }

    /// A client says the same Host with every request; it is judged once.
    private func isHostAllowed(_ host: UnsafeRawBufferPointer) -> Bool {
        let isSame = allowedHost.withUnsafeBytes { known in
            guard known.count == host.count, let a = known.baseAddress, let b = host.baseAddress else { return false }
            return memcmp(a, b, host.count) == 0
        }
        if isSame { return true }
        guard shared.browsers.allows(host: String(decoding: host, as: UTF8.self)) else { return false }
        allowedHost = Array(host)
        return true
    }

    private func handle(_ head: PlainHead) {
        mode = .busy
        closesAfterAnswer = head.closes
        let reply: Reply = { [self, eventLoop = context?.eventLoop, mailbox] result in
            if eventLoop?.inEventLoop == true {
                answer(result)
            } else {
                mailbox?.post { self.answer(result) }
            }
        }
        // Before the call: it may answer within itself, and an answer may end the connection.
        let request = waiting
        waiting.moveReaderIndex(forwardBy: head.headBytes + head.bodyBytes)
        // A buffer that once held a large body is not kept for small ones.
        if waiting.readableBytes == 0 { waiting = ByteBuffer() }
        request.withUnsafeReadableBytes { bytes in
            let body = UnsafeRawBufferPointer(
                rebasing: bytes[head.headBytes..<(head.headBytes + head.bodyBytes)])
            shared.service.handle(
                PlainRequest(route: head.route, body: body, trace: head.trace, life: life), reply: reply)
        }
    }

    private func answer(_ answer: Answer) {
        // Not from here: what is given back may be taken for the next client that is gone, and so on down the stack.
        if life.isClosed, let takeBack = answer.takeBack { mailbox?.post(takeBack) }
        guard let context, mode == .busy else { return }
        shared.counters.count(
            status: answer.status,
            error: answer.status == 403 ? answer.headers.first { $0.name == "x-amzn-query-error" }?.value : nil)
        let closes = closesAfterAnswer || isQuiescing
        var out = context.channel.allocator.buffer(capacity: 256 + answer.body.count)
        answer.write(to: &out, date: shared.date.text(), closes: closes)
        mode = .open
        since = .now()
        if waiting.readableBytes > 0 { arrival = ArrivalPace(now: since) }
        pace.wrote(out.readableBytes)
        if closes {
            mode = .busy
            context.writeAndFlush(wrapOutboundOut(out)).whenComplete { [weak self] _ in
                self?.context?.close(promise: nil)
            }
            return noteUnread(context)
        }
        context.write(wrapOutboundOut(out), promise: nil)
        if isAdvancing { mustFlush = true } else { context.flush() }
        if !context.channel.isWritable { noteUnread(context) }
        if !isAdvancing, waiting.readableBytes > 0 {
            advance(context)
            flushIfNeeded(context)
        }
        _ = heldIn.set(waiting.readableBytes)
        readAgain(context)
    }

    private func turnOver(_ context: ChannelHandlerContext) {
        mode = .turnedOver
        progress.arrived(waiting.readableBytes)
        let bytes = waiting
        waiting = ByteBuffer()
        context.fireChannelRead(wrapInboundOut(bytes))
        // The turn may come long after the bytes: what is behind acts on them at the end of a read.
        context.fireChannelReadComplete()
        // A connection that is being ended is ended by those who have it now.
        if isQuiescing { context.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent()) }
    }

    // MARK: - Time

    private func checkTime() {
        guard let context else { return }
        let now = NIODeadline.now()
        if pace.isStalled(buffered: unreadBytes(context), now: now) { return cut(.slowReader, context) }
        noteUnread(context)
        switch mode {
        case .busy: return
        case .turnedOver:
            if let reason = progress.overdue(now, shared.limits) { cut(reason, context) }
        case .open where waiting.readableBytes == 0:
            if now - since > .seconds(Int64(shared.limits.idleSeconds)) { cut(.idle, context) }
        case .open:
            // Until it has read its answers, its next request waits for it.
            guard context.channel.isWritable else { return arrival.excuse(now: now) }
            let isStalled = arrival.isStalled(hasHead: awaitedBytes > 0, now: now, limits: shared.limits)
            if isStalled { cut(.slowRequest, context) }
        }
    }
}
