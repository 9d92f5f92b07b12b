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
