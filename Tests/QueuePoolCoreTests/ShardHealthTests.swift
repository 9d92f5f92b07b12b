// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolTestSupport
import Testing

@Suite("Which shards a receiver asks")
struct ShardHealthTests {
    private let shard = ShardIndex(3)
    private let start = Timestamp(milliseconds: 1_000_000)

    @Test func `one that failed is tried again by one receiver after pauses that grow to five seconds`() {
        var health = ShardHealth()
        health.failed(shard, .unknownOutcome, now: start)
        // Looks that were under way together count once.
        health.failed(shard, .unknownOutcome, now: start)
        var now = start
        var pauses: [Int64] = []
        for _ in 0..<7 {
            let retryAt = health.retryAt(of: shard) ?? now
            let early = health.mayAsk(shard, now: retryAt + -1)
            let (first, second) = (health.mayAsk(shard, now: retryAt), health.mayAsk(shard, now: retryAt))
            #expect(!early && first && !second)
            health.failed(shard, .unknownOutcome, now: retryAt)
            pauses.append(retryAt - now)
            now = retryAt
        }
        #expect(pauses == [200, 400, 800, 1_600, 3_200, 5_000, 5_000])
        #expect(health.failure(of: shard) == .unknownOutcome)
    }

    @Test func `one that is throttled is left alone for as long as it says`() {
        var health = ShardHealth()
        health.failed(shard, .quotaExceeded(retryAfterMilliseconds: 1_500), now: start)
        #expect(health.retryAt(of: shard) == start + 1_500)
    }

    @Test func `one that answers, late or not, is well`() {
        var health = ShardHealth()
        health.overdue(shard, now: start)
        let early = health.mayAsk(shard, now: start + 199)
        #expect(!early)
        #expect(health.failure(of: shard) == nil)
        health.answered(shard)
        #expect(health.isEveryoneWell)
        let well = health.mayAsk(shard, now: start + 199)
        #expect(well)
    }

    @Test(arguments: 0..<400 as Range<UInt64>)
    func `a look never brings more than the limit, asks nobody twice and ends`(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let kinds: [LookRound.Kind] = [.near, .nearWoken, .farNow, .farLast, .farWaiting(seconds: 5)]
        for kind in kinds {
            let count = Int.random(in: 1...9, using: &random)
            let limit = Int.random(in: 1...10, using: &random)
            var round = LookRound(
                count: count, limit: limit, kind: kind, endsUnanswered: Bool.random(using: &random))
            var out: [LookRound.Ask] = []
            var asked: Set<Int> = []
            var found = 0
            var steps = 0
            stepping: while true {
                steps += 1
                guard steps < 200 else {
                    Issue.record("no end: seed \(seed), \(kind)")
                    break
                }
                switch round.next() {
                case .end(let outcome):
                    #expect((outcome == .found) == (found > 0), "seed \(seed), \(kind)")
                    break stepping
                case .ask(let ask):
                    #expect(asked.insert(ask.turn).inserted, "seed \(seed), \(kind)")
                    out.append(ask)
                    // Most answer within the call.
                    if Bool.random(using: &random) { continue }
                case .wait(let wave):
                    if Bool.random(using: &random) {
                        _ = round.patienceIsOver(wave: wave)
                        continue
                    }
                }
                guard !out.isEmpty else { continue }
                let ask = out.remove(at: Int.random(in: 0..<out.count, using: &random))
                let brought = Int.random(in: 0...ask.limit, using: &random)
                if round.answered(ask, count: brought, isFailure: false) { found += brought }
                #expect(found <= limit, "seed \(seed), \(kind)")
            }
        }
    }
}
