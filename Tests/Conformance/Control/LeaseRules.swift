// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import Synchronization
import Testing

// What the port promises the workers of a pool. Each rule has two users of the store, `one` and `other`.

enum LeaseRules {
    /// What one writes the other reads, in every part.
    static let readBack: LeaseRule = { bench in
        let pool = try bench.pool().name
        try bench.check(pool, "an empty store")
        var a = try bench.heartbeat("a", 1)
        try bench.one.renew(a, ofPool: pool)
        let b = try bench.heartbeat("B.2_x-9", 1, isLeaving: true)
        try bench.other.renew(b, ofPool: pool)
        var lease = try bench.written(bench.lease(3, owner: "a", next: "B.2_x-9"), of: pool)
        bench.check(lease.version == 1, "the first version is \(lease.version)")
        try bench.check(pool, has: [b, a], and: [lease], "what one wrote")
        // Every optional part without a value, and the other way round.
        lease.owner = nil
        lease.next = nil
        lease.acquiredAt = Timestamp(milliseconds: 5)
        lease = try bench.written(lease, of: pool)
        bench.check(lease.version == 2, "the second version is \(lease.version)")
        a = try bench.heartbeat("a", 2, isLeaving: true)
        try bench.one.renew(a, ofPool: pool)
        try bench.check(pool, has: [b, a], and: [lease], "what was written over it")
    }

    /// Beats follow one another; one that is stored already is stored.
    static let beats: LeaseRule = { bench in
        let pool = try bench.pool().name
        bench.check(.conflict, "a second beat without a first") {
            try bench.one.renew(bench.heartbeat("a", 2), ofPool: pool)
        }
        try bench.check(pool, "it made a heartbeat")
        let third = try bench.beats("a", 3, of: pool)
        try bench.one.renew(third, ofPool: pool)
        for beat in [1, 2, 5, 0, -1] {
            bench.check(.conflict, "beat \(beat) after 3") {
                try bench.one.renew(bench.heartbeat("a", beat), ofPool: pool)
            }
        }
        try bench.check(pool, has: [third], "the ones that were refused changed something")
        // Its answer was lost, and the worker has come to leave since.
        let again = try bench.heartbeat("a", 3, isLeaving: true)
        try bench.one.renew(again, ofPool: pool)
        try bench.check(pool, has: [again], "what was stored again")
        let fourth = try bench.heartbeat("a", 4)
        try bench.one.renew(fourth, ofPool: pool)
        let first = try bench.beats("b", 1, of: pool)
        try bench.one.renew(first, ofPool: pool)
        try bench.check(pool, has: [fourth, first], "another worker's beats")
    }

    /// Who saw a beat for a term removes it, if it is still that one; then the worker cannot go on.
    static let removal: LeaseRule = { bench in
        let pool = try bench.pool().name
        let worker = try bench.worker("a")
        let third = try bench.beats("a", 3, of: pool)
        let other = try bench.beats("b", 3, of: pool)
        for beat in [2, 4] {
            bench.check(.conflict, "a removal of beat \(beat)") {
                try bench.other.remove(worker, beat: beat, ofPool: pool)
            }
        }
        try bench.check(pool, has: [third, other], "it is gone all the same")
        try bench.other.remove(worker, beat: 3, ofPool: pool)
        try bench.check(pool, has: [other], "after the removal")
        for beat in [3, 4] {
            bench.check(.conflict, "beat \(beat) of one that was removed") {
                try bench.one.renew(bench.heartbeat("a", beat), ofPool: pool)
            }
        }
        try bench.check(pool, has: [other], "it is there again")
        // Gone already is well, whichever beat was seen.
        try bench.other.remove(worker, beat: 3, ofPool: pool)
        try bench.other.remove(worker, beat: 1, ofPool: pool)
        try bench.other.remove(bench.worker("never"), beat: 1, ofPool: pool)
    }

