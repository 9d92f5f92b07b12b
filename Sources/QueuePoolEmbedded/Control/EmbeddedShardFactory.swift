// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
package import QueuePoolCore

/// Shards as files of a directory: `DIRECTORY/NAME.sqlite`.
package struct EmbeddedShardFactory: ShardFactory {
    private let directory: String
    private let options: EmbeddedShardOptions

    /// - Parameter directory: exists already.
    package init(directory: String, options: EmbeddedShardOptions) {
        self.directory = directory
        self.options = options
    }

    /// - Throws: `ShardOpenError`
    package func open(name: String, attributes: QueueAttributes, address: ShardAddress?) throws -> any Shard {
        try EmbeddedShard.open(path: path(name), name: name, attributes: attributes, options: options)
    }

    package func remove(name: String, address: ShardAddress?) throws {
        for suffix in ["", "-wal", "-shm", "-journal"] where unlink(path(name) + suffix) != 0 && errno != ENOENT {
            throw ShardOpenError.database(DatabaseError(code: errno, operation: "remove a file"))
        }
    }

    private func path(_ name: String) -> String { directory + "/" + name + ".sqlite" }
}
