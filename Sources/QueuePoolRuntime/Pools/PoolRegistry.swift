// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
package import QueuePoolCore
import Synchronization

// Which pools there are. Guarantees: what a caller was told exists is in the control store; a name means one queue, be it
// a pool's or a shard's. Changes go one after another through a queue of their own, because they block on files; reads
// take a lock and a dictionary look-up.

/// Why a pool was not made, changed or removed.
package enum RegistryError: Error, Sendable {
    /// The name is a pool's or a shard's already.
    case nameTaken(String)
    case noSuchPool
    case shardCount(Int)
    case store(ControlStoreError)
    /// A shard could not be opened or removed.
    case shard(name: String, reason: String)
    case closed
}

/// What a queue name stands for.
package struct QueueTarget: Sendable {
    package let pool: Pool
    /// `nil` for the pool as a whole.
    package let shard: PoolShard?
}

/// What happened in a pool that is worth a line in the log.
package struct PoolEvent: Sendable {
    package enum Kind: Sendable {
        /// The pool answers; so many messages were found in it.
        case opened(shards: Int, messages: Int)
        case removed
        case shard(name: String, ShardEvent)
    }

    package let pool: PoolName
    package let epoch: Epoch
    package let kind: Kind
}

/// How pools are set up.
package struct PoolOptions: Sendable {
    /// Messages and bytes that may wait for one shard.
    package var waitingEntriesMax = 20_000
    package var waitingBytesMax = 64 << 20
    /// Entries of one commit when no quota limits requests to 10.
    package var commitEntriesMax = 1_024
    package var commitBytesMax = 8 << 20
    /// Requests a second for each action and shard of pools that have no quota of their own; `nil` is no limit.
    package var quota: Int?

    package init() {}
}

