// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolCore

@Suite struct `What a worker holds` {
    private static let failure = DeliveryOutcome.failed(errorClass: "http-503")

    @Test func `of failing groups keeps no other group from coming`() {
        let stage = SchedulerStage(maxAttempts: 1_000)
        for group in 0..<20 {
            for number in 0..<10 { stage.receive("f\(group)-\(number)") }
            stage.end("f\(group)-0", Self.failure)
        }
        _ = stage.told()
        #expect(stage.held == 200)
        for round in 0..<50 {
            stage.receive("good-\(round)")
            #expect(stage.told(withPolls: true).contains("receive 0"), "the shard is asked for more: round \(round)")
            stage.end("good-\(round)")
            stage.deleted()
        }
        #expect(stage.delivered == 50)
    }

    @Test func `is bounded also when every group fails`() {
        let stage = SchedulerStage(maxAttempts: 1_000) { $0.heldPerShardMax = 300 }
        var polls = 0
        for group in 0..<100 {
            guard stage.told(withPolls: true).contains("receive 0") || group == 0 else { break }
            polls += 1
            for number in 0..<10 { stage.receive("f\(group)-\(number)") }
            stage.end("f\(group)-0", Self.failure)
        }
        #expect(stage.held >= 300 && stage.held <= 310)
    }

    @Test func `is bounded in bytes over all shards`() {
        let mebibyte = 1 << 20
        let stage = SchedulerStage(shards: 8, concurrency: 1_000) { $0.heldBytesMax = 64 << 20 }
        var group = 0
        // Each shard that is asked answers with ten messages of 1 MiB, each of a group of its own.
        var asked = Set(0..<8)
        while let shard = asked.popFirst(), group < 1_000 {
            stage.receive((0..<10).map { "g\(group + $0)-0" }, shard: shard, bytes: mebibyte)
            group += 10
            for text in stage.told(withPolls: true) where text.hasPrefix("receive") {
                asked.insert(Int(text.dropFirst(8)) ?? 0)
            }
        }
        #expect(stage.heldBytes >= 64 << 20)
        // The first eight were asked before anything was known of the size.
        #expect(stage.heldBytes <= (64 + 80) << 20, "\(stage.heldBytes >> 20) MiB")
    }

    @Test func `and lets go makes room again`() {
        let stage = SchedulerStage { $0.heldBytesMax = 1 << 20 }
        stage.receive(["a-1"], bytes: 2 << 20)
        #expect(!stage.told(withPolls: true).contains("receive 0"))
        stage.end("a-1")
        stage.deleted()
        #expect(stage.told(withPolls: true).contains("receive 0"))
        #expect(stage.held == 0 && stage.heldBytes == 0)
    }
}

@Suite struct `What was delivered and could not be deleted` {
    @Test func `is deleted when it comes again, and not delivered`() {
        let stage = SchedulerStage()
        stage.receive("a-1", "a-2")
        stage.end("a-1")
        _ = stage.told()
        stage.deleted(lost: ["a-1"])
        stage.receive("a-1", "a-2", handle: "again", receiveCount: 2)
        #expect(stage.told() == ["delete a-1"])
        stage.deleted()
        #expect(stage.told() == ["deliver a-2 1"])
        stage.end("a-2")
        stage.deleted()
        #expect(stage.delivered == 2)
    }

    @Test func `is deleted under its new handle when it comes again before the old delete is answered`() {
        let stage = SchedulerStage()
        stage.receive("a-1", "a-2")
        stage.end("a-1")
        #expect(stage.told() == ["deliver a-1 1", "delete a-1"])
        stage.receive("a-1", "a-2", handle: "again", receiveCount: 2)
        #expect(stage.told() == [])
        stage.answerDelete(handle: "ha-1", isLost: true)
        #expect(stage.told() == ["delete a-1"])
        stage.deleted()
        #expect(stage.told() == ["deliver a-2 1"])
    }

    @Test func `that came again while it was being delivered is one delivery, under the handle that is good`() {
        let stage = SchedulerStage()
        stage.receive("a-1", "a-2")
        #expect(stage.told() == ["deliver a-1 1"])
        stage.receive("a-1", "a-2", handle: "again", receiveCount: 2)
        #expect(stage.told() == [])
        stage.end("a-1")
        #expect(stage.deletedHandles == ["againa-1"])
        stage.deleted()
        #expect(stage.told() == ["delete a-1", "deliver a-2 1"])
        #expect(stage.delivered == 1)
    }

    @Test func `is forgotten once it is deleted`() {
        let stage = SchedulerStage()
        stage.receive("a-1")
        stage.end("a-1")
        stage.deleted()
        _ = stage.told()
        // Redriven from the dead-letter queue, say, it may carry the same id.
        stage.receive("a-1", handle: "later")
        #expect(stage.told() == ["deliver a-1 1"])
    }
}
