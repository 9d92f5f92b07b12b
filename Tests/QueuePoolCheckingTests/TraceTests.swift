// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking
import QueuePoolCore
import Testing

@Suite struct TraceTests {
    private let now = Timestamp(milliseconds: 1_000)

    private func digest(_ note: (inout Trace) -> Void) -> UInt64 {
        var trace = Trace(capacity: 0)
        note(&trace)
        return trace.digest
    }

    @Test func `the latest events are kept, oldest first`() {
        var trace = Trace(capacity: 3)
        for number in 0..<8 {
            trace.note("sent", number, now: now + Int64(number))
            let kept = trace.lines.map(\.a)
            #expect(kept == Array(max(0, number - 2)...number))
        }
        #expect(trace.count == 8)
    }

    @Test func `events read as lines with the numbers that were given`() {
        var trace = Trace(capacity: 10)
        trace.note("faults stopped", now: now)
        trace.note("shard down", 3, now: now + 1)
        trace.note("sent to shard", 12, 0, now: now + 2)
        trace.note("handed by worker under", 12, 4, -1, now: now + 3)
        #expect(
            trace.text() == """
                1000 faults stopped
                1001 shard down 3
                1002 sent to shard 12 0
                1003 handed by worker under 12 4 -1
                """)
        #expect(trace.text(last: 1) == "1003 handed by worker under 12 4 -1")
        #expect(trace.text(last: 0) == "")
    }

    @Test func `the digest is of all events, kept or not`() {
        var small = Trace(capacity: 1)
        var large = Trace(capacity: 1_000)
        for number in 0..<100 {
            small.note("step", number, now: now)
            large.note("step", number, now: now)
        }
        #expect(small.digest == large.digest)
        #expect(small.lines.count == 1)
        #expect(large.lines.count == 100)
    }

    @Test func `no two of these histories have the same digest`() {
        let now = now
        let digests = [
            digest { _ in },
            digest { $0.note("a", now: now) },
            digest { $0.note("b", now: now) },
            digest { $0.note("a\0", now: now) },
            digest { $0.note("a", now: now + 1) },
            digest { $0.note("a", 0, now: now) },
            digest { $0.note("a", 1, now: now) },
            digest { $0.note("a", 0, 0, now: now) },
            digest { $0.note("a", 0, 1, now: now) },
            digest { $0.note("a", 1, 0, now: now) },
            digest { $0.note("a", 0, 0, 0, now: now) },
            digest { $0.note("a", 0, 0, 1, now: now) },
            digest {
                $0.note("a", now: now)
                $0.note("b", now: now)
            },
            digest {
                $0.note("b", now: now)
                $0.note("a", now: now)
            },
            digest { $0.note("a text longer than eight bytes", now: now) },
            digest { $0.note("a text longer than eight byteS", now: now) },
        ]
        #expect(Set(digests).count == digests.count)
    }

    @Test func `the digest is the same in every process`() {
        let now = now
        let found = digest {
            $0.note("sent to shard", 12, 0, now: now)
            $0.note("done", now: now)
        }
        // Computed apart, by the same rule.
        #expect(found == 0xD254_390D_AA18_1E55)
    }
}
