// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking

extension BenchComparison.Row {
    func shown(_ value: Double) -> String {
        unit == .rate ? Quantity.count(value.rounded()) : Quantity.time(microseconds: value)
    }

    /// The ratio, unless a side of it is a lower bound.
    var ratioShown: String { isBound ? "≥" : ratio.map { decimal($0, places: 3) } ?? "–" }
}

extension BenchComparison.Side {
    /// The check, and what else makes the run doubtful.
    var finding: String {
        result.checks.finding + (result.interrupted == true ? "; the run was interrupted" : "")
            + ((result.measured?.neverSent ?? 0) > 0 ? "; its rate was not reached" : "")
    }

    var origin: String {
        "queuepool \(result.version), \(Machine.date(result.machine.measuredAt)), seed \(result.seed), "
            + "\(result.machine.cores) cores, \(result.machine.processor)"
    }
}

extension BenchComparison {
    /// Names of the file's sides are unlike even when their files are not.
    private var sides: [(letter: String, side: Side)] { [("A", a), ("B", b)] }

    /// What is said of fairness.
    private var fairness: String {
        unfair.isEmpty
            ? "Parameters and machine are alike."
            : "NOT a fair comparison: " + unfair.joined(separator: ", ") + "."
    }

    /// The comparison as a table for people.
    package var text: String {
        var lines = sides.flatMap { letter, side in
            ["\(letter)  \(side.name): \(side.finding)", "   \(side.origin)"]
        }
        lines += [fairness, "", line("", "A", "B", "B / A", "difference")]
        lines += rows.map { line($0.name, $0.shown($0.a), $0.shown($0.b), $0.ratioShown, $0.difference.rawValue) }
        lines.append("")
        lines.append(BenchComparison.explanation)
        return printable(lines.joined(separator: "\n")) + "\n"
    }

    private static let explanation =
        "A difference is beyond the spread when the middle halves of both runs' intervals do not overlap."

    private func line(_ name: String, _ a: String, _ b: String, _ ratio: String, _ difference: String) -> String {
        func blanks(_ text: String, _ width: Int) -> String {
            String(repeating: " ", count: max(1, width - text.count))
        }
        return name + blanks(name, 24) + blanks(a, 12) + a + blanks(b, 12) + b + blanks(ratio, 10) + ratio + "  "
            + difference
    }

    /// A file is not to steer a terminal.
    private func printable(_ text: String) -> String {
        String(
            String.UnicodeScalarView(
                text.unicodeScalars.map { scalar in
                    scalar != "\n" && scalar.properties.generalCategory == .control ? "\u{FFFD}" : scalar
                }))
    }

    /// The comparison as one page that loads nothing.
    package var html: String {
        HTML.page(
            title: "queuepool bench: comparison of two runs",
            ["<h1>Comparison of two runs</h1>"]
                + sides.map { verdict($0.letter, $0.side) } + [
                    "<p\(unfair.isEmpty ? "" : " class=\"warn\"" as HTML)>\(fairness)</p>",
                    HTML.section("Figures", [table, HTML.paragraph(BenchComparison.explanation)]),
                    HTML.section("Over time", timePlots), HTML.section("Latency by percentile", percentilePlots),
                    HTML.section("Parameters", [parameterTable]),
                ]
        ).text
    }

    private func verdict(_ letter: String, _ side: Side) -> HTML {
        let isWhole = side.result.interrupted != true && (side.result.measured?.neverSent ?? 0) == 0
        let checks = side.result.checks
        return HTML.verdict(
            "\(letter): \(side.finding)", kind: !checks.holds ? .bad : checks.isProof && isWhole ? .good : .warn,
            ["\(side.name)", "\(side.origin)"])
    }

    private var table: HTML {
        HTML.table(
            ["figure", "A", "B", "B / A", "difference"],
            rows.map { row in
                [
                    "\(row.name)", "\(row.shown(row.a))", "\(row.shown(row.b))", "\(row.ratioShown)",
                    row.difference == .beyond
                        ? "<strong>\(row.difference.rawValue)</strong>" : "\(row.difference.rawValue)",
                ]
            })
    }

    private var timePlots: [HTML] {
        let (left, right) = (a.result.intervals, b.result.intervals)
        guard left.count > 1, right.count > 1 else { return [] }
        let time = Plot.timeAxis(max(left.end, right.end))
        let isDrain = a.result.mode == "drain"
        func rate(_ row: IntervalReport) -> Double { row.rate(isDrain ? row.deleted : row.sent) }
        let rates = [left.series("A", style: 1, rate), right.series("B", style: 2, rate)]
        let latencies = [
            left.series("A p50", style: 1, \.p50), right.series("B p50", style: 2, \.p50),
            left.series("A p99", style: 3, \.p99), right.series("B p99", style: 4, \.p99),
        ]
        return [
            Plot(
                title: "Throughput: messages \(isDrain ? "deleted" : "sent")", xAxis: time,
                yAxis: Plot.rateAxis(rates), series: rates),
            Plot(
                title: "Latency of \(isDrain ? "receives" : "sends")", xAxis: time,
                yAxis: Plot.latencyAxis(latencies), series: latencies),
        ].map(\.html)
    }

    private var percentilePlots: [HTML] {
        let isDrain = a.result.mode == "drain"
        var series: [PlotSeries] = []
        var end = 10.0
        for (index, (letter, side)) in sides.enumerated() {
            guard let phase = side.result.measured else { continue }
            let action = isDrain ? phase.receive : phase.send
            guard let points = action.latencyDistribution, !points.isEmpty else { continue }
            let ownEnd = points.plotEnd(requests: action.requests)
            end = max(end, ownEnd)
            series.append(points.series(letter, style: index + 1, end: ownEnd))
        }
        guard !series.isEmpty else { return [] }
        return [Plot.percentiles("Latency of \(isDrain ? "receives" : "sends")", series, end: end).html]
    }

    private var parameterTable: HTML {
        let names = Set(a.result.parameters.keys).union(b.result.parameters.keys).sorted()
        return HTML.table(
            ["parameter", "A", "B"],
            names.map { name in
                let values = [a, b].map { $0.result.parameters[name] ?? BenchResult.Value.null }
                return ["\(Quantity.words(name))"]
                    + values.map {
                        values[0] == values[1]
                            ? "\($0.description)" : "<strong class=\"warn\">\($0.description)</strong>"
                    }
            })
    }
}
