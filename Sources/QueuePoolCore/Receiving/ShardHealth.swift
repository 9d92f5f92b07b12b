// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Which shards are worth asking. A shard whose look failed, or was not back within the patience of those who asked, is
// passed over for a while that grows with each try in vain; then one look of one receiver tries it again. Any answer, late
// ones included, makes it well. So a shard that is dead costs one receiver 200 ms now and then, and the others nothing.

/// What is known of shards that failed or are overdue. Pure: what happened and the time in, whom to ask out.
public struct ShardHealth: Sendable {
    /// How long a receiver waits for one shard while there are others to ask.
    public static let patienceMilliseconds: Int64 = 200
    static let pauseMilliseconds: Int64 = 200
    static let pauseMillisecondsMax: Int64 = 5_000

    private struct Illness: Sendable {
        var tries = 1
        var retryAt: Timestamp
        var failure: ShardError?
    }

    private var ill: [ShardIndex: Illness] = [:]

    public init() {}

    public var isEveryoneWell: Bool { ill.isEmpty }

    /// Why a shard is passed over; `nil` also for one that is overdue and has not failed.
    public func failure(of shard: ShardIndex) -> ShardError? { ill[shard]?.failure }

    /// When a shard is worth another look; `nil` for one that is well.
    public func retryAt(of shard: ShardIndex) -> Timestamp? { ill[shard]?.retryAt }

    /// Whether a receiver may look at a shard. Of those who ask when the pause is over, the first may.
    public mutating func mayAsk(_ shard: ShardIndex, now: Timestamp) -> Bool {
        guard var illness = ill[shard] else { return true }
        guard now >= illness.retryAt else { return false }
        illness.tries += 1
        illness.retryAt = now + ShardHealth.pause(illness.tries)
        ill[shard] = illness
        return true
    }

    /// A look failed. Looks that were under way together count once.
    public mutating func failed(_ shard: ShardIndex, _ error: ShardError, now: Timestamp) {
        var illness: Illness
        if case .quotaExceeded(let wait, _) = error {
            // It answers, and says when to come again.
            illness = ill[shard] ?? Illness(retryAt: now)
            illness.retryAt = max(illness.retryAt, now + min(Int64(max(1, wait)), ShardHealth.pauseMillisecondsMax))
        } else {
            illness = ill[shard] ?? Illness(retryAt: now + ShardHealth.pause(1))
        }
        illness.failure = error
        ill[shard] = illness
    }

    /// A look is not back in time.
    public mutating func overdue(_ shard: ShardIndex, now: Timestamp) {
        if ill[shard] == nil { ill[shard] = Illness(retryAt: now + ShardHealth.pause(1)) }
    }

    /// A look came back, in time or late.
    public mutating func answered(_ shard: ShardIndex) { ill[shard] = nil }

    private static func pause(_ tries: Int) -> Int64 {
        min(pauseMillisecondsMax, pauseMilliseconds << Int64(min(tries - 1, 10)))
    }
}
