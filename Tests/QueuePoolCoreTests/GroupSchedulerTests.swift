// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolTestSupport
import Testing

@testable import QueuePoolCore

@Suite struct `A group scheduler` {
    @Test func `works on groups side by side and on one message of a group at a time`() {
        let stage = SchedulerStage()
        stage.receive("a-1", "a-2", "b-1")
        #expect(stage.told() == ["deliver a-1 1", "deliver b-1 1"])
        stage.end("a-1")
        #expect(stage.told() == ["delete a-1"])
        stage.deleted()
        #expect(stage.told() == ["deliver a-2 1"])
    }

    @Test func `begins no more deliveries than it may`() {
        let stage = SchedulerStage(concurrency: 2)
        stage.receive("a-1", "b-1", "c-1")
        #expect(stage.told() == ["deliver a-1 1", "deliver b-1 1"])
        stage.end("b-1")
        #expect(stage.told() == ["deliver c-1 1", "delete b-1"])
    }

    @Test func `collects deletes while one batch of them is under way`() {
        let stage = SchedulerStage()
        stage.receive("a-1", "b-1", "c-1")
        for name in ["a-1", "b-1", "c-1"] { stage.end(name) }
        _ = stage.told()
        stage.deleted()
        #expect(stage.told() == ["delete b-1 c-1"])
    }

    @Test func `tries a failing message again in place and holds its followers`() {
        let stage = SchedulerStage()
        stage.receive("a-1", "a-2", "b-1")
        _ = stage.told()
        stage.end("a-1", .failed(errorClass: "http-503"))
        stage.end("b-1")
        #expect(stage.told() == ["delete b-1"])
        stage.deleted()
        stage.wait(500)
        #expect(stage.told() == ["deliver a-1 2"])
        stage.end("a-1")
        #expect(stage.told() == ["delete a-1"])
        stage.deleted()
        #expect(stage.told() == ["deliver a-2 1"])
    }

    @Test func `waits as long as the other side asks`() {
        let stage = SchedulerStage()
        stage.receive("a-1")
        stage.end("a-1", .failed(errorClass: "http-429", retryAfterMilliseconds: 9_000))
        _ = stage.told()
        stage.wait(8_900)
        #expect(stage.told() == [])
        stage.wait(100)
        #expect(stage.told() == ["deliver a-1 2"])
    }

    @Test func `gives a message up after its attempts, then the group goes on`() {
        let stage = SchedulerStage(maxAttempts: 2)
        stage.receive("a-1", "a-2")
        stage.end("a-1", .failed(errorClass: "timeout"))
        stage.wait(30_000)
        _ = stage.told()
        stage.end("a-1", .failed(errorClass: "timeout"))
        #expect(stage.told() == ["move a-1 attempts-exhausted timeout 2"])
        stage.moved("a-1")
        #expect(stage.told() == ["delete a-1"])
        stage.deleted()
        #expect(stage.told() == ["deliver a-2 1"])
        #expect(stage.deadLettered == 1)
    }

    @Test func `gives a refused message up at once`() {
        let stage = SchedulerStage()
        stage.receive("a-1")
        _ = stage.told()
        stage.end("a-1", .refused(errorClass: "smtp-550"))
        #expect(stage.told() == ["move a-1 permanent-failure smtp-550 1"])
    }

    @Test func `keeps a message that the dead-letter queue did not take, and its followers behind it`() {
        let stage = SchedulerStage()
        stage.receive("a-1", "a-2")
        stage.end("a-1", .refused(errorClass: "exit-65"))
        _ = stage.told()
        stage.moved("a-1", isStored: false)
        #expect(stage.told() == [])
        stage.wait(7_500)
        #expect(stage.told() == ["move a-1 permanent-failure exit-65 1"], "and it is not delivered again")
        #expect(stage.deadLettered == 0)
    }

    @Test func `begins the visibility timeout of a whole group anew at half time`() {
        let stage = SchedulerStage()
        stage.receive("a-1", "a-2")
        _ = stage.told()
        // A twentieth of the minute may have passed before the answer came.
        stage.wait(26_900)
        #expect(stage.told() == [])
        stage.wait(100)
        #expect(stage.told() == ["extend a-1 a-2"])
        stage.extended(["a-1", "a-2"])
        stage.wait(29_000)
        #expect(stage.told() == [])
        stage.wait(1_000)
        #expect(stage.told() == ["extend a-1 a-2"])
    }

    @Test func `drops followers whose visibility ran out`() {
        let stage = SchedulerStage()
        stage.receive("a-1", "a-2")
        stage.wait(60_000)
        _ = stage.told()
        stage.end("a-1")
        #expect(stage.told() == ["delete a-1"])
    }

    @Test func `drops a group of which an extension was refused`() {
        let stage = SchedulerStage()
        stage.receive("a-1", "a-2")
        stage.wait(30_000)
        stage.extended(["a-1", "a-2"], lost: ["a-1"])
        _ = stage.told()
        stage.end("a-1", .failed(errorClass: "timeout"))
        stage.wait(30_000)
        #expect(stage.told() == [])
        #expect(stage.lapsed == 2)
    }

