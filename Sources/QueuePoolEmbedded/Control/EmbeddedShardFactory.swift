// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolSQLite
import Glibc
package import QueuePoolCore

// Which store has which shard is computed, not looked up: a pool's shards are numbered, and the number modulo the number
// of stores names the store, so that a pool's load is spread evenly. The number of stores is fixed when a data directory
// is made; the files that are there tell it.

/// Shards in the stores of a directory: `DIRECTORY/store-0.sqlite` ...
package final class EmbeddedShardFactory: ShardFactory {
    let directory: String
    let stores: [Store]
    private let options: EmbeddedShardOptions

    /// - Parameter directory: exists already.
    package init(directory: String, options: EmbeddedShardOptions) throws(ShardOpenError) {
        self.directory = directory
        self.options = options
        var paths: [String] = []
        while access(EmbeddedShardFactory.path(directory, paths.count), F_OK) == 0 {
            paths.append(EmbeddedShardFactory.path(directory, paths.count))
        }
        let isNew = paths.isEmpty
        if isNew { paths = (0..<max(1, options.storeCount)).map { EmbeddedShardFactory.path(directory, $0) } }
        stores = paths.map { Store(path: $0, pool: options.pool, vfs: options.vfs) }
        // The last one first: the first one's presence says that all are there.
        if isNew {
            for store in stores.reversed() {
                do throws(DatabaseError) { try store.prepare() } catch { throw .store(file: store.path, error) }
            }
        }
    }

    /// - Throws: `ShardOpenError`
    package func open(name: String, attributes: QueueAttributes, address: ShardAddress? = nil) throws -> any Shard {
        // Before 1.0 a shard had a file of its own; starting without its messages would lose them silently.
        if access("\(directory)/\(name).sqlite", F_OK) == 0 {
            throw ShardOpenError.database(
                DatabaseError(code: SQLITE_MISMATCH, operation: "read \(name).sqlite, a file of an older format"))
        }
        return try store(of: name).open(name: name, attributes: attributes, options: options)
    }

    package func remove(name: String, address: ShardAddress? = nil) throws {
        do throws(DatabaseError) { try store(of: name).remove(name: name) } catch {
            throw ShardOpenError.store(file: store(of: name).path, error)
        }
    }

    /// The name's last number says which; a name without one goes by its hash.
    private func store(of name: String) -> Store {
        let digits = name.utf8.reversed().drop { !isDigit($0) }.prefix { isDigit($0) }
        let number = Int(String(decoding: digits.reversed(), as: UTF8.self)).map(UInt64.init) ?? XXHash64.hash(name)
        return stores[Int(number % UInt64(stores.count))]
    }

    private func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    private static func path(_ directory: String, _ number: Int) -> String { "\(directory)/store-\(number).sqlite" }
}
