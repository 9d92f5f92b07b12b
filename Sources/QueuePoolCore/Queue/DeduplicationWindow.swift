// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule

// Ids accepted within the last five minutes (I3). The interval runs from the first accepted send; a duplicate does not
// extend it (SQS developer guide, "exactly-once processing"; that duplicates do not extend it is how emulators read it).

/// Deduplication keys by the sequence number of the message that brought them first.
struct DeduplicationWindow: Sendable {
    private var sequences: [Hash128: SequenceNumber] = [:]
    private var order: Deque<(key: Hash128, sequence: SequenceNumber)> = []

    /// The message that brought `key` first, if that was within the interval before `now`.
    func first(_ key: Hash128, now: Timestamp) -> SequenceNumber? {
        guard let found = sequences[key], found >= DeduplicationWindow.oldest(now) else { return nil }
        return found
    }

    /// - Important: sequence numbers grow from call to call.
    mutating func insert(_ key: Hash128, _ sequence: SequenceNumber) {
        sequences[key] = sequence
        order.append((key, sequence))
    }

    /// Forgets what is older than the interval; at most `limit` keys a call, so that no caller waits for a large sweep.
    mutating func expire(now: Timestamp, limit: Int = 4_096) {
        let oldest = DeduplicationWindow.oldest(now)
        var left = limit
        while left > 0, let front = order.first, front.sequence < oldest {
            order.removeFirst()
            if sequences[front.key] == front.sequence { sequences[front.key] = nil }
            left -= 1
        }
    }

    mutating func removeAll() {
        sequences = [:]
        order = []
    }

    var count: Int { sequences.count }

    /// The lowest sequence number that still counts at `now`.
    static func oldest(_ now: Timestamp) -> SequenceNumber {
        SequenceNumber(firstOf: now + -Int64(QueueLimits.deduplicationSeconds) * 1_000)
    }
}
