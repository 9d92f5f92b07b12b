// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule
import QueuePoolCore
import QueuePoolSQS

// How fast one process asks one queue: near the quota that the queue has, and not again and again while it fails.

/// The requests of one life of a router to one queue.
struct RequestPace {
    /// Sends in ten seconds to a queue that fails all the while. With full jitter of 50 ms to 5 s there are about fifteen,
    /// and eight more may be under way as it begins.
    static let failingSendsMax = 45

    private let quota: Int?
    /// Tokens in thousandths, by action: a second's worth at rest.
    private var tokens: [SQSAction: (left: Int64, at: Timestamp)] = [:]
    private var failing: Deque<Timestamp> = []

    init(quota: Int?) { self.quota = quota }

    /// A request leaves.
    /// - Returns: what is wrong with that.
    mutating func left(_ action: SQSAction, now: Timestamp) -> String? {
        // Changes of visibility that a router makes on its own account are not counted by it.
        guard let quota, action != .changeMessageVisibilityBatch else { return nil }
        // A process finds the quota by going over it, and not far: the queue throttles then. Small ones in steps that are
        // large for them.
        let rate = Int64(quota) * 3 / 2 + 3
        // The clocks of processes may run faster than this one, and show whole milliseconds.
        let most = rate * 1_050 + 1_000
        let (left, at) = tokens[action] ?? (most, now)
        let filled = min(most, left + (now - at) * rate * 1_001 / 1_000)
        tokens[action] = (filled - 1_000, now)
        return filled < 1_000 ? "more requests of \(action) left than \(rate) a second" : nil
    }

    /// A send is answered, or not.
    /// - Returns: what is wrong with how many failed.
    mutating func ended(sentAt: Timestamp, isFailure: Bool, now: Timestamp) -> String? {
        guard isFailure else {
            failing.removeAll()
            return nil
        }
        failing.append(sentAt)
        while let first = failing.first, now - first > 10_000 { failing.removeFirst() }
        guard failing.count > RequestPace.failingSendsMax else { return nil }
        return "\(failing.count) sends to a queue that fails left in ten seconds"
    }
}
