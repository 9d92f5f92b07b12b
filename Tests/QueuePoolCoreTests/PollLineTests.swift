// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolTestSupport
import Testing

@Suite("Who of those that wait looks next")
struct PollLineTests {
    private let start = Timestamp(milliseconds: 1_000_000)
    private let a = ShardIndex(0)
    private let b = ShardIndex(1)

    /// A line in which these wait, for 20 s, in this order.
    private func line(_ shards: ShardIndex?...) -> PollLine {
        var line = PollLine()
        for (number, shard) in shards.enumerated() {
            _ = line.handle(
                .arrive(WaiterID(number), shard: shard, deadline: start + 20_000, line.ticket(of: shard, now: start)),
                now: start)
        }
        return line
    }

    @Test func `a message wakes the one that has waited longest among those of its shard`() {
        var line = line(b, a, nil)
        #expect(line.handle(.woken(a), now: start) == [.look(WaiterID(1), at: a, isLast: false)])
        #expect(line.handle(.woken(b), now: start) == [.look(WaiterID(0), at: b, isLast: false)])
    }

    @Test func `whoever found something sends the next`() {
        var line = line(nil, a)
        _ = line.handle(.woken(a), now: start)
        #expect(
            line.handle(.lookEnded(WaiterID(0), isServed: true), now: start)
                == [.look(WaiterID(1), at: a, isLast: false)])
        #expect(line.handle(.lookEnded(WaiterID(1), isServed: false), now: start).isEmpty)
        #expect(line.waiterCount == 1)
    }

    @Test func `a look at a slow shard holds up nobody at another`() {
        var line = line(a, a, b)
        _ = line.handle(.woken(a), now: start)
        #expect(line.handle(.woken(b), now: start) == [.look(WaiterID(2), at: b, isLast: false)])
    }

    @Test func `a wake-up between a look and the arrival means another look`() {
        var line = PollLine()
        let ticket = line.ticket(of: a, now: start)
        #expect(line.handle(.woken(a), now: start).isEmpty)
        let effects = line.handle(.arrive(WaiterID(0), shard: a, deadline: start + 1_000, ticket), now: start)
        #expect(effects.contains(.look(WaiterID(0), at: nil, isLast: false)))
    }

    @Test func `a wake-up during a look means another look`() {
        var line = line(nil)
        _ = line.handle(.woken(a), now: start)
        #expect(line.handle(.woken(a), now: start).isEmpty)
        #expect(
            line.handle(.lookEnded(WaiterID(0), isServed: false), now: start)
                == [.look(WaiterID(0), at: a, isLast: false)])
    }

    @Test func `one that is out looking when the line closes answers when it comes back`() {
        var line = line(nil, nil)
        _ = line.handle(.woken(a), now: start)
        #expect(line.handle(.close, now: start) == [.look(WaiterID(1), at: nil, isLast: true)])
        #expect(
            line.handle(.lookEnded(WaiterID(0), isServed: false), now: start)
                == [.look(WaiterID(0), at: nil, isLast: true)])
        #expect(line.waiterCount == 0)
    }

    @Test func `one whose client is gone is let go at once`() {
        var line = line(nil, nil)
        #expect(line.handle(.abandoned(WaiterID(0)), now: start) == [.look(WaiterID(0), at: nil, isLast: true)])
        #expect(line.waiterCount == 1)
        #expect(line.handle(.woken(a), now: start) == [.look(WaiterID(1), at: a, isLast: false)])
    }

    @Test func `the timer rings at the earliest deadline, or when a message becomes visible by itself`() {
        var line = PollLine()
        let arrival = PollLine.Event.arrive(
            WaiterID(0), shard: a, deadline: start + 1_000, line.ticket(of: a, now: start))
        #expect(line.handle(arrival, now: start) == [.wake(at: start + 1_000)])
        #expect(line.handle(.visible(a, at: start + 400), now: start) == [.wake(at: start + 400)])
        #expect(
            line.handle(.timer, now: start + 400)
                == [.look(WaiterID(0), at: a, isLast: false), .wake(at: start + 1_000)])
        _ = line.handle(.lookEnded(WaiterID(0), isServed: false), now: start + 401)
        #expect(line.handle(.timer, now: start + 1_000) == [.look(WaiterID(0), at: nil, isLast: true)])
    }

    @Test(arguments: SplitMix64.seeds(300))
    func `nobody misses a message, waits past the deadline or is overtaken`(seed: UInt64) {
        var stage = PollLineStage(seed: seed)
        for step in 0..<400 {
            stage.act()
            if step % 20 == 19 { stage.settle() }
        }
        if seed % 2 == 0 { stage.close() } else { stage.passTime(30_000) }
        stage.settle()
        #expect(stage.faults.isEmpty, "seed \(seed)")
        #expect(stage.waitingCount == 0, "seed \(seed)")
        #expect(stage.line.waiterCount == 0, "seed \(seed)")
    }

    @Test func `ten thousand wait, are woken one after the other, and time out`() {
        var line = PollLine()
        let count = 10_000
        for number in 0..<count {
            let shard = number % 2 == 0 ? nil : ShardIndex(number % 8)
            _ = line.handle(
                .arrive(
                    WaiterID(number), shard: shard, deadline: start + Int64(10_000 + number % 7),
                    line.ticket(of: shard, now: start)), now: start)
        }
        #expect(line.waiterCount == count)
        var served = 0
        var effects = line.handle(.woken(ShardIndex(1)), now: start)
        while let effect = effects.first, case .look(let id, _, _) = effect {
            served += 1
            effects = line.handle(.lookEnded(id, isServed: true), now: start)
        }
        // Half of them look at every shard, an eighth at this one.
        #expect(served == count / 2 + count / 8)
        let late = line.handle(.timer, now: start + 30_000)
        for case .look(let id, _, true) in late {
            _ = line.handle(.lookEnded(id, isServed: false), now: start + 30_000)
        }
        #expect(line.waiterCount == 0)
    }
}
