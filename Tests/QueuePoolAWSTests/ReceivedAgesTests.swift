// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Testing

@testable import QueuePoolAWS

@Suite struct `The oldest age of a remote queue` {
    private let start = Timestamp(milliseconds: 1_000_000)

    private func age(_ milliseconds: Int64, at seconds: Int64, _ ages: inout ReceivedAges) {
        let now = start + seconds * 1_000
        ages.received(sentAt: now + -milliseconds, wall: now, now: now)
    }

    @Test func `is not known before anything was received`() {
        var ages = ReceivedAges()
        #expect(ages.oldest(now: start) == nil)
    }

    @Test func `is the greatest of a minute's receives, and not known two minutes later`() {
        var ages = ReceivedAges()
        age(40, at: 0, &ages)
        age(7_000, at: 1, &ages)
        age(20, at: 59, &ages)
        #expect(ages.oldest(now: start + 59_000) == 7_000)
        age(30, at: 61, &ages)
        #expect(ages.oldest(now: start + 62_000) == 7_000)
        #expect(ages.oldest(now: start + 122_000) == 30)
        #expect(ages.oldest(now: start + 300_000) == nil)
    }

    @Test func `is never negative, though the service's clock may be ahead`() {
        var ages = ReceivedAges()
        age(-5_000, at: 0, &ages)
        #expect(ages.oldest(now: start) == 0)
    }
}
