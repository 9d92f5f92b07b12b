// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

// What operators read in the log: who made, emptied or deleted a pool has a line that says how many messages it was
// about, because those messages cannot be asked any more.

/// What happened in a pool that is worth a line in the log.
package struct PoolEvent: Sendable {
    package enum Kind: Sendable {
        /// The pool answers; so many messages were found in it.
        case opened(shards: Int, messages: Int)
        /// Somebody made the pool here; it is empty.
        case created(shards: Int)
        /// Somebody deleted the pool here, and so many messages with it.
        case deleted(messages: Int)
        /// The pool is not in the control store any more: another server deleted it.
        case closed
        /// What is stored of the pool does not parse: it is not opened, and not written.
        case unreadable
        /// Every message was removed, of one shard or, without a name, of all.
        case purged(shard: String?, messages: Int)
        /// A redrive out of this pool is over.
        case moved(handle: String, MoveTask.Report)
        case shard(name: String, ShardEvent)
    }

    package let pool: String
    /// `nil` for a pool of which nothing could be read.
    package let epoch: Epoch?
    package let kind: Kind
}

extension PoolRegistry {
    func report(_ kind: PoolEvent.Kind, of pool: Pool) {
        report(PoolEvent(pool: pool.name.text, epoch: pool.snapshot.topology.epoch, kind: kind))
    }

    /// Backlog, in flight and delayed.
    static func messages(of pool: Pool) -> Int {
        pool.snapshot.shards.reduce(0) { sum, shard in
            let counts = shard.shard.counts()
            return sum + counts.backlog + counts.inFlight + counts.delayed
        }
    }

    /// Removes every message of a pool, or of one of its shards, and the deduplication memory.
    package func purge(
        _ pool: Pool, _ only: PoolShard? = nil, completion: @escaping @Sendable (Result<Int, ShardError>) -> Void
    ) {
        // A body is stored some time before its message; one of now may be of a message that comes after the purge.
        let before = Timestamp(milliseconds: clock.now().milliseconds - PoolRegistry.sendMillisecondsMax)
        pool.purge(only) { [self] result in
            if case .success(let count) = result {
                report(.purged(shard: only?.name, messages: count), of: pool)
                if only == nil || pool.snapshot.isSingle { pool.removeBodies(before: before) }
            }
            completion(result)
        }
    }

    /// Longer than a message can be on its way once its body is stored.
    private static let sendMillisecondsMax: Int64 = 300_000

    /// Starts a redrive out of `source` unless one runs.
    /// - Returns: whether it was started.
    package func start(_ task: MoveTask, outOf source: Pool, in tasks: MoveTasks) -> Bool {
        let epoch = source.snapshot.topology.epoch
        return tasks.start(task) { [report, name = source.name.text, handle = task.handle] outcome in
            report(PoolEvent(pool: name, epoch: epoch, kind: .moved(handle: handle, outcome)))
        }
    }
}
