// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolTestSupport
import Testing

@testable import QueuePoolCore

// Random worlds: workers that come, crash, leave, stand still and are cut off; a store that is slow, loses calls and
// answers, carries out calls that everybody gave up, and is away for a while; clocks that run 3 % fast or slow. Then the
// faults stop, and the pool must come to rest, and move no more than it has to.

@Suite("Leases in random worlds")
struct LeaseSimulationTests {
    private static let seedsPerBatch = 25

    @Test(arguments: 0..<40 as Range<UInt64>)
    func `no shard ever has two workers, and every shard has one soon after faults stop`(batch: UInt64) {
        for seed in SplitMix64.seeds(LeaseSimulationTests.seedsPerBatch, from: batch * 25 + 1) {
            let faults = LeaseSimulationTests.run(seed: seed)
            #expect(faults.isEmpty, "seed \(seed): \(faults.prefix(3))")
            if !faults.isEmpty { return }
        }
    }

    static func run(seed: UInt64) -> [String] {
        var random = SplitMix64(seed: seed ^ 0x5DEE_CE66)
        let world = LeaseWorld(shards: random.below(17), seed: seed)
        world.tickMilliseconds = [100, 250, 700][random.below(3)]
        let rate = random.below(4)
        world.faults.delayMax = [20, 200, 1_000, 1_500][random.below(4)]
        world.faults.lostCalls = [0, 2, 10, 30][rate]
        world.faults.lostAnswers = [0, 2, 10, 30][random.below(4)]
        world.faults.stalls = [0, 0, 1, 3][rate]
        world.faults.endlessDrains = [0, 20][random.below(2)]
        world.faults.drainMax = [100, 3_000, 30_000][random.below(3)]
        for _ in 0..<(1 + random.below(6)) { world.join(drift: drift(&random)) }
        for _ in 0..<100 where world.faultsSeen.isEmpty {
            world.run(random.below(3_000))
            disturb(world, &random)
        }
        guard world.faultsSeen.isEmpty else { return world.faultsSeen }
        return world.faultsSeen + Aftermath(world: world).run(&random)
    }

    private static func drift(_ random: inout SplitMix64) -> Int64 { Int64(random.below(61) - 30) }

    private static func disturb(_ world: LeaseWorld, _ random: inout SplitMix64) {
        let present = world.workers.indices.filter { world.workers[$0].isPresent && !world.workers[$0].isLeaving }
        guard let chosen = present.randomElement(using: &random), random.chance(85) else {
            if present.count < 6 { world.join(drift: drift(&random)) }
            return
        }
        switch random.below(20) {
        case 0: world.crash(chosen)
        case 1 where world.now >= world.workers[chosen].pausedUntil:
            world.leave(chosen, within: random.below(30_000))
        case 2, 3: world.pause(chosen, for: random.below(40_000))
        case 4, 5: world.cutOff(chosen, for: random.below(20_000))
        case 6 where random.chance(30): world.outageUntil = world.now + random.below(20_000)
        case 7: world.resize(to: random.below(17))
        default: break
        }
    }
}

/// What must come after the last fault.
private struct Aftermath {
    let world: LeaseWorld

    private var present: [Int] {
        world.workers.indices.filter { world.workers[$0].isPresent && !world.workers[$0].isLeaving }
    }

    func run(_ random: inout SplitMix64) -> [String] {
        world.faults = LeaseFaults()
        world.tickMilliseconds = 250
        world.outageUntil = 0
        if present.isEmpty { world.join() }
        // The last pause, cut, stall, or call that arrives late, ends within this.
        world.run(45_000)
        let (term, interval) = (Int(world.limits.termMilliseconds), Int(world.limits.renewMilliseconds))
        world.run(2 * term + 4 * interval)
        let first = whole("two terms after the last fault")
        guard first.isEmpty else { return first }
        let (before, versions) = (world.beginnings, world.rows.leases)
        world.run(5 * term)
        guard world.beginnings == before, world.rows.leases == versions else { return ["leases moved without a cause"] }
        let joined = join(interval)
        return joined.isEmpty ? leave(interval, &random) : joined
    }

    private func join(_ interval: Int) -> [String] {
        let before = world.holders
        world.join()
        world.run(10 * interval)
        let after = world.holders
        let moved = world.shards.count { before[$0] != after[$0] }
        let most = (world.shards.count + present.count - 1) / present.count
        return whole("after a join") + (moved > most ? ["a join moved \(moved) leases; \(most) are enough"] : [])
    }

    private func leave(_ interval: Int, _ random: inout SplitMix64) -> [String] {
        guard present.count > 1, let leaver = present.randomElement(using: &random) else { return [] }
        let before = world.holders
        world.leave(leaver, within: 20_000)
        world.run(10 * interval)
        let after = world.holders
        var faults = whole("after a leave")
        if !world.workers[leaver].hasLeft { faults.append("the leaver did not come to an end") }
        for shard in world.shards where before[shard] != after[shard] {
            if before[shard] != leaver { faults.append("a leave moved a shard that was not the leaver's") }
            guard let begun = world.begun[shard]?.at, let ended = world.ended[shard] else { continue }
            if begun - ended > 2 * interval { faults.append("a leave left a shard alone for \(begun - ended) ms") }
        }
        return faults
    }

    /// Every shard has a worker, and shares are even.
    private func whole(_ moment: String) -> [String] {
        let shares = present.map { world.held($0).count }
        let holders = world.holders
        let alone = world.shards.filter { holders[$0] == nil }
        var faults = world.faultsSeen
        if !alone.isEmpty { faults.append("\(alone.count) shards are alone \(moment)") }
        let isEven = (shares.max() ?? 0) - (shares.min() ?? 0) <= 1
        if !isEven || shares.reduce(0, +) != world.shards.count {
            faults.append("shares are \(shares) of \(world.shards.count) \(moment)")
        }
        return faults
    }
}
