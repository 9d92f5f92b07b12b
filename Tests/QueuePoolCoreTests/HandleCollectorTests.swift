// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolTestSupport
import Testing

@testable import QueuePoolCore

private func handle(_ number: Int) -> ReceiptHandle {
    ReceiptHandle(
        shard: ShardTag(rawValue: 1), sequence: SequenceNumber(rawValue: Int64(number)), receiveCount: 1, place: 0)
}

/// A collector, and what its driver and its callers know. `seconds` numbers the changes in the order they came in.
private struct Stage {
    private struct Asked {
        let handle: ReceiptHandle
        let ticket: Int
        let at: Timestamp
        var request: RequestID?
        var outcome: HandleOutcome?
    }

    private(set) var collector: HandleCollector<Int>
    private(set) var underWay: [RequestID: [HandleChange]] = [:]
    /// Sizes of the requests so far.
    private(set) var sizes: [Int] = []
    private(set) var told: [Int: [HandleOutcome]] = [:]
    private(set) var faults: [String] = []
    private var asked: [Asked] = []
    private var callSizes: [Int] = []
    private(set) var now = Timestamp(milliseconds: 1_000_000)
    private(set) var wakesAt: Timestamp?
    private let hasPace: Bool

    /// - Parameter rate: requests a second to start with; no pace unless given.
    init(entries: Int = 10, eager: Int = 4, requests: Int = 64, waiting: Int = 20_000, rate: Int? = nil) {
        var limits = HandleCollector<Int>.Limits()
        limits.requestEntriesMax = entries
        limits.eagerRequestsMax = eager
        limits.requestsMax = requests
        limits.waitingEntriesMax = waiting
        hasPace = rate != nil
        let start = now
        collector = HandleCollector(
            limits: limits,
            pace: rate.map {
                RequestPace(
                    quota: AdaptiveQuota(AdaptiveQuota.Limits(start: $0, ceiling: 10 * $0), now: start),
                    seed: UInt64($0))
            })
    }

    mutating func ask(_ handles: [Int]) {
        let ticket = callSizes.count
        callSizes.append(handles.count)
        let changes = handles.map { number -> HandleChange in
            asked.append(Asked(handle: handle(number), ticket: ticket, at: now))
            return HandleChange(handle: handle(number), seconds: asked.count - 1)
        }
        perform(collector.handle(.enqueue(changes, ticket), now: now))
    }

    /// Answers a request; every third change is told to be lost.
    mutating func answer(_ id: RequestID) {
        let outcomes = (underWay.removeValue(forKey: id) ?? []).map { change -> HandleOutcome in
            let outcome = change.seconds % 3 == 2 ? HandleOutcome.lost : .done
            asked[change.seconds].outcome = outcome
            return outcome
        }
        perform(collector.handle(.answered(id, outcomes), now: now))
    }

    mutating func fail(_ id: RequestID) {
        for change in underWay.removeValue(forKey: id) ?? [] {
            asked[change.seconds].outcome = .failed(.unknownOutcome)
        }
        perform(collector.handle(.failed(id, .unknownOutcome), now: now))
    }

    /// The service refuses a request for its rate.
    mutating func throttle(_ id: RequestID) {
        for change in underWay.removeValue(forKey: id) ?? [] {
            if hasPace, now - asked[change.seconds].at < collector.limits.throttledMilliseconds {
                asked[change.seconds].request = nil
            } else {
                asked[change.seconds].outcome = .failed(.quotaExceeded(retryAfterMilliseconds: 1_000))
            }
        }
        perform(collector.handle(.failed(id, .quotaExceeded(retryAfterMilliseconds: 1_000)), now: now))
    }

    mutating func pass(milliseconds: Int64) {
        let end = now + milliseconds
        while let at = wakesAt, at <= end {
            now = max(now, at)
            wakesAt = nil
            perform(collector.handle(.timer, now: now))
        }
        now = end
    }

    /// Answers everything; then every call must have been told.
    mutating func drain() {
        while !underWay.isEmpty || wakesAt != nil {
            while let id = underWay.keys.min() { answer(id) }
            if let at = wakesAt { pass(milliseconds: max(0, at - now)) }
        }
        if told.count != callSizes.count { faults.append("\(callSizes.count - told.count) calls were never told") }
        if collector.waitingEntries != 0 { faults.append("changes are left") }
    }

    private mutating func perform(_ effects: [HandleCollector<Int>.Effect]) {
        for effect in effects {
            switch effect {
            case .send(let id, let changes): send(id, changes)
            case .complete(let ticket, let outcomes): tell(ticket, outcomes)
            case .wake(let at): wakesAt = min(wakesAt ?? at, at)
            }
        }
        check()
    }