package final class PoolRegistry: Sendable {
    private struct State {
        var pools: [String: Pool] = [:]
        var targets: [String: QueueTarget] = [:]
        var poolsByTag: [ShardTag: Pool] = [:]
        var isClosed = false
    }

    private let state = Mutex(State())
    private let changes = DispatchQueue(label: "queuepool.registry")
    private let store: any ControlStore
    private let factory: any ShardFactory
    private let options: PoolOptions
    /// What the queue attributes, written down by the door that takes them, mean to a shard.
    private let meaning: @Sendable (String) -> QueueAttributes
    private let report: @Sendable (PoolEvent) -> Void
    package let clock: any RuntimeClock

    /// - Parameter report: called, on any thread, with what operators should read in the log.
    package init(
        store: any ControlStore, factory: any ShardFactory, options: PoolOptions, clock: any RuntimeClock,
        meaning: @escaping @Sendable (String) -> QueueAttributes,
        report: @escaping @Sendable (PoolEvent) -> Void = { _ in }
    ) {
        self.report = report
        self.store = store
        self.factory = factory
        self.options = options
        self.clock = clock
        self.meaning = meaning
    }

    // MARK: - Reading

    /// Pools by name, ascending.
    package var pools: [Pool] { state.withLock { $0.pools.values.sorted { $0.name.text < $1.name.text } } }

    package func pool(_ name: String) -> Pool? { state.withLock { $0.pools[name] } }

    /// The pool or shard of a queue name.
    package func target(_ queue: String) -> QueueTarget? { state.withLock { $0.targets[queue] } }

    /// The pool in which a shard's ids were given.
    package func pool(ofTag tag: ShardTag) -> Pool? { state.withLock { $0.poolsByTag[tag] } }

    // MARK: - Changing

    /// Opens every pool of the control store; blocks. For the start, before anybody is served.
    package func openAll() throws(RegistryError) {
        let definitions: [PoolDefinition]
        do throws(ControlStoreError) { definitions = try store.pools() } catch { throw .store(error) }
        for definition in definitions { install(try assemble(definition)) }
    }

    /// Makes a pool with shards of equal weight; blocks.
    package func create(
        _ name: PoolName, shards: Int, attributes: String, tags: [String: String] = [:], quota: Int? = nil
    ) throws(RegistryError) -> Pool {
        let topology: Topology
        do throws(Topology.Invalid) {
            topology = try Topology(pool: name, shardCount: shards)
        } catch { throw .shardCount(shards) }
        return try create(
            PoolDefinition(
                name: name, topology: topology, attributes: attributes, tags: tags, quota: quota,
                createdAt: clock.now()))
    }

    /// Makes a pool and its shards; blocks.
    package func create(_ definition: PoolDefinition) throws(RegistryError) -> Pool {
        try serially { () throws(RegistryError) in
            let names = [definition.name.text] + definition.topology.shards.map(\.name)
            let taken = state.withLock { state in names.first { state.targets[$0] != nil } }
            if let taken { throw .nameTaken(taken) }
            let pool = try assemble(definition)
            do throws(ControlStoreError) { try store.save(definition) } catch {
                for shard in pool.snapshot.shards { shard.shard.close() }
                throw .store(error)
            }
            install(pool)
            return pool
        }
    }

    /// Changes what a pool's definition says beside its topology; blocks.
    package func update(
        _ pool: Pool, _ change: (inout PoolDefinition) -> Void
    ) throws(RegistryError) {
        try serially { () throws(RegistryError) in
            guard self.pool(pool.name.text) === pool else { throw .noSuchPool }
            var definition = pool.snapshot.definition
            change(&definition)
            definition.modifiedAt = clock.now()
            do throws(ControlStoreError) { try store.save(definition) } catch { throw .store(error) }
            pool.update(definition, meaning(definition.attributes))
        }
    }

    /// Removes a pool, its shards and every message in them; blocks.
    package func remove(_ pool: Pool) throws(RegistryError) {
        try serially { () throws(RegistryError) in
            guard self.pool(pool.name.text) === pool else { throw .noSuchPool }
            do throws(ControlStoreError) { try store.remove(pool.name) } catch { throw .store(error) }
            uninstall(pool)
            report(PoolEvent(pool: pool.name, epoch: pool.snapshot.topology.epoch, kind: .removed))
            pool.hub.close()
            for shard in pool.snapshot.shards {
                shard.shard.close()
                do { try factory.remove(name: shard.name) } catch {
                    throw .shard(name: shard.name, reason: "\(error)")
                }
            }
        }
    }

    /// Ends waiting receives, finishes what was accepted, closes every shard; blocks.
    package func close() {
        changes.sync {
            let pools = state.withLock { state in
                state.isClosed = true
                return Array(state.pools.values)
            }
            for pool in pools { pool.hub.close() }
            let shards = pools.flatMap { $0.snapshot.shards }
            DispatchQueue.concurrentPerform(iterations: shards.count) { shards[$0].shard.close() }
        }
    }

    /// Lets every waiting receive answer; new ones do not wait any more.
    package func stopWaiting() {
        for pool in pools { pool.hub.close() }
    }

    private func serially<R: Sendable>(_ body: () throws(RegistryError) -> R) throws(RegistryError) -> R {
        let result: Result<R, RegistryError> = changes.sync {
            if state.withLock({ $0.isClosed }) { return .failure(.closed) }
            do throws(RegistryError) { return .success(try body()) } catch { return .failure(error) }
        }
        return try result.get()
    }

    // MARK: - Assembling

    private func assemble(_ definition: PoolDefinition) throws(RegistryError) -> Pool {
        let attributes = meaning(definition.attributes)
        let entries = definition.topology.shards
        let opened = Mutex<[Result<any Shard, RegistryError>?]>(Array(repeating: nil, count: entries.count))
        // An index is rebuilt from its file: side by side, so that a start takes as long as the processors allow.
        DispatchQueue.concurrentPerform(iterations: entries.count) { place in
            let result: Result<any Shard, RegistryError>
            do {
                result = .success(try factory.open(name: entries[place].name, attributes: attributes))
            } catch {
                result = .failure(.shard(name: entries[place].name, reason: "\(error)"))
            }
            opened.withLock { $0[place] = result }
        }
        var shards: [PoolShard] = []
        var failure: RegistryError?
        for (entry, result) in zip(entries, opened.withLock { $0 }) {
            switch result {
            case .success(let shard): shards.append(poolShard(entry, shard, definition))
            case .failure(let error): failure = error
            case nil: continue
            }
        }
        if let failure {
            for shard in shards { shard.shard.close() }
            throw failure
        }
        let pool = Pool(
            definition: definition, attributes: attributes, quota: definition.quota ?? options.quota, shards: shards,
            clock: clock)
        for shard in shards {
            shard.shard.setDeadLetterSink(sink(for: pool))
            shard.shard.onEvent { [report, weak pool] event in
                guard let pool else { return }
                report(
                    PoolEvent(
                        pool: pool.name, epoch: pool.snapshot.topology.epoch,
                        kind: .shard(name: shard.name, event)))
            }
        }
        return pool
    }

    private func poolShard(_ entry: ShardEntry, _ shard: any Shard, _ definition: PoolDefinition) -> PoolShard {
        let quota = definition.quota ?? options.quota
        let hasQuota = quota != nil
        let limits = BatcherLimits(
            requestEntriesMax: hasQuota ? QueueLimits.batchEntriesMax : options.commitEntriesMax,
            requestBytesMax: hasQuota ? QueueLimits.messageBytesMax : options.commitBytesMax,
            requestsInFlightMax: 1, groupEntriesMax: shard.storesBatchesWhole ? .max : 1,
            waitingEntriesMax: options.waitingEntriesMax, waitingBytesMax: options.waitingBytesMax)
        return PoolShard(index: entry.index, shard: shard, limits: limits, quota: quota, clock: clock)
    }

    /// Moves go to the dead-letter queue that the pool's attributes name at that moment.
    private func sink(for pool: Pool) -> DeadLetterSink {
        { [weak self, weak pool] messages, completion in
            guard let name = pool?.snapshot.attributes.redrive?.deadLetterQueue, let target = self?.pool(name) else {
                return completion(.failure(.closed))
            }
            target.send(messages) { results in
                var receipts: [SendReceipt] = []
                for result in results {
                    switch result {
                    case .success(let receipt): receipts.append(receipt)
                    case .failure(let error): return completion(.failure(error))
                    }
                }
                completion(.success(receipts))
            }
        }
    }

    private func install(_ pool: Pool) {
        let shards = pool.snapshot.shards
        let counts = shards.map { $0.shard.counts() }
        let messages = counts.reduce(0) { $0 + $1.backlog + $1.inFlight + $1.delayed }
        report(
            PoolEvent(
                pool: pool.name, epoch: pool.snapshot.topology.epoch,
                kind: .opened(shards: shards.count, messages: messages)))
        state.withLock { state in
            state.pools[pool.name.text] = pool
            state.targets[pool.name.text] = QueueTarget(pool: pool, shard: nil)
            for shard in shards {
                state.targets[shard.name] = QueueTarget(pool: pool, shard: shard)
                state.poolsByTag[shard.shard.tag] = pool
            }
        }
    }

    private func uninstall(_ pool: Pool) {
        let shards = pool.snapshot.shards
        state.withLock { state in
            state.pools[pool.name.text] = nil
            state.targets[pool.name.text] = nil
            for shard in shards {
                state.targets[shard.name] = nil
                state.poolsByTag[shard.shard.tag] = nil
            }
        }
    }
}
