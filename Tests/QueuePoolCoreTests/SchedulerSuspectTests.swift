// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolCore

@Suite struct `A message that kills its workers` {
    private static let failure = DeliveryOutcome.failed(errorClass: "http-503")

    @Test func `takes no follower to the dead-letter queue with it`() {
        let stage = SchedulerStage { $0.maxReceives = 6 }
        stage.receive(["a-1", "a-2", "a-3"], receiveCount: 7)
        stage.wait(1_000)
        #expect(stage.told() == ["move a-1 attempts-exhausted received-7-times 7"])
        stage.moved("a-1")
        stage.deleted()
        stage.wait(1_000)
        #expect(stage.told() == ["delete a-1", "deliver a-2 1"], "it was never tried: its receives were behind a-1")
        stage.end("a-2")
        stage.deleted()
        stage.wait(1_000)
        #expect(stage.told() == ["delete a-2", "deliver a-3 1"])
    }

    @Test func `spends no attempts of its followers`() {
        let stage = SchedulerStage(maxAttempts: 3)
        stage.receive(["a-1", "a-2"], receiveCount: 3)
        stage.end("a-1")
        stage.deleted()
        stage.end("a-2", Self.failure)
        #expect(stage.told() == ["deliver a-1 3", "delete a-1", "deliver a-2 1"], "two attempts are left")
    }

    @Test func `and others that it may be are tried one at a time, beside those it cannot be`() {
        let stage = SchedulerStage { $0.maxReceives = 6 }
        stage.receive(["a-1", "b-1", "c-1"], receiveCount: 4)
        stage.receive(["d-1", "e-1"], receiveCount: 3)
        #expect(stage.told() == ["deliver d-1 3", "deliver e-1 3"])
        stage.wait(2_000)
        #expect(stage.told() == ["deliver a-1 4"])
        stage.end("a-1", Self.failure)
        #expect(stage.told() == ["deliver b-1 4"], "whatever became of it, the worker lives")
        stage.wait(500)
        #expect(stage.told() == ["deliver a-1 5"], "and it is none of those any more")
        stage.end("b-1")
        #expect(stage.told() == ["delete b-1"], "a worker that dies now would have delivered b-1 for nothing")
        stage.deleted()
        #expect(stage.told() == ["deliver c-1 4"])
    }

    @Test func `keeps no shard from being asked for more`() {
        let stage = SchedulerStage(concurrency: 1) {
            $0.maxReceives = 6
            $0.readyPerShardMax = 5
        }
        stage.receive((0..<20).map { "s\($0)-1" }, receiveCount: 4)
        #expect(stage.told(withPolls: true) == ["receive 0"])
        stage.receive("good-1")
        #expect(stage.told() == ["deliver good-1 1"])
    }

    @Test func `is given back like all others when the worker stops`() {
        let stage = SchedulerStage { $0.maxReceives = 6 }
        stage.receive(["a-1", "b-1"], receiveCount: 4)
        stage.wait(2_000)
        #expect(stage.told() == ["deliver a-1 4"])
        stage.receiveFailed()
        stage.stop()
        #expect(stage.told() == ["cancel receives", "release b-1"])
        stage.end("a-1")
        stage.deleted()
        #expect(stage.told() == ["delete a-1", "drained 0", "finished"])
    }

    @Test func `may lose its group while it is tried, and the next has its turn when it ends`() {
        let stage = SchedulerStage {
            $0.maxReceives = 6
            $0.visibilityMilliseconds = 10_000
        }
        stage.receive(["a-1", "b-1"], receiveCount: 4)
        stage.wait(2_000)
        stage.wait(5_000)
        stage.extended(["b-1"])
        stage.wait(4_000)
        #expect(stage.told().sorted() == ["deliver a-1 4", "extend a-1", "extend b-1"])
        stage.end("a-1")
        #expect(stage.told() == ["delete a-1"])
        stage.deleted()
        #expect(stage.told() == ["deliver b-1 4"])
    }

    /// Each life of a worker receives what is left, in tens, with one delivery more counted; the poison ends it at once.
    @Test(arguments: 0..<30)
    func `is found among those that were only held beside it`(place: Int) {
        var left = (0..<30).map { "g\($0)-1" }
        let poison = left[place]
        var (delivered, dead): (Set<String>, [String]) = ([], [])
        for life in 1...7 {
            let stage = SchedulerStage(concurrency: 64, seed: UInt64(life)) { $0.maxReceives = 6 }
            var isAlive = true
            /// Who is begun together with the poison dies with it.
            func run() {
                let told = stage.told()
                for text in told where text.hasPrefix("move") {
                    let name = String(text.split(separator: " ")[1])
                    dead.append(name)
                    stage.moved(name)
                }
                let begun = told.filter { $0.hasPrefix("deliver") }.map { String($0.split(separator: " ")[1]) }
                guard !begun.contains(poison) else { return isAlive = false }
                for name in begun {
                    stage.end(name)
                    delivered.insert(name)
                }
                if told.contains(where: { $0.hasPrefix("delete") }) { stage.deleted() }
            }
            for start in stride(from: 0, to: left.count, by: 10) where isAlive {
                stage.receive(Array(left[start..<min(start + 10, left.count)]), receiveCount: life)
                run()
            }
            for _ in 0..<100 where isAlive {
                stage.wait(100)
                run()
            }
            left.removeAll { delivered.contains($0) || dead.contains($0) }
        }
        #expect(dead == [poison])
        #expect(delivered.count == 29 && left.isEmpty)
    }
}
