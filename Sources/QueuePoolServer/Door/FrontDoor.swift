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
// What is done when is `DoorMachine`'s to say. Here are the bytes, the channel and the service: what happens to them is
// told to the machine, and what it answers is done.

/// Plain requests in, answers out; everything else is passed on.
///
/// - Important: all state is touched on the channel's event loop only; that makes it safe to name in `@Sendable` closures.
final class FrontDoor: ChannelDuplexHandler, @unchecked Sendable {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private static let tick = TimeAmount.seconds(5)
    private static let grace = TimeAmount.seconds(1)

    private let shared: DoorState
    private let eventLoop: any EventLoop
    private let mailbox: LoopMailbox
    private let life = ConnectionLife()
    // These three are touched a dozen times a request, and the run-time's checks of exclusive access would cost more than
    // the decisions. They can't fail: an access to any of them ends before something is called that may come back here.
    @exclusivity(unchecked) private var machine: DoorMachine
    /// What the machine asked for and is not done yet. What is done may make something else happen, whose effects come
    /// behind those that wait.
    @exclusivity(unchecked) private var effects: [DoorMachine.Effect] = []
    @exclusivity(unchecked) private var isPerforming = false
    private var waiting = ByteBuffer()
    /// The request's that was seen last.
    private var head: PlainHead?
    /// What the request under way is answered with.
    private var answer: Answer?
    private var context: ChannelHandlerContext?
    /// The client's.
    private var address: String?
    private var ticker: RepeatedTask?
    private var heldIn: HeldBytes
    private var heldOut: HeldBytes
    /// The header Host that was allowed last.
    private var allowedHost: [UInt8] = []

    init(shared: DoorState, eventLoop: any EventLoop, refusal: ConnectionCounters.Reason?) {
        self.shared = shared
        self.eventLoop = eventLoop
        mailbox = shared.mailboxes.box(of: eventLoop)
        machine = DoorMachine(limits: shared.limits, refusal: refusal, now: eventLoop.now)
        heldIn = HeldBytes(of: shared.budget)
        heldOut = HeldBytes(of: shared.budget)
    }

    // MARK: - What happens

    private func take(_ event: DoorMachine.Event) {
        machine.handle(event, &effects)
        guard !isPerforming else { return }
        isPerforming = true
        var index = 0
        while index < effects.count {
            let effect = effects[index]
            index += 1
            perform(effect)
        }
        effects.removeAll(keepingCapacity: true)
        isPerforming = false
    }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        shared.connections.wrappingAdd(1, ordering: .relaxed)
        shared.lives.add(life, of: context.channel)
        address = context.channel.remoteAddress?.ipAddress
        life.address = address
        if let address { shared.addresses.add(address) }
        ticker = context.eventLoop.scheduleRepeatedTask(initialDelay: FrontDoor.tick, delay: FrontDoor.tick) {
            [weak self] _ in
            guard let self else { return }
            take(.ticked(at: eventLoop.now, unread: unreadBytes))
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        shared.connections.wrappingSubtract(1, ordering: .relaxed)
        shared.lives.remove(context.channel)
        if let address { shared.addresses.remove(address) }
        take(.ended)
    }

    func channelActive(context: ChannelHandlerContext) {
        context.fireChannelActive()
        take(.active)
    }

    func channelInactive(context: ChannelHandlerContext) {
        take(.ended)
        context.fireChannelInactive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        let count = bytes.readableBytes
        if waiting.readableBytes == 0 { waiting = bytes } else { waiting.writeBuffer(&bytes) }
        take(.arrived(count, at: eventLoop.now))
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        take(.readComplete)
        context.fireChannelReadComplete()
    }

