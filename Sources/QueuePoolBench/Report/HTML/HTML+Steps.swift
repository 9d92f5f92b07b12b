// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking

// What pages of several measurements have in common: a row a measurement, and what the check found in all of them first.

/// One measurement of several.
struct PageStep {
    /// What it was measured at, such as `8 shards`.
    let name: String
    /// Where it has `checks` and `thresholds` in the result's JSON.
    let pointer: String
    let checks: CheckReport
    let verdicts: [ThresholdVerdict]
}

extension [PageStep] {
    /// The page's first thing.
    func verdict(notes: [HTML]) -> HTML {
        let missed = flatMap { step in
            step.verdicts.filter { !$0.isMet }.map { "\($0.threshold.text) at \(step.name)" }
        }
        let thresholds: [HTML] = missed.isEmpty ? [] : ["Thresholds missed: \(missed.joined(separator: ", "))."]
        return map(\.checks).sum.verdict(notes: notes + thresholds)
    }

    /// What each check counted.
    var checkTable: [HTML] {
        let rows: [[HTML]] = map { step in
            guard case .object(let members) = step.checks.value else { return [] }
            let counts: [HTML] = members.filter { $0.0 != "holds" }.map { name, value in
                guard case .integer(let count) = value else { return "–" }
                return HTML.figure("\(step.pointer)/checks/\(name)", count)
            }
            return ["\(step.name)"] + counts
        }
        guard let first, case .object(let members) = first.checks.value else { return [] }
        let names: [HTML] = members.filter { $0.0 != "holds" }.map { "\(Quantity.words($0.0))" }
        return [HTML.table(["measured at"] + names, rows)]
    }

    var thresholdTable: [HTML] {
        let rows: [[HTML]] = flatMap { step in
            step.verdicts.enumerated().map { index, verdict in
                ["\(step.name)"] + verdict.cells("\(step.pointer)/thresholds/\(index)")
            }
        }
        return rows.isEmpty ? [] : [HTML.table(["measured at", "asked for", "found", "outcome"], rows, names: 2)]
    }
}

extension [CheckReport] {
    /// All of them together; what is lost is known when each was drained.
    var sum: CheckReport {
        guard var sum = first else { return LoadChecker(groups: 0).report }
        for report in dropFirst() {
            let counts: [WritableKeyPath<CheckReport, Int>] = [
                \.acknowledged, \.delivered, \.refused, \.outcomeUnknown, \.reordered, \.duplicated, \.redelivered,
                \.corrupted, \.foreign, \.deliveredThoughRefused, \.misplaced,
            ]
            for count in counts { sum[keyPath: count] += report[keyPath: count] }
            sum.lost = sum.lost.flatMap { lost in report.lost.map { lost + $0 } }
        }
        return sum
    }
}

extension HTML {
    /// A figure that may not be known.
    static func figure(_ pointer: String, _ value: Double?, _ shown: (Double) -> String) -> HTML {
        value.map { HTML.figure(pointer, decimal($0, places: 3), shown($0)) } ?? "–"
    }

    /// Messages a second.
    static func rate(_ pointer: String, _ value: Double?) -> HTML {
        figure(pointer, value) { Quantity.count($0 < 100 ? $0 : $0.rounded()) }
    }

    /// A share of what was allowed or asked for.
    static func ratio(_ pointer: String, _ value: Double?) -> HTML { figure(pointer, value) { decimal($0, places: 3) } }

    /// Microseconds.
    static func time(_ pointer: String, _ value: Double?) -> HTML {
        figure(pointer, value) { Quantity.time(microseconds: $0) }
    }

    /// The members of an object but for those that differ from step to step.
    static func list(_ value: JSONValue, pointer: String, without names: Set<String>) -> HTML {
        guard case .object(let members) = value else { return "" }
        return list(.object(members.filter { !names.contains($0.0) }), pointer: pointer)
    }
}

extension ActionReport {
    /// Latencies by name, in cells of a table.
    func cells(_ names: [String], _ pointer: String) -> [HTML] {
        names.map { name in
            guard requests > 0, let latency = latencies.first(where: { $0.name == name }) else { return "–" }
            return HTML.figure("\(pointer)/latencyMicroseconds/\(name)", latency.microseconds) {
                (latency.isLowerBound ? "≥ " : "") + Quantity.time(microseconds: $0)
            }
        }
    }
}

extension PlotSeries {
    /// A line through values at numbers of something, in their order.
    init(_ name: String, style: Int, _ values: [(x: Double, y: Double?)]) {
        self.init(
            name: name, style: style,
            points: values.sorted { $0.x < $1.x }.map { Point(x: $0.x, y: $0.y) })
    }
}

extension BenchReport {
    /// The phase whose figures count, below the pointer of the report.
    func measuredPointer(_ report: String) -> String {
        "\(report)/phases/\(phases.firstIndex { $0.name == options.mode.rawValue } ?? 0)"
    }

    /// What makes the figures of a step doubtful.
    func stepNotes(_ name: String) -> [HTML] {
        var notes: [HTML] = []
        if isInterrupted { notes.append("Interrupted at \(name): its figures are of what ran until then.") }
        if outages.isAway { notes.append("The server stayed away at \(name), so nothing of it is verified.") }
        if let code = serverExitCode, code != 0 {
            notes.append("The server of \(name) ended with exit code \(Int(code)).")
        }
        if let neverSent = measured?.neverSent, neverSent > 0 {
            notes.append(
                "The rate was not reached at \(name): \(Quantity.count(Double(neverSent))) messages never sent.")
        }
        return notes
    }
}
