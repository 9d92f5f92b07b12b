// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolCore

private let start = Timestamp(milliseconds: 1_800_000_000_000)

private func handle(_ number: Int64) -> ReceiptHandle {
    ReceiptHandle(
        shard: ShardTag(rawValue: 1), sequence: SequenceNumber(rawValue: number), receiveCount: 3, incarnation: 1,
        place: 0)
}

@Suite struct `Moves to the dead-letter queue` {
    @Test func `store first, then delete`() {
        var moves = DeadLetterMoves()
        #expect(moves.plan([handle(1), handle(2)], now: start).store == [handle(1), handle(2)])
        let outcome = moves.answered([(handle(1), true), (handle(2), true)], now: start)
        #expect(outcome.delete == [handle(1), handle(2)] && outcome.wait.isEmpty && !outcome.beginsToFail)
        moves.deleted([handle(1), handle(2)], isDurable: true)
        moves.foundNothing()
        #expect(!moves.mustLook(now: start + 1_000_000))
    }

    @Test func `a message that is stored there is never sent there again, however often its deletion fails`() {
        var moves = DeadLetterMoves()
        _ = moves.plan([handle(1)], now: start)
        _ = moves.answered([(handle(1), true)], now: start)
        for second in 1...400 {
            moves.deleted([handle(1)], isDurable: false)
            let now = start + Int64(second) * 1_000
            #expect(moves.mustLook(now: now))
            let plan = moves.plan([handle(1)], now: now)
            #expect(plan.store.isEmpty && plan.delete == [handle(1)])
        }
        moves.deleted([handle(1)], isDurable: true)
        #expect(moves.plan([handle(1)], now: start + 500_000).store == [handle(1)])
    }

    @Test func `of several, those that were stored are deleted and the others wait`() {
        var moves = DeadLetterMoves()
        _ = moves.plan([handle(1), handle(2)], now: start)
        let outcome = moves.answered([(handle(1), true), (handle(2), false)], now: start)
        #expect(outcome.delete == [handle(1)] && outcome.wait == [handle(2)])
        #expect(outcome.until == start + 1_000 && outcome.beginsToFail)
    }

    @Test func `a queue that takes nothing is asked with one message at a time, ever less often, and told of once`() {
        var moves = DeadLetterMoves()
        let all = (1...10).map { handle($0) }
        _ = moves.plan(all, now: start)
        var now = start
        #expect(moves.answered(all.map { ($0, false) }, now: now).beginsToFail)
        var asked = 0
        for _ in 0..<3_600 {
            now = now + 1_000
            guard moves.mustLook(now: now) else { continue }
            let plan = moves.plan(all, now: now)
            #expect(plan.store.count == 1 && plan.wait.count == 9)
            asked += 1
            #expect(!moves.answered(plan.store.map { ($0, false) }, now: now).beginsToFail)
        }
        #expect(asked > 50 && asked < 80)
        // It takes messages again: the probe goes, then the others.
        now = now + 60_000
        let probe = moves.plan(all, now: now)
        _ = moves.answered(probe.store.map { ($0, true) }, now: now)
        #expect(moves.plan(probe.wait, now: now).store == probe.wait)
    }

    @Test func `are looked for after an opening`() {
        var moves = DeadLetterMoves()
        #expect(moves.mustLook(now: start))
        moves.foundNothing()
        #expect(!moves.mustLook(now: start))
    }
}
