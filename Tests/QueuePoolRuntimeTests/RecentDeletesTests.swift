// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import QueuePoolTestSupport
import Testing

@Suite struct `Messages that were deleted a moment ago` {
    private let start = Timestamp(milliseconds: 1_800_000_000_000)

    private func sequence(_ number: Int64) -> SequenceNumber {
        SequenceNumber(rawValue: SequenceNumber(firstOf: start).rawValue + number)
    }

    private func has(_ deletes: inout RecentDeletes, _ number: Int64, _ now: Timestamp) -> Bool {
        deletes.mayContain(sequence(number), now: now)
    }

    @Test func `are known for a second at least, and for two at most`() {
        for begin in [0, 1, 999] as [Int64] {
            var deletes = RecentDeletes()
            deletes.note(sequence(1), now: start)
            deletes.note(sequence(2), now: start + begin)
            let isKnown = has(&deletes, 2, start + begin + 999)
            let isKnownLater = has(&deletes, 2, start + begin + 2_000)
            #expect(isKnown && !isKnownLater)
        }
    }

    @Test func `are known also when others are deleted all the time`() {
        var deletes = RecentDeletes()
        var random = SplitMix64(seed: 7)
        var noted: [(SequenceNumber, Timestamp)] = []
        for step in 0..<5_000 {
            let now = start + Int64(step)
            let next = sequence(Int64.random(in: 0..<1 << 40, using: &random))
            deletes.note(next, now: now)
            noted.append((next, now))
            let (earlier, at) = noted[max(0, step - Int.random(in: 0..<1_000, using: &random))]
            let isKnown = deletes.mayContain(earlier, now: now)
            if now - at < RecentDeletes.milliseconds { #expect(isKnown) }
        }
    }

    @Test func `are few, so that most others are told apart from them`() {
        var deletes = RecentDeletes()
        let isKnown = has(&deletes, 0, start)
        #expect(!isKnown)
        for number in 0..<1_000 { deletes.note(sequence(Int64(number)), now: start) }
        var mistaken = 0
        for number in 1_000..<11_000 where deletes.mayContain(sequence(Int64(number)), now: start) { mistaken += 1 }
        #expect(mistaken < 1_000)
    }
}
