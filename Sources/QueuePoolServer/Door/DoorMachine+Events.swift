// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import NIOCore

extension DoorMachine {
    /// - Parameter effects: what is to be done is appended; nothing is allocated for it where there is room.
    mutating func handle(_ event: Event, _ effects: inout [Effect]) {
        switch event {
        case .arrived(let count, let now): arrived(count, now, &effects)
        case .seen(let sight): seen(sight, &effects)
        case .begun:
            isBeginning = false
            advance(&effects)
        case .answered(let now, let isLast): answered(now, isLast, &effects)
        case .wrote(let count): pace.wrote(count)
        case .readComplete:
            isInRead = false
            progress.isReading = false
            flush(&effects)
            // Nobody else asks: those behind wait for nothing any more.
            if mode == .lingering { read(&effects) }
        case .readAsked: readAsked(&effects)
        case .writability(let isWritable, let unread, let now):
            moment = now
            self.isWritable = isWritable
            hold(.answers, unread, &effects)
            if isWritable, mode == .open, !isBeginning { advance(&effects) }
        case .unread(let count): hold(.answers, count, &effects)
        case .held(_, isWithin: true): break
        case .held(let side, isWithin: false): overBudget(side, &effects)
        case .decoding(let step, let now): progress.step(step, now)
        case .ticked(let now, let unread): ticked(now, unread, &effects)
        case .active: active(&effects)
        case .inputClosed: inputClosed(&effects)
        case .quiesce: quiesce(&effects)
        case .graceOver: if mode == .open || mode == .lingering { close(&effects) }
        case .lastWritten: lastWritten(&effects)
        case .outputClosed(let now): outputClosed(now, &effects)
        case .ended: end(&effects)
        }
    }

    // MARK: - Requests

    private mutating func arrived(_ count: Int, _ now: NIODeadline, _ effects: inout [Effect]) {
        guard !isOver else { return effects.append(.forget) }
        moment = now
        isInRead = true
        if mode == .turnedOver {
            progress.arrived(count, now)
            guard progress.left <= thrownBytesMax else { return cut(.slowRequest, &effects) }
            return effects.append(.passOn)
        }
        if waiting == 0, mode == .open { arrival = ArrivalPace(now: now) }
        arrival.arrived(count)
        if isThrowing { return throwAway(count, &effects) }
        waiting += count
        advance(&effects)
    }

    /// Looks at what waits if a request may be begun now; else settles.
    private mutating func advance(_ effects: inout [Effect]) {
        guard !isLooking else { return }
        guard mode == .open, isWritable, waiting > 0, waiting >= awaited else { return settle(&effects) }
        awaited = 0
        isLooking = true
        effects.append(.look)
    }

    /// What is done when nothing more can be begun.
    private mutating func settle(_ effects: inout [Effect]) {
        guard !isOver else { return }
        hold(.requests, waiting, &effects)
        // A read's answers go out together at its end. If the channel takes no more, they must go before.
        if !isInRead || !isWritable { flush(&effects) }
        // Where nothing is read, nobody sees the client leave either.
        if isReadHeld, mayRead { read(&effects) }
    }

    private mutating func seen(_ sight: Sight, _ effects: inout [Effect]) {
        isLooking = false
        guard mode == .open else { return }
        if isRefusing { return refuseForMemory(sight, &effects) }
        // The answer before may have filled the channel since the look was asked for.
        guard isWritable else { return settle(&effects) }
        switch sight {
        case .incomplete: settle(&effects)
        case .other: turnOver(&effects)
        case .plain(_, let bodyBytes, _) where bodyBytes > limits.requestBytesMax: refuseRest(.tooLarge, &effects)
        case .plain(let headBytes, let bodyBytes, let closes):
            // The buffer grows as bytes arrive: what a head says costs nothing.
            guard headBytes + bodyBytes <= waiting else {
                awaited = headBytes + bodyBytes
                return settle(&effects)
            }
            become(.busy)
            closesAfterAnswer = closes
            waiting -= headBytes + bodyBytes
            isBeginning = true
            effects.append(.begin)
        }
    }

