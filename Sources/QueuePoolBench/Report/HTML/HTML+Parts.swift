// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import QueuePoolChecking

// What pages of one run and of two have in common.

/// What a check counted, just now or in a result that was written before.
protocol CheckFigures {
    var holds: Bool { get }
    var acknowledged: Int { get }
    var lost: Int? { get }
    var reordered: Int { get }
    var duplicated: Int { get }
    var corrupted: Int { get }
    var misplaced: Int { get }
}

extension CheckReport: CheckFigures {}

extension CheckFigures {
    /// The first thing of a page: whether order, duplicates and losses are as promised.
    func verdict(notes: [HTML] = []) -> HTML {
        HTML.verdict(
            finding, kind: !holds ? .bad : isProof && notes.isEmpty ? .good : .warn, notes)
    }

    /// Whether it says something of every message that was acknowledged.
    var isProof: Bool { lost != nil && acknowledged > 0 }

    /// Whether invariants hold, in words.
    var finding: String {
        guard holds else {
            let breaches = [
                ("lost", lost ?? 0), ("reordered", reordered), ("duplicated", duplicated), ("corrupted", corrupted),
                ("misplaced", misplaced),
            ]
            return "Check BROKEN: "
                + breaches.filter { $0.1 > 0 }.map { "\(Quantity.count(Double($0.1))) \($0.0)" }.joined(separator: ", ")
        }
        if acknowledged == 0 { return "Check: no message was acknowledged, so nothing is shown" }
        let count = Quantity.count(Double(acknowledged))
        return lost == nil
            ? "Check holds as far as it was seen: \(count) messages acknowledged, not drained, so losses are not known"
            : "Check holds: \(count) messages acknowledged, none lost, none duplicated, each group in its order"
    }
}

extension Machine {
    /// The beginning of the run, in UTC.
    var when: String { Machine.date(measuredAt) }

    static func date(_ secondsSince1970: Int) -> String {
        var (time, parts) = (time_t(secondsSince1970), tm())
        guard gmtime_r(&time, &parts) != nil else { return "-" }
        var text = [CChar](repeating: 0, count: 64)
        let count = strftime(&text, text.count, "%Y-%m-%d %H:%M UTC", &parts)
        return String(decoding: text.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

extension HTML {
    enum Verdict: String { case good, warn, bad }

    static func verdict(_ finding: String, kind: Verdict, _ notes: [HTML]) -> HTML {
        let items: HTML = notes.isEmpty ? "" : "\n<ul>\n\(notes.map { "<li>\($0)</li>" })\n</ul>"
        return "<div class=\"verdict \(kind.rawValue)\">\n<p>\(finding)</p>\(items)\n</div>"
    }

    /// The members of an object of the result's JSON.
    static func list(_ value: JSONValue, pointer: String) -> HTML {
        guard case .object(let members) = value else { return "" }
        let items: [HTML] = members.map { name, value in
            "<div><dt>\(Quantity.words(name))</dt><dd>\(shown(value, name, "\(pointer)/\(name)"))</dd></div>"
        }
        return "<dl>\n\(items)\n</dl>"
    }

    private static func shown(_ value: JSONValue, _ name: String, _ pointer: String) -> HTML {
        switch value {
        case .integer(let number) where name == "measuredAt": figure(pointer, String(number), Machine.date(number))
        case .integer(let number) where name == "memoryBytes":
            figure(pointer, String(number), Quantity.significant(Double(number) / 1_073_741_824) + " GiB")
        case .integer(let number): figure(pointer, number)
        case .number(let number): figure(pointer, decimal(number, places: 3), Quantity.count(number))
        case .text(let text): figure(pointer, text, text)
        case .boolean(let isTrue): figure(pointer, isTrue ? "true" : "false", isTrue ? "yes" : "no")
        default: "–"
        }
    }
}

extension [IntervalReport] {
    /// Those that can be set beside each other: the last may be a sliver whose rate says nothing.
    var comparable: [IntervalReport] {
        guard count > 1, let last, last.seconds < self[count - 2].seconds / 2 else { return self }
        return Array(dropLast())
    }

    /// A figure of each in the middle of its time.
    func series(_ name: String, style: Int, _ value: (IntervalReport) -> Double?) -> PlotSeries {
        PlotSeries(
            name: name, style: style,
            points: map { PlotSeries.Point(x: $0.from + $0.seconds / 2, y: value($0)) })
    }

    /// The end of the last one.
    var end: Double { last.map { $0.from + $0.seconds } ?? 0 }
}

extension [PercentilePoint] {
    /// 1 / (1 - percentile) of the maximum, which stands where the percentile of a request more would.
    func plotEnd(requests: Int) -> Double { Swift.max(10, Swift.min(1_000_000, Double(requests))) }

    /// Latencies by 1 / (1 - percentile).
    func series(_ name: String, style: Int, end: Double, where isShown: (PercentilePoint) -> Bool = { _ in true })
        -> PlotSeries
    {
        let points = filter { $0.percentile == 100 || 100 / (100 - $0.percentile) <= end }
        return PlotSeries(
            name: name, style: style,
            points: points.map {
                PlotSeries.Point(
                    x: $0.percentile == 100 ? end : 100 / (100 - $0.percentile),
                    y: isShown($0) ? Swift.max($0.microseconds, 1) : nil)
            })
    }
}
