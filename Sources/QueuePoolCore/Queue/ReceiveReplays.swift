// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule

/// What recent receives with a ReceiveRequestAttemptId handed out, for five minutes and at most 10,000 of them.
struct ReceiveReplays: Sendable {
    private static let attemptsMax = 10_000
    private var handlesByID: [String: (handles: [ReceiptHandle], at: Timestamp)] = [:]
    private var order: Deque<(id: String, at: Timestamp)> = []

    mutating func remember(_ id: String, _ handles: [ReceiptHandle], now: Timestamp) {
        expire(now)
        handlesByID[id] = (handles, now)
        order.append((id, now))
    }

    func handles(_ id: String, now: Timestamp) -> [ReceiptHandle]? {
        guard let found = handlesByID[id], now - found.at < Int64(QueueLimits.deduplicationSeconds) * 1_000 else {
            return nil
        }
        return found.handles
    }

    private mutating func expire(_ now: Timestamp) {
        while let front = order.first,
            order.count >= ReceiveReplays.attemptsMax
                || now - front.at >= Int64(QueueLimits.deduplicationSeconds) * 1_000
        {
            order.removeFirst()
            if handlesByID[front.id]?.at == front.at { handlesByID[front.id] = nil }
        }
    }
}
