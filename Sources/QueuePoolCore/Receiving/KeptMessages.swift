// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Messages that a shard gave when the receiver that asked had gone on without it. They are in flight, so nobody else can
// get them from the shard. Giving them back at once would drive up the receive counts at a shard that always answers late;
// so the next receiver of that shard gets them. Guarantees:
//
// - Messages of one group go to one receiver, in order (I2). What does not fit goes back, last message of a group first.
// - What nobody takes goes back in the same way, after a quarter of its visibility timeout, at least one second and at
//   most five.
// - Who takes them later than a second after they were asked for, or wants another visibility timeout, has the timeout set
//   anew. What may be visible again by then is not given to anybody.

/// Messages that came too late for who asked. Pure: messages and the time in, whom to give them out.
public struct KeptMessages: Sendable {
    private struct Batch: Sendable {
        var messages: [ReceivedMessage]
        let visibilitySeconds: Int
        let askedAt: Timestamp
        let until: Timestamp
    }

    /// For how long messages may be kept and still be handed over as they are. Whoever gets them counts the timeout from
    /// then, and has them extended at half of it: what was kept, and all ways to and fro, must fit in the other half.
    static func freshMilliseconds(visibilitySeconds: Int) -> Int64 { min(1_000, Int64(visibilitySeconds) * 125) }

    /// What a receiver gets, and what is to be done besides.
    public struct Given: Sendable {
        public var messages: [ReceivedMessage]
        /// The visibility timeout is to be set anew before they are handed over.
        public var mustRenew: Bool
        /// To be made visible again, in this order.
        public var released: [ReceivedMessage]
    }

    private var batches: [ShardIndex: [Batch]] = [:]

    public init() {}

    public var isEmpty: Bool { batches.isEmpty }
    /// Messages that are kept.
    public var count: Int { batches.values.reduce(0) { $0 + $1.reduce(0) { $0 + $1.messages.count } } }

    /// Keeps messages for the next receiver of their shard.
    /// - Parameters:
    ///   - visibilitySeconds: with which they were asked for.
    ///   - askedAt: when; their visibility timeouts began later.
    /// - Returns: when they will have been kept for too long; `nil` if they are not worth keeping.
    public mutating func keep(
        _ messages: [ReceivedMessage], of shard: ShardIndex, visibilitySeconds: Int, askedAt: Timestamp, now: Timestamp
    ) -> Timestamp? {
        let visibleAt = askedAt + Int64(visibilitySeconds) * 1_000
        let until = min(visibleAt, now + max(1_000, min(5_000, Int64(visibilitySeconds) * 250)))
        guard !messages.isEmpty, until > now else { return nil }
        batches[shard, default: []].append(
            Batch(messages: messages, visibilitySeconds: visibilitySeconds, askedAt: askedAt, until: until))
        return until
    }

    /// What a receiver gets that looks at a shard; `nil` if nothing is kept of it.
    public mutating func take(
        of shard: ShardIndex, limit: Int, visibilitySeconds: Int, now: Timestamp
    ) -> Given? {
        guard var line = batches[shard],
            let place = line.firstIndex(where: { $0.until > now || Mutation.keptMessagesNeverAge.isOn })
        else { return nil }
        let batch = line.remove(at: place)
        defer { batches[shard] = line.isEmpty ? nil : line }
        var given = Given(
            messages: Array(batch.messages.prefix(limit)),
            mustRenew: batch.visibilitySeconds != visibilitySeconds
                || now - batch.askedAt > KeptMessages.freshMilliseconds(visibilitySeconds: visibilitySeconds),
            released: [])
        guard batch.messages.count > limit else { return given }
        let taken = Set(given.messages.map(KeptMessages.group))
        var left = batch
        left.messages = []
        for message in batch.messages.dropFirst(limit) {
            if taken.contains(KeptMessages.group(message)) {
                given.released.insert(message, at: 0)
            } else {
                left.messages.append(message)
            }
        }
        if !left.messages.isEmpty { line.insert(left, at: place) }
        return given
    }

    private static func group(_ message: ReceivedMessage) -> UInt64 { message.withView { XXHash64.hash($0.group) } }

    /// What was kept for too long, to be made visible again in this order.
    public mutating func expire(now: Timestamp) -> [(shard: ShardIndex, messages: [ReceivedMessage])] {
        var old: [(shard: ShardIndex, messages: [ReceivedMessage])] = []
        for (shard, line) in batches {
            let gone = line.filter { $0.until <= now && !Mutation.keptMessagesNeverAge.isOn }
            guard !gone.isEmpty else { continue }
            old.append((shard, gone.flatMap { $0.messages.reversed() }))
            let rest = line.filter { $0.until > now }
            batches[shard] = rest.isEmpty ? nil : rest
        }
        return old
    }
}
