// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import QueuePoolCore
import Synchronization

// Taking over what other servers changed. A look costs one small read while nothing happened.

extension PoolRegistry {
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
    func reload() throws(RegistryError) {
        do throws(ControlStoreError) {
            let revision = try store.revision()
            if state.withLock({ $0.revision == revision && $0.unfinished.isEmpty }) { return }
        } catch { throw .store(error) }
        let (revision, stored) = try read()
        note(unreadable: stored.unreadable)
        // Pools that came to another directory since this server's start are none of its business.
        let definitions = stored.pools.filter(isOurs)
        // One that cannot be read any more is not gone: what this server has of it goes on.
        let held = state.withLock { state in
            state.pools.filter { !state.unreadable.contains($0.key) }.mapValues(\.snapshot.definition)
        }
        var failure: RegistryError?
        for change in PoolChange.changes(from: held, to: definitions) {
            do throws(RegistryError) { try apply(change) } catch { failure = error }
        }
        let found = Dictionary(definitions.map { ($0.name.text, $0) }) { first, _ in first }
        state.withLock { state in
            // What another server finished is finished.
            state.unfinished = state.unfinished.filter { name, begun in
                found[name].map { PoolRegistry.isUnfinished(begun, $0) } ?? false
            }
        }
        for definition in definitions where definition.isDeleting {
            do throws(RegistryError) { try finishDeletion(of: definition) } catch { failure = error }
        }
        // A change that failed is tried again at the next look.
        if let failure { throw failure }
        state.withLock { $0.revision = revision }
    }

    /// The revision is read first: what changes in between is then seen again, and not missed.
    func read() throws(RegistryError) -> (revision: Int, StoredPools) {
        do throws(ControlStoreError) { return (try store.revision(), try store.contents()) } catch {
            throw .store(error)
        }
    }

    func apply(_ change: PoolChange) throws(RegistryError) {
        switch change {
        case .open(let definition): install(try assemble(definition))
        case .adopt(let definition): try adopt(definition)
        case .close(let name): if let pool = pool(name.text) { retire(pool, as: .closed) }
        }
    }

    /// Gives a pool what is stored of it now. Shards that stay are not touched, and who waits for the pool waits on.
    func adopt(_ definition: PoolDefinition) throws(RegistryError) {
        guard let pool = pool(definition.name.text) else { return }
        let before = pool.snapshot
        let attributes = meaning(definition.attributes)
        let kept = PoolChange.keptShards(from: before.definition, to: definition)
        var held: [ShardIndex: PoolShard] = [:]
        for shard in before.shards where kept.contains(shard.index) { held[shard.index] = shard }
        for leaving in before.leaving where leaving.isNamed(by: definition) {
            // A second one beside it would write to the same file.
            if leaving.isClosing { throw .shard(name: leaving.shard.name, reason: "it is being closed") }
            held[leaving.shard.index] = leaving.shard
        }
        let shards = try openShards(of: definition, attributes, except: held)
        for shard in shards where held[shard.index] == nil { connect(shard, to: pool) }
        let gone = pool.adopt(definition, attributes, quota: definition.quota ?? options.quota, shards: shards)
        if before.shards.map(ObjectIdentifier.init) != shards.map(ObjectIdentifier.init) {
            report(.opened(shards: shards.count, messages: PoolRegistry.messages(of: pool)), of: pool)
        }
        rename(pool, without: gone)
        for shard in gone { closeWhenIdle(shard, of: pool) }
    }

    private static let idleCheckMilliseconds: Int64 = 100

    /// Closes a shard that the pool has no more, once nothing is under way to it. Not on the queue of changes, which a shard
    /// that answers late must not hold up.
    private func closeWhenIdle(_ shard: PoolShard, of pool: Pool) {
        clock.schedule(afterMilliseconds: PoolRegistry.idleCheckMilliseconds) { [weak self] in
            guard let self, let mayClose = pool.beginClosing(shard) else { return }
            guard mayClose else { return self.closeWhenIdle(shard, of: pool) }
            DispatchQueue.global().async {
                shard.shard.close()
                pool.closed(shard)
            }
        }
    }
}