    func read(context: ChannelHandlerContext) { take(.readAsked) }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case is ChannelShouldQuiesceEvent: take(.quiesce)
        case let event as ChannelEvent where event == .inputClosed: take(.inputClosed)
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        take(.wrote(unwrapOutboundIn(data).readableBytes))
        context.write(data, promise: promise)
    }

    /// Those behind the door say that they say nothing more.
    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        context.close(mode: mode, promise: promise)
        if mode == .output { take(.outputClosed(at: eventLoop.now)) }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        take(.writability(context.channel.isWritable, unread: unreadBytes, at: eventLoop.now))
        context.fireChannelWritabilityChanged()
    }

    /// The decoder, or those behind it, went on.
    func decoding(_ step: DecoderProgress.Step) { take(.decoding(step, at: eventLoop.now)) }

    private var unreadBytes: Int {
        (try? context?.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
    }

    // MARK: - What is done

    private func perform(_ effect: DoorMachine.Effect) {
        switch effect {
        case .look: look()
        case .begin: begin()
        case .write: write()
        case .flush: context?.flush()
        case .read: context?.read()
        case .refuse(let refusal): refuse(refusal)
        case .writeLast: writeLast()
        case .closeOutput: context?.close(mode: .output, promise: nil)
        case .close: context?.close(promise: nil)
        case .measure: take(.unread(unreadBytes))
        case .hold(.requests, let bytes): take(.held(.requests, isWithin: heldIn.set(bytes)))
        case .hold(.answers, let bytes): take(.held(.answers, isWithin: heldOut.set(bytes)))
        case .forget: waiting = ByteBuffer()
        case .passOn: passOn()
        case .passReadComplete: context?.fireChannelReadComplete()
        case .passInputClosed: context?.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        case .passQuiesce: context?.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        // Not from here: what is given back may be taken for the next client that is gone, and so on down the stack.
        case .takeBack: if let takeBack = answer?.takeBack { mailbox.post(takeBack) }
        case .count(let reason): shared.cuts.count(reason)
        case .endLife: life.close()
        case .awaitGrace:
            eventLoop.scheduleTask(in: FrontDoor.grace) { [weak self] in self?.take(.graceOver) }
        case .end: end()
        }
    }

    private func look() {
        head = nil
        switch waiting.withUnsafeReadableBytes({ RequestHead.parse($0, isHostAllowed: isHostAllowed) }) {
        case .incomplete: take(.seen(.incomplete))
        case .other: take(.seen(.other))
        case .plain(let head):
            self.head = head
            take(.seen(.plain(headBytes: head.headBytes, bodyBytes: head.bodyBytes, closes: head.closes)))
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

    private func begin() {
        guard let head = self.head.take() else { return }
        let reply: Reply = { [self] result in
            if eventLoop.inEventLoop { answered(result) } else { mailbox.post { self.answered(result) } }
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
                PlainRequest(
                    route: head.route, body: body, trace: head.trace, life: life,
                    head: UnsafeRawBufferPointer(rebasing: bytes[..<head.headBytes]),
                    authorization: head.authorization), reply: reply)
        }
        take(.begun)
    }

    private func answered(_ answer: Answer) {
        self.answer = answer
        take(.answered(at: eventLoop.now, isLast: answer.closes))
    }

    private func refuse(_ refusal: DoorMachine.Refusal) {
        let limits = shared.limits
        switch (refusal, head?.route) {
        case (.tooLarge, let route?): answered(shared.service.tooLarge(route, limit: limits.requestBytesMax))
        case (.noRoom, let route?): answered(shared.service.noRoom(route))
        case (.tooManyConnections(.tooManyOfAddress), _):
            answered(
                FrontDoor.tooMany("\(limits.connectionsOfAddressMax) connections of one address"))
        // The first two are refused of a request that was seen.
        case (.tooManyConnections, _), (.tooLarge, nil), (.noRoom, nil):
            answered(FrontDoor.tooMany("\(limits.connectionsMax) connections"))
        }
    }

    private static func tooMany(_ number: String) -> Answer {
        Problem(
            "too-many-connections", status: 503, title: "Too many connections",
            detail: "The server takes \(number) at one time.", retryAfterSeconds: 1
        ).answer
    }

    private func write() {
        guard let context, let out = rendered(closes: false) else { return }
        context.write(wrapOutboundOut(out), promise: nil)
    }

    private func writeLast() {
        guard let context, let out = rendered(closes: true) else { return }
        context.writeAndFlush(wrapOutboundOut(out)).whenComplete { [weak self] _ in self?.take(.lastWritten) }
    }

    private func rendered(closes: Bool) -> ByteBuffer? {
        guard let context, let answer = self.answer.take() else { return nil }
        shared.counters.count(
            status: answer.status,
            error: answer.status == 403 ? answer.headers.first { $0.name == "x-amzn-query-error" }?.value : nil)
        var out = context.channel.allocator.buffer(capacity: 256 + answer.body.count)
        answer.write(to: &out, date: shared.date.text(), closes: closes)
        take(.wrote(out.readableBytes))
        return out
    }

    private func passOn() {
        let bytes = waiting
        waiting = ByteBuffer()
        context?.fireChannelRead(wrapInboundOut(bytes))
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
}
