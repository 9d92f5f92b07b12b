// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule
package import QueuePoolCore

// When a shard that is a remote queue is asked for messages. An empty receive there costs money and time, so those who
// wait share long polls: the first of them starts one, what it brings is kept for a moment, and whoever waits for the
// shard is woken to take it. Guarantees:
//
// - No poll runs unless somebody waits, and none waits longer than they do.
// - What one poll brought of a group goes to one receiver (I2): SQS locks a group while messages of it are in flight, and
//   gives later ones only together with the earlier. What does not fit goes back, last message of a group first.
// - What nobody takes within a second goes back in the same way; its receive count has risen by one.
// - One poll at a time while polls come back short; one more for each that comes back full, at most eight.
// - A poll that failed is followed by a pause with full jitter, so that a dead queue is not hammered.

/// What polls brought and who may have it. Pure: events and the time in, what to do out.
package struct PolledMessages: Sendable {
    package static let keptMilliseconds: Int64 = 1_000
    package static let pollsMax = 8
    static let pollSecondsMax = 20

    private struct Batch: Sendable {
        var messages: [ReceivedMessage]
        let groups: [UInt64]
        let until: Timestamp
    }

    /// What a receiver gets, and what is to be done besides.
    package struct Asked: Sendable {
        package var given: [ReceivedMessage] = []
        /// To be made visible again at once, in this order.
        package var released: [ReceivedMessage] = []
        /// Starts a poll that waits so many seconds.
        package var pollSeconds: Int?
        /// Why nothing can be had at the moment.
        package var failure: ShardError?
    }

    private var batches: Deque<Batch> = []
    private var polls = 0
    private var pollsWanted = 1
    private var failures = 0
    private var pausedUntil: Timestamp?
    private var failure: ShardError?
    private var jitter: FullJitter

    package init(seed: UInt64) { jitter = FullJitter(seed: seed) }

    package var keptCount: Int { batches.reduce(0) { $0 + $1.messages.count } }
    package var pollCount: Int { polls }

    /// Somebody asks, and waits so many seconds to be woken if there is nothing.
    package mutating func ask(limit: Int, patienceSeconds: Int, now: Timestamp) -> Asked {
        var asked = Asked()
        asked.released = expire(now: now)
        if let batch = batches.popFirst() {
            give(batch, limit, &asked)
            return asked
        }
        if let pausedUntil, now < pausedUntil {
            asked.failure = failure
            return asked
        }
        if polls < pollsWanted {
            polls += 1
            asked.pollSeconds = max(1, min(PolledMessages.pollSecondsMax, patienceSeconds))
        }
        return asked
    }

    /// Somebody asks who does not wait.
    package mutating func take(limit: Int, now: Timestamp) -> Asked {
        var asked = Asked()
        asked.released = expire(now: now)
        if let batch = batches.popFirst() {
            give(batch, limit, &asked)
        } else if let pausedUntil, now < pausedUntil {
            asked.failure = failure
        }
        return asked
    }

    private mutating func give(_ batch: Batch, _ limit: Int, _ asked: inout Asked) {
        asked.given = Array(batch.messages.prefix(limit))
        guard batch.messages.count > limit else { return }
        let taken = Set(batch.groups.prefix(limit))
        var rest = Batch(messages: [], groups: [], until: batch.until)
        var groups: [UInt64] = []
        for (message, group) in zip(batch.messages, batch.groups).dropFirst(limit) {
            if taken.contains(group) {
                asked.released.insert(message, at: 0)
            } else {
                rest.messages.append(message)
                groups.append(group)
            }
        }
        if !groups.isEmpty {
            batches.prepend(Batch(messages: rest.messages, groups: groups, until: batch.until))
        }
    }

    /// A poll came back.
    /// - Parameter groups: the group hash of each message.
    /// - Returns: when those who wait are to be woken.
    package mutating func pollEnded(
        _ result: Result<[ReceivedMessage], ShardError>, groups: [UInt64], now: Timestamp
    ) -> Timestamp {
        polls -= 1
        switch result {
        case .success(let messages):
            failures = 0
            failure = nil
            pausedUntil = nil
            pollsWanted = messages.count == 10 ? min(pollsWanted + 1, PolledMessages.pollsMax) : max(1, pollsWanted - 1)
            if !messages.isEmpty {
                batches.append(
                    Batch(messages: messages, groups: groups, until: now + PolledMessages.keptMilliseconds))
            }
            return now
        case .failure(let error):
            failures += 1
            failure = error
            pollsWanted = 1
            let until = now + jitter.delay(failures: failures)
            pausedUntil = until
            return until
        }
    }

    /// What was kept for too long, to be made visible again in this order.
    package mutating func expire(now: Timestamp) -> [ReceivedMessage] {
        var old: [ReceivedMessage] = []
        while let first = batches.first, first.until <= now {
            batches.removeFirst()
            old.append(contentsOf: first.messages.reversed())
        }
        return old
    }

    /// Everything that is kept, to be made visible again in this order.
    package mutating func takeAll() -> [ReceivedMessage] {
        defer { batches = [] }
        return batches.flatMap { $0.messages.reversed() }
    }
}
