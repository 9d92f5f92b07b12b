// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking

// What a run must reach to count as a success: `p99<20ms`, `rate>10000`, `loss=0`. A threshold is met when the run
// proves it: a figure that is not known (losses without a drain) or known from below only does not prove that it is
// small.

/// One condition on a run's figures.
package struct Threshold: Hashable, Sendable {
    /// What is compared.
    enum Figure: String, CaseIterable {
        case p50
        case p90
        case p99
        case p999 = "p99.9"
        case max
        case rate
        case received
        case loss
        case reordered
        case duplicates
        case errors
        case neverSent = "never-sent"
        case outage

        /// Whether it is a time; in microseconds, but an outage in seconds.
        var isTime: Bool {
            switch self {
            case .p50, .p90, .p99, .p999, .max, .outage: true
            default: false
            }
        }
    }

    enum Comparison: String, CaseIterable {
        case atMost = "<="
        case atLeast = ">="
        case below = "<"
        case above = ">"
        case equal = "="
    }

    let figure: Figure
    let comparison: Comparison
    /// In the figure's unit.
    let limit: Double
    /// As it was given.
    package let text: String

    /// Reads a figure, a comparison and a number; a time has its unit.
    /// - Throws: `InvalidBenchOption` for anything else.
    package init(_ text: String) throws(InvalidBenchOption) {
        self.text = text
        let compact = text.filter { $0 != " " }
        guard let sign = compact.firstIndex(where: { "<>=".contains($0) }),
            let figure = Figure(rawValue: String(compact[..<sign])),
            // The longer signs come first.
            let comparison = Comparison.allCases.first(where: { compact[sign...].hasPrefix($0.rawValue) }),
            let limit = Threshold.number(compact[sign...].dropFirst(comparison.rawValue.count), figure)
        else { throw InvalidBenchOption(field: "threshold", value: "'\(text)'", allowed: Threshold.allowed) }
        (self.figure, self.comparison, self.limit) = (figure, comparison, limit)
    }

    private static var allowed: String {
        let times = Figure.allCases.filter(\.isTime).map(\.rawValue).joined(separator: ", ")
        let numbers = Figure.allCases.filter { !$0.isTime }.map(\.rawValue).joined(separator: ", ")
        return "one of \(times) with a time (20ms; us, ms or s), or of \(numbers) with a number (rate and received: "
            + "messages a second), after <, <=, >, >= or ="
    }

    private static func number(_ text: Substring, _ figure: Figure) -> Double? {
        let digits = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
        guard let number = Double(digits) else { return nil }
        let unit = text.dropFirst(digits.count)
        guard figure.isTime else { return unit.isEmpty ? number : nil }
        guard let seconds = ["us": 1e-6, "ms": 1e-3, "s": 1][unit] else { return nil }
        return figure == .outage ? number * seconds : number * seconds * 1e6
    }

    /// Whether a value meets it.
    func isMet(by value: Double, isLowerBound: Bool) -> Bool {
        switch comparison {
        case .above: value > limit
        case .atLeast: value >= limit
        case .below: !isLowerBound && value < limit
        case .atMost: !isLowerBound && value <= limit
        case .equal: !isLowerBound && value == limit
        }
    }
}

/// A threshold with what the run found.
package struct ThresholdVerdict: Hashable, Sendable, CustomStringConvertible {
    package let threshold: Threshold
    /// Microseconds, messages a second or a count; seconds of an outage. `nil` when the run does not know it.
    package let found: Double?
    package let isLowerBound: Bool
    package let isMet: Bool

    init(_ threshold: Threshold, _ found: Double?, isLowerBound: Bool = false) {
        self.threshold = threshold
        self.found = found
        self.isLowerBound = isLowerBound
        isMet = found.map { threshold.isMet(by: $0, isLowerBound: isLowerBound) } ?? false
    }

    /// The line of a report.
    package var description: String {
        "threshold \(threshold.text): " + (isMet ? "met" : "MISSED") + ", "
            + (found.map { (isLowerBound ? ">=" : "") + written($0) } ?? "not known")
    }

    private func written(_ value: Double) -> String {
        switch threshold.figure {
        case .outage: decimal(value, places: 2) + " s"
        case .p50, .p90, .p99, .p999, .max: decimal(value / 1_000, places: 3) + " ms"
        default: decimal(value, places: 0)
        }
    }
}

extension BenchReport {
    /// Whether every threshold is met.
    package var meetsThresholds: Bool { verdicts.allSatisfy(\.isMet) }

    /// The thresholds in the order in which they were given.
    package var verdicts: [ThresholdVerdict] {
        let figures = ThresholdFigures(
            measured: measured, isDrain: options.mode == .drain, checks: checks,
            errors: phases.reduce(0) { $0 + $1.errors.values.reduce(0, +) }, outageSeconds: outages.seconds)
        return options.thresholds.map(figures.verdict)
    }
}

/// What thresholds are compared with.
struct ThresholdFigures {
    let measured: PhaseReport?
    /// Latency and rate are those of sends; of a drain, those of receives and deletes.
    let isDrain: Bool
    let checks: CheckReport
    let errors: Int
    let outageSeconds: Double

    func verdict(_ threshold: Threshold) -> ThresholdVerdict {
        let action = isDrain ? measured?.receive : measured?.send
        let figure = threshold.figure
        switch figure {
        case .p50, .p90, .p99, .p999, .max:
            let latency = action?.latencies.first { $0.name == figure.rawValue && action?.requests ?? 0 > 0 }
            return ThresholdVerdict(
                threshold, latency?.microseconds, isLowerBound: latency?.isLowerBound ?? false)
        case .rate:
            return ThresholdVerdict(threshold, (isDrain ? measured?.delete : measured?.send)?.messagesPerSecond)
        case .received: return ThresholdVerdict(threshold, measured?.receive.messagesPerSecond)
        case .loss: return ThresholdVerdict(threshold, checks.lost.map(Double.init))
        case .reordered: return ThresholdVerdict(threshold, Double(checks.reordered))
        case .duplicates: return ThresholdVerdict(threshold, Double(checks.duplicated))
        case .errors: return ThresholdVerdict(threshold, Double(errors))
        case .neverSent: return ThresholdVerdict(threshold, measured.map { Double($0.neverSent) })
        case .outage: return ThresholdVerdict(threshold, outageSeconds)
        }
    }
}
