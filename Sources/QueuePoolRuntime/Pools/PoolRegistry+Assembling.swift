// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import QueuePoolCore
import Synchronization

// From a definition to a pool that can be found by its names.

extension PoolRegistry {
    func factory(of definition: PoolDefinition) -> (any ShardFactory)? { factories[definition.backend] }

    func assemble(_ definition: PoolDefinition) throws(RegistryError) -> Pool {
        let attributes = meaning(definition.attributes)
        let shards = try openShards(of: definition, attributes, except: [:])
        let pool = Pool(
            definition: definition, attributes: attributes, quota: definition.quota ?? options.quota, shards: shards,
            clock: clock, bodies: options.bodies, tracking: options.tracking)
        for shard in shards { connect(shard, to: pool) }
        return pool
    }

    /// - Parameter held: shards that are open already and stay as they are.
    /// - Returns: all that the topology names, in its order.
    func openShards(
        of definition: PoolDefinition, _ attributes: QueueAttributes, except held: [ShardIndex: PoolShard]
    ) throws(RegistryError) -> [PoolShard] {
        let opened = try open(definition, attributes, except: held)
        return definition.topology.shards.compactMap { entry in
            held[entry.index] ?? opened[entry.index].map { poolShard(entry, $0, definition) }
        }
    }

    /// Sets where a shard's dead letters and its events go.
    func connect(_ shard: PoolShard, to pool: Pool) {
        shard.shard.setDeadLetterSink(sink(for: pool))
        // By name: a shard that held its own PoolShard would never be freed.
        shard.shard.onEvent { [report, weak pool, name = shard.name, tracking = options.tracking] event in
            guard let pool else { return }
            tracking?.note(event, ofPool: pool.name)
            report(
                PoolEvent(
                    pool: pool.name.text, epoch: pool.snapshot.topology.epoch, kind: .shard(name: name, event)))
        }
    }

    /// All of them, or none if one cannot be opened.
    func open(
        _ definition: PoolDefinition, _ attributes: QueueAttributes, except held: [ShardIndex: PoolShard]
    ) throws(RegistryError) -> [ShardIndex: any Shard] {
        guard let factory = factory(of: definition) else {
            throw .shard(
                name: definition.name.text,
                reason: "this server has no shards of the kind '\(definition.backend.rawValue)'")
        }
        let entries = definition.topology.shards.filter { held[$0.index] == nil }
        let results = Mutex<[Result<any Shard, RegistryError>?]>(Array(repeating: nil, count: entries.count))
        // An index is rebuilt from its file: side by side, so that a start takes as long as the processors allow.
        DispatchQueue.concurrentPerform(iterations: entries.count) { place in
            let entry = entries[place]
            let result: Result<any Shard, RegistryError>
            do {
                result = .success(
                    try factory.open(
                        name: entry.name, attributes: attributes, address: definition.addresses[entry.index]))
            } catch {
                result = .failure(.shard(name: entry.name, reason: "\(error)"))
            }
            results.withLock { $0[place] = result }
        }
        var opened: [ShardIndex: any Shard] = [:]
        var failure: RegistryError?
        for (entry, result) in zip(entries, results.withLock { $0 }) {
            switch result {
            case .success(let shard): opened[entry.index] = shard
            case .failure(let error): failure = error
            case nil: continue
            }
        }
        if let failure {
            for shard in opened.values { shard.close() }
            throw failure
        }
        return opened
    }

    func poolShard(_ entry: ShardEntry, _ shard: any Shard, _ definition: PoolDefinition) -> PoolShard {
        let quota = definition.quota ?? options.quota
        let hasQuota = quota != nil
        let limits = BatcherLimits(
            requestEntriesMax: hasQuota ? QueueLimits.batchEntriesMax : options.commitEntriesMax,
            requestBytesMax: hasQuota ? QueueLimits.messageBytesMax : options.commitBytesMax,
            waitingEntriesMax: options.waitingEntriesMax, waitingBytesMax: options.waitingBytesMax)
        return PoolShard(
            index: entry.index, shard: shard, limits: limits, quota: quota, clock: clock,
            budget: options.waitingBudget)
    }

    /// Moves go to the dead-letter queue that the pool's attributes name at that moment.
    func sink(for pool: Pool) -> DeadLetterSink {
        { [weak self, weak pool] messages, completion in
            guard let name = pool?.snapshot.attributes.redrive?.deadLetterQueue, let target = self?.pool(name) else {
                return completion(messages.map { _ in .failure(.closed) })
            }
            target.send(messages, completion: completion)
        }
    }

    /// - Parameter kind: how the pool came to be here; `nil` for one that was in the control store.
    func install(_ pool: Pool, as kind: PoolEvent.Kind? = nil) {
        let shards = pool.snapshot.shards
        report(kind ?? .opened(shards: shards.count, messages: PoolRegistry.messages(of: pool)), of: pool)
        state.withLock { state in
            state.pools[pool.name.text] = pool
            PoolRegistry.name(pool, shards, &state)
        }
    }

    /// The names of a pool that has other shards now; one that both have is found at every moment.
    func rename(_ pool: Pool, without gone: [PoolShard]) {
        let shards = pool.snapshot.shards
        state.withLock { state in
            for shard in gone { state.targets[shard.name] = nil }
            PoolRegistry.name(pool, shards, &state)
        }
    }

    func uninstall(_ pool: Pool) {
        state.withLock { state in
            state.pools[pool.name.text] = nil
            state.targets = state.targets.filter { $0.value.pool !== pool }
            state.poolsByTag = state.poolsByTag.filter { $0.value !== pool }
        }
    }

    /// Ids that a shard gave stay the pool's when the shard leaves: dead letters are known by them.
    private static func name(_ pool: Pool, _ shards: [PoolShard], _ state: inout State) {
        state.targets[pool.name.text] = QueueTarget(pool: pool, shard: nil)
        for shard in shards {
            state.targets[shard.name] = QueueTarget(pool: pool, shard: shard)
            state.poolsByTag[shard.shard.tag] = pool
        }
    }
}
