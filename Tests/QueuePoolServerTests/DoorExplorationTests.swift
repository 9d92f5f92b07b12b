// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import QueuePoolServer

/// What the world does to a connection, the answers to the machine's own questions aside.
private enum Act: CaseIterable {
    /// A whole plain request comes.
    case whole
    /// The head of one, or the rest of it.
    case head, body
    /// Something for the decoder.
    case other
    case readComplete, readAsked
    case answer
    case unwritable, writable
    case lastWritten
    /// The decoder says nothing more.
    case outputClosed
    /// A whole head of a request whose body is too large.
    case large
    case inputClosed, quiesce, graceOver
    /// Five seconds, or a hundred.
    case tick, longTick
    case ended
    /// The budget of all connections is full until the next act.
    case full
}

private struct Kind: Hashable, CaseIterable {
    /// Whether the service answers within the call.
    let isQuick: Bool
    /// Whether an answer fills the channel until it is flushed.
    let isTight: Bool

    static let allCases = [(false, false), (false, true), (true, false), (true, true)].map(Kind.init)
}

/// A channel and a service that do what the machine says and tell it what came of it, as `FrontDoor` does.
private struct World: Hashable {
    var machine: DoorMachine
    let kind: Kind
    private var effects: [DoorMachine.Effect] = []
    private var isPerforming = false
    /// The bytes that wait: a plain request is `H`, `h` and a body `b`; `o` is none.
    var waiting: [Character] = []
    var now = NIODeadline.uptimeNanoseconds(0)
    var unread = 0
    var isFull = false
    var isUnderWay = false
    var isGraceAwaited = false
    var isLastUnwritten = false
    var isClosed = false
    var isEnded = false
    var isGone = false
    var isUnflushed = false
    var isTurned = false
    var isOutputClosed = false
    var isStopping = false
    var isReadMissing = false
    /// Requests that were refused within this answer's act: they waited behind it.
    var refused = 0
    /// Of this request's answer.
    var written = 0
    var takenBack = 0
    var held: [DoorMachine.Side: Int] = [:]
    /// What was broken.
    var wrongs: [String] = []

    init(_ kind: Kind) {
        var limits = DoorLimits()
        limits.headSeconds = 10
        limits.idleSeconds = 75
        machine = DoorMachine(limits: limits, refusal: nil, now: now, waitingBytesMax: 2)
        self.kind = kind
    }

    mutating func check(_ isRight: Bool, _ rule: String) { if !isRight { wrongs.append(rule) } }

    mutating func take(_ event: DoorMachine.Event) {
        machine.handle(event, &effects)
        guard !isPerforming else { return }
        isPerforming = true
        while !effects.isEmpty { perform(effects.removeFirst()) }
        isPerforming = false
    }

    private mutating func perform(_ effect: DoorMachine.Effect) {
        check(!isEnded || effect == .takeBack || effect == .forget, "no effect when it is gone")
        check(!isClosed || [.takeBack, .forget, .end, .endLife].contains(effect), "no effect after close")
        switch effect {
        case .look: take(.seen(sight))
        case .begin:
            check(!isUnderWay, "one request at a time")
            check(unread == 0, "no request for a client that does not read")
            check(!isTurned, "no request of the decoder's connection")
            isUnderWay = true
            waiting.removeFirst(3)
            if kind.isQuick { answer() }
            take(.begun)
        case .refuse:
            check(!isUnderWay, "one request at a time")
            isUnderWay = true
            refused += 1
            answer()
        case .write, .writeLast:
            check(!isOutputClosed, "nothing is written after the end")
            check(effect == .writeLast || !isStopping, "a server that stops says with each answer that it is the last")
            written += 1
            isUnflushed = effect == .write
            isLastUnwritten = effect == .writeLast
            take(.wrote(100))
            if kind.isTight { become(unread: 100) }
        case .flush:
            isUnflushed = false
            if kind.isTight { become(unread: 0) }
        case .read: isReadMissing = false
        case .closeOutput:
            check(!isUnflushed && !isLastUnwritten, "what was written is flushed before the close")
            isOutputClosed = true
        case .close:
            check(!isUnflushed, "what was written is flushed before the close")
            isClosed = true
        case .measure: take(.unread(unread))
        case .hold(let side, let bytes):
            let isMore = bytes > held[side] ?? 0
            held[side] = bytes
            take(.held(side, isWithin: !isFull || !isMore))
        case .forget: waiting = []
        case .passOn:
            waiting = []
            isTurned = true
        case .takeBack: takenBack += 1
        case .awaitGrace: isGraceAwaited = true
        case .endLife: isGone = true
        case .end:
            isEnded = true
            isGone = true
            waiting = []
            held = [:]
        case .passReadComplete, .passInputClosed, .passQuiesce, .count: break
        }
    }

    private mutating func answer() {
        isUnderWay = false
        take(.answered(at: now))
    }

    private mutating func become(unread: Int) {
        guard self.unread != unread else { return }
        self.unread = unread
        take(.writability(unread == 0, unread: unread, at: now))
    }

