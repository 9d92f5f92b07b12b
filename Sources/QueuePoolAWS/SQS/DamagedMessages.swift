// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule
import QueuePoolCore

/// Ids of messages that did not fit their digests, so that each is told of once although it comes back. Of a
/// bounded number of them: a queue whose every message is spoilt must not fill the memory.
struct DamagedMessages: Sendable {
    static let idsMax = 1_000

    private var order: Deque<MessageID> = []
    private var known: Set<MessageID> = []

    /// - Returns: those that were not among the last ones.
    mutating func note(_ ids: [MessageID?]) -> [MessageID] {
        var new: [MessageID] = []
        for id in ids {
            guard let id, known.insert(id).inserted else { continue }
            new.append(id)
            order.append(id)
            if order.count > DamagedMessages.idsMax { known.remove(order.removeFirst()) }
        }
        return new
    }
}

extension ShardCounts {
    /// What is known of a remote queue before it was asked for anything. SQS has the age of the oldest message and how
    /// many expired as metrics of CloudWatch only, and dead-letters and deduplicates unseen.
    static var ofRemoteQueue: ShardCounts {
        var counts = ShardCounts()
        counts.oldestAgeMilliseconds = nil
        counts.duplicates = nil
        counts.expired = nil
        counts.movedToDeadLetter = nil
        counts.damaged = 0
        return counts
    }
}
