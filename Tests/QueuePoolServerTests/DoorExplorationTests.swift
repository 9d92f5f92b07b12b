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
    case inputClosed, quiesce, graceOver
    /// Five seconds, or a hundred.
    case tick, longTick
    case ended
    /// The budget of all connections is full until the next act.
    case full
}

/// A channel and a service that do what the machine says and tell it what came of it, as `FrontDoor` does.
private struct World: Hashable {
    var machine: DoorMachine
    /// Whether the service answers within the call.
    let isQuick: Bool
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
    var isReadMissing = false
    /// Of this request's answer.
    var written = 0
    var takenBack = 0
    var held: [DoorMachine.Side: Int] = [:]
    /// What was broken.
    var wrongs: [String] = []

    init(isQuick: Bool) {
        var limits = DoorLimits()
        limits.headSeconds = 10
        limits.idleSeconds = 75
        machine = DoorMachine(limits: limits, refusal: nil, now: now)
        self.isQuick = isQuick
    }

    mutating func check(_ isRight: Bool, _ rule: String) { if !isRight { wrongs.append(rule) } }

    mutating func take(_ event: DoorMachine.Event) {
        var events = [event]
        while !events.isEmpty {
            var effects: [DoorMachine.Effect] = []
            machine.handle(events.removeFirst(), &effects)
            for effect in effects { events += perform(effect) }
        }
    }

    /// - Returns: what comes of it.
    private mutating func perform(_ effect: DoorMachine.Effect) -> [DoorMachine.Event] {
        check(!isEnded || effect == .takeBack || effect == .forget, "no effect when it is gone")
        check(!isClosed || [.takeBack, .forget, .end, .endLife].contains(effect), "no effect after close")
        switch effect {
        case .look: return [.seen(sight)]
        case .begin:
            check(!isUnderWay, "one request at a time")
            check(unread == 0, "no request for a client that does not read")
            check(!isTurned, "no request of the decoder's connection")
            isUnderWay = true
            waiting.removeFirst(3)
            return isQuick ? answered() + [.begun] : [.begun]
        case .refuse:
            check(!isUnderWay, "one request at a time")
            isUnderWay = true
            return answered()
        case .write, .writeLast:
            written += 1
            isUnflushed = effect == .write
            isLastUnwritten = effect == .writeLast
            return [.wrote(100)]
        case .flush: isUnflushed = false
        case .read: isReadMissing = false
        case .close:
            check(!isUnflushed, "what was written is flushed before the close")
            isClosed = true
        case .measure: return [.unread(unread)]
        case .hold(let side, let bytes):
            let isMore = bytes > held[side] ?? 0
            held[side] = bytes
            return [.held(side, isWithin: !isFull || !isMore)]
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
        return []
    }

    private mutating func answered() -> [DoorMachine.Event] {
        isUnderWay = false
        return [.answered(at: now)]
    }

    private var sight: DoorMachine.Sight {
        switch waiting.first {
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
            (written, takenBack) = (0, 0)
            let (wasClosed, wasGone) = (isClosed, isGone)
            for event in answered() { take(event) }
            check(written == (wasClosed ? 0 : 1), "an answer is written once, and not after the close")
            check(takenBack == (wasGone ? 1 : 0), "what was taken for a client that is gone is given back once")
        case .unwritable where unread == 0 && !isClosed:
            unread = 100
            take(.writability(false, unread: unread, at: now))
        case .writable where unread > 0 && !isClosed:
            unread = 0
            take(.writability(true, unread: 0, at: now))
        case .lastWritten where isLastUnwritten && unread == 0:
            isLastUnwritten = false
            take(.lastWritten)
        case .inputClosed where !isClosed: take(.inputClosed)
        case .quiesce where !isClosed: take(.quiesce)
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
        check(!isReadMissing, "few bytes never hold a read")
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
    @Test(arguments: [false, true]) func `keep their rules`(isQuick: Bool) {
        var known: Set<World> = []
        var edge: [(world: World, acts: [Act])] = [(World(isQuick: isQuick), [])]
        for _ in 0..<7 {
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
            known.contains { $0.isTurned } && known.contains { $0.isEnded } && known.contains { $0.isLastUnwritten })
    }
}
