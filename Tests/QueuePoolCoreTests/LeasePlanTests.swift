// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolTestSupport
import Testing

@Suite("The plan of leases")
struct LeasePlanTests {
    private static func worker(_ number: Int) -> WorkerID? { WorkerID("w-\(number).1") }

    private struct Case {
        var workers: [WorkerID] = []
        var shards: [ShardIndex] = []
        var holders: [ShardIndex: WorkerID] = [:]

        init(seed: UInt64) {
            var random = SplitMix64(seed: seed)
            workers = (0..<random.below(9)).compactMap(LeasePlanTests.worker)
            shards = (0..<random.below(40)).map { ShardIndex($0) }
            // Some are held by nobody, some by workers that are gone.
            for shard in shards where random.chance(80) {
                holders[shard] = LeasePlanTests.worker(min(random.below(11), random.below(11)))
            }
        }

        var wishes: [ShardIndex: WorkerID] {
            LeasePlan.wishes(workers: workers, shards: shards, holders: holders)
        }
    }

    @Test(arguments: 0..<500 as Range<UInt64>)
    func `shares are even, moves are few, and the order of what is known does not matter`(seed: UInt64) {
        let given = Case(seed: seed)
        let wishes = given.wishes
        #expect(wishes.count == (given.workers.isEmpty ? 0 : given.shards.count))
        guard !given.workers.isEmpty else { return }
        let shares = given.workers.map { worker in wishes.values.count { $0 == worker } }
        #expect((shares.max() ?? 0) - (shares.min() ?? 0) <= 1)

        // No even sharing keeps more: the workers with most keep a share of one more, as many as there are such shares.
        let counts = given.workers.map { worker in given.holders.values.count { $0 == worker } }.sorted(by: >)
        let (share, rest) = given.shards.count.quotientAndRemainder(dividingBy: given.workers.count)
        let most = counts.enumerated().map { min($1, share + ($0 < rest ? 1 : 0)) }.reduce(0, +)
        #expect(given.shards.count { wishes[$0] == given.holders[$0] } == most)

        var random = SplitMix64(seed: seed)
        var shuffled = given
        shuffled.workers.shuffle(using: &random)
        shuffled.shards.shuffle(using: &random)
        #expect(shuffled.wishes == wishes)
        // Carried out, it asks for nothing more.
        shuffled.holders = wishes
        #expect(shuffled.wishes == wishes)
    }

    @Test(arguments: 0..<500 as Range<UInt64>)
    func `a plan that is carried out in part needs no more moves than the rest of it`(seed: UInt64) {
        var given = Case(seed: seed)
        var random = SplitMix64(seed: seed)
        let first = given.wishes
        let needed = given.shards.count { first[$0] != given.holders[$0] }
        var made = 0
        while let moving = given.shards.shuffled(using: &random).first(where: { given.wishes[$0] != given.holders[$0] }
        ),
            let worker = given.wishes[moving], made <= needed
        {
            given.holders[moving] = worker
            made += 1
        }
        #expect(made == (given.workers.isEmpty ? 0 : needed))
    }
}
