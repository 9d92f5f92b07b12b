// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Histogram
package import QueuePoolChecking

// What a run found, as values. Two renderings (a table, JSON) and the ratio scripts read the same fields.

/// Volume and latency of one action within a phase's window.
package struct ActionReport: Hashable, Sendable {
    package var requests = 0
    package var messages = 0
    package var messagesPerSecond = 0.0
    package var requestsPerSecond = 0.0
    /// Microseconds; from the intended start in an open loop.
    package var p50 = 0.0
    package var p90 = 0.0
    package var p99 = 0.0
    package var p999 = 0.0
    package var max = 0.0
    /// Percentiles above this one are lower bounds: so many of the requests that were due have an answer. 100 = all.
    package var knownBelow = 100.0
    /// The latencies from the lowest to the highest, at percentiles that lie closer the higher they are.
    package var distribution: [PercentilePoint] = []

    init(_ action: PhaseStatistics.Action, seconds: Double, neverSent: Int = 0, waits: Histogram<UInt64>? = nil) {
        requests = action.requests
        messages = action.messages
        messagesPerSecond = seconds > 0 ? Double(action.messages) / seconds : 0
        requestsPerSecond = seconds > 0 ? Double(action.requests) / seconds : 0
        guard action.requests > 0 else { return }
        let latency = action.latency
        let answered = Double(latency.totalCount)
        let due = answered + Double(neverSent)
        knownBelow = neverSent == 0 ? 100 : answered / due * 100
        // What was never sent counts as infinitely late. A percentile that it reaches is what was waited at least.
        func percentile(_ percent: Double) -> Double {
            let value =
                percent <= knownBelow
                ? latency.valueAtPercentile(percent / knownBelow * 100)
                : (waits ?? latency).valueAtPercentile(percent)
            return Double(value) / 1_000
        }
        p50 = percentile(50)
        p90 = percentile(90)
        p99 = percentile(99)
        p999 = percentile(99.9)
        max = Double((waits ?? latency).max) / 1_000
        distribution = PercentilePoint.ladder(count: Int(due)).map { percent in
            let microseconds = percent == 0 ? Double(latency.min) / 1_000 : percent == 100 ? max : percentile(percent)
            return PercentilePoint(
                percentile: percent, microseconds: microseconds, isLowerBound: percent > knownBelow)
        }
    }

    /// Latencies by name, and whether each is a lower bound.
    package var latencies: [(name: String, microseconds: Double, isLowerBound: Bool)] {
        [("p50", 50, p50), ("p90", 90, p90), ("p99", 99, p99), ("p99.9", 99.9, p999), ("max", 100, max)].map {
            ($0.0, $0.2, $0.1 > knownBelow)
        }
    }
}

