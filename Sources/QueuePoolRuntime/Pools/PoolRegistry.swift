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
        /// The control store's revision when the pools were last compared with it; `nil` before that.
        var revision: Int?
        /// Shards that a later topology has no more; they may still finish what they accepted.
        var retired: [PoolShard] = []
    }

    private let state = Mutex(State())
    private let changes = DispatchQueue(label: "queuepool.registry")
    private let store: any ControlStore
    private let factories: [PoolBackend: any ShardFactory]
    private let options: PoolOptions
    /// What the queue attributes, written down by the door that takes them, mean to a shard.
    private let meaning: @Sendable (String) -> QueueAttributes
    private let report: @Sendable (PoolEvent) -> Void
    package let clock: any RuntimeClock

    /// - Parameters:
    ///   - factories: pools of a backend that is not among them are refused.
    ///   - report: called, on any thread, with what operators should read in the log.
    package init(
        store: any ControlStore, factories: [PoolBackend: any ShardFactory], options: PoolOptions,
        clock: any RuntimeClock,
        meaning: @escaping @Sendable (String) -> QueueAttributes,
        report: @escaping @Sendable (PoolEvent) -> Void = { _ in }
    ) {
        self.report = report
        self.store = store
        self.factories = factories
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
        try serially { () throws(RegistryError) in
            let (revision, definitions) = try read()
            for definition in definitions { install(try assemble(definition)) }
            state.withLock { $0.revision = revision }
        }
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
            do throws(ControlStoreError) {
                var stored = definition
                stored.version = try store.save(definition)
                pool.update(stored, meaning(stored.attributes))
            } catch {
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
            do throws(ControlStoreError) {
                var definition = pool.snapshot.definition
                var attempts = 1
                while true {
                    change(&definition)
                    definition.modifiedAt = clock.now()
                    do throws(ControlStoreError) {
                        definition.version = try store.save(definition)
                        break
                    } catch {
                        // Another server was first: the same change is made to what it stored.
                        guard case .conflict = error, attempts < 5, let stored = try store.pool(pool.name) else {
                            throw error
                        }
                        definition = stored
                        attempts += 1
                    }
                }
                // A topology that came with it is taken over by the next look at the store.
                guard definition.topology == pool.snapshot.topology else { return }
                pool.update(definition, meaning(definition.attributes))
            } catch { throw .store(error) }
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
                do {
                    let definition = pool.snapshot.definition
                    try factory(of: definition)?.remove(
                        name: shard.name, address: definition.addresses[shard.index])
                } catch {
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
            let shards = pools.flatMap { $0.snapshot.shards } + state.withLock { $0.retired }
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

    // MARK: - Following the control store

    /// Looks at the control store every so often, and takes over what other servers changed. Ends with `close`.
    /// - Parameter failed: called, on any thread, when a look comes to nothing; the next one tries again.
    package func follow(
        everyMilliseconds interval: Int64 = 2_000, failed: @escaping @Sendable (RegistryError) -> Void
    ) {
        clock.schedule(at: clock.now() + interval) { [weak self] in
            // Not on the timers' thread: the store may block.
            self?.changes.async { [weak self] in
                guard let self, !self.state.withLock({ $0.isClosed }) else { return }
                do throws(RegistryError) { try self.reload() } catch { failed(error) }
                self.follow(everyMilliseconds: interval, failed: failed)
            }
        }
    }

    /// Takes over what changed in the control store; blocks.
    package func refresh() throws(RegistryError) {
        try serially { () throws(RegistryError) in try reload() }
    }

    /// - Important: on the queue of changes.
    private func reload() throws(RegistryError) {
        do throws(ControlStoreError) {
            let revision = try store.revision()
            if state.withLock({ $0.revision == revision }) { return }
        } catch { throw .store(error) }
        let (revision, definitions) = try read()
        let held = state.withLock { $0.pools.mapValues(\.snapshot.definition) }
        var failure: RegistryError?
        for change in PoolChange.changes(from: held, to: definitions) {
            do throws(RegistryError) { try apply(change) } catch { failure = error }
        }
        // A change that failed is tried again at the next look.
        if let failure { throw failure }
        state.withLock { $0.revision = revision }
    }

    /// The revision is read first: what changes in between is then seen again, and not missed.
    private func read() throws(RegistryError) -> (revision: Int, [PoolDefinition]) {
        do throws(ControlStoreError) { return (try store.revision(), try store.pools()) } catch { throw .store(error) }
    }

    private func apply(_ change: PoolChange) throws(RegistryError) {
        switch change {
        case .open(let definition): install(try assemble(definition))
        case .update(let definition): pool(definition.name.text)?.update(definition, meaning(definition.attributes))
        case .replaceShards(let definition): try replaceShards(definition)
        case .close(let name):
            guard let pool = pool(name.text) else { return }
            uninstall(pool)
            report(PoolEvent(pool: name, epoch: pool.snapshot.topology.epoch, kind: .removed))
            pool.hub.close()
            for shard in pool.snapshot.shards { shard.shard.close() }
        }
    }

    /// Shards that stay keep everything that waits for them; waiting receives answer empty and come back.
    private func replaceShards(_ definition: PoolDefinition) throws(RegistryError) {
        guard let old = pool(definition.name.text) else { return }
        let before = old.snapshot
        let kept = PoolChange.keptShards(from: before.definition, to: definition)
        let held = before.shards.filter { kept.contains($0.index) }
        let pool = try assemble(
            definition, held: Dictionary(held.map { ($0.index, $0) }) { first, _ in first })
        for shard in pool.snapshot.shards { shard.shard.setAttributes(meaning(definition.attributes)) }
        uninstall(old)
        install(pool)
        state.withLock { $0.retired += before.shards.filter { !kept.contains($0.index) } }
        old.hub.close()
    }

    // MARK: - Assembling

    private func factory(of definition: PoolDefinition) -> (any ShardFactory)? { factories[definition.backend] }

    /// - Parameter held: shards that are open already and stay as they are.
    private func assemble(
        _ definition: PoolDefinition, held: [ShardIndex: PoolShard] = [:]
    ) throws(RegistryError) -> Pool {
        let attributes = meaning(definition.attributes)
        let opened = try open(definition, attributes, except: held)
        let shards = definition.topology.shards.compactMap { entry in
            held[entry.index] ?? opened[entry.index].map { poolShard(entry, $0, definition) }
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

    /// All of them, or none if one cannot be opened.
    private func open(
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