    private mutating func send(_ id: RequestID, _ changes: [HandleChange]) {
        let handles = changes.map(\.handle)
        if changes.isEmpty || changes.count > collector.limits.requestEntriesMax { faults.append("size of \(id)") }
        if Set(handles).count != handles.count { faults.append("a handle twice in \(id)") }
        if underWay.values.joined().contains(where: { handles.contains($0.handle) }) {
            faults.append("a handle of \(id) is under way already")
        }
        for change in changes {
            let earlier = asked[..<change.seconds].contains {
                $0.handle == change.handle && $0.request == nil && $0.outcome == nil
            }
            if earlier { faults.append("\(id) overtakes a change of the same handle") }
            asked[change.seconds].request = id
        }
        underWay[id] = changes
        sizes.append(changes.count)
    }

    private mutating func tell(_ ticket: Int, _ outcomes: [HandleOutcome]) {
        if told.updateValue(outcomes, forKey: ticket) != nil { faults.append("\(ticket) was told twice") }
        let mine = asked.indices.filter { asked[$0].ticket == ticket }
        if outcomes.count != callSizes[ticket] { faults.append("\(ticket) was told \(outcomes.count) outcomes") }
        // Refused: what was in no request counts as over.
        for (index, outcome) in zip(mine, outcomes) where asked[index].request == nil && asked[index].outcome == nil {
            switch outcome {
            case .failed(.overloaded): asked[index].outcome = outcome
            case .failed(.unavailable) where hasPace, .failed(.quotaExceeded) where hasPace:
                asked[index].outcome = outcome
            default: faults.append("\(ticket) was told what did not happen")
            }
        }
        if outcomes != mine.map({ asked[$0].outcome }) { faults.append("\(ticket) was told something else") }
        let handles = mine.map { asked[$0].handle }
        let fits = mine.count <= collector.limits.requestEntriesMax && Set(handles).count == handles.count
        if fits, Set(mine.map { asked[$0].request }).count > 1 { faults.append("\(ticket) was torn apart") }
    }

    /// What must hold whenever the collector is done with an event.
    private mutating func check() {
        let limits = collector.limits
        let waiting = asked.indices.filter { asked[$0].request == nil && asked[$0].outcome == nil }
        if waiting.count != collector.waitingEntries { faults.append("counts \(collector.waitingEntries) waiting") }
        if underWay.count != collector.requestsUnderWay || underWay.count > limits.requestsMax {
            faults.append("\(underWay.count) requests under way")
        }
        // Nobody waits without need: while few requests are under way, only behind a change of the same handle.
        guard underWay.count < min(limits.eagerRequestsMax, limits.requestsMax) else { return }
        // The pace may hold back what could leave; then an answer or the time must be waited for.
        if hasPace {
            if !waiting.isEmpty, underWay.isEmpty, wakesAt == nil { faults.append("waits for nothing at all") }
            return
        }
        var busy = Set(underWay.values.joined().map(\.handle))
        for ticket in Set(waiting.map { asked[$0].ticket }).sorted() {
            let handles = waiting.filter { asked[$0].ticket == ticket }.map { asked[$0].handle }
            if busy.isDisjoint(with: handles) { faults.append("\(ticket) waits for nothing") }
            busy.formUnion(handles)
        }
    }
}

@Suite struct `The collector of receipt handles` {
    @Test func `sends what comes alone at once, and gathers while four requests are under way`() {
        var stage = Stage()
        for number in 0..<9 { stage.ask([number]) }
        #expect(stage.sizes == [1, 1, 1, 1] && stage.collector.waitingEntries == 5)
        stage.answer(2)
        #expect(stage.sizes == [1, 1, 1, 1, 5] && stage.collector.waitingEntries == 0)
        stage.drain()
        #expect(stage.faults == [])
    }

    @Test func `sends a full request at once, whatever is under way, up to a bound`() {
        var stage = Stage(requests: 6)
        for number in 0..<44 { stage.ask([number]) }
        #expect(stage.sizes == [1, 1, 1, 1, 10, 10] && stage.collector.waitingEntries == 20)
        stage.answer(0)
        #expect(stage.sizes == [1, 1, 1, 1, 10, 10, 10] && stage.collector.waitingEntries == 10)
        stage.drain()
        #expect(stage.faults == [])
    }

    @Test func `keeps a call in one request, and fills what room a larger one leaves with smaller ones`() {
        var stage = Stage(eager: 1)
        stage.ask([0])
        stage.ask(Array(1...6))
        stage.ask(Array(7...12))
        #expect(stage.sizes == [1, 6])
        stage.ask([13, 14])
        stage.drain()
        #expect(stage.sizes == [1, 6, 8] && stage.faults == [])
    }

