// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Histogram
import QueuePoolChecking

// A window cut into intervals, so that a report shows what its means hide: a stall, a slow beginning, how far one second
// is from the next. Counts of an interval are differences of the phase's counts; latencies have a histogram of their own.

/// What happened in one stretch of a phase's window.
package struct IntervalReport: Hashable, Codable, Sendable {
    /// Seconds from the opening of the window to the interval's beginning.
    package var from = 0.0
    /// Its length, which is longer than the others' when nothing woke the client at its end.
    package var seconds = 0.0
    /// Sends that had an accepted message.
    package var requests = 0
    /// Messages whose send was answered with success.
    package var sent = 0
    package var received = 0
    package var deleted = 0
    /// Refused entries.
    package var errors = 0
    /// Requests answered with "come again later".
    package var throttled = 0
    /// Microseconds, of sends; of receives where nothing is sent; `nil` without an answer.
    package var p50: Double?
    package var p99: Double?
    package var max: Double?
    /// Messages acknowledged and not received at its end.
    package var backlog = 0

    package init() {}

    /// Messages a second that a count of this interval is.
    package func rate(_ count: Int) -> Double { seconds > 0 ? Double(count) / seconds : 0 }
}

/// The intervals of a window that is open.
struct Timeline {
    /// After so many intervals they become twice as long, so that a run of days has no more than some thousands.
    static let intervalsPerLength = 300

    private(set) var intervals: [IntervalReport] = []
    private(set) var due: UInt64
    private let start: UInt64
    private var last: UInt64
    private var period: UInt64
    /// Sums of the intervals so far.
    private var sums = IntervalReport()
    private var latency = PhaseStatistics.Action()

    init(now: UInt64, _ phase: LoadPhase) {
        // About twenty intervals of a short window, seconds of a long one. How long a number of messages takes is not
        // known before.
        var seconds = 0.25
        if case .seconds(let length) = phase.sends { seconds = min(1, max(0.1, length / 20)) }
        period = UInt64(seconds * 1e9)
        (start, last, due) = (now, now, now + period)
    }

    /// One answer of what the phase measures.
    mutating func record(nanoseconds: UInt64) { latency.recordLate(nanoseconds: nanoseconds) }

    /// Ends the interval and begins the next.
    /// - Parameter statistics: of the whole window.
    mutating func close(_ now: UInt64, _ statistics: PhaseStatistics, backlog: Int) {
        guard now > last else { return }
        var interval = IntervalReport()
        interval.from = Double(last - start) / 1e9
        interval.seconds = Double(now - last) / 1e9
        interval.backlog = max(0, backlog)
        func count(_ field: WritableKeyPath<IntervalReport, Int>, _ sum: Int) {
            interval[keyPath: field] = sum - sums[keyPath: field]
            sums[keyPath: field] = sum
        }
        count(\.requests, statistics.send.requests)
        count(\.sent, statistics.send.messages)
        count(\.received, statistics.receive.messages)
        count(\.deleted, statistics.delete.messages)
        count(\.errors, statistics.errors.values.reduce(0, +))
        count(\.throttled, statistics.throttled)
        if latency.latency.totalCount > 0 {
            interval.p50 = Double(latency.latency.valueAtPercentile(50)) / 1_000
            interval.p99 = Double(latency.latency.valueAtPercentile(99)) / 1_000
            interval.max = Double(latency.latency.max) / 1_000
            latency.latency.reset()
        }
        intervals.append(interval)
        if intervals.count % Timeline.intervalsPerLength == 0 { period *= 2 }
        last = now
        while due <= now { due += period }
    }
}

extension LoadLoop {
    /// Ends an interval of the open window.
    func closeInterval(_ now: UInt64) {
        timeline?.close(now, outcome.statistics, backlog: checker.outstanding)
    }
}

extension IntervalReport {
    var value: JSONValue {
        .object([
            ("from", .number(from)), ("seconds", .number(seconds)), ("requests", .integer(requests)),
            ("sent", .integer(sent)), ("received", .integer(received)), ("deleted", .integer(deleted)),
            ("errors", .integer(errors)), ("throttled", .integer(throttled)), ("p50", .optional(p50)),
            ("p99", .optional(p99)), ("max", .optional(max)), ("backlog", .integer(backlog)),
        ])
    }
}