    private var sight: DoorMachine.Sight {
        switch waiting.first {
        case "L": return .plain(headBytes: 1, bodyBytes: 1 << 40, closes: false)
        case "H":
            guard waiting.count > 1 else { return .incomplete }
            return waiting[1] == "h" ? .plain(headBytes: 2, bodyBytes: 1, closes: false) : .other
        case nil: return .incomplete
        default: return .other
        }
    }

    private mutating func arrive(_ bytes: String) {
        waiting += bytes
        take(.arrived(bytes.count, at: now))
    }

    /// - Returns: whether that can happen now.
    mutating func act(_ act: Act) -> Bool {
        isFull = act == .full
        switch act {
        case .whole where !isClosed: arrive("Hhb")
        case .head where !isClosed: arrive("Hh")
        case .body where !isClosed: arrive("b")
        case .other where !isClosed: arrive("o")
        case .full where !isClosed: arrive("H")
        case .readComplete where !isEnded: take(.readComplete)
        case .readAsked where !isClosed:
            isReadMissing = true
            take(.readAsked)
        case .answer where isUnderWay:
            (written, takenBack, refused) = (0, 0, 0)
            let (wasClosed, wasGone) = (isClosed, isGone)
            answer()
            check(written == (wasClosed ? 0 : 1 + refused), "an answer is written once, and not after the close")
            check(takenBack == (wasGone ? 1 : 0), "what was taken for a client that is gone is given back once")
        case .unwritable where unread == 0 && !isClosed:
            become(unread: 100)
        case .writable where unread > 0 && !isClosed:
            become(unread: 0)
        case .lastWritten where isLastUnwritten && unread == 0:
            isLastUnwritten = false
            take(.lastWritten)
        case .outputClosed where isTurned && !isOutputClosed && !isClosed:
            isOutputClosed = true
            take(.outputClosed(at: now))
        case .large where !isClosed: arrive("L")
        case .inputClosed where !isClosed: take(.inputClosed)
        case .quiesce where !isClosed:
            isStopping = !isTurned
            take(.quiesce)
        case .graceOver where isGraceAwaited:
            isGraceAwaited = false
            take(.graceOver)
        case .tick where !isEnded: pass(seconds: 5)
        case .longTick where !isEnded: pass(seconds: 100)
        case .ended where !isEnded:
            isClosed = true
            take(.ended)
        default: return false
        }
        judge()
        return wrongs.isEmpty
    }

    private mutating func pass(seconds: Int64) {
        now = now + .seconds(seconds)
        take(.ticked(at: now, unread: unread))
    }

    /// What holds after every act.
    private mutating func judge() {
        if isEnded { check(held.isEmpty, "all is given back at the end") }
        guard !isClosed else { return }
        check(machine.waiting == waiting.count, "it knows what waits")
        check(machine.waiting == held[.requests] ?? 0 || isTurned || isLastUnwritten, "what waits is held")
        check(
            !isReadMissing || isLastUnwritten || waiting.count > 2 && (isUnderWay || unread > 0),
            "a read is held only while something else must come first")
        check(!isOutputClosed || waiting.isEmpty && held[.requests] ?? 0 == 0, "what comes after the end takes no room")
        check(isOutputClosed == (machine.mode == .lingering), "it lingers after the end")
        if !machine.isInRead { check(!isUnflushed, "no answer is left unflushed") }
        check(isUnderWay == (machine.mode == .busy), "it is busy with what is under way")
    }

    /// Whether the client is cut if nothing but time passes; the service's and the system's turns aside.
    func isCutInTime() -> Bool {
        var world = self
        if world.isUnderWay || world.isClosed || world.isLastUnwritten && unread == 0 { return true }
        if !world.act(.readComplete) || !world.act(.readAsked) { return false }
        for _ in 0..<4 where !world.isClosed { world.pass(seconds: 100) }
        return world.isClosed
    }
}

@Suite struct `The door's decisions, in every order of events` {
    /// Depth first would see most worlds many times: each is seen once, at its smallest depth.
    @Test(arguments: Kind.allCases) fileprivate func `keep their rules`(kind: Kind) {
        var known: Set<World> = []
        var edge: [(world: World, acts: [Act])] = [(World(kind), [])]
        for _ in 0..<6 {
            var next: [(world: World, acts: [Act])] = []
            for (world, acts) in edge {
                for act in Act.allCases {
                    var after = world
                    let isPossible = after.act(act)
                    guard after.wrongs.isEmpty, !isPossible || after.isCutInTime() else {
                        Issue.record("\(after.wrongs.first ?? "a client is cut in time"): \(acts + [act])")
                        return
                    }
                    if isPossible, known.insert(after).inserted { next.append((after, acts + [act])) }
                }
            }
            edge = next
        }
        #expect(known.count > 1_000, "the exploration went somewhere")
        #expect(
            known.contains { $0.isTurned } && known.contains { $0.isOutputClosed && !$0.isTurned }
                && known.contains { $0.isEnded } && known.contains { $0.isLastUnwritten })
    }
}
