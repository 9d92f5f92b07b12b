// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule

// Whether a target takes deliveries. A target that cannot be reached is down for every message alike: while it is, nothing
// is begun there but one probe at a time, and no message pays for it. Pure: the time and the random number are arguments.
// Source: Nygard, "Release It!" (2018), circuit breaker: closed, open, half-open.
//
// Two things open it. Three failures in a row: the target is down, and any answer shows that it is not. Or half of the
// latest twenty outcomes, if they are at least ten and of the last half minute: the target is ill, it answers some and not
// the others, so that three in a row may never come, or any answer closes it again. Then only the probe's own answer closes
// it: answers to what began before are part of the illness. A probe that is answered ends the story, and what was counted
// is forgotten.

/// The state of one target of a worker.
public struct TargetBreaker: Sendable {
    public enum State: Hashable, Sendable {
        /// Deliveries begin.
        case closed
        /// Nothing begins until then; what begins next is a probe.
        case open(until: Timestamp)
        /// One probe is out, and its outcome decides.
        case probing
    }

    /// Failures in a row that open it: one lost connection among many deliveries is no news.
    public static let failuresMax = 3
    /// The latest outcomes, and those within this time, whose failures may open it.
    public static let windowOutcomes = 20
    public static let windowMilliseconds: Int64 = 30_000
    /// Fewer say nothing of a share.
    public static let windowOutcomesMin = 10
    private static let pauseMilliseconds: Int64 = 500
    private static let pauseCapMilliseconds: Int64 = 30_000

    public private(set) var state = State.closed
    /// How often it was closed and opened.
    public private(set) var openedCount = 0
    /// In a row.
    private var failures = 0
    /// Oldest first.
    private var latest: Deque<(isFailure: Bool, at: Timestamp)> = []
    /// It was opened by the share of failures.
    private var isIll = false
    /// The message that is the probe.
    private var probe: String?

    public init() {}

    /// Whether a delivery may begin.
    public func mayBegin(now: Timestamp) -> Bool {
        switch state {
        case .closed: true
        case .open(let until): until <= now && !Mutation.breakerNeverProbes.isOn
        case .probing: false
        }
    }

    /// A delivery begins; ask `mayBegin` first.
    /// - Parameter id: of the message.
    public mutating func began(_ id: String) {
        guard case .open = state else { return }
        state = .probing
        probe = id
    }

    /// A delivery that was to begin did not. If it was the probe, another may take its place: one that was to begin before
    /// the target failed must not let a second probe out beside the first.
    public mutating func notBegun(_ id: String, now: Timestamp) {
        if probe == id { cancelled(now: now) }
    }

    /// The target answered, whatever it said of the message.
    /// - Parameter id: of the message.
    /// - Returns: whether it was not closed before and is now.
    public mutating func answered(_ id: String, now: Timestamp) -> Bool {
        if state != .closed, isIll, probe != id { return false }
        failures = 0
        note(isFailure: false, now)
        guard state != .closed else { return false }
        if probe == id { latest = [] }
        isIll = false
        probe = nil
        state = Mutation.breakerNeverCloses.isOn ? state : .closed
        return true
    }

    /// The target could not be reached, or did not answer.
    /// - Parameter jitter: 0..<1, of the pause before the next probe: 0.5 s, 1 s, 2 s, ... up to 30 s, its upper half random.
    /// - Returns: whether it was closed before and is not any more.
    public mutating func failed(now: Timestamp, jitter: Double) -> Bool {
        // Deliveries that began before it opened say nothing new, and must not put the next probe off.
        if Mutation.breakerNeverOpens.isOn { return false }
        if case .open = state { return false }
        failures += 1
        note(isFailure: true, now)
        isIll = isIll || isMostlyFailing
        guard failures >= TargetBreaker.failuresMax || isIll else { return false }
        failures = max(failures, TargetBreaker.failuresMax)
        let doublings = min(failures - TargetBreaker.failuresMax, 16)
        let ceiling = min(
            TargetBreaker.pauseCapMilliseconds, TargetBreaker.pauseMilliseconds << Int64(doublings))
        let wasClosed = state == .closed
        if wasClosed { openedCount += 1 }
        state = .open(until: now + ceiling / 2 + Int64(Double(ceiling / 2) * jitter))
        return wasClosed
    }

    private mutating func note(isFailure: Bool, _ now: Timestamp) {
        latest.append((isFailure, now))
        while latest.count > TargetBreaker.windowOutcomes { latest.removeFirst() }
        while let oldest = latest.first, now - oldest.at > TargetBreaker.windowMilliseconds { latest.removeFirst() }
    }

    private var isMostlyFailing: Bool {
        latest.count >= TargetBreaker.windowOutcomesMin && 2 * latest.count { $0.isFailure } >= latest.count
    }

    /// A delivery ended without saying anything of the target: a probe gives its place to the next.
    public mutating func cancelled(now: Timestamp) {
        if state == .probing { state = .open(until: now) }
    }
}
