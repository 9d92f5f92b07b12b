// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

// Dead-letter queues are pools, and so may have one themselves. A way of redrives that leads back to its start would move
// a message in circles, and a shard that moves to itself would remove what it has just stored: so no way may close.

extension PoolRegistry {
    /// Where a message goes that is given up again and again, from `queue` back to it, if its dead-letter queue were
    /// `deadLetterQueue`; `nil` if the way ends. Blocks: it asks the control store, because another server may have set
    /// the rest of the way.
    package func redriveCircle(of queue: String, to deadLetterQueue: String) throws(RegistryError) -> [String]? {
        PoolRegistry.circle(of: queue, to: deadLetterQueue, try redrivesStored())
    }

    /// - Parameter redrives: dead-letter queues by the names of their sources.
    package static func circle(
        of queue: String, to deadLetterQueue: String, _ redrives: [String: String]
    ) -> [String]? {
        var way = [queue]
        var next: String? = deadLetterQueue
        // One that closes without `queue` is not this change's doing.
        while let name = next, way.count <= redrives.count + 1 {
            way.append(name)
            if name == queue { return way }
            next = redrives[name]
        }
        return nil
    }

    /// The dead-letter queue of each stored pool that has one, by the pool's name.
    func redrivesStored() throws(RegistryError) -> [String: String] {
        var redrives: [String: String] = [:]
        for pool in try read().1.pools where !pool.isDeleting {
            redrives[pool.name.text] = meaning(pool.attributes).redrive?.deadLetterQueue
        }
        return redrives
    }
}

// Where dead letters came from.

extension PoolRegistry {
    /// Finds the pools that dead letters of a queue came from, as they are when it is asked.
    package func homes(of source: Pool) -> MoveTask.Homes {
        // By name: a task outlives its pools.
        MoveTask.Homes(
            byTag: { self.pool(ofTag: $0) }, byName: { self.pool($0) }, byQueue: { self.pool(ofQueue: $0) },
            byPolicy: { [name = source.name] in self.pool(name.text).flatMap { self.onlySource(of: $0) } })
    }

    /// The pool out of which a server or a queue of SQS moved a message; `nil` if neither says so, or it is no pool's here.
    package func source(of message: ReceivedMessage) -> Pool? {
        message.originShard.flatMap { pool(ofTag: $0) } ?? message.sourceQueue.flatMap { pool(ofQueue: $0) }
    }

    /// The pool that has a queue of SQS for a shard, or had it.
    package func pool(ofQueue queue: SourceQueue) -> Pool? {
        let remote = pools.filter { $0.snapshot.definition.backend == .sqs }
        let addressed = remote.map { pool in
            let snapshot = pool.snapshot
            let left = snapshot.leaving.compactMap(\.address)
            return (pool: pool, addresses: (snapshot.definition.addresses.values + left).filter(queue.isNamed))
        }
        let exact = addressed.filter { $0.addresses.contains { $0.region == queue.region } }
        if !exact.isEmpty { return exact.count == 1 ? exact[0].pool : nil }
        // A service at an endpoint of its own may have another region in its ARNs than the one it was asked in.
        let alike = addressed.filter { $0.addresses.contains { $0.endpoint != nil } }
        if !alike.isEmpty { return alike.count == 1 ? alike[0].pool : nil }
        return remote.first { $0.name.isShardName(queue.name) }
    }

    /// The only pool whose dead letters come into a queue, by its redrive policy or, if workers put them there, by its name.
    package func onlySource(of deadLetterQueue: Pool) -> Pool? {
        let snapshot = deadLetterQueue.snapshot
        // A policy names the queue of SQS, which need not have the name of the pool that has it for a shard.
        let names = Set(
            [deadLetterQueue.name.text] + snapshot.shards.map(\.name)
                + snapshot.definition.addresses.values.map(\.queueName))
        let sources = pools.filter { pool in
            pool.name != deadLetterQueue.name
                && (pool.attributes.redrive.map { names.contains($0.deadLetterQueue) } ?? false
                    || pool.name.deadLetterQueueName == deadLetterQueue.name.text)
        }
        return sources.count == 1 ? sources[0] : nil
    }
}