    private mutating func refuse(_ refusal: Refusal, _ effects: inout [Effect]) {
        become(.busy)
        closesAfterAnswer = true
        effects.append(.refuse(refusal))
    }

    private mutating func refuseForMemory(_ sight: Sight, _ effects: inout [Effect]) {
        guard case .plain = sight else { return close(&effects) }
        refuseRest(.noRoom, &effects)
    }

    /// Refuses a request that has not arrived whole, and throws away what comes of it.
    private mutating func refuseRest(_ refusal: Refusal, _ effects: inout [Effect]) {
        isRefused = true
        isThrowing = true
        throwAway(0, &effects)
        guard !isOver else { return }
        refuse(refusal, &effects)
    }

    /// Forgets what waits and so many bytes more: they take no room from others.
    private mutating func throwAway(_ count: Int, _ effects: inout [Effect]) {
        thrown += waiting + count
        waiting = 0
        effects.append(.forget)
        hold(.requests, 0, &effects)
        if thrown > thrownBytesMax { cut(.slowRequest, &effects) }
    }

    /// A request that is allowed may be thrown away as well.
    private var thrownBytesMax: Int { max(limits.thrownBytesMax, limits.requestBytesMax) }

    private mutating func overBudget(_ side: Side, _ effects: inout [Effect]) {
        guard !isOver else { return }
        // There is no room for a client that does not read.
        guard side == .requests, mode == .open else { return close(&effects) }
        isRefusing = true
        guard !isLooking else { return }
        isLooking = true
        effects.append(.look)
    }

    private mutating func turnOver(_ effects: inout [Effect]) {
        become(.turnedOver)
        progress.arrived(waiting, moment)
        waiting = 0
        effects.append(.passOn)
        // The turn may come long after the bytes: what is behind acts on them at the end of a read.
        effects.append(.passReadComplete)
        // A connection that is being ended is ended by those who have it now.
        if isQuiescing { effects.append(.passQuiesce) }
        settle(&effects)
    }

    // MARK: - Answers

    private mutating func answered(_ now: NIODeadline, _ isLast: Bool, _ effects: inout [Effect]) {
        if isGone { effects.append(.takeBack) }
        guard mode == .busy else { return }
        moment = now
        since = now
        if closesAfterAnswer || isLast || isQuiescing {
            become(.closing)
            mustFlush = false
            effects.append(.writeLast)
            return effects.append(.measure)
        }
        become(.open)
        if waiting > 0 { arrival = ArrivalPace(now: now) }
        effects.append(.write)
        mustFlush = true
        guard !isBeginning else { return }
        flush(&effects)
        advance(&effects)
    }

    private mutating func flush(_ effects: inout [Effect]) {
        guard mustFlush else { return }
        mustFlush = false
        effects.append(.flush)
    }

    private mutating func hold(_ side: Side, _ bytes: Int, _ effects: inout [Effect]) {
        guard !isOver else { return }
        switch side {
        case .requests:
            guard bytes != heldForRequests else { return }
            heldForRequests = bytes
        case .answers:
            guard bytes != heldForAnswers else { return }
            heldForAnswers = bytes
        }
        effects.append(.hold(side, bytes))
    }

    // MARK: - After the last answer

    private mutating func lastWritten(_ effects: inout [Effect]) {
        guard mode == .closing else { return }
        // A client that has said all is reset by nothing, and one too many must not stay.
        guard isRefused || waiting > 0, !isGone, refusal == nil else { return close(&effects) }
        effects.append(.closeOutput)
        linger(moment, &effects)
    }

    private mutating func outputClosed(_ now: NIODeadline, _ effects: inout [Effect]) {
        guard mode == .turnedOver else { return }
        moment = now
        linger(now, &effects)
    }

