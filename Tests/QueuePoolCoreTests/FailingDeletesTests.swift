// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolCore

@Suite struct `A worker whose deletes fail` {
    @Test func `neither receives nor delivers more of that shard, says so once, and goes on when they work`() {
        let stage = SchedulerStage(shards: 2, concurrency: 1)
        stage.receive("a-1", "b-1")
        stage.end("a-1")
        #expect(stage.told() == ["deliver a-1 1", "deliver b-1 1", "delete a-1"])
        stage.receive("c-1")
        _ = stage.told()
        stage.deleted(failed: ["a-1"])
        #expect(stage.told(withPolls: true) == ["deletes of 0 fail", "delete a-1"])
        stage.end("b-1")
        stage.deleted(failed: ["a-1"])
        #expect(stage.told(withPolls: true) == ["delete a-1 b-1"], "c-1 is not delivered")
        // The receive that was out ends; no other follows.
        stage.receive()
        #expect(stage.told(withPolls: true).isEmpty)
        // Another shard's messages are.
        stage.receive("d-1", shard: 1)
        #expect(stage.told(withPolls: true) == ["deliver d-1 1", "receive 1"])
        stage.end("d-1")
        _ = stage.told()
        #expect(stage.undeleted == 3 && stage.failedDeletes == 2)
        stage.deleted()
        #expect(stage.told(withPolls: true) == ["deletes of 0 work", "deliver c-1 1", "receive 0"])
        #expect(stage.undeleted == 1)
    }

    @Test func `that are one group's only holds up that group, and no other for long`() {
        let stage = SchedulerStage(concurrency: 1)
        stage.receive("a-1", "a-2", "b-1")
        stage.end("a-1")
        #expect(stage.told() == ["deliver a-1 1", "deliver b-1 1", "delete a-1"])
        stage.end("b-1", .failed(errorClass: "http-503"))
        for _ in 0..<3 { stage.deleted(failed: ["a-1"]) }
        stage.wait(1_000)
        #expect(stage.told() == ["deletes of 0 fail", "delete a-1", "delete a-1", "delete a-1"])
        stage.deleted(failed: ["a-1"])
        #expect(stage.told() == ["deletes of 0 work", "deliver b-1 2", "delete a-1"])
        stage.end("b-1")
        stage.deleted(failed: ["a-1"])
        #expect(stage.told() == ["delete a-1 b-1"])
        stage.deleted(failed: ["a-1"])
        #expect(stage.told() == ["delete a-1"], "and a-2 waits")
        stage.deleted()
        #expect(stage.told() == ["deliver a-2 1"])
    }

    @Test func `as whole requests hold up all, however often`() {
        let stage = SchedulerStage(concurrency: 1)
        stage.receive("a-1", "b-1")
        stage.end("a-1")
        stage.end("b-1", .failed(errorClass: "http-503"))
        for _ in 0..<20 { stage.deleted(failed: ["a-1"], isRequestLost: true) }
        stage.wait(1_000)
        #expect(!stage.told().contains("deliver b-1 2"))
    }

    @Test func `ends with what it could not delete counted`() {
        let stage = SchedulerStage()
        stage.receive("a-1")
        stage.end("a-1")
        stage.deleted(failed: ["a-1"])
        stage.receiveFailed()
        stage.stop(graceSeconds: 5)
        stage.wait(6_000)
        #expect(stage.told().last == "finished")
        #expect(stage.undeleted == 1)
    }
}

@Suite struct `An extension that crosses a delete` {
    @Test func `says nothing of a head that the delete took away`() {
        let stage = SchedulerStage()
        stage.receive("a-1", "a-2")
        stage.wait(31_000)
        #expect(stage.told() == ["deliver a-1 1", "extend a-1 a-2"])
        stage.end("a-1")
        stage.extended(["a-1", "a-2"], lost: ["a-1"])
        stage.deleted()
        #expect(stage.told() == ["delete a-1", "deliver a-2 1"])
        #expect(stage.lapsed == 0)
    }

    @Test func `that comes after the delete's answer says nothing either`() {
        let stage = SchedulerStage()
        stage.receive("a-1", "a-2")
        stage.wait(31_000)
        stage.end("a-1")
        stage.deleted()
        stage.extended(["a-1", "a-2"], lost: ["a-1"])
        #expect(stage.told() == ["deliver a-1 1", "extend a-1 a-2", "delete a-1", "deliver a-2 1"])
        #expect(stage.lapsed == 0)
    }

    @Test func `still tells of a follower that is lost`() {
        let stage = SchedulerStage()
        stage.receive("a-1", "a-2")
        stage.wait(31_000)
        stage.end("a-1")
        stage.extended(["a-1", "a-2"], lost: ["a-2"])
        stage.deleted()
        #expect(!stage.told().contains("deliver a-2 1"))
        #expect(stage.lapsed == 1)
    }
}
