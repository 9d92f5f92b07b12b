// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

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
