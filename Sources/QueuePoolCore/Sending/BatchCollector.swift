// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule

// Gathers single deletes and changes of visibility into requests of ten. Guarantees: what came first leaves first; a
// request has each key once, because SQS carries out the entries of a request in any order; what waits is bounded. No
// linger: a request leaves as soon as one may, and what comes while it is under way makes the next one. Nothing is tried
// again here: a delete that failed is its receiver's to repeat, who knows how long its receipt handle is still good.

/// Single actions that wait for one shard.
package struct BatchCollector<Key: Hashable & Sendable, Item: Sendable>: Sendable {
    package struct Limits: Hashable, Sendable {
        package var requestEntriesMax = QueueLimits.batchEntriesMax
        /// One keeps the order of two changes of the same message.
        package var requestsInFlightMax = 1
        package var waitingEntriesMax = 20_000

        package init() {}
    }

    /// What to do next.
    package enum Step: Sendable {
        case send([Item])
        /// Nothing may leave before this time: the quota is spent.
        case wait(until: Timestamp)
        case idle
    }

    package let limits: Limits
    private var quota: AdaptiveQuota?
    private var waiting: Deque<(key: Key, item: Item)> = []
    private var requestsInFlight = 0

    package init(limits: Limits = Limits(), quota: AdaptiveQuota? = nil) {
        self.limits = limits
        self.quota = quota
    }

    package var waitingEntries: Int { waiting.count }

    /// Takes items in, all or none.
    /// - Returns: whether there was room.
    package mutating func accept(_ items: [(key: Key, item: Item)]) -> Bool {
        guard waiting.isEmpty || waiting.count + items.count <= limits.waitingEntriesMax else { return false }
        waiting.append(contentsOf: items)
        return true
    }

    /// The next request, if one may leave now.
    package mutating func next(now: Timestamp) -> Step {
        guard requestsInFlight < limits.requestsInFlightMax, !waiting.isEmpty else { return .idle }
        if let wait = quota?.take(now: now) ?? nil { return .wait(until: now + Int64(max(1, wait))) }
        var keys: Set<Key> = []
        var request: [Item] = []
        while request.count < limits.requestEntriesMax, let next = waiting.first, keys.insert(next.key).inserted {
            request.append(next.item)
            waiting.removeFirst()
        }
        requestsInFlight += 1
        return .send(request)
    }

    /// A request that left at `sentAt` was answered.
    package mutating func finished(sentAt: Timestamp, isThrottled: Bool, now: Timestamp) {
        requestsInFlight = max(0, requestsInFlight - 1)
        if isThrottled { quota?.throttled(sentAt: sentAt, now: now) } else { quota?.succeeded(now: now) }
    }
}
