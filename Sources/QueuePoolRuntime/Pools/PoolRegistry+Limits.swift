// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import Synchronization

// Every shard costs memory, a place in a file and a few of the process's handles, so whoever may make pools could fill any
// machine. The decision is made on the queue of changes, where the pool is made too: creations that come side by side can't
// pass it together. Pools that exist are served however many they are: a lowered limit must not hide messages.

/// What more pools a server may make.
package struct PoolRoom: Hashable, Sendable {
    package var pools: Int
    package var shards: Int

    package init(pools: Int, shards: Int) {
        self.pools = pools
        self.shards = shards
    }

    /// Decides whether pools with so many shards each may be made, together.
    /// - Returns: why not; `nil` if they may.
    func refusal(ofPoolsWith shards: [Int]) -> RegistryError? {
        let sum = shards.reduce(0, +)
        if shards.count > pools { return .tooManyPools(asked: shards.count, left: max(0, pools)) }
        return sum > self.shards ? .tooManyShards(asked: sum, left: max(0, self.shards)) : nil
    }
}

/// The dead-letter queue that a pool is made with.
package struct DeadLetterQueueDraft: Sendable {
    package let name: String
    package let attributes: String

    /// A pool of one shard, made unless it is there.
    package init(name: String, attributes: String) {
        self.name = name
        self.attributes = attributes
    }
}

extension PoolRegistry {
    /// Bytes that messages take now that wait for any shard.
    package var waitingBytes: Int { options.waitingBudget.bytes }

    /// What may be made yet; negative numbers say how far the pools are above the limits.
    package var room: PoolRoom {
        state.withLock { state in
            let shards = state.pools.values.map(\.snapshot).reduce(0) { $0 + $1.shards.count + $1.leaving.count }
            return PoolRoom(pools: options.poolsMax - state.pools.count, shards: options.shardsMax - shards)
        }
    }

    /// Makes a pool with shards of equal weight and its dead-letter queue, unless that is there; blocks.
    package func create(
        _ name: PoolName, shards: Int, attributes: String, tags: [String: String] = [:], quota: Int? = nil,
        deadLetterQueue: DeadLetterQueueDraft? = nil
    ) throws(RegistryError) -> Pool {
        let allowed = name.bytesMax(shards: shards, deadLetterQueue: deadLetterQueue != nil)
        if name.text.utf8.count > allowed { throw .nameTooLong(allowed: allowed) }
        let definition = try definition(name, shards: shards, attributes, tags, quota)
        var drafts = [definition]
        return try serially { () throws(RegistryError) in
            if let draft = deadLetterQueue, pool(draft.name) == nil, let name = PoolName(draft.name) {
                drafts.insert(try self.definition(name, shards: 1, draft.attributes, [:], nil), at: 0)
            }
            // Before the first of them is made: a refusal leaves no dead-letter queue without its pool.
            try checkNames(drafts)
            if let refusal = room.refusal(ofPoolsWith: drafts.map(\.topology.shards.count)) { throw refusal }
            for draft in drafts.dropLast() { _ = try make(draft) }
            return try make(definition)
        }
    }

    private func definition(
        _ name: PoolName, shards: Int, _ attributes: String, _ tags: [String: String], _ quota: Int?
    ) throws(RegistryError) -> PoolDefinition {
        do throws(Topology.Invalid) {
            return PoolDefinition(
                name: name, topology: try Topology(pool: name, shardCount: shards), attributes: attributes, tags: tags,
                quota: quota, createdAt: clock.now())
        } catch { throw .shardCount(shards) }
    }

    private func checkNames(_ drafts: [PoolDefinition]) throws(RegistryError) {
        if let name = drafts.map(\.name.text).first(where: isUnreadable) { throw .store(.damaged(pool: name)) }
        let names = drafts.flatMap { [$0.name.text] + $0.topology.shards.map(\.name) }
        let taken = state.withLock { state in
            names.first { name in
                state.targets[name] != nil || state.unreadable.contains { PoolRegistry.isShard(name, ofPool: $0) }
            }
        }
        if let taken { throw .nameTaken(taken) }
    }
}