    @Test func `has no handle in two requests at once, and keeps the order of its changes`() {
        var stage = Stage()
        stage.ask([1])
        stage.ask([1, 2])
        stage.ask([2])
        stage.ask([3])
        #expect(stage.underWay.values.joined().map(\.seconds).sorted() == [0, 4])
        stage.answer(0)
        #expect(stage.underWay.values.joined().map(\.seconds).sorted() == [1, 2, 4])
        stage.drain()
        #expect(stage.faults == [])
    }

    @Test func `answers a call that names a handle twice, or more handles than fit, as a whole`() {
        var stage = Stage()
        stage.ask([1, 1])
        stage.ask(Array(10..<35))
        #expect(stage.sizes == [1, 10, 10, 5])
        stage.drain()
        #expect(stage.told[0] == [.done, .done] && stage.told[1]?.count == 25)
        #expect(stage.faults == [])
    }

    @Test func `lets a request leave for each token, and fills it meanwhile`() {
        var stage = Stage(rate: 4)
        for number in 0..<24 { stage.ask([number]) }
        #expect(stage.sizes == [1])
        stage.pass(milliseconds: 249)
        #expect(stage.sizes == [1])
        stage.pass(milliseconds: 1)
        #expect(stage.sizes == [1, 10])
        stage.drain()
        #expect(stage.sizes == [1, 10, 10, 3] && stage.faults == [])
    }

    @Test func `asks again what was refused for its rate, more slowly, and tells so in the end`() {
        var stage = Stage(eager: 1, rate: 300)
        stage.ask([1, 2])
        stage.throttle(0)
        #expect(stage.collector.rate == 210 && stage.told.isEmpty && stage.underWay.count == 1)
        stage.pass(milliseconds: 4_999)
        stage.ask([3])
        stage.throttle(1)
        #expect(stage.told.isEmpty && stage.underWay[2]?.count == 3)
        stage.pass(milliseconds: 1)
        stage.throttle(2)
        let refusal = HandleOutcome.failed(.quotaExceeded(retryAfterMilliseconds: 1_000))
        #expect(stage.told[0] == [refusal, refusal] && stage.told[1] == nil)
        stage.drain()
        #expect(stage.told[1] == [.lost] && stage.faults == [])
    }

    @Test func `refuses at once while the queue is known to fail, and tries it with one request at a time`() {
        var stage = Stage(rate: 300)
        stage.ask([0])
        // None of them for so long that it alone would be enough.
        for number in 0..<3 {
            stage.pass(milliseconds: 3_000)
            stage.fail(RequestID(number))
            if number < 2 { stage.ask([number + 1]) }
            if number < 2 { stage.pass(milliseconds: 3_000) }
        }
        stage.ask([10])
        #expect(stage.underWay.isEmpty && stage.told[3] != nil)
        stage.pass(milliseconds: 5_000)
        stage.ask([11])
        stage.ask([12])
        #expect(stage.underWay.count == 1 && stage.told[4] == nil && stage.told[5] != nil)
        stage.answer(3)
        stage.ask([13])
        stage.ask([14])
        #expect(stage.underWay.count == 2)
        stage.drain()
        #expect(stage.faults == [])
    }

    @Test func `refuses at once once a request had no answer for long, and none came meanwhile`() {
        var stage = Stage(rate: 300)
        stage.ask([0])
        stage.pass(milliseconds: 10_000)
        stage.fail(0)
        stage.ask([1])
        #expect(stage.told[0] != nil && stage.told[1] != nil)
        // A probe that has no answer either keeps the next from leaving for two seconds only.
        stage.pass(milliseconds: 5_000)
        stage.ask([2])
        stage.pass(milliseconds: 1_999)
        stage.ask([3])
        #expect(stage.told[2] == nil && stage.told[3] != nil)
        stage.pass(milliseconds: 1)
        stage.ask([4])
        #expect(stage.told[4] == nil && stage.underWay.count == 2)
        // One that is lost among others that came says nothing.
        var other = Stage(rate: 300)
        other.ask([0])
        other.pass(milliseconds: 5_000)
        other.ask([1])
        other.answer(1)
        other.pass(milliseconds: 5_000)
        other.fail(0)
        other.ask([2])
        #expect(other.told[2] == nil)
    }

