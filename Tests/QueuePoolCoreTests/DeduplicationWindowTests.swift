// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolTestSupport
import Testing

@testable import QueuePoolCore

@Suite struct `The deduplication window` {
    @Test(arguments: SplitMix64.seeds(5))
    func `agrees with a dictionary over millions of milliseconds (I3)`(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        var window = DeduplicationWindow()
        var model: [Hash128: SequenceNumber] = [:]
        var now = Timestamp(milliseconds: 1_800_000_000_000)
        var last = SequenceNumber(firstOf: now)
        let kinds = [50, 5_000, 1 << 40][random.below(3)]
        var differences = 0
        for _ in 0..<20_000 {
            if random.chance(2) { now = now + Int64(random.below(3_000)) }
            if random.chance(1), random.chance(2) { now = now + 400_000 }
            if random.chance(30) { window.expire(now: now, limit: random.below(200)) }
            // Few distinct words, so that marks and starting places collide.
            let word = UInt64(random.below(kinds))
            let key = Hash128(
                high: word, low: kinds < 10_000 ? word % 40 << 50 | word % 7 : word &* 0x9E37_79B9_7F4A_7C15)
            let known = model[key].flatMap { $0 >= DeduplicationWindow.oldest(now) ? $0 : nil }
            if window.first(key, now: now) != known { differences += 1 }
            guard known == nil else { continue }
            last = max(SequenceNumber(firstOf: now), SequenceNumber(rawValue: last.rawValue + 1))
            window.insert(key, last)
            model[key] = last
        }
        #expect(differences == 0, "seed \(seed)")
    }

    @Test func `gives memory back when its keys are old`() {
        var window = DeduplicationWindow()
        var now = Timestamp(milliseconds: 1_800_000_000_000)
        var number: UInt64 = 0
        func fill(_ count: Int) {
            for _ in 0..<count {
                number += 1
                let key = Hash128(high: number, low: number &* 0x9E37_79B9_7F4A_7C15)
                window.insert(key, SequenceNumber(rawValue: now.milliseconds << 20 + Int64(number)))
            }
        }
        fill(100_000)
        #expect(window.count == 100_000)
        #expect(window.placeCount <= 4 * 100_000)
        now = now + 300_001 + 1_000
        while window.count > 0 { window.expire(now: now) }
        #expect(window.placeCount == 0)
        fill(20_000)
        #expect(window.count == 20_000)
        let afterBurst = window.placeCount
        now = now + 302_000
        while window.count > 0 { window.expire(now: now) }
        for _ in 0..<40 {
            fill(5_000)
            now = now + 302_000
            while window.count > 0 { window.expire(now: now) }
        }
        #expect(window.placeCount <= afterBurst)
        #expect(window.placeCount < 40_000)
    }
}
