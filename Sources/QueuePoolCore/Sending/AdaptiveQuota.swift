// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// The quota of a shard that nobody can ask for its quota. Guarantees: the rate stays within floor and ceiling; a window
// of requests that were under way together lowers it once; it grows only while it is what holds requests back.
//
// AIMD as TCP does it, with the two refinements of CUBIC (Ha, Rhee, Xu 2008; RFC 9438), because plain AIMD either needs
// many minutes to find a quota raised tenfold or loses a tenth of the present one. After a throttling the rate falls to
// 7/10; it climbs back to just below the rate that was throttled within about a second; from there it probes slowly at
// first, and faster each second that nothing is throttled: with a start of 300/s, 3,000/s are found in about 45 s.

/// A token bucket whose rate follows what the shard throttles.
public struct AdaptiveQuota: Hashable, Sendable {
    /// Rates in requests a second.
    public struct Limits: Hashable, Sendable {
        public var start: Int
        public var ceiling: Int
        public var floor: Int

        /// - Parameter ceiling: `start` if not given: never above what was configured.
        public init(start: Int = 300, ceiling: Int? = nil, floor: Int = 1) {
            self.floor = max(1, floor)
            self.ceiling = min(max(self.floor, ceiling ?? start), TokenBucket.largest)
            self.start = min(max(self.floor, start), self.ceiling)
        }

        /// Of one action of a FIFO queue of SQS. Nobody can ask such a queue for its quota, and it changes with the
        /// region, the queue's settings and Amazon's leave, so what was configured is only where the rate begins.
        public static func ofQueue(startingAt rate: Int?) -> Limits {
            Limits(start: rate ?? Defaults.queueRequestsPerSecond, ceiling: Defaults.queueRequestsPerSecondMax)
        }
    }

    public let limits: Limits
    /// Requests a second, now.
    private(set) public var rate: Double
    private var bucket: TokenBucket
    /// The rate at which the shard throttled last.
    private var throttledRate: Double?
    private var loweredAt = Timestamp.distantPast
    private var raisedAt: Timestamp
    /// Requests a second, each second; grows while nothing is throttled.
    private var probe: Double
    /// A request had to wait for a token since the rate was last looked at.
    private var isLimiting = false

    /// What is left of the rate after a throttling.
    private static let decrease = 0.7
    /// Decreases come at least so far apart, milliseconds: about the time in which one shows.
    private static let windowMilliseconds: Int64 = 200
    /// Up to this part of the throttled rate the way back is fast.
    private static let knee = 0.95
    /// A rested bucket holds this part of a second: a burst of a whole second would be over the shard's own quota.
    private static let burstParts = 4

    public init(_ limits: Limits, now: Timestamp) {
        self.limits = limits
        rate = Double(limits.start)
        bucket = TokenBucket(rate: limits.start, burst: limits.start / AdaptiveQuota.burstParts, now: now)
        raisedAt = now
        probe = AdaptiveQuota.firstProbe(limits)
    }

    /// Takes one token.
    /// - Returns: `nil` if it was there, else the milliseconds until it will be.
    public mutating func take(now: Timestamp) -> Int? {
        let wait = bucket.take(now: now)
        if wait != nil { isLimiting = true }
        return wait
    }

    /// The shard throttled a request.
    /// - Parameter sentAt: one sent before the last decrease says nothing about the rate since.
    public mutating func throttled(sentAt: Timestamp, now: Timestamp) {
        guard sentAt >= loweredAt, now - loweredAt >= AdaptiveQuota.windowMilliseconds else { return }
        throttledRate = rate
        loweredAt = now
        raisedAt = now
        probe = AdaptiveQuota.firstProbe(limits)
        set(rate * AdaptiveQuota.decrease, now)
    }

    /// The shard carried out a request.
    public mutating func succeeded(now: Timestamp) {
        let passed = now - raisedAt
        // The bucket counts whole requests: looking more often than so changes nothing.
        guard passed >= 50 else { return }
        raisedAt = now
        guard isLimiting else { return }
        isLimiting = false
        let seconds = Double(min(passed, 1_000)) / 1_000
        if let throttledRate, rate < throttledRate * AdaptiveQuota.knee {
            let knee = throttledRate * AdaptiveQuota.knee
            set(min(knee, rate + max(1, throttledRate * 0.3) * seconds), now)
        } else {
            set(rate + probe * seconds, now)
            probe += AdaptiveQuota.firstProbe(limits) * seconds
        }
    }

    private mutating func set(_ newRate: Double, _ now: Timestamp) {
        rate = min(max(newRate, Double(limits.floor)), Double(limits.ceiling))
        let whole = Int(rate)
        if whole != bucket.rate { bucket.change(rate: whole, burst: whole / AdaptiveQuota.burstParts, now: now) }
    }

    private static func firstProbe(_ limits: Limits) -> Double { max(0.5, Double(limits.start) / 100) }
}