    /// Of two that write from the same version, the second is told, and writes nothing.
    static let versions: LeaseRule = { bench in
        let pool = try bench.pool().name
        var ours = try bench.written(bench.lease(0, owner: "a"), of: pool)
        bench.check(.conflict, "a second first write") {
            _ = try bench.other.write(bench.lease(0, owner: "b"), ofPool: pool)
        }
        ours.next = try bench.worker("b")
        ours = try bench.written(ours, of: pool)
        for version in [0, 1, 3, -1] {
            bench.check(.conflict, "a write from version \(version)") {
                _ = try bench.other.write(bench.lease(0, owner: "b", version: version), ofPool: pool)
            }
        }
        bench.check(.conflict, "a change of what is not there") {
            _ = try bench.other.write(bench.lease(1, owner: "b", version: 1), ofPool: pool)
        }
        try bench.check(pool, has: [], and: [ours], "the ones that lost changed something")
        // Who reads again may write; the same once more is another write.
        let theirs = try bench.written(bench.lease(0, owner: "b", version: ours.version), of: pool, by: bench.other)
        bench.check(theirs.version == 3, "the third version is \(theirs.version)")
        var again = theirs
        again.version = 2
        bench.check(.conflict, "the same write once more") { _ = try bench.other.write(again, ofPool: pool) }
        let apart = try bench.written(bench.lease(1, owner: "a"), of: pool)
        try bench.check(pool, has: [], and: [theirs, apart], "what is stored at last")
    }

    /// Nothing is stored for a pool that is not, and a pool's own end there with it.
    static let pools: LeaseRule = { bench in
        let never = try bench.pool("never.fifo")
        try bench.control.remove(never)
        bench.check(.noPool, "a heartbeat without a pool") {
            try bench.one.renew(bench.heartbeat("a", 1), ofPool: never.name)
        }
        bench.check(.noPool, "a lease without a pool") { _ = try bench.one.write(bench.lease(0), ofPool: never.name) }
        try bench.check(never.name, "without a pool")
        try bench.one.remove(bench.worker("a"), beat: 1, ofPool: never.name)

        var pool = try bench.pool()
        let neighbour = try bench.pool("emails-2.fifo").name
        let kept = (
            try bench.beats("a", 2, of: neighbour), try bench.written(bench.lease(0, owner: "a"), of: neighbour)
        )
        let beat = try bench.beats("a", 2, of: pool.name)
        let lease = try bench.written(bench.lease(0, owner: "a"), of: pool.name)
        // Neither a change of the pool nor a removal that is refused touches them.
        let stale = pool
        pool.quota = 9
        pool.version = try bench.control.save(pool)
        try? bench.control.remove(stale)
        try bench.check(pool.name, has: [beat], and: [lease], "a change of the pool")
        try bench.control.remove(pool)
        try bench.check(pool.name, "a pool that was removed")
        bench.check(.noPool, "a renewal after it") { try bench.one.renew(bench.heartbeat("a", 3), ofPool: pool.name) }
        bench.check(.noPool, "a write after it") { _ = try bench.one.write(lease, ofPool: pool.name) }
        // Made anew under the name, it knows nothing of before.
        _ = try bench.pool(createdAt: 8)
        try bench.check(pool.name, "a pool that was made anew")
        bench.check(.conflict, "a renewal of before") {
            try bench.one.renew(bench.heartbeat("a", 3), ofPool: pool.name)
        }
        bench.check(.conflict, "a write of before") { _ = try bench.one.write(lease, ofPool: pool.name) }
        let anew = try bench.written(bench.lease(0, owner: "b"), of: pool.name)
        try bench.check(pool.name, has: [], and: [anew], "its first lease")
        try bench.check(neighbour, has: [kept.0], and: [kept.1], "a pool beside it")
    }

    /// Everything of one pool is removed, and may be again.
    static let clearing: LeaseRule = { bench in
        let (pool, neighbour) = (try bench.pool().name, try bench.pool("emails-2.fifo").name)
        for name in [pool, neighbour] {
            for worker in ["a", "b"] { _ = try bench.beats(worker, 2, of: name) }
            for shard in 0..<3 { _ = try bench.written(bench.lease(shard, owner: "a"), of: name) }
        }
        let kept = try bench.one.table(ofPool: neighbour)
        try bench.other.removeAll(ofPool: pool)
        try bench.other.removeAll(ofPool: pool)
        try bench.check(pool, "after everything was removed")
        try bench.check(neighbour, has: kept.heartbeats, and: kept.leases, "a pool beside it")
        bench.check(kept.heartbeats.count == 2 && kept.leases.count == 3, "the pool beside it had \(kept)")
        bench.check(.conflict, "a renewal of before") { try bench.one.renew(bench.heartbeat("a", 3), ofPool: pool) }
    }

