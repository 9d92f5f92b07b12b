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

    init(entries: Int = 10, eager: Int = 4, requests: Int = 64, waiting: Int = 20_000) {
        var limits = HandleCollector<Int>.Limits()
        limits.requestEntriesMax = entries
        limits.eagerRequestsMax = eager
        limits.requestsMax = requests
        limits.waitingEntriesMax = waiting
        collector = HandleCollector(limits: limits)
    }

    mutating func ask(_ handles: [Int]) {
        let ticket = callSizes.count
        callSizes.append(handles.count)
        let changes = handles.map { number -> HandleChange in
            asked.append(Asked(handle: handle(number), ticket: ticket))
            return HandleChange(handle: handle(number), seconds: asked.count - 1)
        }
        perform(collector.handle(.enqueue(changes, ticket)))
    }

    /// Answers a request; every third change is told to be lost.
    mutating func answer(_ id: RequestID) {
        let outcomes = (underWay.removeValue(forKey: id) ?? []).map { change -> HandleOutcome in
            let outcome = change.seconds % 3 == 2 ? HandleOutcome.lost : .done
            asked[change.seconds].outcome = outcome
            return outcome
        }
        perform(collector.handle(.answered(id, outcomes)))
    }

    mutating func fail(_ id: RequestID) {
        for change in underWay.removeValue(forKey: id) ?? [] {
            asked[change.seconds].outcome = .failed(.unknownOutcome)
        }
        perform(collector.handle(.failed(id, .unknownOutcome)))
    }

    /// Answers everything; then every call must have been told.
    mutating func drain() {
        while let id = underWay.keys.min() { answer(id) }
        if told.count != callSizes.count { faults.append("\(callSizes.count - told.count) calls were never told") }
        if collector.waitingEntries != 0 { faults.append("changes are left") }
    }

    private mutating func perform(_ effects: [HandleCollector<Int>.Effect]) {
        for effect in effects {
            switch effect {
            case .send(let id, let changes): send(id, changes)
            case .complete(let ticket, let outcomes): tell(ticket, outcomes)
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
        if mine.allSatisfy({ asked[$0].request == nil }) {
            // Refused whole: it counts as over.
            for index in mine { asked[index].outcome = .failed(.overloaded(retryAfterMilliseconds: 1_000)) }
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
        _ = collector.handle(.enqueue(changes, 7))
        for round in 0..<2 {
            var told: [[HandleOutcome]] = []
            for case .complete(7, let outcomes) in collector.handle(.answered(0, [.done])) { told.append(outcomes) }
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
            requests: 1 + Int(random.next() % 8), waiting: 1 + Int(random.next() % 60))
        let handles = 3 + Int(random.next() % 60)
        for _ in 0..<300 {
            let ids = stage.underWay.keys.sorted()
            let id = ids.isEmpty ? nil : ids[Int(random.next() % UInt64(ids.count))]
            switch (random.next() % 5, id) {
            case (0...1, let id?): stage.answer(id)
            case (2, let id?) where random.next() % 3 == 0: stage.fail(id)
            default:
                let count = random.next() % 4 == 0 ? Int(random.next() % 13) : 1
                stage.ask((0..<count).map { _ in Int(random.next() % UInt64(handles)) })
            }
        }
        stage.drain()
        #expect(stage.faults == [])
    }
}