    @Test func `drops what is held behind a message whose delete came too late`() {
        let stage = SchedulerStage()
        stage.receive("a-1", "a-2", "a-3")
        stage.end("a-1")
        _ = stage.told()
        stage.deleted(lost: ["a-1"])
        stage.wait(1_000)
        #expect(stage.told() == [], "a-2 must not overtake a-1, which comes again")
        #expect(stage.lapsed == 3)
    }

    @Test func `begins nothing behind a held message that was given out again`() {
        let stage = SchedulerStage()
        stage.receive("a-1", "a-2")
        _ = stage.told()
        stage.receive("a-1", "a-2", handle: "again")
        #expect(stage.told() == [])
        #expect(stage.lapsed == 2)
    }

    @Test func `asks a shard again only after its poll is answered, and later when it fails`() {
        let stage = SchedulerStage()
        stage.tick()
        #expect(stage.told(withPolls: true) == [])
        stage.receive()
        #expect(stage.told(withPolls: true) == ["receive 0"])
        stage.receiveFailed()
        #expect(stage.told(withPolls: true) == [])
        stage.wait(500)
        #expect(stage.told(withPolls: true) == ["receive 0"])
    }
}

@Suite struct `A group scheduler that stops` {
    @Test func `gives back the last message of a group first`() {
        let stage = SchedulerStage(concurrency: 1)
        stage.receive("a-1", "b-1", "b-2", "b-3")
        _ = stage.told()
        stage.stop()
        #expect(stage.told() == ["cancel receives"])
        stage.receiveFailed()
        #expect(stage.told() == ["release b-3 b-2 b-1"])
        stage.end("a-1")
        #expect(stage.told() == ["delete a-1"])
        stage.deleted()
        #expect(stage.told() == ["drained 0", "finished"])
    }

    @Test func `lets the message under way end and gives its followers back`() {
        let stage = SchedulerStage()
        stage.receive("a-1", "a-2", "a-3")
        _ = stage.told()
        stage.stop()
        stage.receiveFailed()
        #expect(stage.told() == ["cancel receives", "release a-3 a-2"])
        stage.end("a-1", .failed(errorClass: "timeout"))
        #expect(stage.told() == ["release a-1", "drained 0", "finished"])
    }

    @Test func `gives back what is under way when the grace is over`() {
        let stage = SchedulerStage()
        stage.receive("a-1")
        stage.stop(graceSeconds: 5)
        _ = stage.told()
        stage.wait(5_000)
        #expect(stage.told() == ["release a-1", "drained 0", "finished"])
        stage.end("a-1")
        #expect(stage.told() == [])
    }

    @Test func `gives back what a poll still brings, last first, and asks no more`() {
        let stage = SchedulerStage()
        stage.receive("a-1")
        stage.stop()
        _ = stage.told()
        stage.receive("b-1", "b-2")
        #expect(stage.told(withPolls: true) == ["release b-2 b-1"])
    }
}

@Suite struct `Under random outcomes a group scheduler` {
    /// Every message is delivered or moved, in its group's order, and deleted.
    @Test(arguments: [1, 2, 3, 4, 5, 6, 7, 8] as [UInt64])
    func `never begins a message before the one in front of it is done`(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let stage = SchedulerStage(concurrency: 3, maxAttempts: 3, seed: seed)
        var done: [String: Int] = [:]
        var open: [String] = []
        stage.receive("a-1", "a-2", "b-1", "a-3", "c-1", "b-2", "c-2", "c-3", "b-3", "a-4")
        for _ in 0..<2_000 {
            for text in stage.told() {
                let words = text.split(separator: " ").map(String.init)
                switch words[0] {
                case "deliver", "move":
                    let parts = words[1].split(separator: "-").map(String.init)
                    #expect(Int(parts[1]) == done[parts[0], default: 0] + 1, "seed \(seed): \(text)")
                    open.append(text)
                case "delete": open.append(text)
                case "extend": stage.extended(Array(words.dropFirst()))
                default: Issue.record("seed \(seed): \(text)")
                }
            }
            guard !open.isEmpty else {
                stage.wait(1_000)
                continue
            }
            let words = open.remove(at: random.below(open.count)).split(separator: " ").map(String.init)
            let group = String(words[1].prefix(1))
            switch (words[0], random.below(4)) {
            case ("deliver", 0): stage.end(words[1], .refused(errorClass: "exit-65"))
            case ("deliver", 1): stage.end(words[1], .failed(errorClass: "timeout"))
            case ("deliver", _):
                done[group, default: 0] += 1
                stage.end(words[1])
            case ("move", 0): stage.moved(words[1], isStored: false)
            case ("move", _):
                done[group, default: 0] += 1
                stage.moved(words[1])
            default: stage.deleted()
            }
        }
        #expect(done == ["a": 4, "b": 3, "c": 3], "seed \(seed)")
        #expect(stage.delivered + stage.deadLettered == 10, "seed \(seed)")
    }
}
