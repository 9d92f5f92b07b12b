// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import Synchronization
import Testing

// What the port promises those who share a store. Each rule has two writers, `one` and `other`.

enum ControlRules {
    /// What one writes the other reads, in every part.
    static let readBack: ControlRule = { bench in
        let name = try bench.name()
        bench.check(try bench.one.pool(name) == nil, "an empty store has the pool")
        bench.check(try bench.one.pools().isEmpty, "an empty store has pools")
        var pool = try bench.saved(bench.pool())
        bench.check(pool.version == 1, "the first version is \(pool.version)")
        try bench.check(bench.other.pool(name) == pool, "another pool was read back")
        try bench.check(bench.other.pools() == [pool], "other pools were listed")
        // Every optional part without a value.
        pool.quota = nil
        pool.tags = [:]
        pool.addresses = [:]
        pool.attributes = ""
        pool = try bench.saved(pool, by: bench.other)
        try bench.check(bench.one.pool(name) == pool, "a pool without its optional parts was read back otherwise")
        bench.check(pool.version == 2, "the second version is \(pool.version)")
    }

    /// Pools are listed by name, and none hides another.
    static let listing: ControlRule = { bench in
        var saved: [PoolDefinition] = []
        for text in ["b.fifo", "a-2.fifo", "c.fifo", "a.fifo", "B.fifo"] {
            saved.append(try bench.saved(bench.pool(text)))
        }
        let listed = try bench.other.pools()
        let names = saved.map(\.name.text).sorted()
        bench.check(listed.map(\.name.text) == names, "listed are \(listed.map(\.name.text)), in this order")
        bench.check(Set(listed) == Set(saved), "what is listed is not what was saved")
        try bench.one.remove(saved[2])
        let left = try bench.other.pools().count
        bench.check(left == 4, "after a removal are listed \(left)")
        try bench.check(bench.other.pool(saved[2].name) == nil, "what was removed is there")
        try bench.check(bench.other.contents().unreadable.isEmpty, "some cannot be read")
    }

    /// Of two that write from the same version, the second is told, and writes nothing.
    static let conflicts: ControlRule = { bench in
        let conflict = ControlStoreError.conflict(pool: "emails.fifo")
        let first = try bench.pool()
        _ = try bench.saved(first)
        bench.check(conflict, "a second creation") { _ = try bench.other.save(first) }
        var (ours, theirs) = (try bench.saved(bench.pool("x.fifo")), try bench.pool("x.fifo"))
        theirs.version = ours.version
        ours.quota = 1
        theirs.quota = 2
        ours = try bench.saved(ours)
        bench.check(.conflict(pool: "x.fifo"), "a write from the version before") { _ = try bench.other.save(theirs) }
        try bench.check(bench.other.pool(ours.name) == ours, "the one that lost changed something")
        // Who reads again may write.
        theirs.version = ours.version
        theirs = try bench.saved(theirs, by: bench.other)
        try bench.check(bench.one.pool(ours.name) == theirs, "who read again did not write")
        theirs.version += 1
        bench.check(.conflict(pool: "x.fifo"), "a write from a version to come") { _ = try bench.one.save(theirs) }
        var gone = try bench.pool("never.fifo")
        gone.version = 3
        bench.check(.conflict(pool: "never.fifo"), "a change of what is not there") { _ = try bench.one.save(gone) }
        try bench.check(bench.one.pool(gone.name) == nil, "it was made by that")
    }

    /// Of many that write at one time from the same version, one wins, each time.
    static let races: ControlRule = { bench in
        var pool = try bench.saved(bench.pool())
        for round in 0..<5 {
            let results = Mutex<[(quota: Int, version: Int?)]>([])
            let start = pool
            DispatchQueue.concurrentPerform(iterations: 4) { writer in
                var mine = start
                mine.quota = 10 * round + writer + 1
                let version = try? (writer % 2 == 0 ? bench.one : bench.other).save(mine)
                results.withLock { $0.append((mine.quota ?? 0, version)) }
            }
            let winners = results.withLock { $0 }.filter { $0.version != nil }
            bench.check(winners.count == 1, "round \(round): \(winners.count) of four won")
            pool = try bench.one.pool(pool.name) ?? pool
            bench.check(
                pool.quota == winners.first?.quota && pool.version == winners.first?.version,
                "round \(round): what is stored is not what the winner wrote")
        }
    }

    /// Every write changes the revision, and nothing else does.
    static let revision: ControlRule = { bench in
        var seen = [try bench.one.revision()]
        var pool = try bench.saved(bench.pool())
        seen.append(try bench.other.revision())
        pool.quota = 7
        pool = try bench.saved(pool, by: bench.other)
        seen.append(try bench.one.revision())
        let apart = try bench.saved(bench.pool("apart.fifo"))
        seen.append(try bench.one.revision())
        try bench.one.remove(apart)
        seen.append(try bench.other.revision())
        bench.check(zip(seen, seen.dropFirst()).allSatisfy { $0 < $1 }, "revisions are \(seen)")
        pool.version = 1
        bench.check((try? bench.one.save(pool)) == nil, "a write from the version before was done")
        bench.check((try? bench.one.remove(pool)) == nil, "a removal from the version before was done")
        _ = try bench.one.contents()
        _ = try bench.one.pool(pool.name)
        try bench.check(bench.other.revision() == seen.last, "what changed nothing changed the revision")
    }

