// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime

// Rights are on pools, and requests name queues. A queue that is there belongs to the pool that it is a shard of; a
// dead-letter queue belongs, by its name, to the pool whose letters it takes, and may have rules of its own besides.
// What is not there is judged by its name alone, so that a refusal does not tell whether it is.

/// The names of the pools whose rules are for a queue.
struct QueueOwners: Sendable {
    let names: [PoolName]

    /// - Parameters:
    ///   - queue: as a request names it.
    ///   - isNew: whether the request would make it: a name that a shard of another pool would have is then no shard's.
    init(of queue: String, in registry: PoolRegistry, isNew: Bool = false) {
        var found: [PoolName] = []
        if let target = registry.target(queue) {
            found.append(target.pool.name)
        } else if let name = PoolName(queue) {
            found.append(name)
            // A shard that is no more, or not yet: who knows the pool is told so.
            if !isNew, let pool = PoolName(ofShard: queue), registry.pool(pool.text) != nil { found.append(pool) }
        }
        names = found + found.compactMap { PoolName(ofDeadLetterQueue: $0.text) }
    }

    init(of pool: Pool) { names = [pool.name] + [PoolName(ofDeadLetterQueue: pool.name.text)].compactMap(\.self) }
}

extension PoolName {
    /// `emails-dlq.fifo` -> `emails.fifo`; `nil` if it is not named so.
    init?(ofDeadLetterQueue name: String) {
        guard name.hasSuffix("-dlq.fifo") else { return nil }
        self.init(String(name.dropLast(9)) + ".fifo")
    }

    /// `emails-0003.fifo` -> `emails.fifo`; `nil` if it is not named so.
    fileprivate init?(ofShard name: String) {
        let stem = name.dropLast(5)
        guard let hyphen = stem.lastIndex(of: "-"), let pool = PoolName(stem[..<hyphen] + ".fifo"),
            pool.isShardName(name)
        else { return nil }
        self = pool
    }
}

extension Caller {
    /// Whether he has one of these rights on one of the owners; if not, why not.
    func denial(_ actions: AccessActions, on owners: QueueOwners, named name: String) -> AccessFault? {
        guard let pass else { return nil }
        if owners.names.contains(where: { mayAny(of: actions, $0) }) || mayAnyEverywhere(of: actions) { return nil }
        return .denied(AccessDenial(keyID: pass.keyID, actions: actions, pool: name))
    }

    /// Whether he has one of these rights on the pool of a queue; if not, why not.
    /// - Parameter isNew: whether the request would make it.
    func denial(
        _ actions: AccessActions, named queue: String, in registry: PoolRegistry, isNew: Bool = false
    ) -> AccessFault? {
        guard pass != nil else { return nil }
        return denial(actions, on: QueueOwners(of: queue, in: registry, isNew: isNew), named: queue)
    }

    /// Whether he has any right on a pool.
    func knows(_ pool: Pool) -> Bool {
        guard pass != nil else { return true }
        return denial([.send, .receive, .admin, .metrics], on: QueueOwners(of: pool), named: pool.name.text) == nil
    }
}