    @Test func `refuses at once while the queue throttles whatever it is asked, and finds out when it does not`() {
        var stage = Stage(eager: 1, rate: 10)
        stage.ask([0])
        var last = 0
        for _ in 0..<80 {
            stage.pass(milliseconds: 100)
            for id in stage.underWay.keys.sorted() { stage.throttle(id) }
            last += 1
            stage.ask([last])
        }
        // All but the probe have their answer.
        #expect((0...last).filter { stage.told[$0] == nil }.count <= 1)
        #expect(stage.underWay.count <= 1)
        stage.pass(milliseconds: 1_000)
        for id in stage.underWay.keys.sorted() { stage.answer(id) }
        stage.pass(milliseconds: 1_000)
        stage.ask([last + 1])
        for id in stage.underWay.keys.sorted() { stage.answer(id) }
        stage.ask([last + 2])
        stage.pass(milliseconds: 1_000)
        #expect(stage.told[last + 2] == nil && stage.underWay.count == 1)
        stage.drain()
        #expect(stage.faults == [])
    }

    @Test func `leaves room to other queues while its own answers late`() {
        var stage = Stage()
        for number in 0..<164 { stage.ask([number]) }
        #expect(stage.underWay.count == 20)
        stage.pass(milliseconds: 2_001)
        for number in 200..<300 { stage.ask([number]) }
        #expect(stage.underWay.count == 20 && stage.collector.waitingEntries == 100)
        stage.drain()
        #expect(stage.faults == [])
    }

    @Test func `refuses a call whole when too many wait, and answers one that asks nothing`() {
        var stage = Stage(eager: 1, requests: 1, waiting: 5)
        for number in 0..<4 { stage.ask([number]) }
        stage.ask([4, 5, 6])
        stage.ask([])
        let refusal = HandleOutcome.failed(.overloaded(retryAfterMilliseconds: 1_000))
        #expect(stage.told == [4: [refusal, refusal, refusal], 5: []])
        stage.ask([7, 8])
        stage.drain()
        #expect(stage.told[6]?.count == 2 && stage.faults == [])
    }

    @Test func `does not know of what an answer does not mention, and takes an answer once`() {
        var collector = HandleCollector<Int>()
        let changes = [HandleChange(handle: handle(1)), HandleChange(handle: handle(2))]
        _ = collector.handle(.enqueue(changes, 7), now: .distantPast)
        for round in 0..<2 {
            var told: [[HandleOutcome]] = []
            let effects = collector.handle(.answered(0, [.done]), now: .distantPast)
            for case .complete(7, let outcomes) in effects { told.append(outcomes) }
            #expect(told == (round == 0 ? [[.done, .failed(.unknownOutcome)]] : []))
        }
    }

    /// Every order of six events, of two handles and requests of two.
    @Test func `holds its promises in every short life`() {
        var lives = 0
        var faults: Set<String> = []
        func live(_ stage: Stage, _ left: Int) {
            guard left > 0, stage.faults.isEmpty else {
                var end = stage
                end.drain()
                faults.formUnion(end.faults)
                lives += 1
                return
            }
            for handles in [[1], [2], [1, 2], [2, 2], [1, 2, 3]] {
                var next = stage
                next.ask(handles)
                live(next, left - 1)
            }
            for id in stage.underWay.keys.sorted() {
                var next = stage
                next.answer(id)
                live(next, left - 1)
            }
            if let id = stage.underWay.keys.max() {
                var next = stage
                next.fail(id)
                live(next, left - 1)
            }
        }
        live(Stage(entries: 2, eager: 1, requests: 2, waiting: 4), 5)
        #expect(faults == [])
        #expect(lives > 5_000)
    }

    @Test(arguments: SplitMix64.seeds(40)) func `holds its promises in random lives`(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        var stage = Stage(
            entries: 1 + Int(random.next() % 10), eager: 1 + Int(random.next() % 4),
            requests: 1 + Int(random.next() % 8), waiting: 1 + Int(random.next() % 60),
            rate: random.next() % 2 == 0 ? nil : 1 + Int(random.next() % 40))
        let handles = 3 + Int(random.next() % 60)
        for _ in 0..<300 {
            let ids = stage.underWay.keys.sorted()
            let id = ids.isEmpty ? nil : ids[Int(random.next() % UInt64(ids.count))]
            switch (random.next() % 5, id) {
            case (0...1, let id?): stage.answer(id)
            case (2, let id?) where random.next() % 3 == 0: stage.fail(id)
            case (2, let id?) where random.next() % 2 == 0: stage.throttle(id)
            case (2, _) where random.next() % 2 == 0: stage.pass(milliseconds: Int64(random.next() % 3_000))
            default:
                let count = random.next() % 4 == 0 ? Int(random.next() % 13) : 1
                stage.ask((0..<count).map { _ in Int(random.next() % UInt64(handles)) })
            }
        }
        stage.drain()
        #expect(stage.faults == [])
    }
}
