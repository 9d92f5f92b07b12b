// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import Synchronization

/// The actions that a quota counts apart, as AWS counts them; a batch request is one of its kind.
package enum QuotaAction: Int, Sendable, CaseIterable {
    case receive
    case delete
    case changeVisibility
}

/// One shard of a pool with everything that stands before it: sender, quota.
package final class PoolShard: Sendable {
    package let index: ShardIndex
    package let name: String
    package let shard: any Shard
    package let sender: ShardSender
    /// What whoever is over the quota is told.
    package let quota: ShardQuota
    private let buckets: Mutex<[TokenBucket]>
    private let clock: any Clock
    private let underWayCount = Atomic(0)
    private let deletes = Mutex(RecentDeletes())

    /// - Parameter seed: of the random delays after failures; different for each shard and process.
    package init(
        index: ShardIndex, shard: any Shard, limits: BatcherLimits, quota: Int?, clock: any Clock,
        budget: WaitingBudget = WaitingBudget(), seed: UInt64 = .random(in: 0...UInt64.max)
    ) {
        self.index = index
        name = shard.name
        self.shard = shard
        self.clock = clock
        let now = clock.now()
        self.quota = ShardQuota(shard: shard.name, requestsPerSecond: quota)
        sender = ShardSender(
            shard: shard, limits: limits, quota: quota, clock: clock, budget: budget, seed: seed)
        shard.setQuota(quota)
        // A remote queue keeps to a rate of its own finding.
        buckets = Mutex(
            (shard.traits.pollsRemotely ? nil : quota).map { rate in
                QuotaAction.allCases.map { _ in TokenBucket(rate: rate, now: now) }
            } ?? [])
    }

    /// Messages that a router sent here and that are not answered yet. By shard and not by slot: the slots of a shard that
    /// left carry the messages of their new shards.
    package var underWay: Int { underWayCount.load(ordering: .acquiring) }

    /// A message is on its way here.
    func began() { underWayCount.wrappingAdd(1, ordering: .relaxed) }

    /// A message is answered.
    func ended() {
        // Whoever sees the last one end must also see what it did.
        let left = underWayCount.wrappingSubtract(1, ordering: .releasing).newValue
        assert(left >= 0, "a message was answered twice")
    }

    /// Messages were deleted by their handles; said before whoever asked for it is answered.
    func noteDeleted(_ handles: [ReceiptHandle], _ outcomes: [DeleteOutcome]) {
        let now = clock.now()
        deletes.withLock { deletes in
            for (handle, outcome) in zip(handles, outcomes) where handle.remote == nil {
                if case .deleted = outcome { deletes.note(handle.sequence, now: now) }
            }
        }
    }

    /// Whether a receiver may have deleted a message within the last second.
    package func mayHaveDeletedLately(_ sequence: SequenceNumber) -> Bool {
        let now = clock.now()
        return deletes.withLock { $0.mayContain(sequence, now: now) }
    }

    /// Takes a token for one request.
    /// - Returns: `nil` if there was one or no quota is set, else the milliseconds until there will be.
    package func takeToken(_ action: QuotaAction) -> Int? {
        let now = clock.now()
        return buckets.withLock { buckets in
            buckets.isEmpty ? nil : buckets[action.rawValue].take(now: now)
        }
    }
}
