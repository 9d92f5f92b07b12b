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
    /// So many pools, or shards of one creation, were asked for, and so many are left to be made.
    case tooManyPools(asked: Int, left: Int)
    case tooManyShards(asked: Int, left: Int)
    /// The names of its shards or of its dead-letter queue would be no queue names; so many bytes are allowed.
    case nameTooLong(allowed: Int)
    case store(ControlStoreError)
    /// A shard could not be opened or removed.
    case shard(name: String, reason: String)
    case closed
    /// An embedded pool of another data directory, which was last at `owner`, as far as that is known; this server's is
    /// `here`.
    case foreign(pool: String, owner: String?, here: String)
    /// Messages that are received too often go to it from these pools.
    case isDeadLetterQueue(of: [String])
    /// The change itself said no, with its own reason.
    case refused(any Error)
}

/// What a queue name stands for.
package struct QueueTarget: Sendable {
    package let pool: Pool
    /// `nil` for the pool as a whole.
    package let shard: PoolShard?
}

/// How pools are set up.
package struct PoolOptions: Sendable {
    /// Messages and bytes that may wait for one shard.
    package var waitingEntriesMax = Defaults.waitingEntriesMax
    package var waitingBytesMax = Defaults.waitingBytesMax
    /// What messages may take that wait for all shards together.
    package var waitingBudget = WaitingBudget()
    /// Entries of one commit when no quota limits requests to 10.
    package var commitEntriesMax = 1_024
    package var commitBytesMax = 8 << 20
    /// Requests a second for each action and shard of pools that have no quota of their own; `nil` is no limit.
    package var quota: Int?
    /// Pools and shards of this process, dead-letter queues among them; those that exist are opened beyond it.
    package var poolsMax = Defaults.poolsMax
    package var shardsMax = Defaults.shardsMax
    /// The pools that this process uses, of which it changes none: a deletion is for others to finish. `nil`: it serves all.
    package var only: Set<String>?
    /// `nil`: pools take no bodies that are larger than a queue takes them.
    package var bodies: BodyOptions?
    /// `nil`: nobody keeps what became of messages.
    package var tracking: MessageTracking?

    package init() {}
}

