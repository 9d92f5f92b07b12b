// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

// Embedded shards are files of one data directory, and a control store may be shared by servers with others. A server that
// opened another directory's pool would make empty files under its name: two queues, each with a part of the messages.
// So each embedded pool names its directory by the directory's own random id, which moves with the files.

/// The data directory of this server.
package struct DataDirectory: Hashable, Sendable {
    /// Given when its files were made, and kept in them.
    package let id: String
    package let path: String
    /// Names of the shards in its files as the server started.
    package let shards: Set<String>

    /// The directory with `id`, now at `path`.
    package init(id: String, path: String, shards: Set<String>) {
        self.id = id
        self.path = path
        self.shards = shards
    }
}

/// Whose files a pool's shards are.
package enum PoolOwnership: Hashable, Sendable {
    /// This server's, or of a kind that every server reaches.
    case ours
    /// Nobody is written down, and the files are here: the pool was made by a program that did not write it down.
    case unclaimed
    /// Those of the directory with this id; `nil` if only this is known, that they are not here.
    case foreign(owner: String?)

    /// Decides it.
    /// - Parameter directory: `nil` for a server without a directory of its own.
    package init(of pool: PoolDefinition, in directory: DataDirectory?) {
        guard pool.backend == .embedded, let directory else {
            self = .ours
            return
        }
        if let owner = pool.owner {
            self = owner == directory.id ? .ours : .foreign(owner: owner)
        } else {
            let isHere = pool.topology.shards.contains { directory.shards.contains($0.name) }
            // A deletion may have removed every shard already; then it is nobody's.
            self = isHere || pool.isDeleting ? .unclaimed : .foreign(owner: nil)
        }
    }
}

extension PoolRegistry {
    /// Whether this process may open the pool's shards, and remove them.
    func isOurs(_ pool: PoolDefinition) -> Bool {
        if let only = options.only, !only.contains(pool.name.text) || pool.isDeleting { return false }
        return if case .foreign = PoolOwnership(of: pool, in: directory) { false } else { true }
    }

    /// What is stored, after this server's directory and the pools in it were written down; for the start.
    /// - Throws: `RegistryError.foreign` for a pool of another directory that is not being deleted.
    func claim() throws(RegistryError) -> (revision: Int, StoredPools) {
        do throws(ControlStoreError) {
            if let directory, try store.directory(directory.id) != directory.path {
                try store.record(directory: directory.id, path: directory.path)
            }
        } catch { throw .store(error) }
        // Each conflict means that another server's change was stored.
        for _ in 0..<PoolRegistry.attemptsMax {
            let (revision, stored) = try read()
            var isSettled = true
            for definition in stored.pools {
                switch PoolOwnership(of: definition, in: directory) {
                case .ours: continue
                case .foreign(let owner): if !definition.isDeleting { throw foreign(definition, owner) }
                case .unclaimed:
                    isSettled = false
                    try own(definition)
                }
            }
            if isSettled { return (revision, stored) }
        }
        throw .store(.conflict(pool: ""))
    }

    private func own(_ definition: PoolDefinition) throws(RegistryError) {
        var owned = definition
        owned.owner = directory?.id
        do throws(ControlStoreError) { _ = try store.save(owned) } catch {
            guard case .conflict = error else { throw .store(error) }
        }
    }

    private func foreign(_ definition: PoolDefinition, _ owner: String?) -> RegistryError {
        let path = owner.flatMap { owner in (try? store.directory(owner)).flatMap { $0 } }
        return .foreign(pool: definition.name.text, owner: path, here: directory?.path ?? "")
    }
}
