// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolCore

@Suite struct `A target's own limits` {
    private static let failure = DeliveryOutcome.failed(errorClass: "http-503")
    private static let away = DeliveryOutcome.unavailable(errorClass: "unreachable")

    /// Names of what was begun since the last call, by target.
    private static func begun(_ stage: SchedulerStage, at target: Int = 0) -> [String] {
        stage.told().filter { $0.hasPrefix("deliver") && ($0.hasSuffix(" at 1") ? 1 : 0) == target }
            .map { String($0.split(separator: " ")[1]) }
    }

    @Test func `concurrency holds deliveries back in the order in which they came, and spends nothing`() {
        let stage = SchedulerStage(targetLimits: [TargetLimits(concurrency: 2)])
        for name in ["a-1", "b-1", "c-1", "d-1"] { stage.receive(name) }
        #expect(stage.told() == ["deliver a-1 1", "deliver b-1 1"])
        stage.end("b-1")
        #expect(stage.told() == ["deliver c-1 1", "delete b-1"])
        stage.end("a-1")
        #expect(stage.told().contains("deliver d-1 1"), "and its attempt is the first")
        #expect(stage.figures.targets[0].limitedByConcurrency == 2)
        #expect(stage.figures.targets[0].waitingGroups == 0)
    }

    @Test func `a delivery that did not begin, or was broken off, gives its place to the next`() {
        let stage = SchedulerStage(targetLimits: [TargetLimits(concurrency: 1)])
        stage.receive("a-1", "b-1", "c-1")
        #expect(stage.told() == ["deliver a-1 1"])
        stage.notBegun("a-1")
        #expect(stage.told() == ["deliver b-1 1"])
        stage.end("b-1", .cancelled)
        #expect(stage.told() == ["deliver c-1 1"])
    }

    @Test func `what waits for one target waits beside deliveries at another, and does not fail over`() {
        let stage = SchedulerStage(targets: 2, targetLimits: [TargetLimits(), TargetLimits(concurrency: 1)])
        stage.receive("a-1", "b-1")
        stage.end("a-1", Self.failure)
        stage.end("b-1", Self.failure)
        #expect(stage.told() == ["deliver a-1 1", "deliver b-1 1", "deliver a-1 1 at 1"])
        stage.receive("c-1")
        #expect(stage.told() == ["deliver c-1 1"], "the first target goes on")
        stage.end("a-1", target: 1)
        #expect(stage.told().contains("deliver b-1 1 at 1"), "the same attempt, at the target whose turn it was")
    }

    @Test func `a busy first target is not passed over`() {
        let stage = SchedulerStage(targets: 2, targetLimits: [TargetLimits(concurrency: 1)])
        stage.receive("a-1", "b-1")
        #expect(stage.told() == ["deliver a-1 1"])
        stage.wait(5_000)
        #expect(stage.told() == [])
        stage.end("a-1")
        #expect(stage.told() == ["deliver b-1 1", "delete a-1"])
    }

    @Test func `who waits for a target that fails goes to the next`() {
        let stage = SchedulerStage(targets: 2, targetLimits: [TargetLimits(concurrency: 3)])
        for name in ["a-1", "b-1", "c-1", "d-1", "e-1", "f-1", "g-1"] { stage.receive(name) }
        #expect(stage.told().count == 3)
        // The first two that end give their places to the next two.
        for name in ["a-1", "b-1", "c-1"] { stage.end(name, Self.away) }
        #expect(Set(Self.begun(stage, at: 1)) == ["a-1", "b-1", "c-1", "f-1", "g-1"])
        #expect(stage.figures.targets[0].waitingGroups == 0)
    }

