// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolTestSupport
import Testing

@testable import QueuePoolCore

// Random schedules with every fault that a network and SQS have: entries that fail alone, throttling, lost requests,
// lost answers, answers out of order, requests that arrive long after everybody gave them up.

private struct Simulation {
    private enum Action {
        case accept([UInt64])
        case arrive(RequestID)
        case answer(RequestID, EntryAnswers)
        /// A request that was given up arrives after all.
        case ghost([OutgoingMessage])
    }

    private struct Due: Comparable {
        let at: Timestamp
        let turn: Int
        let action: Action

        static func < (a: Due, b: Due) -> Bool { (a.at, a.turn) < (b.at, b.turn) }
        static func == (a: Due, b: Due) -> Bool { (a.at, a.turn) == (b.at, b.turn) }
    }

    private(set) var stage: SendStage
    private var random: SplitMix64
    private var agenda: [Due] = []
    private var turn = 0
    /// Percent.
    private let faultRate: Int

    init(seed: UInt64) {
        random = SplitMix64(seed: seed)
        var limits = RequestLimits()
        limits.requestEntriesMax = 1 + random.below(10)
        limits.requestsInFlightMax = 1 + random.below(4)
        limits.heldEntriesMax = 5 + random.below(60)
        limits.requestBytesMax = 300
        limits.deadlineMilliseconds = [300, 2_000, 30_000][random.below(3)]
        faultRate = [0, 10, 40, 80][random.below(4)]
        let quota: AdaptiveQuota.Limits? =
            random.chance(50) ? AdaptiveQuota.Limits(start: 1 + random.below(300), ceiling: 3_000) : nil
        stage = SendStage(limits: limits, quota: quota, seed: seed)
        let groups = 1 + random.below(12)
        let span = [50, 1_000, 20_000][random.below(3)]
        for _ in 0..<(10 + random.below(60)) {
            let entries = (0..<(1 + random.below(4))).map { _ in UInt64(random.below(groups)) }
            plan(random.below(span), .accept(entries))
        }
    }

    mutating func run() {
        // Enough for the longest schedule; a sender that never comes to rest ends here.
        for _ in 0..<20_000 {
            for id in stage.left { plan(1 + random.below(40), .arrive(id)) }
            stage.left = []
            let timer = stage.timers.min()
            if let next = agenda.last, next.at <= timer ?? .distantFuture {
                agenda.removeLast()
                stage.now = max(stage.now, next.at)
                perform(next.action)
            } else if !stage.wake() {
                break
            }
        }
        stage.checkEnd()
    }

    private mutating func plan(_ delay: Int, _ action: Action) {
        turn += 1
        let due = Due(at: stage.now + Int64(delay), turn: turn, action: action)
        // The next one last.
        agenda.insert(due, at: agenda.firstIndex { $0 < due } ?? agenda.count)
    }

    private mutating func perform(_ action: Action) {
        switch action {
        case .accept(let groups): stage.accept(groups, bytes: 8 + random.below(40))
        case .answer(let id, let answers): stage.answer(id, answers)
        case .ghost(let messages): for message in messages { _ = stage.queue.store(message, now: stage.now) }
        case .arrive(let id):
            let messages = stage.underWay[id] ?? []
            plan(1 + random.below(40), .answer(id, arrive(messages)))
        }
    }

    /// What a request does to the queue, and what is answered.
    private mutating func arrive(_ messages: [OutgoingMessage]) -> EntryAnswers {
        guard random.chance(faultRate) else { return .entries(messages.map { outcome($0, mayFail: false) }) }
        switch random.below(8) {
        case 0: return .failed(.throttled)
        case 1: return .failed(.retryable)
        case 2: return .failed(.unknownOutcome)
        case 3:
            for message in messages { _ = stage.queue.store(message, now: stage.now) }
            return .failed(.unknownOutcome)
        case 4:
            plan(random.below(60_000), .ghost(messages))
            return .failed(.unknownOutcome)
        case 5 where random.chance(20): return .failed(.permanent(.refused(code: "AccessDenied")))
        default:
            // Entries are looked at in any order.
            return .entries(messages.map { outcome($0, mayFail: true) })
        }
    }

    private mutating func outcome(_ message: OutgoingMessage, mayFail: Bool) -> EntryOutcome {
        guard mayFail, random.chance(50) else { return .stored(stage.queue.store(message, now: stage.now)) }
        switch random.below(5) {
        case 0: return .throttled
        case 1: return .retryable
        case 2: return .unknown
        case 3:
            _ = stage.queue.store(message, now: stage.now)
            return .unknown
        default: return .permanent(.refused(code: "InvalidMessageContents"))
        }
    }
}

@Suite struct `The request sender in random schedules` {
    @Test(arguments: 0..<20) func `keeps its guarantees whatever fails`(block: Int) {
        for seed in SplitMix64.seeds(150, from: UInt64(block) * 1_000 + 1) {
            var simulation = Simulation(seed: seed)
            simulation.run()
            #expect(simulation.stage.faults.isEmpty, "seed \(seed)")
        }
    }

    @Test func `keeps its guarantees with a seed of today`() {
        let seed = UInt64.random(in: 1...UInt64.max / 2)
        for seed in SplitMix64.seeds(100, from: seed) {
            var simulation = Simulation(seed: seed)
            simulation.run()
            #expect(simulation.stage.faults.isEmpty, "seed \(seed)")
        }
    }
}
