// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Logging
import QueuePoolCore

/// Looks at every lease beat which shards the pool has, so that a running worker takes part in new ones.
struct ShardFollowing: Sendable {
    private static let everyMilliseconds = LeaseLimits().renewMilliseconds

    let pool: String
    let queue: any WorkerQueue
    let shards: ShardList
    let ownership: ShardOwnership
    let desk: WorkerDesk
    let health: ShardHealth
    let metrics: WorkerMetrics
    let logger: Logger
    let clock: any Clock

    /// Goes on until its task is cancelled.
    func run() async {
        var latest = Set(shards.all.map(\.index))
        while true {
            await clock.sleep(milliseconds: ShardFollowing.everyMilliseconds)
            guard !Task.isCancelled else { return }
            // A pool that is away, or gone, says nothing of its shards; leases end with it by themselves.
            guard let found = try? await queue.shards(ofPool: pool), !found.isEmpty else { continue }
            let indices = Set(found.map(\.index))
            guard indices != latest else { continue }
            latest = indices
            take(found)
        }
    }

    /// Leases come last: what they begin must have its place everywhere.
    private func take(_ found: [WorkerShard]) {
        shards.add(found)
        let all = shards.all
        health.grow(to: all.count)
        desk.handle { scheduler in
            scheduler.grow(shardCount: all.count)
            return []
        }
        metrics.grow(to: all.map(\.name))
        logger.notice(
            "The pool has other shards now", metadata: ["pool": "\(pool)", "shards": "\(found.count)"])
        ownership.shardsChanged(found.map(\.index))
    }
}
