// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolTestSupport
import Testing

@testable import QueuePoolCore

@Suite("Who works on which shard")
struct LeaseStoryTests {
    private func shares(_ world: LeaseWorld) -> [Int] { world.workers.indices.map { world.held($0).count } }

    /// A pool whose workers came one after another and are at rest.
    private func pool(shards: Int, workers: Int, seed: UInt64 = 1) -> LeaseWorld {
        let world = LeaseWorld(shards: shards, seed: seed)
        for _ in 0..<workers {
            world.join()
            world.run(10_000)
        }
        return world
    }

    @Test func `the first worker takes every shard within a second`() {
        let world = LeaseWorld(shards: 8, seed: 1)
        world.join()
        world.run(1_000)
        #expect(shares(world) == [8])
        #expect(world.faultsSeen.isEmpty)
    }

    @Test func `a second one gets half, and what stays is not touched`() {
        let world = pool(shards: 8, workers: 1)
        let before = world.rows.leases
        world.join()
        world.run(10_000)
        #expect(shares(world) == [4, 4])
        for shard in world.held(0) { #expect(world.rows.leases[shard] == before[shard]) }
        #expect(world.beginnings == 12)
        #expect(world.faultsSeen.isEmpty)
    }

    @Test func `a shard begins at its next worker only when the last one has drained it`() {
        let world = pool(shards: 2, workers: 1)
        world.faults.endlessDrains = 100
        world.join()
        world.run(10_000)
        #expect(shares(world) == [2, 0])
        #expect(world.workers[0].machine.figures.draining == 1)
        // Nobody says that it is done; its deadline ends it.
        world.run(30_000)
        #expect(shares(world) == [1, 1])
        #expect(world.faultsSeen.isEmpty)
    }

    @Test func `a shard that is promised to another worker stays promised when the pool grows meanwhile`() {
        let world = pool(shards: 4, workers: 1)
        world.faults.endlessDrains = 100
        world.join()
        world.run(10_000)
        let promised = world.rows.sortedLeases.filter { $0.next != nil }.map(\.shard)
        #expect(promised == [ShardIndex(2), ShardIndex(3)])
        world.resize(to: 5)
        world.run(50_000)
        #expect(world.held(1) == promised)
        #expect(world.held(0) == [ShardIndex(0), ShardIndex(1), ShardIndex(4)])
        #expect(world.faultsSeen.isEmpty)
    }

    @Test func `one that leaves hands its shards on and removes its heartbeat`() {
        let world = pool(shards: 9, workers: 3)
        let stays = (world.held(0), world.held(2))
        world.leave(1, within: 30_000)
        world.run(5_000)
        #expect(world.workers[1].hasLeft)
        #expect(world.rows.heartbeats.count == 2)
        #expect(world.held(0).count + world.held(2).count == 9)
        #expect(Set(world.held(0)).isSuperset(of: stays.0) && Set(world.held(2)).isSuperset(of: stays.1))
        #expect(world.faultsSeen.isEmpty)
    }

    @Test func `the last one that leaves leaves its shards to nobody, and a new one has them at once`() {
        let world = pool(shards: 4, workers: 1)
        world.leave(0, within: 30_000)
        world.run(5_000)
        #expect(world.workers[0].hasLeft && world.rows.heartbeats.isEmpty)
        #expect(world.rows.leases.values.allSatisfy { $0.owner == nil })
        world.join()
        world.run(1_000)
        #expect(world.held(1).count == 4)
    }

    @Test func `one that leaves without a store that answers comes to its end all the same`() {
        let world = pool(shards: 4, workers: 1)
        world.outageUntil = world.now + 60_000
        world.leave(0, within: 3_000)
        world.run(5_200)
        #expect(world.workers[0].hasLeft)
        #expect(world.faultsSeen.isEmpty)
    }

    @Test func `a worker that leaves gets no shard of others that come or go`() {
        let world = pool(shards: 6, workers: 2)
        world.faults.endlessDrains = 100
        world.leave(0, within: 20_000)
        world.run(3_000)
        world.join()
        world.crash(1)
        world.run(17_000)
        #expect(world.rows.leases.values.allSatisfy { $0.next != world.workers[0].machine.worker })
        world.run(20_000)
        #expect(world.held(2).count == 6)
        #expect(world.faultsSeen.isEmpty)
    }

    @Test func `a crash costs a term and little more`() {
        let world = pool(shards: 8, workers: 2)
        world.crash(1)
        world.run(9_000)
        #expect(shares(world) == [4, 0])
        world.run(7_000)
        #expect(shares(world) == [8, 0])
        #expect(world.workers[0].machine.figures.removed == 1)
    }

    @Test func `one that stood still drops everything before it does anything, and begins another life`() {
        let world = pool(shards: 8, workers: 2)
        let life = world.workers[1].machine.worker
        world.pause(1, for: 30_000)
        world.run(29_000)
        #expect(shares(world) == [8, 0])
        world.run(11_000)
        #expect(shares(world) == [4, 4])
        #expect(world.workers[1].machine.worker != life)
        #expect(world.workers[1].machine.figures.lost == 4)
        #expect(world.faultsSeen.isEmpty)
    }

    @Test func `a short outage costs nothing, a long one every shard until the store is back`() {
        let world = pool(shards: 4, workers: 2)
        let begun = world.beginnings
        world.outageUntil = world.now + 3_000
        world.run(10_000)
        #expect(world.beginnings == begun)
        world.outageUntil = world.now + 15_000
        world.run(9_000)
        #expect(shares(world) == [0, 0])
        world.run(20_000)
        #expect(shares(world) == [2, 2])
        #expect(world.faultsSeen.isEmpty)
    }

    @Test func `workers beyond the number of shards stand by, and one of them steps in`() {
        let world = pool(shards: 2, workers: 3)
        #expect(shares(world) == [1, 1, 0])
        #expect(world.workers.map(\.machine.isStandBy) == [false, false, true])
        world.leave(0, within: 30_000)
        world.run(5_000)
        #expect(world.held(1).count == 1 && world.held(2).count == 1)
        #expect(!world.workers[2].machine.isStandBy)
    }

    @Test func `shards that come are taken, and shards that go are drained and given up`() {
        let world = pool(shards: 4, workers: 2)
        world.resize(to: 6)
        world.run(5_000)
        #expect(shares(world) == [3, 3])
        world.resize(to: 2)
        world.run(10_000)
        #expect(shares(world) == [1, 1])
        #expect(world.rows.leases.values.count { $0.owner != nil } == 2)
        #expect(world.faultsSeen.isEmpty)
    }

    @Test func `a name that leaves no room for the number of a life is none`() {
        let shards = [ShardIndex(0)]
        #expect(LeaseMachine(name: String(repeating: "n", count: 61), shards: shards, seed: 1) == nil)
        #expect(LeaseMachine(name: "a worker", shards: shards, seed: 1) == nil)
        #expect(LeaseMachine(name: String(repeating: "n", count: 60), shards: shards, seed: 1) != nil)
    }
}
