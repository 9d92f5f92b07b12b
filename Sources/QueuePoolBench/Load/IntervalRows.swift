// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Histogram
import QueuePoolChecking

// Figures while the load goes on, one row an interval: what a report's means hide (a stall, a backlog that grows) is
// seen when it happens. The latencies of an interval have a histogram of their own, which costs nothing when no rows are
// asked for.

/// What has been counted since the last row.
struct IntervalRows {
    /// The columns, right-aligned.
    static let header = columns(["seconds", "sent/s", "received/s", "p50 us", "p99 us", "backlog"])

    private let period: UInt64
    private let start: UInt64
    private var last: UInt64
    private(set) var due: UInt64
    private var acknowledged = 0
    private var delivered = 0
    private var latency = PhaseStatistics.Action()

    /// `nil` without an interval.
    init?(_ seconds: Double?, now: UInt64) {
        guard let seconds else { return nil }
        period = UInt64(seconds * 1e9)
        (start, last, due) = (now, now, now + period)
    }

    /// One answer of what the phase measures.
    mutating func record(nanoseconds: UInt64) { latency.recordLate(nanoseconds: nanoseconds) }

    /// The row of the time since the last one.
    mutating func next(_ now: UInt64, _ checker: LoadChecker) -> String {
        let seconds = Double(max(1, now - last)) / 1e9
        func perSecond(_ count: Int) -> String { decimal(Double(count) / seconds, places: 0) }
        func microseconds(_ percent: Double) -> String {
            guard latency.latency.totalCount > 0 else { return "-" }
            return decimal(Double(latency.latency.valueAtPercentile(percent)) / 1_000, places: 0)
        }
        let report = checker.report
        let row = IntervalRows.columns([
            decimal(Double(now - start) / 1e9, places: 1), perSecond(max(0, report.acknowledged - acknowledged)),
            perSecond(report.delivered - delivered), microseconds(50), microseconds(99),
            String(max(0, checker.outstanding)),
        ])
        (acknowledged, delivered) = (report.acknowledged, report.delivered)
        latency.latency.reset()
        last = now
        while due <= now { due += period }
        return row
    }

    private static func columns(_ cells: [String]) -> String {
        cells.map { String(repeating: " ", count: max(1, 12 - $0.count)) + $0 }.joined()
    }
}

extension LoadLoop {
    func printRow(_ now: UInt64) {
        guard let row = rows?.next(now, checker) else { return }
        plan.row(row)
    }
}
