// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolCore

@Suite struct `A delivery that was to begin and did not` {
    private static let away = DeliveryOutcome.unavailable(errorClass: "unreachable")

    /// Ends three deliveries at a target that is away, and waits for its first probe.
    /// - Returns: the message that is the probe.
    private func firstProbe(_ stage: SchedulerStage) -> String? {
        for name in ["a-1", "b-1", "c-1"] { stage.end(name, Self.away) }
        _ = stage.told()
        for _ in 0..<10 {
            stage.wait(100)
            let begun = stage.told().filter { $0.hasPrefix("deliver") }
            #expect(begun.count < 2)
            if let text = begun.first { return text.split(separator: " ").dropFirst().first.map(String.init) }
        }
        return nil
    }

    @Test func `spends nothing, makes room for others, and waits again`() {
        let stage = SchedulerStage(concurrency: 1)
        stage.receive("a-1", "a-2", "b-1")
        #expect(stage.told() == ["deliver a-1 1"])
        stage.notBegun("a-1")
        #expect(stage.told() == ["deliver b-1 1"])
        stage.end("b-1")
        stage.deleted()
        #expect(stage.told() == ["delete b-1"], "a-1 is not tried again at once, only to be refused again")
        stage.wait(100)
        #expect(stage.told() == ["deliver a-1 1"])
        stage.end("a-1")
        stage.deleted()
        #expect(stage.told() == ["delete a-1", "deliver a-2 1"])
    }

    @Test func `says nothing of its target`() {
        let stage = SchedulerStage()
        stage.receive("a-1")
        for _ in 0..<10 {
            #expect(stage.told() == ["deliver a-1 1"])
            stage.notBegun("a-1")
            stage.wait(100)
        }
    }

    @Test func `says nothing of its target either when it was begun and broken off`() {
        let stage = SchedulerStage(maxAttempts: 1) { $0.retryMilliseconds = 0 }
        stage.receive("a-1")
        for _ in 0..<10 {
            #expect(stage.told() == ["deliver a-1 1"])
            stage.end("a-1", .cancelled)
            #expect(stage.told() == [], "it waits for the next tick")
            stage.wait(100)
        }
    }

    @Test func `and was broken off is given back when its shard is given away`() {
        let stage = SchedulerStage(targets: 2)
        stage.receive("a-1", "a-2", "b-1")
        _ = stage.told()
        stage.drain(0)
        stage.receiveFailed()
        stage.end("a-1", .cancelled)
        stage.end("b-1", .cancelled)
        #expect(stage.told() == ["cancel receives of 0", "release a-2", "release a-1", "release b-1", "drained 0"])
    }

    @Test func `gives its place to another if it was a probe`() throws {
        let stage = SchedulerStage()
        stage.receive("a-1", "b-1", "c-1")
        let probe = try #require(firstProbe(stage))
        stage.notBegun(probe)
        stage.wait(100)
        #expect(stage.told().filter { $0.hasPrefix("deliver") }.count == 1)
    }

    @Test func `lets no second probe out beside another`() throws {
        let stage = SchedulerStage()
        stage.receive("a-1", "b-1", "c-1", "d-1")
        let probe = try #require(firstProbe(stage))
        #expect(probe != "d-1", "it was to begin before the target failed")
        stage.notBegun("d-1")
        stage.wait(1_000)
        #expect(stage.told() == [])
        stage.end(probe)
        #expect(stage.told().contains("deliver d-1 1"))
    }

    @Test func `of a shard that was dropped is forgotten`() {
        let stage = SchedulerStage()
        stage.receive("a-1", "a-2")
        stage.drop()
        #expect(stage.held == 1)
        _ = stage.told()
        stage.notBegun("a-1")
        #expect(stage.told() == [] && stage.held == 0)
        stage.receiveFailed()
        stage.begin()
        stage.receive("a-1", handle: "again", receiveCount: 2)
        #expect(stage.told() == ["deliver a-1 2"])
    }

    @Test func `is forgotten when its message ran out of its timeout meanwhile`() {
        let stage = SchedulerStage { $0.visibilityMilliseconds = 3_000 }
        stage.receive("a-1")
        stage.wait(1_600)
        stage.wait(1_600)
        _ = stage.told()
        stage.notBegun("a-1")
        stage.wait(1_000)
        #expect(stage.told() == [] && stage.held == 0)
    }

    @Test func `of a shard that is drained is given back`() {
        let stage = SchedulerStage()
        stage.receive("a-1", "a-2")
        stage.drain()
        stage.receiveFailed()
        _ = stage.told()
        stage.notBegun("a-1")
        #expect(stage.told() == ["release a-1", "drained 0"])
    }

    @Test func `is none any more when the queue went on with its group`() {
        let stage = SchedulerStage { $0.visibilityMilliseconds = 3_000 }
        stage.receive("a-1")
        stage.wait(1_600)
        stage.wait(1_600)
        _ = stage.told()
        stage.receive("a-2")
        stage.notBegun("a-1")
        #expect(stage.told() == ["deliver a-2 1"])
    }

    @Test func `ends its attempt when its target fails before it waited long enough`() {
        let stage = SchedulerStage(targets: 2)
        stage.receive("a-1", "b-1", "c-1", "d-1")
        for name in ["a-1", "b-1", "c-1", "d-1"] { stage.end(name, .failed(errorClass: "http-503")) }
        stage.notBegun("a-1", target: 1)
        for name in ["b-1", "c-1", "d-1"] { stage.end(name, Self.away, target: 1) }
        stage.end("b-1", Self.away, target: 1)
        _ = stage.told()
        var begun: [String] = []
        for _ in 0..<3 {
            stage.wait(100)
            begun += stage.told().filter { $0.hasPrefix("deliver a-1") }
        }
        stage.wait(400)
        begun += stage.told().filter { $0.hasPrefix("deliver a-1") }
        #expect(begun == ["deliver a-1 2"], "the next attempt, at the first target")
    }
}
