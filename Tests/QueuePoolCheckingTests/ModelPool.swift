// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking
import QueuePoolCore
import QueuePoolTestSupport

/// A pool of a few groups as the promises describe it, run at random: a queue a group, senders whose answers get lost
/// and who try again in order, workers that crash and whose messages lapse. One fault can be put into it.
struct ModelPool {
    enum Fault: CaseIterable, Sendable {
        case forgetsAccepted, vanishesInFlight, swapsNeighbours, storesTwice, handsAfterDelete, twoWorkers
        case skipsUnfinished, acceptsBehindFailed, changesShard, invents

        var breaks: Promise {
            switch self {
            case .forgetsAccepted: .durable
            case .vanishesInFlight: .nothingLost
            case .swapsNeighbours, .twoWorkers, .skipsUnfinished, .acceptsBehindFailed: .order
            case .storesTwice, .handsAfterDelete: .noDuplicate
            case .changesShard: .placement
            case .invents: .authenticity
            }
        }
    }

    private struct Stored {
        var message: Int
        var id: UInt64
    }

    private struct Answer {
        var request: Int
        var entry: Int
        var group: Int
        var epoch: Int
        /// Without one the entry failed.
        var id: UInt64?
        var isDuplicate = false
        var isInDoubt = false
    }

    private struct Group {
        var queue: [Stored] = []
        /// What a sender sends again, in its order, before anything new.
        var again: [Int] = []
        var isSending = false
        var worker: Int?
    }

    private(set) var checker = PromiseChecker()
    /// How often the fault struck.
    private(set) var faults = 0
    private let fault: Fault?
    private var random: SplitMix64
    private var now = Timestamp(milliseconds: 1_800_000_000_000)
    private var groups = Array(repeating: Group(), count: 6)
    private var answers: [Answer] = []
    private var openAnswers: [Int: Int] = [:]
    private var ids: [Int: UInt64] = [:]
    private var messageCount = 0
    private var requestCount = 0
    private var idCount: UInt64 = 0
    private var epoch = 0

    init(seed: UInt64, fault: Fault?) {
        random = SplitMix64(seed: seed)
        self.fault = fault
    }

    mutating func run(steps: Int) {
        for _ in 0..<steps {
            now = now + Int64(random.below(5))
            switch random.below(100) {
            case 0..<25: send(to: random.below(groups.count))
            case 25..<50: if !answers.isEmpty { tell(answers.remove(at: random.below(answers.count))) }
            case 50..<93: work(on: random.below(groups.count))
            case 93..<95: crash(random.below(3))
            case 95..<97: lapse(random.below(groups.count))
            case 97: changeEpoch()
            default: expire(random.below(groups.count))
            }
        }
        checker.faultsStopped(now: now)
        while !answers.isEmpty { tell(answers.removeFirst()) }
        while let group = groups.firstIndex(where: { !$0.queue.isEmpty }) { work(on: group) }
        checker.finish(now: now)
    }

    private mutating func strikes(_ candidate: Fault, percent: Int = 30) -> Bool {
        guard fault == candidate, random.chance(percent) else { return false }
        faults += 1
        return true
    }

    // MARK: - Sending -

    /// One request: what must be tried again, in its order, and something new behind it.
    private mutating func send(to group: Int) {
        guard !groups[group].isSending else { return }
        groups[group].isSending = true
        var mine = groups[group].again
        groups[group].again = []
        for _ in 0..<1 + random.below(3) { mine.append(newMessage()) }
        requestCount += 1
        let request = requestCount
        checker.began(request: request, entries: mine.map { ($0, group) }, now: now)
        openAnswers[request] = mine.count
        var mode = 0
        for (entry, message) in mine.enumerated() {
            // Once an entry failed, all later ones fail. 1: refused; 2: stored, but nobody hears it; 3: neither.
            if mode == 0, random.chance(12) { mode = 1 + random.below(3) }
            if mode == 1, entry > 0, strikes(.acceptsBehindFailed, percent: 100) { mode = 0 }
            var answer = Answer(request: request, entry: entry, group: group, epoch: epoch)
            if mode == 0 || mode == 2 { (answer.id, answer.isDuplicate) = store(message, group) }
            if mode > 0 { groups[group].again.append(message) }
            if mode == 2 || mode == 3 {
                answer.id = nil
                answer.isInDoubt = true
            }
            answers.append(answer)
        }
        if mine.count > 1, groups[group].queue.count > 2, strikes(.swapsNeighbours) {
            let last = groups[group].queue.count - 1
            groups[group].queue.swapAt(last, last - 1)
        }
    }

    private mutating func newMessage() -> Int {
        messageCount += 1
        return messageCount
    }

    private mutating func store(_ message: Int, _ group: Int) -> (UInt64, Bool) {
        if let id = ids[message], !strikes(.storesTwice, percent: 100) { return (id, true) }
        idCount += 1
        ids[message] = idCount
        if !strikes(.forgetsAccepted) { groups[group].queue.append(Stored(message: message, id: idCount)) }
        return (idCount, false)
    }

    private mutating func tell(_ answer: Answer) {
        if let id = answer.id {
            let shard = strikes(.changesShard) ? 99 : answer.group * 10 + answer.epoch
            checker.accepted(
                request: answer.request, entry: answer.entry, messageID: id, isDuplicate: answer.isDuplicate,
                shard: shard, now: now)
        } else {
            checker.refused(request: answer.request, entry: answer.entry, isUnknown: answer.isInDoubt, now: now)
        }
        openAnswers[answer.request, default: 1] -= 1
        if openAnswers[answer.request] == 0 { groups[answer.group].isSending = false }
    }

    // MARK: - Receiving -

    private mutating func work(on group: Int) {
        if strikes(.invents) { checker.handed(message: 1_000_000 + faults, messageID: 1, worker: 0, now: now) }
        guard let head = groups[group].queue.first else { return }
        guard let worker = groups[group].worker else {
            let worker = random.below(3)
            groups[group].worker = worker
            checker.handed(message: head.message, messageID: head.id, worker: worker, now: now)
            return
        }
        if strikes(.twoWorkers) {
            checker.handed(message: head.message, messageID: head.id, worker: worker + 1, now: now)
        }
        if groups[group].queue.count > 1, strikes(.skipsUnfinished) {
            let next = groups[group].queue[1]
            checker.handed(message: next.message, messageID: next.id, worker: worker, now: now)
        }
        switch random.below(10) {
        case 0..<2: checker.handed(message: head.message, messageID: head.id, worker: worker, now: now)
        case 2:
            checker.deadLettered(message: head.message, now: now)
            next(group)
        default:
            if !strikes(.vanishesInFlight) { checker.deleted(message: head.message, now: now) }
            next(group)
            if strikes(.handsAfterDelete) {
                checker.handed(message: head.message, messageID: head.id, worker: worker, now: now)
            }
        }
    }

    private mutating func next(_ group: Int) {
        groups[group].queue.removeFirst()
        groups[group].worker = nil
    }

    private mutating func crash(_ worker: Int) {
        checker.workerEnded(worker)
        for group in groups.indices where groups[group].worker == worker { groups[group].worker = nil }
    }

    private mutating func lapse(_ group: Int) {
        guard groups[group].worker != nil, let head = groups[group].queue.first else { return }
        checker.lapsed(message: head.message)
        groups[group].worker = nil
    }

    private mutating func expire(_ group: Int) {
        guard let head = groups[group].queue.first else { return }
        checker.expired(message: head.message, now: now)
        next(group)
    }

    private mutating func changeEpoch() {
        epoch = (epoch + 1) % 10
        checker.epochChanged()
    }
}