    @Test(arguments: [0.5, 1, 7, 20, 333.3, 5_000])
    func `a rate is reached by ticks, and never exceeded by more than its burst`(rate: Double) {
        let stage = SchedulerStage(
            concurrency: 5_000, targetLimits: [TargetLimits(ratePerSecond: rate)]
        ) { $0.readyPerShardMax = 1_000_000 }
        var latest = 0
        var begun = 0
        for tick in 0...100 {
            // There is always somebody who waits.
            while stage.figures.targets[0].waitingGroups < 1_000 {
                stage.receive((0..<100).map { "g\(latest + $0)-1" })
                latest += 100
            }
            for name in Self.begun(stage) {
                begun += 1
                stage.end(name)
                stage.deleted()
            }
            #expect(Double(begun) <= rate * Double(tick) / 10 + rate / 10 + 1)
            stage.wait(100)
            stage.extendAll()
        }
        #expect(Double(begun) >= rate * 10 - 1)
        #expect(stage.figures.targets[0].limitedByRate > 0)
    }

    @Test func `a probe waits for its place in the rate, and others do not wait for it`() {
        let stage = SchedulerStage(targets: 2, targetLimits: [TargetLimits(ratePerSecond: 0.1)])
        // A probe every ten seconds at most, though the breaker would have one after half a second.
        for round in 0..<3 {
            stage.receive("a\(round)-1")
            #expect(stage.told().contains("deliver a\(round)-1 1"))
            stage.end("a\(round)-1", Self.away)
            stage.end("a\(round)-1", target: 1)
            stage.deleted()
            if round < 2 { stage.wait(10_000) }
        }
        #expect(stage.told().contains("target 0 unreachable"))
        stage.wait(2_000)
        stage.receive("b-1")
        #expect(stage.told() == ["deliver b-1 1 at 1"])
        stage.wait(8_000)
        stage.receive("c-1")
        #expect(stage.told() == ["deliver c-1 1"], "the probe")
    }

    @Test func `no more is received than a limited target takes soon`() {
        let stage = SchedulerStage(concurrency: 10, targetLimits: [TargetLimits(concurrency: 1)])
        var received = 0
        for _ in 0..<50 {
            guard let number = stage.out().first else { break }
            stage.receive((0..<10).map { "g\(received + $0)-1" }, number: number)
            received += 10
            stage.wait(100)
        }
        #expect((10...40).contains(received), "\(received)")
    }

    @Test func `what waits for a stand-in keeps nothing else from being received`() {
        let stage = SchedulerStage(
            targets: 2, concurrency: 4, targetLimits: [TargetLimits(), TargetLimits(concurrency: 1)])
        for index in 0..<40 {
            guard let number = stage.out().first else { break }
            stage.receive(["g\(index)-1"], number: number)
            stage.end("g\(index)-1", Self.failure)
            stage.wait(100)
        }
        #expect(stage.held == 40)
        #expect(stage.figures.targets[1].waitingGroups == 39)
    }

    @Test func `what waits is given back at a stop, and has its turn when its shard is ours again`() {
        let stage = SchedulerStage(targetLimits: [TargetLimits(concurrency: 1)])
        stage.receive("a-1", "b-1")
        _ = stage.told()
        stage.drain()
        stage.begin()
        stage.end("a-1")
        #expect(stage.told().contains("deliver b-1 1"))
        stage.end("b-1")
        stage.receive("c-1", "d-1")
        _ = stage.told()
        stage.stop()
        while let number = stage.out().first { stage.receiveFailed(number: number) }
        #expect(stage.told().contains("release d-1"))
    }

    @Test func `a group whose timeout ran out while it waited is not begun`() {
        let stage = SchedulerStage(targetLimits: [TargetLimits(concurrency: 1)])
        stage.receive("a-1", "b-1")
        _ = stage.told()
        stage.extended(["b-1"], lost: ["b-1"])
        stage.end("a-1")
        #expect(stage.told() == ["delete a-1"])
        #expect(stage.figures.targets[0].waitingGroups == 0)
    }