    /// A removal names the version that was seen and the time of making; what is gone already is removed.
    static let removal: ControlRule = { bench in
        let conflict = ControlStoreError.conflict(pool: "emails.fifo")
        var pool = try bench.saved(bench.pool())
        let stale = pool
        pool.isDeleting = true
        pool = try bench.saved(pool, by: bench.other)
        bench.check(conflict, "a removal of the version before") { try bench.one.remove(stale) }
        try bench.check(bench.one.pool(pool.name) == pool, "it is gone all the same")
        try bench.one.remove(pool)
        try bench.check(bench.other.pool(pool.name) == nil, "what was removed is there")
        try bench.other.remove(pool)
        // Made anew under the same name, it has the same version and is another pool.
        let later = PoolDefinition(
            name: pool.name, topology: pool.topology, attributes: "", createdAt: pool.createdAt + 1)
        let anew = try bench.saved(later)
        bench.check(anew.version == 1, "made anew its version is \(anew.version)")
        bench.check(conflict, "a removal of the pool of before") { try bench.other.remove(stale) }
        try bench.check(bench.one.pool(pool.name) == anew, "the new one is gone")
    }

    /// Whose a pool is, and whether it is being deleted, are parts of it.
    static let ownership: ControlRule = { bench in
        var pool = try bench.saved(bench.pool())
        for (owner, isDeleting) in [("directory-1", false), ("directory-2", true), (nil, true), (nil, false)] {
            pool.owner = owner
            pool.isDeleting = isDeleting
            pool = try bench.saved(pool)
            let read = try bench.other.pool(pool.name)
            bench.check(read?.owner == owner, "the owner \(owner ?? "nil") became \(read?.owner ?? "nil")")
            bench.check(read?.isDeleting == isDeleting, "being deleted, \(isDeleting), was read otherwise")
            try bench.check(bench.other.pools() == [pool], "it is listed otherwise")
        }
    }

    /// Directories are found by their ids, where they were said to be last.
    static let directories: ControlRule = { bench in
        try bench.check(bench.one.directory("a") == nil, "an unknown directory is somewhere")
        try bench.one.record(directory: "a", path: "/x")
        try bench.one.record(directory: "b", path: "/y")
        try bench.other.record(directory: "a", path: "/z")
        try bench.check(bench.one.directory("a") == "/z", "the directory is not where it was said to be last")
        try bench.check(bench.other.directory("b") == "/y", "another directory was moved by that")
        try bench.check(bench.one.pools().isEmpty, "directories are listed as pools")
    }

    /// The largest pool that there may be, with a history of moves.
    static let largest: ControlRule = { bench in
        let name = try bench.name(String(repeating: "p", count: 60) + ".fifo")
        let topology = try Topology(pool: name, shardCount: 255).adding(name: name.shardName(255))
        let address = ShardAddress(
            endpoint: "https://" + String(repeating: "e", count: 80), region: "eu-central-1",
            queueURL: "https://q/1/" + String(repeating: "q", count: 75) + ".fifo",
            roleARN: "arn:" + String(repeating: "r", count: 60), account: "123456789012")
        let pool = try bench.saved(
            PoolDefinition(
                name: name, topology: topology, backend: .sqs,
                addresses: Dictionary(uniqueKeysWithValues: topology.shards.map { ($0.index, address) }),
                attributes: String(repeating: "a", count: 4_000),
                tags: Dictionary(uniqueKeysWithValues: (0..<50).map { ("key-\($0)", "value-\($0)") }),
                createdAt: Timestamp(milliseconds: 5)))
        bench.check(topology.shards.count == 256 && !topology.history.isEmpty, "the pool is not as large as it can be")
        try bench.check(bench.other.pool(name) == pool, "it was read back otherwise")
        // Several of them are more than a service gives in one answer.
        for number in 0..<6 { _ = try bench.saved(bench.pool("many-\(number).fifo", shards: 255)) }
        let listed = try bench.other.pools()
        bench.check(listed.count == 7, "of 7 large pools are listed \(listed.count)")
        bench.check(listed.last == pool, "the largest is listed otherwise")
    }

    /// What does not parse is told by its name, and hides no other.
    static let damage: ControlRule = { bench in
        let damaged = ControlStoreError.damaged(pool: "b.fifo")
        let sound = [try bench.saved(bench.pool("a.fifo")), try bench.saved(bench.pool("c.fifo"))]
        let name = try bench.saved(bench.pool("b.fifo")).name
        try bench.stage.damage(name)
        bench.check(damaged, "a look at it") { _ = try bench.one.pool(name) }
        bench.check(damaged, "a list of all") { _ = try bench.one.pools() }
        let contents = try bench.other.contents()
        bench.check(contents.unreadable == ["b.fifo"], "unreadable are \(contents.unreadable)")
        bench.check(contents.pools == sound, "the others are \(contents.pools.map(\.name.text))")
        try bench.check(bench.one.pool(sound[0].name) == sound[0], "another cannot be read")
    }
}
