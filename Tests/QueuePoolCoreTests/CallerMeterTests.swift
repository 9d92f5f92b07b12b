// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolTestSupport
import Testing

@testable import QueuePoolCore

@Suite struct `The meter of a key` {
    private let start = Timestamp(milliseconds: 1_800_000_000_000)

    private func meter(
        requests: Int? = nil, bytes: Int? = nil, connections: Int? = nil
    ) -> CallerMeter {
        CallerMeter(
            CallerLimits(requestsPerSecond: requests, bytesPerSecond: bytes, connections: connections), now: start)
    }

    // MARK: - Requests and bytes

    @Test func `without limits everything is admitted`() {
        var meter = meter()
        for _ in 0..<10_000 { #expect(meter.admit(bytes: .max, now: start) == .admitted) }
        for _ in 0..<10_000 { #expect(meter.connect() == .admitted) }
    }

    @Test func `a second's requests are admitted at once, the next when its time has come`() {
        var meter = meter(requests: 4)
        for _ in 0..<4 { #expect(meter.admit(now: start) == .admitted) }
        let refused = CallerAdmission.refused(retryAfterMilliseconds: 250, .requests)
        // What is refused takes nothing: the wait does not grow.
        for _ in 0..<100 { #expect(meter.admit(now: start) == refused) }
        #expect(meter.admit(now: start + 249) == .refused(retryAfterMilliseconds: 1, .requests))
        #expect(meter.admit(now: start + 250) == .admitted)
        #expect(meter.admit(now: start + 250) == refused)
    }

    @Test func `bytes are held as requests are`() {
        var meter = meter(bytes: 1_000)
        #expect(meter.admit(bytes: 600, now: start) == .admitted)
        #expect(meter.admit(bytes: 600, now: start) == .refused(retryAfterMilliseconds: 200, .bytes))
        #expect(meter.admit(bytes: 400, now: start) == .admitted)
        #expect(meter.admit(bytes: 400, now: start) == .refused(retryAfterMilliseconds: 400, .bytes))
        #expect(meter.admit(bytes: 400, now: start + 400) == .admitted)
    }

    @Test func `a body larger than a second's worth passes a rested key, and is paid for afterwards`() {
        var meter = meter(bytes: 1_000)
        #expect(meter.admit(bytes: 5_000, now: start) == .admitted)
        #expect(meter.admit(bytes: 0, now: start) == .refused(retryAfterMilliseconds: 4_001, .bytes))
        #expect(meter.admit(bytes: 0, now: start + 4_000) == .refused(retryAfterMilliseconds: 1, .bytes))
        #expect(meter.admit(bytes: 0, now: start + 4_001) == .admitted)
        #expect(meter.admit(bytes: 5_000, now: start + 4_001) == .refused(retryAfterMilliseconds: 999, .bytes))
    }

    @Test func `bytes that were not announced make later requests wait`() {
        var meter = meter(requests: 100, bytes: 1_000)
        #expect(meter.admit(now: start) == .admitted)
        meter.charge(bytes: 3_000, now: start)
        #expect(meter.admit(now: start) == .refused(retryAfterMilliseconds: 2_001, .bytes))
        #expect(meter.admit(now: start + 2_001) == .admitted)
    }

    @Test func `who is over one limit loses nothing of the other`() {
        var meter = meter(requests: 2, bytes: 1_000)
        #expect(meter.admit(bytes: 1_000, now: start) == .admitted)
        for _ in 0..<50 {
            #expect(meter.admit(bytes: 1_000, now: start) == .refused(retryAfterMilliseconds: 1_000, .bytes))
        }
        // One request was used, and not fifty.
        #expect(meter.admit(bytes: 1, now: start + 1) == .admitted)
        // The longest wait is told, with its own name.
        #expect(meter.admit(bytes: 1, now: start + 2) == .refused(retryAfterMilliseconds: 498, .requests))
        #expect(meter.admit(bytes: 900, now: start + 2) == .refused(retryAfterMilliseconds: 899, .bytes))
    }

    @Test(arguments: [-1, Int.min, Int.max]) func `no size of a body breaks the arithmetic`(size: Int) {
        var meter = meter(requests: CallerLimits.allowed.upperBound, bytes: 1)
        for _ in 0..<10 { meter.charge(bytes: size, now: start) }
        let admission = meter.admit(bytes: size, now: start)
        guard size == .max else {
            #expect(admission == .admitted)
            return
        }
        #expect(admission == .refused(retryAfterMilliseconds: 10_000_000_000_000, .bytes))
    }

    @Test func `a clock that is set back gives nothing and takes nothing`() {
        var meter = meter(requests: 1)
        #expect(meter.admit(now: start) == .admitted)
        #expect(meter.admit(now: start + -60_000) == .refused(retryAfterMilliseconds: 1_000, .requests))
        #expect(meter.admit(now: start + 1_000) == .admitted)
    }

    @Test(arguments: SplitMix64.seeds(20)) func `no stretch of time admits more than its share`(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let (rate, byteRate) = (1 + Int(random.below(50)), 1_000 + Int(random.below(100_000)))
        var meter = meter(requests: rate, bytes: byteRate)
        var now = start
        var admitted: [(at: Timestamp, bytes: Int)] = []
        var refusals = 0
        for _ in 0..<2_000 {
            now = now + Int64(random.below(40))
            let size = Int(random.below(byteRate / 4))
            switch meter.admit(bytes: size, now: now) {
            case .admitted: admitted.append((now, size))
            case .refused(let wait, _):
                refusals += 1
                #expect(wait > 0, "seed \(seed)")
                // What it was told to wait for is there then, if nobody takes it.
                var later = meter
                let (asTold, sooner) = (later.admit(bytes: size, now: now + wait), now + (wait - 1))
                #expect(asTold == .admitted, "seed \(seed)")
                later = meter
                #expect(later.admit(bytes: size, now: sooner) != .admitted, "seed \(seed)")
            }
        }
        #expect(refusals > 0 && !admitted.isEmpty, "seed \(seed): nothing was tried")
        for first in stride(from: 0, to: admitted.count, by: 7) {
            var bytes = 0
            for last in first..<admitted.count {
                let milliseconds = admitted[last].at - admitted[first].at + 1_000
                bytes += admitted[last].bytes
                #expect(Int64(last - first + 1) * 1_000 <= milliseconds * Int64(rate), "seed \(seed)")
                #expect(
                    Int64(bytes - admitted[last].bytes) * 1_000 <= milliseconds * Int64(byteRate), "seed \(seed)")
            }
        }
    }

    @Test(arguments: SplitMix64.seeds(20)) func `who always asks gets the whole rate, and no more`(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let rate = 1 + Int(random.below(2_000))
        var meter = meter(requests: rate)
        let size = 1 + Int(random.below(10_000))
        var ofBytes = self.meter(bytes: rate * 100)
        var now = start
        var (admitted, bytes): (Int64, Int64) = (0, 0)
        for _ in 0..<1_000 {
            now = now + Int64(random.below(20))
            while meter.admit(now: now) == .admitted { admitted += 1 }
            while ofBytes.admit(bytes: size, now: now) == .admitted { bytes += Int64(size) }
            let passed = now - start
            #expect(admitted * 1_000 <= (passed + 1_000) * Int64(rate), "seed \(seed)")
            #expect(admitted * 1_000 >= passed * Int64(rate) - 1_000, "seed \(seed)")
            // One request's bytes more or less.
            #expect((bytes - Int64(size)) * 1_000 <= (passed + 1_000) * Int64(rate) * 100, "seed \(seed)")
            #expect((bytes + Int64(size)) * 1_000 >= passed * Int64(rate) * 100, "seed \(seed)")
        }
    }

    @Test func `a debt at the largest rate is paid at that rate`() {
        let rate = CallerLimits.allowed.upperBound
        var meter = meter(bytes: rate)
        for _ in 0..<6 { meter.charge(bytes: rate, now: start) }
        #expect(meter.byteDebtMilliseconds(now: start) == 5_000)
        #expect(meter.byteDebtMilliseconds(now: start + 4_500) == 500)
        #expect(meter.byteDebtMilliseconds(now: start + 5_000) == 0)
        #expect(meter.left(of: .bytes, now: start + 5_500) == rate / 2)
        #expect(meter.left(of: .bytes, now: start + 1_000_000_000_000) == rate)
    }

    @Test func `what is left of each limit is known`() {
        var meter = meter(requests: 3, bytes: 100, connections: 2)
        _ = (meter.admit(bytes: 60, now: start), meter.connect())
        #expect(CallerLimit.allCases.map { meter.left(of: $0, now: start) } == [2, 40, 1])
        meter.charge(bytes: 1_000, now: start)
        #expect(meter.left(of: .bytes, now: start) == 0)
        var none = CallerMeter(.none, now: start)
        #expect(CallerLimit.allCases.map { none.left(of: $0, now: start) } == [0, 0, 0])
    }

    // MARK: - Connections

    @Test func `no more connections than the limit, and one more when one ended`() {
        var meter = meter(connections: 2)
        let refused = CallerAdmission.refused(retryAfterMilliseconds: 1_000, .connections)
        #expect(meter.connect() == .admitted)
        #expect(meter.connect() == .admitted)
        #expect(meter.connect() == refused)
        #expect(meter.connect() == refused)
        #expect(meter.connections == 2)
        meter.disconnect()
        #expect(meter.connect() == .admitted)
        #expect(meter.connect() == refused)
    }

    @Test func `more ends than beginnings give nobody room`() {
        var meter = meter(connections: 1)
        for _ in 0..<5 { meter.disconnect() }
        #expect(meter.connect() == .admitted)
        #expect(meter.connect() == .refused(retryAfterMilliseconds: 1_000, .connections))
    }

    // MARK: - Changes

    @Test func `other limits count on what was used`() {
        var meter = meter(requests: 10, connections: 3)
        for _ in 0..<10 { #expect(meter.admit(now: start) == .admitted) }
        for _ in 0..<3 { #expect(meter.connect() == .admitted) }
        meter.change(to: CallerLimits(requestsPerSecond: 100, connections: 2), now: start)
        #expect(meter.admit(now: start) == .refused(retryAfterMilliseconds: 10, .requests))
        #expect(meter.admit(now: start + 10) == .admitted)
        // None was ended; the next ones find the new limit.
        #expect(meter.connections == 3)
        meter.disconnect()
        #expect(meter.connect() == .refused(retryAfterMilliseconds: 1_000, .connections))
        meter.disconnect()
        #expect(meter.connect() == .admitted)
    }

    @Test func `a limit can come and go`() {
        var meter = meter()
        meter.change(to: CallerLimits(bytesPerSecond: 10), now: start)
        #expect(meter.admit(bytes: 10, now: start) == .admitted)
        #expect(meter.admit(bytes: 10, now: start) == .refused(retryAfterMilliseconds: 1_000, .bytes))
        meter.change(to: .none, now: start)
        #expect(meter.admit(bytes: 10, now: start) == .admitted)
        #expect(meter == CallerMeter(.none, now: start))
    }
}