    @Test func `a suspect that waits keeps its turn before the others`() {
        let stage = SchedulerStage(targetLimits: [TargetLimits(concurrency: 1)]) { $0.maxReceives = 4 }
        stage.receive("a-1")
        stage.receive("b-1", receiveCount: 3)
        stage.receive("c-1", receiveCount: 3)
        stage.wait(1_000)
        #expect(stage.told() == ["deliver a-1 1"])
        stage.end("a-1")
        let first = Self.begun(stage)
        #expect(first == ["c-1"] || first == ["b-1"])
        stage.end(first[0])
        stage.wait(100)
        #expect(Self.begun(stage) == [], "not before the first is deleted")
    }
}

@Suite struct `The share of failures` {
    private static let start = Timestamp(milliseconds: 1_000_000)

    /// - Parameter outcomes: `x` for a failure, `.` for an answer; 100 ms between two.
    private static func breaker(_ outcomes: String, apart: Int64 = 100) -> (breaker: TargetBreaker, end: Timestamp) {
        var breaker = TargetBreaker()
        var now = start
        for (index, outcome) in outcomes.enumerated() {
            now = now + apart
            if outcome == "x" {
                _ = breaker.failed(now: now, jitter: 0)
            } else {
                _ = breaker.answered("\(index)", now: now)
            }
        }
        return (breaker, now)
    }

    @Test func `opens the breaker at half of the latest outcomes`() {
        #expect(Self.breaker("x.x.x.x..x").breaker.state != .closed)
        #expect(Self.breaker("....x.x.x.xx.xx.x").breaker.state == .closed)
        #expect(Self.breaker("....x.x.x.xx.xx.xx").breaker.state != .closed)
    }

    @Test func `is not looked at before there are ten, nor below half`() {
        #expect(Self.breaker("xx.xx.xx.").breaker.state == .closed)
        #expect(Self.breaker(String(repeating: "...xx", count: 20)).breaker.state == .closed)
    }

    @Test func `is of the latest twenty and of half a minute`() {
        #expect(Self.breaker("xx.x.x" + String(repeating: ".", count: 20) + "x.x.x").breaker.state == .closed)
        #expect(Self.breaker("x.x.x.x.x.x", apart: 3_500).breaker.state == .closed)
    }

    @Test func `keeps it open until the probe is answered, whatever else is`() {
        var (breaker, now) = Self.breaker("x.x.x.x..x")
        let closed1 = breaker.answered("began before", now: now)
        #expect(!closed1)
        #expect(breaker.state != .closed)
        now = now + 500
        #expect(breaker.mayBegin(now: now))
        breaker.began("probe")
        let closed2 = breaker.answered("began before", now: now)
        #expect(!closed2)
        #expect(!breaker.mayBegin(now: now))
        let closed3 = breaker.answered("probe", now: now)
        #expect(closed3)
        #expect(breaker.state == .closed)
        let opened4 = breaker.failed(now: now, jitter: 0)
        #expect(!opened4, "what was counted is forgotten")
        #expect(breaker.state == .closed)
        #expect(breaker.openedCount == 1)
    }

    @Test func `opens it again at once when the probe fails, for longer`() {
        var (breaker, now) = Self.breaker("x.x.x.x..x")
        now = now + 500
        breaker.began("probe")
        let opened5 = breaker.failed(now: now, jitter: 0)
        #expect(!opened5, "it was not closed before")
        #expect(!breaker.mayBegin(now: now + 499))
        #expect(breaker.mayBegin(now: now + 500))
    }

    @Test func `counts across three in a row that an answer made good`() {
        var (breaker, now) = Self.breaker("...xxx")
        #expect(breaker.state != .closed)
        let closed6 = breaker.answered("began before", now: now)
        #expect(closed6, "any answer shows that it is not down")
        for _ in 0..<2 { _ = breaker.failed(now: now, jitter: 0) }
        _ = breaker.answered("other", now: now)
        now = now + 1
        let opened7 = breaker.failed(now: now, jitter: 0)
        #expect(opened7, "six of eleven")
        let closed8 = breaker.answered("began before too", now: now)
        #expect(!closed8)
    }
}
