// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import QueuePoolCore
import QueuePoolTestSupport
import Testing

@testable import QueuePoolEmbedded

/// The time that passes while a test waits, for pools whose shards have a clock that stands.
struct RealClock: Clock {
    func now() -> Timestamp { Timestamp(milliseconds: Int64(DispatchTime.now().uptimeNanoseconds / 1_000_000)) }
    func wallTime() -> Timestamp { now() }

    func schedule(at time: Timestamp, _ body: @escaping @Sendable () -> Void) {
        let delay = Int(max(0, time - now()))
        DispatchQueue.global().asyncAfter(deadline: .now() + .milliseconds(delay)) { body() }
    }
}

@Suite("The pool of threads that commit")
struct CommitPoolTests {
    @Test func `counts the seconds of its clock, and a wall clock that is set back takes none away`() {
        let clock = ManualClock()
        let pool = CommitPool(width: 1, clock: clock)
        clock.advance(milliseconds: 999)
        #expect(pool.tickCount == 0)
        clock.advance(milliseconds: 1)
        #expect(pool.tickCount == 1)
        clock.stepWall(milliseconds: -3_600_000)
        clock.advance(milliseconds: 3_000)
        #expect(pool.tickCount == 4)
    }
}
