// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolCore

/// A collector that expectations can call.
private final class TestCollector {
    private var collector: BatchCollector<Int, Int>

    init(quota: AdaptiveQuota? = nil, waitingMax: Int = 100) {
        var limits = BatchCollector<Int, Int>.Limits()
        limits.waitingEntriesMax = waitingMax
        collector = BatchCollector(limits: limits, quota: quota)
    }

    func accept(_ keys: [Int]) -> Bool { collector.accept(keys.map { ($0, $0) }) }

    func sent(_ now: Timestamp = sendingStart) -> [Int]? {
        if case .send(let items) = collector.next(now: now) { items } else { nil }
    }

    func waitsUntil(_ now: Timestamp) -> Timestamp? {
        if case .wait(let until) = collector.next(now: now) { until } else { nil }
    }

    func finished(_ now: Timestamp = sendingStart) {
        collector.finished(sentAt: sendingStart, isThrottled: false, now: now)
    }
}

@Suite struct `The batch collector` {
    @Test func `sends a lone item at once and gathers while a request is under way`() {
        let collector = TestCollector()
        #expect(collector.accept([1]))
        #expect(collector.sent() == [1])
        #expect(collector.accept(Array(2...14)))
        #expect(collector.sent() == nil)
        collector.finished()
        #expect(collector.sent() == Array(2...11))
        collector.finished()
        #expect(collector.sent() == [12, 13, 14])
        collector.finished()
        #expect(collector.sent() == nil)
    }

    @Test func `puts a key into a request once, in order`() {
        let collector = TestCollector()
        #expect(collector.accept([1, 2, 1, 3]))
        #expect(collector.sent() == [1, 2])
        collector.finished()
        #expect(collector.sent() == [1, 3])
    }

    @Test func `takes all or none when it is full`() {
        let collector = TestCollector(waitingMax: 5)
        #expect(collector.accept([1, 2, 3]))
        #expect(!collector.accept([4, 5, 6]))
        #expect(collector.accept([4, 5]))
        #expect(collector.sent() == [1, 2, 3, 4, 5])
    }

    @Test func `waits for its quota`() throws {
        let collector = TestCollector(quota: AdaptiveQuota(.init(start: 4), now: sendingStart))
        #expect(collector.accept([1]))
        #expect(collector.sent() == [1])
        collector.finished()
        #expect(collector.accept([2]))
        let until = try #require(collector.waitsUntil(sendingStart))
        #expect(until == sendingStart + 250)
        #expect(collector.sent(until) == [2])
    }
}