    /// Reads on until the client's end.
    private mutating func linger(_ now: NIODeadline, _ effects: inout [Effect]) {
        become(.lingering)
        isThrowing = true
        since = now
        arrival = ArrivalPace(now: now)
        throwAway(0, &effects)
        guard !isOver else { return }
        if isQuiescing { effects.append(.awaitGrace) }
        read(&effects)
    }

    // MARK: - Reading

    private mutating func readAsked(_ effects: inout [Effect]) {
        guard !isOver else { return }
        if mayRead { read(&effects) } else { isReadHeld = true }
    }

    private mutating func read(_ effects: inout [Effect]) {
        isReadHeld = false
        progress.isReading = true
        effects.append(.read)
    }

    // MARK: - Life

    private mutating func active(_ effects: inout [Effect]) {
        guard let refusal, mode == .open else { return }
        effects.append(.count(refusal))
        refuse(.tooManyConnections(refusal), &effects)
    }

    private mutating func inputClosed(_ effects: inout [Effect]) {
        switch mode {
        case .open: close(&effects)
        case .busy, .closing:
            // Either the client has said all it will and still reads its answer, or it is gone: nothing tells which before
            // something is written. It is answered, but no message is taken for it any more.
            closesAfterAnswer = true
            endLife(&effects)
        case .turnedOver:
            endLife(&effects)
            effects.append(.passInputClosed)
        case .lingering: close(&effects)
        case .closed, .ended: break
        }
    }

    private mutating func quiesce(_ effects: inout [Effect]) {
        switch mode {
        case .open where waiting == 0:
            isQuiescing = true
            close(&effects)
        case .open:
            // Nothing of a request that has not arrived whole was accepted; the rest of it gets a moment.
            isQuiescing = true
            effects.append(.awaitGrace)
        case .busy, .closing: isQuiescing = true
        case .lingering: effects.append(.awaitGrace)
        case .turnedOver:
            isQuiescing = true
            effects.append(.passQuiesce)
        case .closed, .ended: break
        }
    }

    private mutating func endLife(_ effects: inout [Effect]) {
        guard !isGone else { return }
        isGone = true
        effects.append(.endLife)
    }

    private mutating func close(_ effects: inout [Effect]) {
        flush(&effects)
        become(.closed)
        effects.append(.close)
    }

    private mutating func end(_ effects: inout [Effect]) {
        guard mode != .ended else { return }
        become(.ended)
        isGone = true
        waiting = 0
        heldForRequests = 0
        heldForAnswers = 0
        effects.append(.end)
    }

    // MARK: - Time

    private mutating func ticked(_ now: NIODeadline, _ unread: Int, _ effects: inout [Effect]) {
        guard !isOver else { return }
        moment = now
        if pace.isStalled(buffered: unread, now: now) { return cut(.slowReader, &effects) }
        hold(.answers, unread, &effects)
        switch mode {
        case .busy, .closing, .closed, .ended: return
        case .lingering:
            let isLate = now - since > .seconds(Int64(limits.idleSeconds))
            // Until it has read its answer, it need not say anything.
            if unread > 0 { arrival.excuse(now: now) }
            if isLate || arrival.isStalled(hasHead: true, now: now, limits: limits) {
                cut(isOwed ? .slowRequest : .idle, &effects)
            }
        case .turnedOver:
            if let reason = progress.overdue(now, limits) { cut(reason, &effects) }
        case .open where waiting == 0:
            if now - since > .seconds(Int64(limits.idleSeconds)) { cut(.idle, &effects) }
        case .open:
            // Until it has read its answers, its next request waits for it.
            guard isWritable else { return arrival.excuse(now: now) }
            let isStalled = arrival.isStalled(hasHead: awaited > 0, now: now, limits: limits)
            if isStalled { cut(.slowRequest, &effects) }
        }
    }

    private mutating func cut(_ reason: ConnectionCounters.Reason, _ effects: inout [Effect]) {
        effects.append(.count(reason))
        close(&effects)
    }
}
