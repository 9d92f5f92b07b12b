// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule

// When a shard that is a remote queue is asked for messages. An empty receive there costs money and time, so those who
// wait share long polls: the first of them starts one, what it brings is kept for a moment, and whoever waits for the
// shard is woken to take it. Guarantees:
//
// - No poll runs unless somebody waits, and none waits longer than they do.
// - What one poll brought of a group goes to one receiver (I2): SQS locks a group while messages of it are in flight, and
//   gives later ones only together with the earlier. What does not fit goes back, last message of a group first.
// - What nobody takes goes back in the same way, after a quarter of its visibility timeout, at least one second and at most
//   five; its receive count has risen by one. It is rare: callers look first, and wait only at empty queues.
// - A receiver that asked for another visibility timeout, or comes late, gets what was kept with its own timeout set anew.
// - One poll at a time while polls come back short; one more for each that comes back full, at most eight.
// - Polls and looks keep to the rate that the service was found to allow.
// - A poll that failed, or came back empty before its time, is followed by a pause with full jitter, so that a queue that
//   is dead or does not wait is not hammered.

/// What polls brought and who may have it. Pure: events and the time in, what to do out.
public struct PolledMessages: Sendable {
    public static let pollsMax = 8
    static let pollSecondsMax = 20

    private struct Batch: Sendable {
        var messages: [ReceivedMessage]
        let groups: [UInt64]
        let visibilitySeconds: Int
        let receivedAt: Timestamp
        let until: Timestamp
    }

    /// How a poll came back.
    public struct PollEnd: Sendable {
        public var result: Result<[ReceivedMessage], ShardError>
        /// The group hash of each message.
        public var groups: [UInt64] = []
        public var limit = 10
        public var visibilitySeconds: Int
        public var startedAt: Timestamp
        public var waitSeconds: Int

        public init(
            _ result: Result<[ReceivedMessage], ShardError>, groups: [UInt64] = [], limit: Int = 10,
            visibilitySeconds: Int = 30, startedAt: Timestamp, waitSeconds: Int = 20
        ) {
            self.result = result
            self.groups = groups
            self.limit = limit
            self.visibilitySeconds = visibilitySeconds
            self.startedAt = startedAt
            self.waitSeconds = waitSeconds
        }
    }

    /// What a receiver gets, and what is to be done besides.
    public struct Asked: Sendable {
        public var given: [ReceivedMessage] = []
        /// The visibility timeout of what is given is to be set anew before it is handed over.
        public var mustRenew = false
        /// To be made visible again at once, in this order.
        public var released: [ReceivedMessage] = []
        /// Starts a poll that waits so many seconds.
        public var pollSeconds: Int?
        /// Whoever waits is to be woken then: only the rate keeps a poll from starting.
        public var wakeAt: Timestamp?
        /// Why nothing can be had at the moment.
        public var failure: ShardError?

        public init(failure: ShardError? = nil) { self.failure = failure }
    }

    private var batches: Deque<Batch> = []
    private var polls = 0
    private var pollsWanted = 1
    private var failures = 0
    private var pausedUntil: Timestamp?
    private var failure: ShardError?
    private var jitter: FullJitter
    private var quota: AdaptiveQuota?

    /// - Parameter quota: of receives; `nil` is none.
    public init(seed: UInt64, quota: AdaptiveQuota? = nil) {
        jitter = FullJitter(seed: seed)
        self.quota = quota
    }

    /// Requests a second that the service was found to allow; `nil` without a quota.
    public var rate: Double? { quota?.rate }

    /// The quota of receives, from now on.
    public mutating func set(quota: AdaptiveQuota) { self.quota = quota }

    /// Somebody is about to look, without waiting at the service.
    /// - Returns: `nil` if it may, else the milliseconds until it may.
    public mutating func look(now: Timestamp) -> Int? { quota?.take(now: now) ?? nil }

    /// A look came back.
    public mutating func lookEnded(_ error: ShardError?, startedAt: Timestamp, now: Timestamp) {
        switch error {
        case nil: quota?.succeeded(now: now)
        case .quotaExceeded: quota?.throttled(sentAt: startedAt, now: now)
        default: break
        }
    }

    public var keptCount: Int { batches.reduce(0) { $0 + $1.messages.count } }
    public var pollCount: Int { polls }

