// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolCore

/// A shard with a quota of its own, asked as often as the adaptive quota lets it.
private struct QuotaRun {
    var quota: AdaptiveQuota
    var shard: TokenBucket
    var now = sendingStart
    private let roundTrip: Int64 = 20
    private var answers: [(at: Timestamp, sentAt: Timestamp, isThrottled: Bool)] = []

    init(_ limits: AdaptiveQuota.Limits, shardRate: Int) {
        quota = AdaptiveQuota(limits, now: sendingStart)
        shard = TokenBucket(rate: shardRate, burst: max(1, shardRate / 10), now: sendingStart)
    }

    /// - Returns: requests that were carried out, and that were throttled.
    mutating func run(milliseconds: Int) -> (done: Int, throttled: Int) {
        var done = 0
        var throttled = 0
        for _ in 0..<milliseconds {
            now = now + 1
            while let first = answers.first, first.at <= now {
                answers.removeFirst()
                if first.isThrottled {
                    throttled += 1
                    quota.throttled(sentAt: first.sentAt, now: now)
                } else {
                    done += 1
                    quota.succeeded(now: now)
                }
            }
            while quota.take(now: now) == nil {
                answers.append((now + roundTrip, now, shard.take(now: now) != nil))
            }
        }
        return (done, throttled)
    }
}

@Suite struct `The adaptive quota` {
    @Test func `stays at what was configured when nothing is throttled`() {
        var run = QuotaRun(.init(start: 300), shardRate: 10_000)
        let (done, throttled) = run.run(milliseconds: 10_000)
        #expect(throttled == 0)
        #expect((2_900...3_100).contains(done))
        #expect(run.quota.rate == 300)
    }

    @Test func `finds a raised quota within a minute`() {
        var run = QuotaRun(.init(start: 300, ceiling: 10_000), shardRate: 3_000)
        _ = run.run(milliseconds: 60_000)
        #expect(run.quota.rate > 2_000)
    }

    @Test func `obeys a lowered quota within seconds`() {
        var run = QuotaRun(.init(start: 300, ceiling: 10_000), shardRate: 30)
        _ = run.run(milliseconds: 4_000)
        #expect(run.quota.rate < 60)
        let (done, throttled) = run.run(milliseconds: 20_000)
        #expect(done > 20 * 30 * 8 / 10)
        #expect(throttled < done / 2)
    }

    @Test func `uses a steady quota nearly in full while it looks for more`() {
        var run = QuotaRun(.init(start: 300, ceiling: 10_000), shardRate: 300)
        _ = run.run(milliseconds: 10_000)
        let (done, throttled) = run.run(milliseconds: 60_000)
        #expect(done > 60 * 300 * 93 / 100)
        #expect(throttled < 60 * 300 * 3 / 100)
    }

    @Test func `stays within floor and ceiling`() {
        var run = QuotaRun(.init(start: 100, ceiling: 120, floor: 7), shardRate: 1)
        _ = run.run(milliseconds: 30_000)
        #expect(run.quota.rate >= 7)
        var free = QuotaRun(.init(start: 100, ceiling: 120), shardRate: 10_000)
        _ = free.run(milliseconds: 60_000)
        #expect(free.quota.rate == 120)
        #expect(AdaptiveQuota.Limits(start: 5_000, ceiling: 10).start == 10)
    }

    @Test func `counts a window of throttled requests once`() {
        var quota = AdaptiveQuota(.init(start: 100), now: sendingStart)
        for _ in 0..<50 { quota.throttled(sentAt: sendingStart, now: sendingStart + 20) }
        #expect(quota.rate == 70)
        // Sent before the decrease, answered long after.
        quota.throttled(sentAt: sendingStart + 19, now: sendingStart + 900)
        #expect(quota.rate == 70)
        quota.throttled(sentAt: sendingStart + 800, now: sendingStart + 900)
        #expect(quota.rate < 50)
    }

    @Test func `does not grow while it is not what holds requests back`() {
        var idle = AdaptiveQuota(.init(start: 300, ceiling: 10_000), now: sendingStart)
        for second in 1...600 {
            _ = idle.take(now: sendingStart + Int64(second) * 1_000)
            idle.succeeded(now: sendingStart + Int64(second) * 1_000 + 20)
        }
        #expect(idle.rate == 300)
    }

    @Test func `jitter stays within its cap and repeats with its seed`() {
        var first = FullJitter(base: 50, cap: 5_000, seed: 7)
        var second = FullJitter(base: 50, cap: 5_000, seed: 7)
        for failures in 1...100 {
            let delay = first.delay(failures: failures)
            #expect((1...5_000).contains(delay))
            #expect(delay == second.delay(failures: failures))
            if failures == 1 { #expect(delay <= 50) }
        }
    }
}
