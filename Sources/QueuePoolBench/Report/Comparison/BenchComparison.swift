// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking

// Two runs side by side. A difference counts when it is larger than what one second of a run differs from the next: when
// the middle halves of both runs' intervals lie apart, in the direction in which the figures do. Two runs of the same
// program overlap there, however long they are; a mean of many seconds alone would call any drift of the machine a finding.

/// What two runs have in common and what they do not.
package struct BenchComparison: Sendable {
    /// Whether a difference is larger than the spread of the intervals.
    package enum Difference: String, Hashable, Sendable {
        case beyond = "beyond the spread"
        case within = "within the spread"
        case unknown = "spread not known"
    }

    /// One figure of both.
    package struct Row: Hashable, Sendable {
        package enum Unit: Hashable, Sendable { case rate, time }

        package let name: String
        package let unit: Unit
        package let a: Double
        package let b: Double
        /// Whether a side's figure is known from below only.
        package let isBound: Bool
        package let difference: Difference
        /// Whether it is the throughput that the mode measures.
        package let isThroughput: Bool

        /// The second's figure by the first's; `nil` when there is nothing to divide by.
        package var ratio: Double? { a > 0 ? b / a : nil }
    }

    /// One run under the name that its reader knows.
    struct Side: Sendable {
        let name: String
        let result: BenchResult
    }

    let a: Side
    let b: Side
    package let rows: [Row]
    /// Parameters and machines that differ, so that ratios compare more than the programs.
    package let unfair: [String]

    /// - Parameters:
    ///   - a: what the other is measured by.
    ///   - names: how the runs are called, such as their files.
    package init(_ a: BenchResult, _ b: BenchResult, names: (String, String)) {
        self.a = Side(name: names.0, result: a)
        self.b = Side(name: names.1, result: b)
        rows = BenchComparison.rows(a, b)
        unfair = BenchComparison.differences(a, b)
    }

    /// Throughputs whose ratio is below `limit`, or not known.
    package func below(_ limit: Double) -> [Row] {
        rows.filter { $0.isThroughput && ($0.ratio.map { $0 < limit } ?? true) }
    }

    /// Whether a throughput could be compared at all.
    package var hasThroughput: Bool { rows.contains(where: \.isThroughput) }

    private static let parametersThatCount = [
        "api", "mode", "shards", "quota", "connections", "receivers", "batch", "bodyBytes", "groups", "skew", "rate",
        "receiveFrom", "waitSeconds", "handlerMilliseconds", "retryThrottled",
    ]

    private static func differences(_ a: BenchResult, _ b: BenchResult) -> [String] {
        // How much is laid in before a drain counts; how long sends are measured does not.
        let names = parametersThatCount + (a.mode == "drain" ? ["messages"] : [])
        var found: [String] = []
        for name in names {
            let first = a.parameters[name] ?? BenchResult.Value.null
            let second = b.parameters[name] ?? BenchResult.Value.null
            if first != second {
                found.append("\(Quantity.words(name)) \(first.description) against \(second.description)")
            }
        }
        if a.machine.cores != b.machine.cores { found.append("cores \(a.machine.cores) against \(b.machine.cores)") }
        if a.machine.processor != b.machine.processor { found.append("another processor") }
        return found
    }

    private static func rows(_ a: BenchResult, _ b: BenchResult) -> [Row] {
        guard let first = a.measured, let second = b.measured else { return [] }
        let (left, right) = (a.intervals, b.intervals)
        let isDrain = a.mode == "drain"
        var rows: [Row] = []
        func add(
            _ name: String, _ unit: Row.Unit, _ a: Double, _ b: Double, isBound: Bool = false,
            isThroughput: Bool = false, value: ((IntervalReport) -> Double?)? = nil
        ) {
            var found = Difference.unknown
            if let value {
                found = difference(a, b, left.compactMap { value($0) }, right.compactMap { value($0) })
            }
            rows.append(
                Row(
                    name: name, unit: unit, a: a, b: b, isBound: isBound, difference: found,
                    isThroughput: isThroughput))
        }
        func addLatencies(_ name: String, _ a: BenchResult.Action?, _ b: BenchResult.Action?, hasIntervals: Bool) {
            guard let a, let b, a.requests > 0, b.requests > 0 else { return }
            let (x, y) = (a.latencyMicroseconds, b.latencyMicroseconds)
            let bounds = Set((x.lowerBounds ?? []) + (y.lowerBounds ?? []))
            add(
                "\(name) p50", .time, x.p50, y.p50, isBound: bounds.contains("p50"),
                value: hasIntervals ? { $0.p50 } : nil)
            add("\(name) p90", .time, x.p90, y.p90, isBound: bounds.contains("p90"))
            add(
                "\(name) p99", .time, x.p99, y.p99, isBound: bounds.contains("p99"),
                value: hasIntervals ? { $0.p99 } : nil)
            add("\(name) p99.9", .time, x.p999, y.p999, isBound: bounds.contains("p99.9"))
            add("\(name) max", .time, x.max, y.max, isBound: bounds.contains("max"))
        }
        let rates: [(String, KeyPath<BenchResult.Phase, BenchResult.Action>, KeyPath<IntervalReport, Int>, Bool)] = [
            ("sent messages/s", \.send, \.sent, !isDrain), ("received messages/s", \.receive, \.received, false),
            ("deleted messages/s", \.delete, \.deleted, a.mode != "send"),
        ]
        for (name, action, count, isThroughput) in rates {
            let (x, y) = (first[keyPath: action], second[keyPath: action])
            guard x.requests > 0 && y.requests > 0 || isThroughput else { continue }
            add(name, .rate, x.messagesPerSecond, y.messagesPerSecond, isThroughput: isThroughput) {
                $0.rate($0[keyPath: count])
            }
        }
        addLatencies("send", first.send, second.send, hasIntervals: !isDrain)
        addLatencies("receive", first.receive, second.receive, hasIntervals: isDrain)
        addLatencies("delete", first.delete, second.delete, hasIntervals: false)
        addLatencies("send to receive", first.endToEnd, second.endToEnd, hasIntervals: false)
        if let x = first.serverCPUMicrosecondsPerMessage, let y = second.serverCPUMicrosecondsPerMessage {
            add("server CPU a message", .time, x, y)
        }
        if let x = first.clientCPUMicrosecondsPerMessage, let y = second.clientCPUMicrosecondsPerMessage {
            add("client CPU a message", .time, x, y)
        }
        return rows
    }

    /// Too few intervals have no spread that says something.
    static let intervalsMin = 4

    static func difference(_ a: Double, _ b: Double, _ left: [Double], _ right: [Double]) -> Difference {
        guard left.count >= intervalsMin, right.count >= intervalsMin else { return .unknown }
        let (x, y) = (quartiles(left), quartiles(right))
        return (a < b && x.upper < y.lower) || (a > b && x.lower > y.upper) ? .beyond : .within
    }

    /// The ends of the middle half.
    static func quartiles(_ values: [Double]) -> (lower: Double, upper: Double) {
        let sorted = values.sorted()
        func value(_ share: Double) -> Double {
            let place = share * Double(sorted.count - 1)
            let index = Int(place)
            let next = min(index + 1, sorted.count - 1)
            return sorted[index] + (sorted[next] - sorted[index]) * (place - Double(index))
        }
        return sorted.isEmpty ? (0, 0) : (value(0.25), value(0.75))
    }
}
