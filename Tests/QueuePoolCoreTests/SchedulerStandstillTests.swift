// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolCore

/// A process that stands still (stopped, suspended, starved) reads an answer later than it came.
@Suite struct `A worker that stood still` {
    private func stage() -> SchedulerStage {
        SchedulerStage {
            $0.visibilityMilliseconds = 15_000
            $0.standstillMilliseconds = 2_000
        }
    }

    @Test func `does not begin what it may have held beyond its timeout, whatever it reads first`() {
        for ticksFirst in [false, true] {
            let stage = stage()
            // Another worker may have the messages by now: the queue counts from when it answered.
            stage.now = stage.now + 17_000
            if ticksFirst { stage.tick() }
            stage.receive("a-1", "a-2")
            #expect(stage.told() == [])
            #expect(stage.lapsed == 2)
            #expect(stage.held == 0)
        }
    }

    @Test func `extends what it may hold for a while only`() {
        let stage = stage()
        stage.now = stage.now + 10_000
        stage.receive("a-1")
        #expect(stage.told() == ["deliver a-1 1"])
        stage.wait(100)
        #expect(stage.told() == ["extend a-1"])
    }

    @Test func `counts from the answer again with its next receive`() {
        let stage = stage()
        stage.now = stage.now + 17_000
        stage.receive("a-1")
        _ = stage.told()
        stage.wait(100)
        stage.receive("a-1", receiveCount: 2)
        #expect(stage.told() == ["deliver a-1 2"])
        stage.wait(1_000)
        #expect(stage.told() == [])
    }

    @Test func `is none that was ticked in time`() {
        let stage = stage()
        for _ in 0..<20 { stage.wait(1_000) }
        stage.receive("a-1")
        #expect(stage.told() == ["deliver a-1 1"])
    }
}

/// What a worker still works on when its time is over may be finished by another one; then the queue goes on with the group.
@Suite struct `A head that was lost while it was delivered` {
    private func lost() -> SchedulerStage {
        let stage = SchedulerStage { $0.visibilityMilliseconds = 3_000 }
        stage.receive("a-1", "a-2")
        #expect(stage.told() == ["deliver a-1 1"])
        stage.wait(1_600)
        stage.wait(1_600)
        #expect(stage.told() == ["extend a-1 a-2"])
        return stage
    }

    @Test(arguments: [
        DeliveryOutcome.failed(errorClass: "busy"), .unknown(errorClass: "timeout"), .refused(errorClass: "no"),
        .unavailable(errorClass: "away"), .delivered,
    ])
    func `is not tried again behind what follows it`(_ outcome: DeliveryOutcome) {
        let stage = lost()
        // The queue gives the next of the group to nobody before the first is gone.
        stage.receive("a-3")
        stage.end("a-1", outcome)
        #expect(stage.told().filter { !$0.hasPrefix("target") } == ["deliver a-3 1"])
        stage.wait(1_000)
        #expect(stage.told().filter { $0.contains("a-1") } == [])
    }

    @Test func `is one again when it comes again`() {
        let stage = lost()
        stage.receive("a-1", "a-2", handle: "again", receiveCount: 2)
        stage.end("a-1")
        #expect(stage.deletedHandles == ["againa-1"])
        stage.deleted()
        #expect(stage.told() == ["delete a-1", "deliver a-2 1"])
    }

    @Test func `is lost also when the next of its group comes before the worker looks at the time`() {
        let stage = SchedulerStage { $0.visibilityMilliseconds = 3_000 }
        stage.receive("a-1", "a-2")
        stage.wait(1_600)
        _ = stage.told()
        stage.now = stage.now + 1_500
        stage.receive("a-3")
        stage.end("a-1", .failed(errorClass: "busy"))
        #expect(stage.told() == ["deliver a-3 1"])
    }

    @Test func `is not tried again when the dead-letter queue refused it meanwhile`() {
        let stage = SchedulerStage { $0.visibilityMilliseconds = 3_000 }
        stage.receive("a-1")
        stage.end("a-1", .refused(errorClass: "no"))
        stage.wait(1_600)
        stage.wait(1_600)
        _ = stage.told()
        stage.receive("a-2")
        stage.moved("a-1", isStored: false)
        #expect(stage.told() == ["deliver a-2 1"])
    }

    @Test func `does not take a message for gone that came in the same answer`() {
        let stage = SchedulerStage { $0.visibilityMilliseconds = 15_000 }
        stage.receive("a-1")
        #expect(stage.told() == ["deliver a-1 1"])
        stage.now = stage.now + 17_000
        stage.receive("a-1", "a-2", handle: "late")
        stage.end("a-1")
        // Nobody else finished it, as far as is known: it is deleted now, and when it comes again.
        #expect(stage.told() == ["delete a-1"])
        stage.answerDelete(handle: "ha-1", isLost: true)
        stage.receive("a-1", "a-2", handle: "again")
        #expect(stage.told() == ["delete a-1"])
    }
}
