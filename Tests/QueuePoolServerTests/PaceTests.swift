// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import QueuePoolServer

private func second(_ number: Int) -> NIODeadline { .uptimeNanoseconds(UInt64(number) * 1_000_000_000) }

@Suite("The pace of a client")
struct PaceTests {
    private let limits: DoorLimits = {
        var limits = DoorLimits()
        limits.headSeconds = 10
        limits.idleSeconds = 75
        limits.bodyBytesPerSecondMin = 100
        return limits
    }()

    @Test("a head has its seconds, however many bytes of it come")
    func head() {
        var pace = ArrivalPace(now: second(0))
        pace.arrived(1_000_000)
        let told1 = pace.isStalled(hasHead: false, now: second(10), limits: limits)
        #expect(!told1)
        let told2 = pace.isStalled(hasHead: false, now: second(11), limits: limits)
        #expect(told2)
    }

    @Test("what came fast at first does not pay for a stall later")
    func stretches() {
        var pace = ArrivalPace(now: second(0))
        pace.arrived(1_000_000)
        let told3 = pace.isStalled(hasHead: true, now: second(10), limits: limits)
        #expect(!told3)
        pace.arrived(999)
        let told4 = pace.isStalled(hasHead: true, now: second(19), limits: limits)
        #expect(!told4)
        let told5 = pace.isStalled(hasHead: true, now: second(20), limits: limits)
        #expect(told5)
        pace.excuse(now: second(20))
        let told6 = pace.isStalled(hasHead: true, now: second(29), limits: limits)
        #expect(!told6)
    }

    @Test("a stream may pause as long as an idle connection")
    func stream() {
        var pace = ArrivalPace(now: second(0))
        let told7 = pace.isStalled(hasHead: true, mayPause: true, now: second(74), limits: limits)
        #expect(!told7)
        pace.arrived(1)
        let told8 = pace.isStalled(hasHead: true, mayPause: true, now: second(75), limits: limits)
        #expect(!told8)
        let told9 = pace.isStalled(hasHead: true, mayPause: true, now: second(150), limits: limits)
        #expect(told9)
    }

    @Test("a client that takes nothing for ten seconds is cut, one that takes a byte now and then is not")
    func reading() {
        var pace = ReadingPace()
        pace.wrote(1_000)
        let told10 = pace.isStalled(buffered: 1_000, now: second(0))
        #expect(!told10)
        let told11 = pace.isStalled(buffered: 1_000, now: second(9))
        #expect(!told11)
        let told12 = pace.isStalled(buffered: 999, now: second(10))
        #expect(!told12)
        // More is written and as much waits as before: it has taken some.
        pace.wrote(1)
        let told13 = pace.isStalled(buffered: 999, now: second(20))
        #expect(!told13)
        let told14 = pace.isStalled(buffered: 999, now: second(29))
        #expect(!told14)
        let told15 = pace.isStalled(buffered: 999, now: second(30))
        #expect(told15)
        let told16 = pace.isStalled(buffered: 0, now: second(31))
        #expect(!told16)
        let told17 = pace.isStalled(buffered: 5, now: second(50))
        #expect(!told17)
    }
}