    /// Somebody asks, and waits so many seconds to be woken if there is nothing.
    public mutating func ask(limit: Int, visibilitySeconds: Int, patienceSeconds: Int, now: Timestamp) -> Asked {
        var asked = Asked()
        asked.released = expire(now: now)
        if let batch = batches.popFirst() {
            give(batch, limit, visibilitySeconds, now, &asked)
            return asked
        }
        if let pausedUntil, now < pausedUntil {
            asked.failure = failure
            return asked
        }
        if polls < pollsWanted {
            if let wait = quota?.take(now: now) ?? nil {
                asked.wakeAt = now + Int64(max(1, wait))
                return asked
            }
            polls += 1
            asked.pollSeconds = max(1, min(PolledMessages.pollSecondsMax, patienceSeconds))
        }
        return asked
    }

    /// Somebody asks who does not wait.
    public mutating func take(limit: Int, visibilitySeconds: Int, now: Timestamp) -> Asked {
        var asked = Asked()
        asked.released = expire(now: now)
        if let batch = batches.popFirst() {
            give(batch, limit, visibilitySeconds, now, &asked)
        } else if let pausedUntil, now < pausedUntil {
            asked.failure = failure
        }
        return asked
    }

    private mutating func give(
        _ batch: Batch, _ limit: Int, _ visibilitySeconds: Int, _ now: Timestamp, _ asked: inout Asked
    ) {
        if !Mutation.polledTimeoutIsNotRenewed.isOn {
            asked.mustRenew =
                batch.visibilitySeconds != visibilitySeconds
                || now - batch.receivedAt > KeptMessages.freshMilliseconds(visibilitySeconds: visibilitySeconds)
        }
        asked.given = Array(batch.messages.prefix(limit))
        guard batch.messages.count > limit else { return }
        let taken = Set(batch.groups.prefix(limit))
        var left: [ReceivedMessage] = []
        var groups: [UInt64] = []
        for (message, group) in zip(batch.messages, batch.groups).dropFirst(limit) {
            if taken.contains(group), !Mutation.polledGroupIsSplit.isOn {
                asked.released.insert(message, at: 0)
            } else {
                left.append(message)
                groups.append(group)
            }
        }
        guard !left.isEmpty else { return }
        batches.prepend(
            Batch(
                messages: left, groups: groups, visibilitySeconds: batch.visibilitySeconds,
                receivedAt: batch.receivedAt, until: batch.until))
    }

    /// A poll came back.
    /// - Returns: when those who wait are to be woken, and when what came is too old, if anything came.
    public mutating func pollEnded(_ end: PollEnd, now: Timestamp) -> (wakeAt: Timestamp, oldAt: Timestamp?) {
        polls -= 1
        if case .failure(let error) = end.result {
            lookEnded(error, startedAt: end.startedAt, now: now)
        } else {
            lookEnded(nil, startedAt: end.startedAt, now: now)
        }
        switch end.result {
        case .success(let messages) where messages.isEmpty && now - end.startedAt < Int64(end.waitSeconds) * 500:
            pollsWanted = 1
            return (pause(nil, now), nil)
        case .success(let messages):
            failures = 0
            failure = nil
            pausedUntil = nil
            let isFull = messages.count >= end.limit
            pollsWanted = isFull ? min(pollsWanted + 1, PolledMessages.pollsMax) : max(1, pollsWanted - 1)
            guard !messages.isEmpty else { return (now, nil) }
            let until = now + max(1_000, min(5_000, Int64(end.visibilitySeconds) * 250))
            batches.append(
                Batch(
                    messages: messages, groups: end.groups, visibilitySeconds: end.visibilitySeconds, receivedAt: now,
                    until: until))
            return (now, until)
        case .failure(let error):
            pollsWanted = 1
            return (pause(error, now), nil)
        }
    }

    private mutating func pause(_ error: ShardError?, _ now: Timestamp) -> Timestamp {
        failures += 1
        failure = error
        let until = now + jitter.delay(failures: failures)
        pausedUntil = until
        return until
    }

    /// What was kept for too long, to be made visible again in this order.
    public mutating func expire(now: Timestamp) -> [ReceivedMessage] {
        var old: [ReceivedMessage] = []
        while let first = batches.first, first.until <= now, !Mutation.polledMessagesNeverAge.isOn {
            batches.removeFirst()
            let isForwards = Mutation.polledReleasedForwards.isOn
            old.append(contentsOf: isForwards ? first.messages : first.messages.reversed())
        }
        return old
    }

    /// Everything that is kept, to be made visible again in this order.
    public mutating func takeAll() -> [ReceivedMessage] {
        defer { batches = [] }
        return batches.flatMap { $0.messages.reversed() }
    }
}
