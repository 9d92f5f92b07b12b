// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

extension EmbeddedShardFactory {
    /// The control store names none of the shards here, although they hold messages: it is another one than the one that
    /// they were made with, and to go on would be to lose them.
    package struct Strangers: Error, Hashable, CustomStringConvertible {
        package let directory: String
        package let shards: [String]

        package var description: String {
            "\(directory) holds messages of \(shards.count) shards (\(shards.prefix(3).joined(separator: ", "))), "
                + "and the control store has no pool with any of them: --control names another one than before"
        }
    }

    /// - Throws: `Strangers`, `ShardOpenError`
    package func removeShards(except names: Set<String>) throws -> [String] {
        var removed: [String] = []
        let found = try stores.map { store in
            do throws(DatabaseError) { return try store.rows(unlessAllAreIn: names) } catch {
                throw ShardOpenError.store(file: store.path, error)
            }
        }
        let strangers = found.map { $0.filter { !names.contains($0.key) } }
        let isOurs = found.contains { $0.keys.contains { names.contains($0) } }
        if !isOurs, strangers.contains(where: { $0.values.contains { $0 > 0 } }) {
            throw Strangers(directory: directory, shards: strangers.flatMap { $0.keys }.sorted())
        }
        for name in strangers.flatMap({ $0.keys }).sorted() {
            try remove(name: name)
            removed.append(name)
        }
        return removed
    }
}
