// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// How many requests a shard may be sent. Guarantees: over any stretch of t seconds at most `rate * t + burst` requests
// pass. Counted in requests, as AWS counts: a batch is one. Source: the token bucket of RFC 2697 without the excess
// bucket; arithmetic in thousandths of a token so that milliseconds lose nothing.

/// A token bucket.
public struct TokenBucket: Hashable, Sendable {
    /// Tokens a second; at least 1.
    private(set) public var rate: Int
    /// Tokens that a rested bucket holds.
    private(set) public var burst: Int
    private var thousandths: Int64
    private var filledAt: Timestamp

    /// Largest rate and burst; far above any shard's, far below what would overflow.
    public static let largest = 1_000_000_000

    /// Both are held within 1...1,000,000,000.
    /// - Parameter burst: one second's worth if not given.
    public init(rate: Int, burst: Int? = nil, now: Timestamp) {
        self.rate = min(max(1, rate), TokenBucket.largest)
        self.burst = min(max(1, burst ?? rate), TokenBucket.largest)
        thousandths = Int64(self.burst) * 1_000
        filledAt = now
    }

    /// Goes on at another rate with the tokens that are there, as far as they fit.
    public mutating func change(rate: Int, burst: Int, now: Timestamp) {
        fill(now)
        self.rate = min(max(1, rate), TokenBucket.largest)
        self.burst = min(max(1, burst), TokenBucket.largest)
        thousandths = min(thousandths, Int64(self.burst) * 1_000)
    }

    /// Takes one token.
    /// - Returns: `nil` if it was there, else the milliseconds until it will be.
    public mutating func take(now: Timestamp) -> Int? {
        fill(now)
        guard thousandths < 1_000, !Mutation.quotaIsIgnored.isOn else {
            thousandths -= 1_000
            return nil
        }
        return Int((1_000 - thousandths + Int64(rate) - 1) / Int64(rate))
    }

    /// Whether a token is there, without taking it.
    public mutating func hasToken(now: Timestamp) -> Bool {
        fill(now)
        return thousandths >= 1_000
    }

    /// Whole tokens that are there, without taking them.
    public mutating func tokens(now: Timestamp) -> Int {
        fill(now)
        return Int(max(0, thousandths) / 1_000)
    }

    /// - Parameter tokens: no more count than the bucket can hold.
    /// - Returns: milliseconds until so many are there, if nobody takes one.
    public mutating func wait(for tokens: Int, now: Timestamp) -> Int64 {
        fill(now)
        let missing = Int64(min(tokens, burst)) * 1_000 - thousandths
        return missing <= 0 ? 0 : (missing + Int64(rate) - 1) / Int64(rate)
    }

    /// Takes tokens that are known to be there.
    public mutating func spend(_ tokens: Int, now: Timestamp) {
        fill(now)
        thousandths -= Int64(tokens) * 1_000
    }

    private mutating func fill(_ now: Timestamp) {
        let passed = max(0, now - filledAt)
        filledAt = max(filledAt, now)
        // A bucket that rested for hours is full; the product must not overflow on the way there. One in debt misses more
        // than it holds.
        let missing = max(0, Int64(burst) * 1_000 - thousandths)
        let gained = min(passed, missing / Int64(rate) + 1) * Int64(rate)
        thousandths = min(Int64(burst) * 1_000, thousandths + gained)
    }
}