    /// Leases are no change of a pool: who waits for one reads nothing.
    static let apart: LeaseRule = { bench in
        let pool = try bench.pool()
        let revision = try bench.control.revision()
        _ = try bench.beats("a", 3, of: pool.name)
        _ = try bench.written(bench.lease(0, owner: "a"), of: pool.name)
        try bench.one.remove(bench.worker("a"), beat: 3, ofPool: pool.name)
        try bench.one.removeAll(ofPool: pool.name)
        try bench.check(bench.control.revision() == revision, "leases changed the revision")
        try bench.check(bench.control.contents().pools == [pool], "leases changed what pools there are")
        try bench.check(bench.control.contents().unreadable.isEmpty, "leases are taken for pools")
    }

    /// As many as a pool may have, in their order.
    static let many: LeaseRule = { bench in
        let pool = try bench.pool().name
        // Shards keep their numbers for ever, so those of an old pool are higher than it has shards.
        let numbers = Array(0..<256) + [9_999, 10_000, 123_456]
        var leases: [ShardLease] = []
        var heartbeats: [WorkerHeartbeat] = []
        for (place, number) in numbers.enumerated() {
            // Of one length and the longest there are; every fourth shard has a worker of its own.
            let digits = String(1_000 + place / 4 * 7 % 1_000)
            let owner = String(repeating: "w", count: WorkerID.bytesMax - digits.count) + digits
            if place % 4 == 0 { heartbeats.append(try bench.beats(owner, 1, of: pool)) }
            leases.append(try bench.lease(number, owner: owner, next: owner))
        }
        for place in leases.indices.reversed() { leases[place] = try bench.written(leases[place], of: pool) }
        try bench.check(pool, has: heartbeats.sorted { $0.worker < $1.worker }, and: leases, "of many")
    }

    /// Of many that write a lease at one time from the same version, one wins, each time.
    static let writeRaces: LeaseRule = { bench in
        let pool = try bench.pool().name
        var version = 0
        for round in 0..<20 {
            let wins = Mutex<[(owner: WorkerID?, version: Int)]>([])
            let from = version
            try bench.atOneTime { user, store in
                let mine = try bench.lease(0, owner: "w\(user)", version: from)
                let written = try store.write(mine, ofPool: pool)
                wins.withLock { $0.append((mine.owner, written)) }
            }
            let winners = wins.withLock { $0 }
            bench.check(winners.count == 1, "round \(round): \(winners.count) of eight won")
            guard let stored = try bench.one.table(ofPool: pool).leases.first else {
                return bench.check(false, "round \(round): nothing is stored")
            }
            bench.check(
                stored.owner == winners.first?.owner && stored.version == winners.first?.version,
                "round \(round): what is stored is not what the winner wrote")
            bench.check(stored.version == version + 1, "round \(round): the version is \(stored.version)")
            version = stored.version
        }
    }

    /// Of a renewal and a removal of the beat before it, at one time, one wins, each time.
    static let heartbeatRaces: LeaseRule = { bench in
        let pool = try bench.pool().name
        var outcomes: Set<Bool> = []
        for round in 0..<20 {
            let worker = "w\(round)"
            _ = try bench.beats(worker, 2, of: pool)
            let wins = Mutex<Set<Bool>>([])
            try bench.atOneTime { user, store in
                let isRenewal = user % 2 == round % 2
                if isRenewal {
                    try store.renew(bench.heartbeat(worker, 3), ofPool: pool)
                } else {
                    try store.remove(bench.worker(worker), beat: 2, ofPool: pool)
                }
                wins.withLock { _ = $0.insert(isRenewal) }
            }
            let winners = wins.withLock { $0 }
            bench.check(winners.count == 1, "round \(round): \(winners.isEmpty ? "neither" : "each") won")
            let isStored = try bench.one.table(ofPool: pool).heartbeats.contains { $0.worker.text == worker }
            bench.check(winners.contains(isStored), "round \(round): what is stored is not what the winner did")
            outcomes.formUnion(winners)
        }
        bench.check(!outcomes.isEmpty, "nobody won anything")
    }
}

extension LeaseBench {
    /// Eight users at one time, on two stores. Those that are told of a conflict have lost; any other failure is a finding.
    fileprivate func atOneTime(_ body: @Sendable (Int, any LeaseStore) throws -> Void) throws {
        DispatchQueue.concurrentPerform(iterations: 8) { user in
            do { try body(user, user % 4 < 2 ? one : other) } catch {
                check(error as? LeaseStoreError == .conflict, "user \(user): \(error)")
            }
        }
    }
}
