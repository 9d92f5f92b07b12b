// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

/// What a server does about one pool when the control store says something else than the server holds.
package enum PoolChange: Hashable, Sendable {
    case open(PoolDefinition)
    /// Attributes, tags or the topology.
    case adopt(PoolDefinition)
    case close(PoolName)

    /// Removals first, so that a name that was given to another pool is free. A pool that is being deleted is no pool.
    /// - Parameter held: by the pools' names.
    package static func changes(from held: [String: PoolDefinition], to stored: [PoolDefinition]) -> [PoolChange] {
        let stored = stored.filter { !$0.isDeleting }
        let names = Set(stored.map(\.name.text))
        let gone = held.values.filter { !names.contains($0.name.text) }.map(\.name).sorted { $0.text < $1.text }
        // Removed and made again between two looks: nothing of the old one is of use, and its shards have the names.
        let anew = stored.filter { held[$0.name.text].map(\.createdAt) ?? $0.createdAt != $0.createdAt }
        return gone.map { .close($0) } + anew.map { .close($0.name) }
            + stored.compactMap { definition in
                guard let current = held[definition.name.text], current.createdAt == definition.createdAt else {
                    return .open(definition)
                }
                // Never back: what is held may be this server's own later write.
                return definition.version > current.version ? .adopt(definition) : nil
            }
    }

    /// Shards of both, at the same place.
    package static func keptShards(from old: PoolDefinition, to new: PoolDefinition) -> Set<ShardIndex> {
        guard old.backend == new.backend, old.createdAt == new.createdAt else { return [] }
        let names = Dictionary(old.topology.shards.map { ($0.index, $0.name) }) { first, _ in first }
        return Set(
            new.topology.shards.filter { entry in
                names[entry.index] == entry.name && old.addresses[entry.index] == new.addresses[entry.index]
            }.map(\.index))
    }
}
