// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Histogram

/// What one phase counted between the opening and the closing of its window.
struct PhaseStatistics {
    /// Latency and volume of one action.
    struct Action {
        var requests = 0
        var messages = 0
        /// Nanoseconds, 1 us to 120 s, three digits.
        var latency = Histogram<UInt64>(
            lowestDiscernibleValue: 1_000, highestTrackableValue: 120_000_000_000,
            numberOfSignificantValueDigits: .three)

        mutating func record(nanoseconds: UInt64, messages count: Int) {
            requests += 1
            messages += count
            recordLate(nanoseconds: nanoseconds)
        }

        /// A latency without volume.
        mutating func recordLate(nanoseconds: UInt64) { latency.record(min(nanoseconds, Action.longest)) }

        /// What is longer is entered as this.
        static let longest: UInt64 = 119_000_000_000
    }

    var send = Action()
    var receive = Action()
    var delete = Action()
    /// From the send of a message to its first delivery, where both go on at once.
    var endToEnd = Action()
    var emptyReceives = 0
    var throttled = 0
    var reconnects = 0
    /// Refused entries by status or error code.
    var errors: [String: Int] = [:]
    /// Accepted messages by shard number.
    var shards: [Int] = []

    mutating func count(shard: Int) {
        guard shard < 4_096 else { return }
        if shard >= shards.count { shards.append(contentsOf: repeatElement(0, count: shard + 1 - shards.count)) }
        shards[shard] += 1
    }
}

/// A phase's counts and the time and CPU they took.
struct PhaseOutcome {
    var statistics = PhaseStatistics()
    var nanoseconds: UInt64 = 0
    var clientCPUNanoseconds: UInt64 = 0
    var serverCPUNanoseconds: UInt64?
    /// Of servers behind the one that is sent to.
    var shardCPUNanoseconds: UInt64?
    /// Of everything that ran on the machine.
    var machineCPUNanoseconds: UInt64?
    var residentBytes: Int?
    /// The window in its parts.
    var intervals: [IntervalReport] = []
    /// The group with the most accepted messages.
    var hottest: (group: Int, messages: Int)?
    /// Messages a second that were asked for, in an open loop.
    var rate: Double?
    /// Requests of an open loop that were due before the end, and those of them that had not started by then.
    var due = 0
    var neverSent = 0
    /// Latencies of sends, and how long those never sent had waited at the end; `nil` when all were sent.
    var waits: Histogram<UInt64>?
    /// Messages acknowledged and not received at the end.
    var backlog = 0
    /// Whether receivers went on until nothing was outstanding.
    var isDrained = false
    /// Whether a signal ended it before its time.
    var isInterrupted = false
}