package final class PoolRegistry: Sendable {
    struct State {
        var pools: [String: Pool] = [:]
        var targets: [String: QueueTarget] = [:]
        var poolsByTag: [ShardTag: Pool] = [:]
        var isClosed = false
        /// The control store's revision when the pools were last compared with it; `nil` before that.
        var revision: Int?
        /// Deletions that were accepted and could not be finished, by the pools' names.
        var unfinished: [String: PoolDefinition] = [:]
        /// Names under which the control store has something that cannot be read.
        var unreadable: Set<String> = []
    }

    let state = Mutex(State())
    let changes = DispatchQueue(label: "queuepool.registry")
    let store: any ControlStore
    /// Where workers keep their leases; `nil` if there is no place for them.
    package let leases: (any LeaseStore)?
    let factories: [PoolBackend: any ShardFactory]
    let options: PoolOptions
    /// What the queue attributes, written down by the door that takes them, mean to a shard.
    let meaning: @Sendable (String) -> QueueAttributes
    let report: @Sendable (PoolEvent) -> Void
    /// Where this server's embedded shards are; `nil` for a server that shares them with nobody.
    let directory: DataDirectory?
    package let clock: any Clock

    /// - Parameters:
    ///   - factories: pools of a backend that is not among them are refused.
    ///   - report: called, on any thread, with what operators should read in the log.
    package init(
        store: any ControlStore, leases: (any LeaseStore)? = nil, factories: [PoolBackend: any ShardFactory],
        options: PoolOptions, clock: any Clock, directory: DataDirectory? = nil,
        meaning: @escaping @Sendable (String) -> QueueAttributes,
        report: @escaping @Sendable (PoolEvent) -> Void = { _ in }
    ) {
        self.report = report
        self.store = store
        self.leases = leases
        self.factories = factories
        self.options = options
        self.clock = clock
        self.directory = directory
        self.meaning = meaning
    }

    /// How pools treat bodies that are too large for a queue.
    package var bodies: BodyOptions? { options.bodies }

    /// Where what became of messages is kept, if it is.
    package var tracking: MessageTracking? { options.tracking }

    // MARK: - Reading

    /// Pools by name, ascending.
    package var pools: [Pool] { state.withLock { $0.pools.values.sorted { $0.name.text < $1.name.text } } }

    package func pool(_ name: String) -> Pool? { state.withLock { $0.pools[name] } }

    /// The pool or shard of a queue name.
    package func target(_ queue: String) -> QueueTarget? { state.withLock { $0.targets[queue] } }

    /// The pool in which a shard's ids were given.
    package func pool(ofTag tag: ShardTag) -> Pool? { state.withLock { $0.poolsByTag[tag] } }

    // MARK: - Changing

    /// Finishes deletions that were interrupted, then opens every pool of the control store; blocks. For the start, before
    /// anybody is served.
    /// - Returns: names of shards that no pool names, which an interrupted creation left; they were removed.
    @discardableResult
    package func openAll() throws(RegistryError) -> [String] {
        try serially { () throws(RegistryError) in
            let (revision, stored) = try claim()
            note(unreadable: stored.unreadable)
            let definitions = stored.pools.filter(isOurs)
            for definition in definitions where definition.isDeleting { try finishDeletion(of: definition) }
            let alive = definitions.filter { !$0.isDeleting }
            // Shards of a pool that cannot be read would seem to be nobody's.
            let leftovers = stored.unreadable.isEmpty ? try removeLeftovers(alive) : []
            for definition in alive { install(try assemble(definition)) }
            state.withLock { $0.revision = revision }
            return leftovers
        }
    }

    private func removeLeftovers(_ definitions: [PoolDefinition]) throws(RegistryError) -> [String] {
        var removed: [String] = []
        for (backend, factory) in factories {
            let named = definitions.filter { $0.backend == backend }.flatMap { $0.topology.shards.map(\.name) }
            do { removed += try factory.removeShards(except: Set(named)) } catch {
                throw .shard(name: "\(backend.rawValue)", reason: "\(error)")
            }
        }
        return removed.sorted()
    }

    /// Makes a pool and its shards; blocks.
    /// - Important: on the queue of changes.
    func make(_ definition: PoolDefinition) throws(RegistryError) -> Pool {
        try finishDeletions(alsoOf: definition.name)
        var definition = definition
        if definition.backend == .embedded { definition.owner = directory?.id }
        let pool: Pool
        do throws(RegistryError) { pool = try assemble(definition) } catch {
            removeShards(of: definition)
            throw error
        }
        do throws(ControlStoreError) {
            var stored = definition
            stored.version = try store.save(definition)
            pool.update(stored, meaning(stored.attributes))
        } catch {
            discard(pool)
            throw .store(error)
        }
        install(pool, as: .created(shards: pool.snapshot.shards.count))
        return pool
    }

    /// Closes and removes the shards of a pool that did not come to be. What cannot be removed goes at the next start.
    private func discard(_ pool: Pool) {
        for shard in pool.snapshot.shards { shard.shard.close() }
        removeShards(of: pool.snapshot.definition)
    }

    private func removeShards(of definition: PoolDefinition) {
        for entry in definition.topology.shards {
            try? factory(of: definition)?.remove(name: entry.name, address: definition.addresses[entry.index])
        }
    }

    /// Changes what a pool's definition says beside its topology; blocks.
    /// - Parameter change: made to what is stored, anew each time that another server was first. What it throws is the
    ///   reason of `RegistryError.refused`.
    package func update(
        _ pool: Pool, _ change: (inout PoolDefinition) throws -> Void
    ) throws(RegistryError) {
        try serially { () throws(RegistryError) in
            let definition = try modify(pool, change)
            // A topology that came with it is taken over by the next look at the store.
            guard definition.topology == pool.snapshot.topology else { return }
            pool.update(definition, meaning(definition.attributes))
        }
    }

    /// Each conflict means that another server's change was stored, so this ends when they have no more.
    static let attemptsMax = 100

    /// - Returns: what is stored now.
    private func modify(
        _ pool: Pool, _ change: (inout PoolDefinition) throws -> Void
    ) throws(RegistryError) -> PoolDefinition {
        guard self.pool(pool.name.text) === pool else { throw .noSuchPool }
        var failure = ControlStoreError.conflict(pool: pool.name.text)
        for _ in 0..<PoolRegistry.attemptsMax {
            var definition = try stored(pool)
            do { try change(&definition) } catch { throw .refused(error) }
            definition.modifiedAt = clock.now()
            do throws(ControlStoreError) {
                definition.version = try store.save(definition)
                return definition
            } catch {
                failure = error
                guard case .conflict = error else { break }
            }
        }
        throw .store(failure)
    }

    private func stored(_ pool: Pool) throws(RegistryError) -> PoolDefinition {
        guard let found = try found(pool.name), !found.isDeleting, found.createdAt == pool.snapshot.definition.createdAt
        else {
            throw .noSuchPool
        }
        return found
    }

    // MARK: - Removing

    // The store is told first that the pool is being deleted, and last that it is gone. So a crash in between leaves a
    // pool that is not served and whose deletion is finished by the next start, and never messages that nobody names
    // and that a later pool of that name would find.

    /// Removes a pool, its shards and every message in them; blocks.
    package func remove(_ pool: Pool) throws(RegistryError) {
        try serially { () throws(RegistryError) in
            // Without it they would have nowhere to go, and come back for ever.
            let sources = try redrivesStored().filter { $0.value == pool.name.text && $0.key != $0.value }.keys
            if !sources.isEmpty { throw .isDeadLetterQueue(of: sources.sorted()) }
            let marked = try modify(pool) { $0.isDeleting = true }
            retire(pool, as: .deleted(messages: PoolRegistry.messages(of: pool)))
            try finishDeletion(of: marked)
        }
    }

    /// Ends a pool that is deleted: nobody finds it any more, and what it accepted is finished.
    func retire(_ pool: Pool, as kind: PoolEvent.Kind) {
        uninstall(pool)
        report(kind, of: pool)
        pool.hub.close()
        for shard in pool.beginClosingAll() { shard.shard.close() }
        // A pool that is made anew under the name would open their files.
        pool.closings.wait()
    }

    /// What could not be finished is tried again by the next look at the control store, creation or start.
    func finishDeletion(of definition: PoolDefinition) throws(RegistryError) {
        // Files of another server are that server's to remove.
        guard let factory = factory(of: definition) else { return }
        state.withLock { $0.unfinished[definition.name.text] = definition }
        for entry in definition.topology.shards {
            do {
                try factory.remove(name: entry.name, address: definition.addresses[entry.index])
            } catch { throw .shard(name: entry.name, reason: "\(error)") }
        }
        // The same that purge does, also for a deletion that a start finishes.
        options.tracking?.forget(definition.name)
        if meaning(definition.attributes).redrive == nil { options.bodies?.removeAll(definition, clock.now()) }
        do throws(ControlStoreError) {
            try store.remove(definition)
        } catch {
            // Somebody else finished it, and the name is a new pool's.
            guard case .conflict = error else { throw .store(error) }
        }
        state.withLock { $0.unfinished[definition.name.text] = nil }
    }

    /// Whether what is stored is the pool whose deletion was begun, and not one that was made anew under its name after
    /// another server had finished: that one's shards have the same names.
    static func isUnfinished(_ definition: PoolDefinition, _ found: PoolDefinition) -> Bool {
        found.isDeleting && found.createdAt == definition.createdAt
    }

    private func found(_ name: PoolName) throws(RegistryError) -> PoolDefinition? {
        do throws(ControlStoreError) { return try store.pool(name) } catch { throw .store(error) }
    }

    private func finishDeletions(alsoOf name: PoolName) throws(RegistryError) {
        for definition in state.withLock({ Array($0.unfinished.values) }) {
            if let found = try found(definition.name), PoolRegistry.isUnfinished(definition, found) {
                try finishDeletion(of: found)
            } else {
                state.withLock { $0.unfinished[definition.name.text] = nil }
            }
        }
        guard let found = try found(name) else { return }
        // The name is not free until the pool's owner has removed its messages.
        guard isOurs(found) else { throw .nameTaken(name.text) }
        if found.isDeleting { try finishDeletion(of: found) }
    }

    // MARK: - Ending

    /// Ends waiting receives, finishes what was accepted, closes every shard; blocks.
    package func close() {
        changes.sync {
            let pools = state.withLock { state in
                state.isClosed = true
                return Array(state.pools.values)
            }
            for pool in pools { pool.hub.close() }
            let shards = pools.flatMap { $0.beginClosingAll() }
            DispatchQueue.concurrentPerform(iterations: shards.count) { shards[$0].shard.close() }
            for pool in pools { pool.closings.wait() }
        }
    }

    /// Lets every waiting receive answer; new ones do not wait any more.
    package func stopWaiting() {
        for pool in pools { pool.hub.close() }
    }

    func serially<R: Sendable>(_ body: () throws(RegistryError) -> R) throws(RegistryError) -> R {
        let result: Result<R, RegistryError> = changes.sync {
            if state.withLock({ $0.isClosed }) { return .failure(.closed) }
            do throws(RegistryError) { return .success(try body()) } catch { return .failure(error) }
        }
        return try result.get()
    }
}
