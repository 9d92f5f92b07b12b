// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolTestSupport
import Testing

@testable import QueuePoolCore

// Senders that do what senders do: each has groups of its own, sends a request, waits for all of its answers, and sends
// what failed again, in its order and with the same deduplication ids, before anything new. Whatever fails on the way,
// each group must end in the order that its sender meant (I2) and with every message once (I3).

private struct RetryingSenders {
    private enum Action {
        case submit(sender: Int)
        case arrive(RequestID)
        case answer(RequestID, EntryAnswers)
        /// A request whose answer was lost arrives after all.
        case ghost([OutgoingMessage])
    }

    private struct Due {
        let at: Timestamp
        let turn: Int
        let action: Action
    }

    private struct Sender {
        /// Numbers and groups of what is not acknowledged yet, in order.
        var pending: [(number: Int, group: UInt64)]
        var waitsFor = 0
        var acknowledged: Set<Int> = []
    }

    private var sender: RequestSender<Int>
    private var queue = EntryQueue()
    private var now = sendingStart
    private var random: SplitMix64
    private var agenda: [Due] = []
    private var turn = 0
    private var senders: [Sender] = []
    private var underWay: [RequestID: [OutgoingMessage]] = [:]
    private var timers: [Timestamp] = []
    private let meant: [UInt64: [Int]]
    private let faultRate: Int
    /// Faults stop here, so that every run ends.
    private let quietFrom: Timestamp
    private(set) var faults: [String] = []

    init(seed: UInt64) {
        random = SplitMix64(seed: seed)
        var limits = RequestLimits()
        limits.requestEntriesMax = 1 + random.below(10)
        limits.requestsInFlightMax = 1 + random.below(4)
        limits.heldEntriesMax = 5 + random.below(40)
        limits.deadlineMilliseconds = [300, 2_000, 30_000][random.below(3)]
        faultRate = [10, 40, 80][random.below(3)]
        quietFrom = sendingStart + 120_000
        sender = RequestSender(limits: limits, quota: nil, seed: seed)
        var meant: [UInt64: [Int]] = [:]
        var number = 0
        for who in 0..<(1 + random.below(3)) {
            let groups = 1 + random.below(3)
            var pending: [(number: Int, group: UInt64)] = []
            for _ in 0..<(2 + random.below(14)) {
                number += 1
                let group = UInt64(who * 10 + random.below(groups))
                meant[group, default: []].append(number)
                pending.append((number, group))
            }
            senders.append(Sender(pending: pending))
        }
        self.meant = meant
        for who in senders.indices { plan(random.below(100), .submit(sender: who)) }
    }

    mutating func run() {
        for _ in 0..<50_000 {
            let timer = timers.min()
            if let next = agenda.first, next.at <= timer ?? .distantFuture {
                agenda.removeFirst()
                now = max(now, next.at)
                perform(next.action)
            } else if let timer {
                now = max(now, timer)
                timers.removeAll { $0 <= now }
                handle(.timer)
            } else {
                break
            }
        }
        if senders.contains(where: { !$0.pending.isEmpty }) { faults.append("a sender never came to its end") }
        for (group, numbers) in meant where queue.order[group] ?? [] != numbers {
            faults.append("group \(group) is stored as \(queue.order[group] ?? []), meant was \(numbers)")
        }
    }

    private mutating func plan(_ delay: Int, _ action: Action) {
        turn += 1
        let due = Due(at: now + Int64(delay), turn: turn, action: action)
        agenda.insert(due, at: agenda.firstIndex { ($0.at, $0.turn) > (due.at, due.turn) } ?? agenda.count)
    }

    private mutating func perform(_ action: Action) {
        switch action {
        case .submit(let who): submit(who)
        case .answer(let id, let answers):
            underWay[id] = nil
            handle(.answered(id, answers))
        case .ghost(let messages): for message in messages { _ = queue.store(message, now: now) }
        case .arrive(let id): plan(1 + random.below(40), .answer(id, arrive(underWay[id] ?? [])))
        }
    }

