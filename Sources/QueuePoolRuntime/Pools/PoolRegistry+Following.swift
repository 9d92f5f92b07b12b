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
        case .update(let definition): pool(definition.name.text)?.update(definition, meaning(definition.attributes))
        case .replaceShards(let definition): try replaceShards(definition)
        case .close(let name): if let pool = pool(name.text) { retire(pool, as: .closed) }
        }
    }

    /// Shards that stay keep everything that waits for them; waiting receives answer empty and come back.
    func replaceShards(_ definition: PoolDefinition) throws(RegistryError) {
        guard let old = pool(definition.name.text) else { return }
        let before = old.snapshot
        let kept = PoolChange.keptShards(from: before.definition, to: definition)
        let held = before.shards.filter { kept.contains($0.index) }
        let pool = try assemble(
            definition, held: Dictionary(held.map { ($0.index, $0) }) { first, _ in first })
        for shard in pool.snapshot.shards { shard.shard.setAttributes(meaning(definition.attributes)) }
        install(pool, replacing: old)
        let gone = before.shards.filter { !kept.contains($0.index) }
        state.withLock { $0.retired += gone }
        old.hub.close()
        for shard in gone { closeWhenIdle(shard) }
    }

    private static let idleCheckMilliseconds: Int64 = 100

    /// Closes a shard that the pool has no more, once nothing waits for it; what is under way then, closing finishes. Not
    /// on the queue of changes, which a shard that answers late must not hold up.
    private func closeWhenIdle(_ shard: PoolShard) {
        clock.schedule(at: clock.now() + PoolRegistry.idleCheckMilliseconds) { [weak self] in
            guard let self, !self.state.withLock({ $0.isClosed }) else { return }
            guard shard.sender.waitingEntries == 0 else { return self.closeWhenIdle(shard) }
            DispatchQueue.global().async {
                shard.shard.close()
                self.state.withLock { $0.retired.removeAll { $0 === shard } }
            }
        }
    }
}
