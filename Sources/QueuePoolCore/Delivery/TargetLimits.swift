// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule

// What one target takes. A target at its limit is busy and not broken: a message waits for it, spends nothing, and does not
// go to the next target; deliveries at other targets go on beside it.

/// What a worker asks of one target at most.
public struct TargetLimits: Hashable, Sendable {
    /// Deliveries under way at the target at one time; `nil`: as many as the worker has.
    public var concurrency: Int?
    /// Deliveries that begin in a second, at least a thousandth and at most a million; `nil`: as many as come.
    public var ratePerSecond: Double?

    /// None unless given.
    public init(concurrency: Int? = nil, ratePerSecond: Double? = nil) {
        self.concurrency = concurrency
        self.ratePerSecond = ratePerSecond
    }
}

/// When deliveries at a target may begin. Guarantees: over any stretch of t seconds at most `rate * t + burst` begin, where
/// the burst is what comes in a tenth of a second, and one: a worker that looks ten times a second reaches the rate.
///
/// `TokenBucket` counts whole requests a second, and a provider's rate may be one mail in ten seconds. Arithmetic in
/// millionths of a delivery, of which thousandths of the rate come in a millisecond, so that nothing is rounded.
struct TargetPace: Sendable {
    private static let whole: Int64 = 1_000_000
    /// Millionths that come in a millisecond.
    private let gain: Int64
    private let full: Int64
    private var millionths: Int64
    private var filledAt = Timestamp.distantPast

    /// Begins rested.
    /// - Parameter rate: a second, held within 0.001...1,000,000.
    init(rate: Double) {
        // In this order a rate that is no number becomes the least.
        gain = Int64((min(1_000_000, max(0.001, rate)) * 1_000).rounded())
        full = TargetPace.whole + gain * 100
        millionths = full
    }

    func mayBegin(now: Timestamp) -> Bool { available(now) >= TargetPace.whole }

    mutating func began(now: Timestamp) {
        millionths = available(now) - TargetPace.whole
        filledAt = max(filledAt, now)
    }

    private func available(_ now: Timestamp) -> Int64 {
        // A pace that rested for days is full; the product must not overflow on the way there.
        let passed = min(max(0, now - filledAt), full / gain + 1)
        return min(full, millionths + passed * gain)
    }
}

/// One target's limits, how far they are used, and who waits for them.
struct TargetGate: Sendable {
    /// What holds deliveries up.
    enum Limit: Sendable {
        case concurrency, rate
    }

    private let concurrency: Int
    private var pace: TargetPace?
    private(set) var underWay = 0
    /// Groups that wait, oldest first; those that do not any more are passed over.
    var waiting: Deque<GroupKey> = []
    /// Messages that had to wait.
    private(set) var limitedByConcurrency = 0
    private(set) var limitedByRate = 0

    init(_ limits: TargetLimits) {
        concurrency = limits.concurrency.map { max(1, $0) } ?? .max
        pace = limits.ratePerSecond.map { TargetPace(rate: $0) }
    }

    /// What is reached; `nil`: a delivery may begin.
    func limit(now: Timestamp) -> Limit? {
        if underWay >= concurrency { return .concurrency }
        return pace?.mayBegin(now: now) == false ? .rate : nil
    }

    mutating func began(now: Timestamp) {
        underWay += 1
        pace?.began(now: now)
    }

    mutating func ended() { underWay -= 1 }

    mutating func wait(_ key: GroupKey, for limit: Limit) {
        waiting.append(key)
        switch limit {
        case .concurrency: limitedByConcurrency += 1
        case .rate: limitedByRate += 1
        }
    }
}