    private mutating func submit(_ who: Int) {
        let size = 1 + random.below(8)
        let entries = senders[who].pending.prefix(size)
        senders[who].waitsFor = entries.count
        let order = RequestOrder()
        // A stream's lines come in pieces, which have their order in common.
        let cut = random.chance(50) ? entries.count : random.below(entries.count + 1)
        let all = entries.enumerated().map { position, entry in
            BatcherEntry(
                message: OutgoingMessage(number: entry.number, group: entry.group), ticket: entry.number, order: order,
                position: position)
        }
        for piece in [all.prefix(cut), all.dropFirst(cut)] where !piece.isEmpty { handle(.accept(Array(piece))) }
    }

    private mutating func handle(_ event: RequestSender<Int>.Event) {
        for effect in sender.handle(event, now: now) {
            switch effect {
            case .wake(let at): timers.append(at)
            case .complete(let number, let result): tell(number, result)
            case .send(let id, let messages):
                underWay[id] = messages
                plan(1 + random.below(40), .arrive(id))
            case .announce, .settle: faults.append("an effect of the other machine")
            }
        }
    }

    private mutating func tell(_ number: Int, _ result: Result<SendReceipt, ShardError>) {
        guard let who = senders.firstIndex(where: { $0.pending.contains { $0.number == number } }) else {
            return faults.append("\(number) was told twice")
        }
        if case .success = result { senders[who].acknowledged.insert(number) }
        senders[who].waitsFor -= 1
        guard senders[who].waitsFor == 0 else { return }
        let acknowledged = senders[who].acknowledged
        senders[who].pending.removeAll { acknowledged.contains($0.number) }
        if !senders[who].pending.isEmpty { plan(1 + random.below(500), .submit(sender: who)) }
    }

    private mutating func arrive(_ messages: [OutgoingMessage]) -> EntryAnswers {
        guard now < quietFrom, random.chance(faultRate) else { return .entries(messages.map { outcome($0, false) }) }
        switch random.below(7) {
        case 0: return .failed(.throttled)
        case 1: return .failed(.retryable)
        case 2:
            for message in messages { _ = queue.store(message, now: now) }
            return .failed(.unknownOutcome)
        case 3:
            plan(random.below(60_000), .ghost(messages))
            return .failed(.unknownOutcome)
        case 4: return .failed(.permanent(.refused(code: "InvalidSecurity")))
        default: return .entries(messages.map { outcome($0, true) })
        }
    }

    private mutating func outcome(_ message: OutgoingMessage, _ mayFail: Bool) -> EntryOutcome {
        guard mayFail, random.chance(50) else { return .stored(queue.store(message, now: now)) }
        switch random.below(5) {
        case 0: return .throttled
        case 1: return .retryable
        case 2: return .permanent(.refused(code: "InternalError"))
        case 3:
            _ = queue.store(message, now: now)
            return .unknown
        default:
            plan(random.below(60_000), .ghost([message]))
            return .unknown
        }
    }
}

@Suite struct `Senders that repeat what failed` {
    @Test(arguments: 0..<10) func `end with the order they meant`(block: Int) {
        for seed in SplitMix64.seeds(150, from: UInt64(block) * 1_000 + 7) {
            var senders = RetryingSenders(seed: seed)
            senders.run()
            #expect(senders.faults.isEmpty, "seed \(seed)")
        }
    }

    @Test func `end with the order they meant, with a seed of today`() {
        for seed in SplitMix64.seeds(100, from: UInt64.random(in: 1...UInt64.max / 2)) {
            var senders = RetryingSenders(seed: seed)
            senders.run()
            #expect(senders.faults.isEmpty, "seed \(seed)")
        }
    }
}

@Suite struct `An entry in doubt` {
    private static func limits() -> RequestLimits {
        var limits = RequestLimits()
        limits.deadlineMilliseconds = 1_000
        return limits
    }

    /// A stage whose only entry left, was not answered by its deadline, and was told so.
    private func doubtful() throws -> (stage: SendStage, number: Int) {
        var stage = SendStage(limits: Self.limits())
        let number = stage.accept([1])[0]
        let request = try #require(stage.underWay.keys.first)
        while stage.told[number] == nil, stage.wake() {}
        stage.answer(request, .failed(.unknownOutcome))
        return (stage, number)
    }

