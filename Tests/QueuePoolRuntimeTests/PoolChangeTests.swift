// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import Testing

@Suite("What a server does when the control store changed")
struct PoolChangeTests {
    private func definition(_ name: String = "emails.fifo", version: Int = 1, made: Int64 = 1) throws -> PoolDefinition
    {
        let name = try #require(PoolName(name))
        return PoolDefinition(
            name: name, topology: try Topology(pool: name, shardCount: 2), attributes: "",
            createdAt: Timestamp(milliseconds: made), version: version)
    }

    private func changes(_ held: PoolDefinition..., to stored: PoolDefinition...) -> [PoolChange] {
        PoolChange.changes(
            from: Dictionary(uniqueKeysWithValues: held.map { ($0.name.text, $0) }), to: stored)
    }

    @Test func `nothing, if nothing changed`() throws {
        #expect(changes(try definition(), to: try definition()).isEmpty)
    }

    @Test func `opens what is new and closes what is gone, closing first`() throws {
        let (old, new) = (try definition("b.fifo"), try definition("a.fifo"))
        #expect(changes(old, to: new) == [.close(old.name), .open(new)])
    }

    @Test func `takes over attributes and weights without touching shards`() throws {
        var next = try definition(version: 2)
        next.topology = try next.topology.weighting(ShardIndex(0), 200)
        #expect(changes(try definition(), to: next) == [.adopt(next)])
    }

    @Test func `opens only the shard that is new`() throws {
        var next = try definition(version: 2)
        next.topology = try next.topology.adding(name: "emails-0002.fifo")
        #expect(changes(try definition(), to: next) == [.adopt(next)])
        #expect(PoolChange.keptShards(from: try definition(), to: next) == [ShardIndex(0), ShardIndex(1)])
    }

    @Test func `opens anew a shard that moved to another address`() throws {
        var next = try definition(version: 2)
        next.addresses[ShardIndex(1)] = ShardAddress(region: "r", queueURL: "https://x/1/q.fifo")
        #expect(changes(try definition(), to: next) == [.adopt(next)])
        #expect(PoolChange.keptShards(from: try definition(), to: next) == [ShardIndex(0)])
    }

    @Test func `never goes back to an earlier version`() throws {
        #expect(changes(try definition(version: 3), to: try definition(version: 2)).isEmpty)
    }

    @Test func `a pool made anew under its name keeps nothing`() throws {
        let next = try definition(version: 1, made: 2)
        #expect(changes(try definition(version: 5), to: next) == [.close(next.name), .open(next)])
        #expect(PoolChange.keptShards(from: try definition(version: 5), to: next).isEmpty)
    }
}
