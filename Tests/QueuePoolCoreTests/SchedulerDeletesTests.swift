// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolCore

@Suite struct `Several deletes of one shard` {
    private func names(_ range: Range<Int>) -> [String] { range.map { "f\($0)-1" } }

    private func deletion(_ range: Range<Int>) -> String { "delete " + names(range).joined(separator: " ") }

    private func stage(deletesMax: Int = 3, shards: Int = 1) -> SchedulerStage {
        SchedulerStage(shards: shards, concurrency: 100) {
            $0.deletesMax = deletesMax
            $0.maxAttempts = 1
        }
    }

    /// Delivers one message each of so many groups.
    private func deliver(_ range: Range<Int>, _ stage: SchedulerStage) {
        for from in stride(from: range.lowerBound, to: range.upperBound, by: 10) {
            stage.receive(names(from..<min(from + 10, range.upperBound)))
        }
        _ = stage.told()
        for name in names(range) { stage.end(name) }
    }

    @Test func `are not under way unless they may be`() {
        let stage = SchedulerStage(concurrency: 100)
        deliver(0..<21, stage)
        #expect(stage.told() == [deletion(0..<1)])
        stage.deleted()
        #expect(stage.told() == [deletion(1..<11)])
        stage.deleted()
        #expect(stage.told() == [deletion(11..<21)])
    }

    @Test func `leave full beside others, up to their number, and in part alone`() {
        let stage = stage()
        deliver(0..<34, stage)
        #expect(stage.told() == [deletion(0..<1), deletion(1..<11), deletion(11..<21)], "a fourth may not leave")
        #expect(stage.undeleted == 34)
        stage.deleted(names(11..<21))
        #expect(stage.told() == [deletion(21..<31)], "it is full")
        stage.deleted(names(0..<1))
        stage.deleted(names(1..<11))
        #expect(stage.told() == [], "three are no request beside another")
        stage.deleted(names(21..<31))
        #expect(stage.told() == [deletion(31..<34)])
        stage.deleted(names(31..<34))
        #expect(stage.undeleted == 0)
    }

    @Test func `each end with their own answer`() {
        let stage = stage()
        let more = (0..<10).map { "f\($0)-2" }
        deliver(0..<11, stage)
        stage.receive(more)
        #expect(stage.told() == [deletion(0..<1), deletion(1..<11)], "what follows waits")
        stage.deleted(names(1..<11), lost: ["f3-1"])
        #expect(Set(stage.told()) == Set((1..<10).filter { $0 != 3 }.map { "deliver f\($0)-2 1" }))
        #expect(stage.lapsed == 2, "f3-1 comes again, and f3-2 behind it")
        stage.deleted(names(1..<11), failed: names(1..<11))
        #expect(stage.undeleted == 1 && stage.failedDeletes == 0, "an answer counts once")
        stage.deleted(names(0..<1))
        #expect(stage.told() == ["deliver f0-2 1"])
    }

    @Test func `hold different groups`() {
        let stage = stage()
        deliver(0..<1, stage)
        #expect(stage.told() == ["delete f0-1"])
        // It comes again while its delete is under way, and is known.
        stage.receive(["f0-1"], handle: "again", receiveCount: 2)
        deliver(1..<10, stage)
        #expect(stage.told() == [], "ten wait, one of them of a group whose delete is under way")
        deliver(10..<12, stage)
        #expect(stage.told() == [deletion(1..<11)], "what is not of that group passes it")
        stage.answerDelete(handle: "hf0-1", isLost: true)
        stage.deleted(names(1..<11))
        #expect(stage.told() == ["delete f0-1 f11-1"])
        #expect(stage.deletedHandles.first == "againf0-1")
    }

    // MARK: - Failures

    @Test func `are tried one at a time while they fail`() {
        let stage = stage()
        deliver(0..<31, stage)
        #expect(stage.told() == [deletion(0..<1), deletion(1..<11), deletion(11..<21)])
        stage.deleted(names(11..<21), failed: names(11..<21), isRequestLost: true)
        #expect(stage.told() == ["deletes of 0 fail"])
        stage.deleted(names(1..<11), failed: names(1..<11), isRequestLost: true)
        #expect(stage.told() == [], "one is under way")
        stage.deleted(names(0..<1), failed: names(0..<1), isRequestLost: true)
        #expect(stage.told() == ["delete " + (names(0..<10)).joined(separator: " ")])
        stage.deleted()
        #expect(stage.told() == ["deletes of 0 work", deletion(10..<20), deletion(20..<30)])
    }

    @Test func `are judged by the one that left last`() {
        let stage = stage()
        deliver(0..<21, stage)
        _ = stage.told()
        stage.deleted(names(1..<11))
        stage.deleted(names(0..<1), failed: names(0..<1), isRequestLost: true)
        #expect(stage.told() == [], "a later one was answered")
        stage.deleted(names(11..<21), failed: names(11..<21), isRequestLost: true)
        #expect(stage.told().contains("deletes of 0 fail"))
    }

    @Test func `fail still when one is answered that left before`() {
        let stage = stage()
        deliver(0..<21, stage)
        _ = stage.told()
        stage.deleted(names(11..<21), failed: names(11..<21), isRequestLost: true)
        #expect(stage.told() == ["deletes of 0 fail"])
        stage.deleted(names(1..<11))
        #expect(stage.told() == [])
        stage.deleted(names(0..<1))
        #expect(stage.told() == [deletion(11..<21)])
        stage.deleted()
        #expect(stage.told() == ["deletes of 0 work"])
    }

    /// One group's deletes fail, and those of others work beside them, in requests of their own.
    @Test func `of one group that fail stop the others for a few tries at most`() {
        let stage = stage(deletesMax: 2)
        deliver(0..<1, stage)
        #expect(stage.told() == [deletion(0..<1)])
        var failures = 0
        for round in 1...6 {
            deliver(round * 10..<round * 10 + 10, stage)
            stage.deleted(names(0..<1), failed: names(0..<1))
            failures += stage.told().count { $0 == "deletes of 0 fail" }
            stage.deleted(names(round * 10..<round * 10 + 10))
            failures += stage.told().count { $0 == "deletes of 0 fail" }
        }
        #expect(failures <= 3, "each failure would stop the shard")
        deliver(70..<71, stage)
        stage.deleted(names(0..<1), failed: names(0..<1))
        #expect(!stage.told().contains("deletes of 0 fail"), "it is that group's own by now")
    }

    // MARK: - The end

    @Test func `are all waited for when the shard is drained`() {
        let stage = stage(shards: 2)
        deliver(0..<11, stage)
        stage.drain()
        stage.receiveFailed()
        #expect(stage.told() == [deletion(0..<1), deletion(1..<11), "cancel receives of 0"])
        stage.deleted(names(1..<11))
        #expect(stage.told() == [])
        stage.deleted(names(0..<1))
        #expect(stage.told() == ["drained 0"])
    }

    @Test func `are all waited for when the worker stops, of a shard that was taken away too`() {
        let stage = stage()
        deliver(0..<11, stage)
        stage.drop()
        stage.receiveFailed()
        stage.stop()
        #expect(stage.told().suffix(2) == ["cancel receives of 0", "cancel receives"])
        stage.deleted(names(0..<1))
        #expect(stage.told() == [])
        stage.deleted(names(1..<11))
        #expect(stage.told() == ["finished"])
    }
}
