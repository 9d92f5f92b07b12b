// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// When one more request of one action may leave for a remote queue: the service counts each action's requests apart, so
// each has a pace of its own. Two things hold a request back: the rate that the service was found to allow
// (`AdaptiveQuota`), and a queue that fails. A queue that fails is asked after a pause with full jitter, one request at a
// time; when that has gone on for some seconds it counts as failing, and whoever asks is told so at once instead of
// waiting for another time limit (I5).

/// The pace of one action at one remote queue. Pure: the time and what happened in, what may leave out.
package struct RequestPace: Sendable {
    /// Requests in a row that failed, and milliseconds since the first of them, after which the queue counts as failing.
    static let failingRequests = 3
    static let failingMilliseconds: Int64 = 5_000

    private(set) var quota: AdaptiveQuota
    private var jitter: FullJitter
    /// A token was taken, and its request has not left.
    private var hasToken = false
    private var failures = 0
    private var failedAt = Timestamp.distantPast
    private var failingFrom = Timestamp.distantPast
    private var pausedUntil = Timestamp.distantPast

    package init(quota: AdaptiveQuota, seed: UInt64) {
        self.quota = quota
        jitter = FullJitter(seed: seed)
    }

    /// The quota, from now on.
    mutating func set(quota: AdaptiveQuota) { self.quota = quota }

    /// Whether a request may leave; it is to say `left()` when it does.
    /// - Parameter underWay: requests of this action that are not answered.
    /// - Returns: `.distantPast` if it may, a time to ask again, or `nil` if an answer must come first.
    package mutating func mayLeave(underWay: Int, now: Timestamp) -> Timestamp? {
        if failures > 0 {
            if underWay > 0 { return nil }
            if now < pausedUntil { return pausedUntil }
        }
        if !hasToken {
            if let wait = quota.take(now: now) { return now + Int64(max(1, wait)) }
            hasToken = true
        }
        return .distantPast
    }

    /// A request left.
    package mutating func left() { hasToken = false }

    /// Why who asks now is refused at once; `nil` while the queue does not count as failing, and for its next probe.
    package func refusal(underWay: Int, now: Timestamp) -> ShardError? {
        guard isFailing(now: now), underWay > 0 || now < pausedUntil else { return nil }
        return .unavailable(retryAfterMilliseconds: Int(max(100, pausedUntil - now)))
    }

    /// Whether the queue has failed for so long that it is known to.
    package func isFailing(now: Timestamp) -> Bool {
        failures >= RequestPace.failingRequests && now - failingFrom >= RequestPace.failingMilliseconds
    }

    package mutating func succeeded(now: Timestamp) {
        failures = 0
        quota.succeeded(now: now)
    }

    package mutating func throttled(sentAt: Timestamp, now: Timestamp) {
        // The service answers: it is not dead.
        failures = 0
        quota.throttled(sentAt: sentAt, now: now)
    }

    /// A request failed as a whole, or its answer is missing. Those that were under way together count once.
    package mutating func failed(sentAt: Timestamp, now: Timestamp) {
        guard failures == 0 || sentAt >= failedAt else { return }
        if failures == 0 { failingFrom = sentAt }
        failures += 1
        failedAt = now
        pausedUntil = now + jitter.delay(failures: failures)
    }
}
