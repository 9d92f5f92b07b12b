// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

/// The large bodies of one pool, in its server's data directory.
///
/// A pool's store knows no other pool's bodies: what a message says of its body comes from its sender, who may make up a
/// key of another pool.
package final class SQLiteBodyStore: BodyStore {
    private let pool: String
    private let bodies: SQLiteBodies
    private let lifetimeMilliseconds: Int64?

    init(pool: String, bodies: SQLiteBodies, lifetimeMilliseconds: Int64?) {
        self.pool = pool
        self.bodies = bodies
        self.lifetimeMilliseconds = lifetimeMilliseconds
    }

    package var bucket: String { BodyPointer.embeddedBucket }

    /// 128 random bits: no key comes again, and nobody guesses one.
    package func newKey() -> String {
        var generator = SystemRandomNumberGenerator()
        let words = [generator.next() as UInt64, generator.next() as UInt64]
        return pool + "/"
            + words.map { word in
                let digits = String(word, radix: 16)
                return String(repeating: "0", count: 16 - digits.count) + digits
            }.joined()
    }

    /// Stores a body, in place of one with the same key.
    package func put(
        _ body: [UInt8], key: String, completion: @escaping @Sendable (Result<Void, BodyStoreError>) -> Void
    ) {
        guard isOurs(key) else { return bodies.refuse(completion, .refused(code: "ForeignKey")) }
        bodies.put(
            BodyPut(
                body: body, key: key, pool: pool, lifetimeMilliseconds: lifetimeMilliseconds, completion: completion))
    }

    package func get(
        key: String, bytesMax: Int, completion: @escaping @Sendable (Result<[UInt8], BodyStoreError>) -> Void
    ) {
        guard isOurs(key) else { return bodies.refuse(completion, .missing) }
        bodies.get(key: key, bytesMax: bytesMax, completion: completion)
    }

    package func remove(key: String, completion: @escaping @Sendable (Result<Void, BodyStoreError>) -> Void) {
        guard isOurs(key) else { return bodies.refuse(completion, .refused(code: "ForeignKey")) }
        bodies.append(.remove(key: key, completion))
    }

    private func isOurs(_ key: String) -> Bool { key.utf8.starts(with: (pool + "/").utf8) }
}