    @Test func `keeps its place past its deadline, until a try is answered`() throws {
        var (stage, first) = try doubtful()
        let second = stage.accept([1])[0]
        while stage.underWay.isEmpty, stage.wake() {}
        let request = try #require(stage.underWay.keys.first)
        #expect(stage.underWay[request]?.map(\.number) == [first])
        stage.answerStored(request)
        let next = try #require(stage.underWay.keys.first)
        stage.answerStored(next)
        #expect(stage.queue.order[1] == [first, second])
        stage.checkEnd()
        #expect(stage.faults.isEmpty)
    }

    @Test func `keeps its place when its deadline passes while it rests`() throws {
        var stage = SendStage(limits: Self.limits())
        let first = stage.accept([1])[0]
        while stage.told[first] == nil {
            if let request = stage.underWay.keys.first { stage.answer(request, .entries([.unknown])) }
            if stage.underWay.isEmpty, !stage.wake() { break }
        }
        #expect(stage.underWay.isEmpty)
        stage.accept([1])
        while stage.underWay.isEmpty, stage.wake() {}
        #expect(stage.underWay.values.first?.map(\.number) == [first])
    }

    @Test func `keeps its place when a later try is refused`() throws {
        var (stage, first) = try doubtful()
        while stage.underWay.isEmpty, stage.wake() {}
        stage.answer(try #require(stage.underWay.keys.first), .entries([.permanent(.refused(code: "InternalError"))]))
        stage.accept([1])
        while stage.underWay.isEmpty, stage.wake() {}
        #expect(stage.underWay.values.first?.map(\.number) == [first])
    }

    @Test func `is not tried any more a minute later, and keeps its place all the same`() throws {
        var (stage, _) = try doubtful()
        var lastTry = stage.now
        for _ in 0..<10_000 where stage.sender.heldEntries > 0 {
            if let request = stage.underWay.keys.first {
                lastTry = stage.now
                stage.answer(request, .failed(.retryable))
            }
            if stage.underWay.isEmpty, !stage.wake() { break }
        }
        #expect(stage.sender.heldEntries == 0)
        #expect(lastTry - sendingStart >= 50_000 && lastTry - sendingStart <= 60_000)
        #expect(stage.now - sendingStart >= 240_000)
    }

    @Test func `is taken over by its sender's next try`() throws {
        var (stage, first) = try doubtful()
        while stage.now - sendingStart < 100_000 {
            if let request = stage.underWay.keys.first { stage.answer(request, .failed(.retryable)) }
            if stage.underWay.isEmpty, !stage.wake() { break }
        }
        #expect(stage.underWay.isEmpty && stage.sender.heldEntries == 1)
        let follower = stage.accept([1])[0]
        let again = stage.acceptAgain(first, group: 1)
        while stage.underWay.isEmpty, stage.wake() {}
        stage.answerStored(try #require(stage.underWay.keys.first))
        while stage.underWay.isEmpty, stage.wake() {}
        stage.answerStored(try #require(stage.underWay.keys.first))
        #expect(try stage.told[again]?.result.get() != nil)
        #expect(stage.queue.order[1] == [first, follower] && stage.sender.heldEntries == 0)
    }

    @Test func `is given up when no request from before can arrive any more`() throws {
        var (stage, first) = try doubtful()
        for _ in 0..<10_000 where stage.sender.heldEntries > 0 {
            if let request = stage.underWay.keys.first { stage.answer(request, .failed(.retryable)) }
            if stage.underWay.isEmpty, !stage.wake() { break }
        }
        #expect(stage.sender.heldEntries == 0)
        #expect(stage.now - sendingStart >= 240_000 && stage.now - sendingStart < 300_000)
        let second = stage.accept([1])[0]
        while stage.underWay.isEmpty, stage.wake() {}
        stage.answerStored(try #require(stage.underWay.keys.first))
        #expect(stage.queue.order[1] == [second] && first != second)
    }
}

@Suite struct `A shard that goes on failing` {
    @Test func `has its senders told within two seconds, and is probed with what they send`() throws {
        var stage = SendStage(limits: RequestLimits())
        stage.accept([1])
        // Every request fails at once, until the shard counts as failing.
        while stage.now - sendingStart < 20_000 {
            if let request = stage.underWay.keys.first {
                stage.answer(request, .failed(.retryable))
            } else if !stage.wake() {
                break
            }
        }
        let sentAt = stage.now
        let number = stage.accept([2])[0]
        while stage.told[number] == nil {
            if let request = stage.underWay.keys.first {
                stage.answer(request, .failed(.retryable))
            } else if !stage.wake() {
                break
            }
        }
        let told = try #require(stage.told[number])
        #expect(told.at - sentAt <= 2_000)
        guard case .failure(.unavailable) = told.result else { return #expect(Bool(false), "told \(told.result)") }
        // It answers again: the next probe ends it.
        let probe = stage.accept([3])[0]
        for _ in 0..<1_000 where stage.told[probe] == nil {
            if let request = stage.underWay.keys.first { stage.answerStored(request) } else if !stage.wake() { break }
        }
        let last = stage.accept([4])[0]
        let request = try #require(stage.underWay.first { $0.value.contains { $0.number == last } }?.key)
        stage.answerStored(request)
        stage.checkEnd()
        #expect(stage.faults.isEmpty)
    }

    /// A stage whose shard counts as failing: every request failed at once for 20 seconds.
    private func failing() -> SendStage {
        var stage = SendStage(limits: RequestLimits())
        stage.accept([1])
        while stage.now - sendingStart < 20_000 {
            if let request = stage.underWay.keys.first {
                stage.answer(request, .failed(.retryable))
            } else if !stage.wake() {
                break
            }
        }
        return stage
    }

    /// Requests leave, and no answer comes, until the time.
    private func wait(_ stage: inout SendStage, until: Timestamp) {
        while let next = stage.timers.min(), next <= until, stage.wake() {}
        stage.now = until
    }

    @Test func `is known to after one request without an answer, if it answered none since`() throws {
        var stage = SendStage(limits: RequestLimits())
        let first = stage.accept([1])[0]
        wait(&stage, until: sendingStart + 10_000)
        stage.answer(try #require(stage.underWay.keys.first), .failed(.unknownOutcome))
        let second = stage.accept([2])[0]
        wait(&stage, until: sendingStart + 12_001)
        #expect(stage.told[first].map { $0.at - sendingStart } == 12_000)
        #expect(stage.told[second].map { $0.at - sendingStart } == 12_000)
    }

    @Test func `is not known to after one lost answer among others that came`() throws {
        var stage = SendStage(limits: RequestLimits())
        let lost = stage.accept([1])[0]
        let request = try #require(stage.underWay.keys.first)
        wait(&stage, until: sendingStart + 5_000)
        stage.accept([2])
        stage.answerStored(try #require(stage.underWay.keys.first { $0 != request }))
        wait(&stage, until: sendingStart + 10_000)
        stage.answer(request, .failed(.unknownOutcome))
        wait(&stage, until: sendingStart + 20_000)
        #expect(stage.told[lost] == nil)
    }

    @Test func `refuses at once what is more than its probes take`() {
        var stage = failing()
        let probes = stage.accept((10..<20).map { UInt64($0) })
        let refused = stage.accept([30, 31])
        #expect(probes.allSatisfy { stage.told[$0] == nil })
        for number in refused {
            guard case .failure(.unavailable(let wait)) = stage.told[number]?.result else {
                Issue.record("told \(String(describing: stage.told[number]))")
                continue
            }
            #expect(wait > 0 && stage.told[number]?.at == stage.now)
        }
    }

    @Test func `is tried anew while a probe gets no answer`() throws {
        var stage = failing()
        stage.accept([2])
        while stage.underWay.isEmpty, stage.wake() {}
        let silent = try #require(stage.underWay.keys.first)
        let sentAt = stage.now
        wait(&stage, until: sentAt + 1_900)
        #expect(Array(stage.underWay.keys) == [silent])
        let number = stage.accept([3])[0]
        wait(&stage, until: sentAt + 2_000)
        let probe = try #require(stage.underWay.first { $0.value.contains { $0.number == number } }?.key)
        stage.answerStored(probe)
        // It is well, although the other probe has no answer yet.
        let last = stage.accept([4])[0]
        #expect(stage.underWay.values.joined().contains { $0.number == last })
    }
}
