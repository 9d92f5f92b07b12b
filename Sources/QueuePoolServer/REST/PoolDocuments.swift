// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolJSON
import QueuePoolRuntime

// Pools as `GET /v1/pools` and `GET /v1/pools/{pool}` show them.

/// What is known of a pool's shards besides what they say themselves.
struct ShardFacts: Sendable {
    /// By shard; `nil` if nobody knows them now.
    var leases: [ShardIndex: ShardLease]?
    /// What leases' times are compared with.
    var wallTime = Timestamp(milliseconds: 0)
    var rates: ShardRates?
}

enum PoolDocuments {
    static func list(_ pools: [Pool]) -> [UInt8] {
        var json = JSONWriter(capacity: 256 * (1 + pools.count))
        json.beginObject()
        json.key("pools")
        json.beginArray()
        for pool in pools {
            let snapshot = pool.snapshot
            json.beginObject()
            writeHead(pool, snapshot, to: &json)
            json.key("shards")
            json.int(snapshot.shards.count)
            writeCounts(snapshot.shards.map { $0.shard.counts() }, to: &json)
            json.endObject()
        }
        json.endArray()
        json.endObject()
        return json.take()
    }

    static func one(_ pool: Pool, _ facts: ShardFacts = ShardFacts()) -> [UInt8] {
        let snapshot = pool.snapshot
        let counts = snapshot.shards.map { $0.shard.counts() }
        let slots = snapshot.topology.slots.counts()
        var json = JSONWriter(capacity: 256 * (1 + counts.count))
        json.beginObject()
        writeHead(pool, snapshot, to: &json)
        writeCounts(counts, to: &json)
        json.key("quota")
        if let quota = snapshot.quota { json.int(quota) } else { json.null() }
        json.key("shards")
        json.beginArray()
        for (shard, count) in zip(snapshot.shards, counts) {
            json.beginObject()
            json.key("name")
            json.string(shard.name)
            json.key("index")
            json.int(shard.index.number)
            json.key("slots")
            json.int(slots[shard.index] ?? 0)
            writeCounts([count], to: &json)
            writeOwner(facts.leases?[shard.index], facts, to: &json)
            writeRates(facts.rates?[shard.shard.tag], to: &json)
            json.endObject()
        }
        json.endArray()
        json.endObject()
        return json.take()
    }

    private static func writeHead(_ pool: Pool, _ snapshot: Pool.Snapshot, to json: inout JSONWriter) {
        json.key("name")
        json.string(pool.name.text)
        json.key("epoch")
        json.int(snapshot.topology.epoch.number)
        json.key("deadLetterQueue")
        if let redrive = snapshot.attributes.redrive { json.string(redrive.deadLetterQueue) } else { json.null() }
    }

    private static func writeOwner(_ lease: ShardLease?, _ facts: ShardFacts, to json: inout JSONWriter) {
        json.key("owner")
        if let owner = lease?.owner { json.string(owner.text) } else { json.null() }
        json.key("leaseAgeSeconds")
        // The owner's clock may be ahead of ours.
        if let lease, lease.owner != nil {
            json.int(max(0, facts.wallTime - lease.acquiredAt) / 1_000)
        } else {
            json.null()
        }
    }

    private static func writeRates(_ rate: ShardRate?, to json: inout JSONWriter) {
        json.key("sentPerSecond")
        if let rate { json.tenths(rate.sent) } else { json.null() }
        json.key("receivedPerSecond")
        if let rate { json.tenths(rate.received) } else { json.null() }
        json.key("deletedPerSecond")
        if let rate { json.tenths(rate.deleted) } else { json.null() }
    }

    private static func writeCounts(_ counts: [ShardCounts], to json: inout JSONWriter) {
        json.key("backlog")
        json.int(counts.reduce(0) { $0 + $1.backlog })
        json.key("inFlight")
        json.int(counts.reduce(0) { $0 + $1.inFlight })
        json.key("delayed")
        json.int(counts.reduce(0) { $0 + $1.delayed })
        json.key("oldestAgeSeconds")
        let ages = counts.compactMap(\.oldestAgeMilliseconds)
        // The oldest of those that are known need not be the oldest.
        if ages.count == counts.count { json.int((ages.max() ?? 0) / 1_000) } else { json.null() }
    }
}
