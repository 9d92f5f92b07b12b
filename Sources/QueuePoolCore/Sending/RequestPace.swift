// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// When one more request of one action may leave for a remote queue: the service counts each action's requests apart, so
// each has a pace of its own. Two things hold a request back: the rate that the service was found to allow
// (`AdaptiveQuota`), and a queue that fails. A queue that fails is asked after a pause with full jitter, one request at a
// time; when that has gone on for some seconds, or a request was waited for in vain while nothing else was answered, it
// counts as failing, and whoever asks is told so at once instead of waiting for another time limit (I5). So is who asks a
// queue that has throttled all that it was asked for some seconds, but for the requests that its rate still lets leave.

/// The pace of one action at one remote queue. Pure: the time and what happened in, what may leave out.
public struct RequestPace: Sendable {
    /// Requests in a row that failed, and milliseconds since the first of them, after which the queue counts as failing.
    static let failingRequests = 3
    static let failingMilliseconds: Int64 = 5_000
    /// The same for requests that are throttled, and nothing else; longer than what is throttled is asked again.
    static let throttledMilliseconds: Int64 = 6_000

    /// A request without an answer for so long is enough, if nothing else was answered since it was sent: below a request's
    /// time limit, and far above what answers take.
    static let silentMilliseconds: Int64 = 8_000
    /// How long a probe is waited for before another one may leave.
    static let probeMilliseconds: Int64 = 2_000

    private(set) var quota: AdaptiveQuota
    private var jitter: FullJitter
    /// A token was taken, and its request has not left.
    private var hasToken = false
    private var failures = 0
    private var failedAt = Timestamp.distantPast
    private var failingFrom = Timestamp.distantPast
    private var pausedUntil = Timestamp.distantPast
    /// When the queue answered last, whatever it said.
    private var answeredAt = Timestamp.distantPast
    /// A request had no answer for long, and none other had one meanwhile.
    private var isSilent = false
    /// Requests that were throttled since one was carried out, and when the first of them was.
    private var throttles = 0
    private var throttledFrom = Timestamp.distantPast
    private var leftAt = Timestamp.distantPast

    public init(quota: AdaptiveQuota, seed: UInt64) {
        self.quota = quota
        jitter = FullJitter(seed: seed)
    }

    /// The quota, from now on.
    mutating func set(quota: AdaptiveQuota) { self.quota = quota }

    /// Whether a request may leave; it is to say `left()` when it does.
    /// - Parameter underWay: requests of this action that are not answered.
    /// - Returns: `.distantPast` if it may, else a time to ask again.
    public mutating func mayLeave(underWay: Int, now: Timestamp) -> Timestamp {
        if failures > 0 {
            if now < pausedUntil { return pausedUntil }
            let at = leftAt + RequestPace.probeMilliseconds
            if underWay > 0, now < at { return at }
        }
        if !hasToken {
            if let wait = quota.take(now: now) { return now + Int64(max(1, wait)) }
            hasToken = true
        }
        return .distantPast
    }

    /// A request left.
    public mutating func left(now: Timestamp) {
        hasToken = false
        leftAt = now
    }

    /// Why who asks now is refused at once; `nil` while the queue does not count as failing, and for its next probe, which
    /// may leave then.
    public mutating func refusal(underWay: Int, now: Timestamp) -> ShardError? {
        let isProbed = underWay > 0 && now < leftAt + RequestPace.probeMilliseconds
        if isFailing(now: now), isProbed || now < pausedUntil {
            return .unavailable(retryAfterMilliseconds: Int(max(100, pausedUntil - now)))
        }
        let isThrottled =
            throttles >= RequestPace.failingRequests && now - throttledFrom >= RequestPace.throttledMilliseconds
        if isThrottled, !hasToken {
            if let wait = quota.take(now: now) { return .quotaExceeded(retryAfterMilliseconds: max(100, wait)) }
            hasToken = true
        }
        return nil
    }

    /// Whether the queue has failed for so long that it is known to.
    public func isFailing(now: Timestamp) -> Bool {
        guard failures > 0 else { return false }
        return isSilent
            || failures >= RequestPace.failingRequests && now - failingFrom >= RequestPace.failingMilliseconds
    }

    public mutating func succeeded(now: Timestamp) {
        answers(now)
        throttles = 0
        quota.succeeded(now: now)
    }

    public mutating func throttled(sentAt: Timestamp, now: Timestamp) {
        // The service answers: it is not dead.
        answers(now)
        if throttles == 0 { throttledFrom = now }
        throttles += 1
        quota.throttled(sentAt: sentAt, now: now)
    }

    private mutating func answers(_ now: Timestamp) {
        failures = 0
        isSilent = false
        answeredAt = now
    }

    /// A request failed as a whole, or its answer is missing. Those that were under way together count once.
    public mutating func failed(sentAt: Timestamp, now: Timestamp) {
        guard failures == 0 || sentAt >= failedAt else { return }
        if failures == 0 { failingFrom = sentAt }
        failures += 1
        failedAt = now
        if answeredAt < sentAt, now - sentAt >= RequestPace.silentMilliseconds { isSilent = true }
        pausedUntil = now + jitter.delay(failures: failures)
    }
}