/// One measured phase.
package struct PhaseReport: Hashable, Sendable {
    package let name: String
    package let seconds: Double
    package let send: ActionReport
    package let receive: ActionReport
    package let delete: ActionReport
    /// From a message's send to its first delivery; `nil` unless both went on at once.
    package let endToEnd: ActionReport?
    /// Messages acknowledged and not received at its end.
    package let backlog: Int
    package let emptyReceives: Int
    /// Requests answered with "come again later" and sent again.
    package let throttled: Int
    package let reconnects: Int
    /// The group with the most accepted messages, and its share of them; `nil` when none was sent.
    package let hottestGroup: Int?
    package let hottestShare: Double?
    /// Messages a second that an open loop was asked for.
    package let rate: Double?
    /// Messages of an open loop that were due by the end, warm-up included, and those of them that were never sent.
    package let due: Int
    package let neverSent: Int
    /// Refused entries by status or error code.
    package let errors: [String: Int]
    /// Server CPU over the window, microseconds a message (a message sent and consumed counts once); `nil` if unseen.
    package let serverCPUPerMessage: Double?
    package let serverCores: Double?
    /// The same for servers behind it that are processes of their own.
    package let shardCPUPerMessage: Double?
    package let shardCores: Double?
    package let clientCPUPerMessage: Double
    package let clientCores: Double
    /// Cores busy with anything on the machine, other programs too.
    package let machineCores: Double?
    /// The server's memory at the end of the window.
    package let residentBytes: Int?
    /// The window in its parts, in their order.
    package let intervals: [IntervalReport]
    /// Whether a signal ended it before its time.
    package let isInterrupted: Bool

    init(_ name: String, _ outcome: PhaseOutcome, batch: Int) {
        self.name = name
        let statistics = outcome.statistics
        seconds = Double(outcome.nanoseconds) / 1e9
        send = ActionReport(
            statistics.send, seconds: seconds, neverSent: outcome.neverSent, waits: outcome.waits)
        receive = ActionReport(statistics.receive, seconds: seconds)
        delete = ActionReport(statistics.delete, seconds: seconds)
        endToEnd = statistics.endToEnd.requests > 0 ? ActionReport(statistics.endToEnd, seconds: seconds) : nil
        backlog = outcome.backlog
        emptyReceives = statistics.emptyReceives
        throttled = statistics.throttled
        reconnects = statistics.reconnects
        let isKnown = statistics.send.messages > 0
        hottestGroup = isKnown ? outcome.hottest?.group : nil
        hottestShare =
            isKnown ? outcome.hottest.map { Double($0.messages) / Double(statistics.send.messages) } : nil
        rate = outcome.rate
        due = outcome.due * batch
        neverSent = outcome.neverSent * batch
        errors = statistics.errors
        let messages = Double(Swift.max(1, statistics.send.messages, statistics.delete.messages))
        let nanoseconds = Double(Swift.max(1, outcome.nanoseconds))
        serverCPUPerMessage = outcome.serverCPUNanoseconds.map { Double($0) / 1_000 / messages }
        serverCores = outcome.serverCPUNanoseconds.map { Double($0) / nanoseconds }
        shardCPUPerMessage = outcome.shardCPUNanoseconds.map { Double($0) / 1_000 / messages }
        shardCores = outcome.shardCPUNanoseconds.map { Double($0) / nanoseconds }
        clientCPUPerMessage = Double(outcome.clientCPUNanoseconds) / 1_000 / messages
        clientCores = Double(outcome.clientCPUNanoseconds) / nanoseconds
        machineCores = outcome.machineCPUNanoseconds.map { Double($0) / nanoseconds }
        residentBytes = outcome.residentBytes
        intervals = outcome.intervals
        isInterrupted = outcome.isInterrupted
    }
}

/// The times during which the server could not be reached, over all phases.
package struct OutageReport: Hashable, Sendable {
    package let count: Int
    package let seconds: Double
    package let longestSeconds: Double
    /// Sends, receives and deletes whose connection ended before their answer, or whose answer did not come in time.
    package let unansweredRequests: Int
    package let failedConnects: Int
    /// Whether the last one ended the run, so that nothing could be verified.
    package let isAway: Bool

    init(_ outages: Outages, now: UInt64) {
        var ended = outages
        ended.end(now)
        count = ended.count
        seconds = Double(ended.nanoseconds) / 1e9
        longestSeconds = Double(ended.longest) / 1e9
        unansweredRequests = ended.unansweredRequests
        failedConnects = ended.failedConnects
        isAway = ended.isAway
    }
}

/// Everything one run found.
package struct BenchReport: Sendable {
    package let options: BenchOptions
    package let machine: Machine
    /// The program's version, as the caller names it.
    package let version: String
    package let seed: UInt64
    package let run: UInt64
    /// Measured and other phases in their order; the measured one has the mode's name.
    package let phases: [PhaseReport]
    package let checks: CheckReport
    package let outages: OutageReport
    /// Accepted messages of the measured phase by shard name.
    package let shards: [(name: String, messages: Int)]
    /// Whether shards were read from answers (REST, NDJSON) or computed by the ring (SQS answers name none).
    package let shardsFromAnswers: Bool
    /// Exit code of an own server; `nil` without one or when a signal ended it.
    package let serverExitCode: Int32?

    /// Whether a signal ended the run: its figures are of what ran until then.
    package var isInterrupted: Bool { phases.contains(where: \.isInterrupted) }

    /// The phase the figures of the run are taken from.
    package var measured: PhaseReport? { phases.first { $0.name == options.mode.rawValue } }

    /// The phase whose sends are counted by shard and group.
    package var sending: PhaseReport? { options.mode == .drain ? phases.first { $0.name == "fill" } : measured }

    /// Largest over mean share of a shard; 1 is perfect, `nil` when unknown.
    package var imbalance: Double? {
        let total = shards.reduce(0) { $0 + $1.messages }
        guard total > 0, let largest = shards.map(\.messages).max() else { return nil }
        return Double(largest) * Double(shards.count) / Double(total)
    }
}
