// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

extension EmbeddedShardFactory {
    /// The directory's id, which its files carry wherever they are moved, and the names of the shards in it; reads every
    /// store. For the start.
    package func contents() throws(ShardOpenError) -> (id: String, shards: Set<String>) {
        var id = ""
        var shards: Set<String> = []
        for store in stores {
            do throws(DatabaseError) {
                let facts = try store.facts()
                if let label = facts.label { id = String(UInt64(bitPattern: label.directory), radix: 16) }
                shards.formUnion(facts.shards)
            } catch { throw .store(file: store.path, error) }
        }
        return (id, shards)
    }
}
