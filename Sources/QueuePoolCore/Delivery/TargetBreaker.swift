// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Whether a target takes deliveries. A target that cannot be reached is down for every message alike: while it is, nothing
// is begun there but one probe at a time, and no message pays for it. Pure: the time and the random number are arguments.
// Source: Nygard, "Release It!" (2018), circuit breaker: closed, open, half-open.

/// The state of one target of a worker.
package struct TargetBreaker: Sendable {
    package enum State: Hashable, Sendable {
        /// Deliveries begin.
        case closed
        /// Nothing begins until then; what begins next is a probe.
        case open(until: Timestamp)
        /// One probe is out, and its outcome decides.
        case probing
    }

    /// Failures in a row that open it: one lost connection among many deliveries is no news.
    package static let failuresMax = 3
    private static let pauseMilliseconds: Int64 = 500
    private static let pauseCapMilliseconds: Int64 = 30_000

    package private(set) var state = State.closed
    private var failures = 0
    /// The message that is the probe.
    private var probe: String?

    package init() {}

    /// Whether a delivery may begin.
    package func mayBegin(now: Timestamp) -> Bool {
        switch state {
        case .closed: true
        case .open(let until): until <= now && !Mutation.breakerNeverProbes.isOn
        case .probing: false
        }
    }

    /// A delivery begins; ask `mayBegin` first.
    /// - Parameter id: of the message.
    package mutating func began(_ id: String) {
        guard case .open = state else { return }
        state = .probing
        probe = id
    }

    /// A delivery that was to begin did not. If it was the probe, another may take its place: one that was to begin before
    /// the target failed must not let a second probe out beside the first.
    package mutating func notBegun(_ id: String, now: Timestamp) {
        if probe == id { cancelled(now: now) }
    }

    /// The target answered, whatever it said of the message.
    /// - Returns: whether it was not closed before.
    package mutating func answered() -> Bool {
        failures = 0
        defer { state = Mutation.breakerNeverCloses.isOn ? state : .closed }
        return state != .closed
    }

    /// The target could not be reached, or did not answer.
    /// - Parameter jitter: 0..<1, of the pause before the next probe: 0.5 s, 1 s, 2 s, ... up to 30 s, its upper half random.
    /// - Returns: whether it was closed before and is not any more.
    package mutating func failed(now: Timestamp, jitter: Double) -> Bool {
        // Deliveries that began before it opened say nothing new, and must not put the next probe off.
        if Mutation.breakerNeverOpens.isOn { return false }
        if case .open = state { return false }
        failures += 1
        guard failures >= TargetBreaker.failuresMax else { return false }
        let doublings = min(failures - TargetBreaker.failuresMax, 16)
        let ceiling = min(
            TargetBreaker.pauseCapMilliseconds, TargetBreaker.pauseMilliseconds << Int64(doublings))
        let wasClosed = state == .closed
        state = .open(until: now + ceiling / 2 + Int64(Double(ceiling / 2) * jitter))
        return wasClosed
    }

    /// A delivery ended without saying anything of the target: a probe gives its place to the next.
    package mutating func cancelled(now: Timestamp) {
        if state == .probing { state = .open(until: now) }
    }
}
