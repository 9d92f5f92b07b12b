// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking

extension Plot {
    /// Time since the window's opening.
    static func timeAxis(_ seconds: Double) -> Axis {
        Axis.linear("seconds since the measurement began", to: seconds, isTight: true) { Quantity.count($0) }
    }

    static func rateAxis(_ series: [PlotSeries], _ title: String = "messages a second") -> Axis {
        Axis.linear(title, to: series.flatMap(\.points).compactMap(\.y).max() ?? 1) { Quantity.count($0) }
    }

    static func latencyAxis(_ series: [PlotSeries]) -> Axis {
        Axis.logarithmic("latency", series.flatMap(\.points).compactMap(\.y)) { Quantity.time(microseconds: $0) }
    }

    /// Latencies of one or more distributions.
    static func percentiles(_ title: String, _ series: [PlotSeries], end: Double) -> Plot {
        Plot(title: title, xAxis: .percentiles(to: end), yAxis: latencyAxis(series), series: series)
    }
}

extension BenchReport {
    /// Whose latencies the intervals have.
    private var actionName: String { options.mode == .drain ? "receives" : "sends" }

    var timePlots: [HTML] {
        guard let measured else { return [] }
        let rows = measured.intervals.comparable
        guard rows.count > 1 else { return ["<p>The run was too short for figures over time.</p>"] }
        let time = Plot.timeAxis(rows.end)
        var rates: [PlotSeries] = []
        if measured.send.messages > 0 { rates.append(rows.series("sent", style: 1) { $0.rate($0.sent) }) }
        if measured.receive.messages > 0 { rates.append(rows.series("received", style: 2) { $0.rate($0.received) }) }
        if options.mode == .drain { rates.append(rows.series("deleted", style: 3) { $0.rate($0.deleted) }) }
        let latencies = [
            rows.series("p50", style: 1, \.p50), rows.series("p99", style: 2, \.p99),
            rows.series("max", style: 3, \.max),
        ]
        let backlog = [rows.series("backlog", style: 1) { Double($0.backlog) }]
        var plots = [
            Plot(title: "Throughput", xAxis: time, yAxis: Plot.rateAxis(rates), series: rates),
            Plot(
                title: "Latency of the \(actionName) of each interval", xAxis: time,
                yAxis: Plot.latencyAxis(latencies), series: latencies),
        ]
        plots.append(
            Plot(
                title: "Messages acknowledged and not yet received", xAxis: time,
                yAxis: Plot.rateAxis(backlog, "messages"), series: backlog))
        return plots.map(\.html) + [rowsTable(measured)]
    }

    /// The same in figures, for those who cannot see the plots or want to copy them.
    private func rowsTable(_ phase: PhaseReport) -> HTML {
        let rows: [[HTML]] = phase.intervals.map { row in
            [
                "\(decimal(row.from, places: 1))", "\(decimal(row.seconds, places: 2))",
                "\(Quantity.count(Double(row.requests)))", "\(Quantity.count(Double(row.sent)))",
                "\(Quantity.count(Double(row.received)))", "\(Quantity.count(Double(row.deleted)))",
                "\(Quantity.count(Double(row.errors)))", "\(Quantity.count(Double(row.throttled)))",
            ]
                + [row.p50, row.p99, row.max].map { value -> HTML in
                    value.map { "\(Quantity.time(microseconds: $0))" } ?? "–"
                } + ["\(Quantity.count(Double(row.backlog)))"]
        }
        let table = HTML.table(
            [
                "from s", "length s", "sends", "sent", "received", "deleted", "errors", "throttled", "p50", "p99",
                "max", "backlog",
            ], rows)
        return "<details>\n<summary>All \(rows.count) intervals</summary>\n\(table)\n</details>"
    }

    var percentilePlots: [HTML] {
        guard let measured else { return [] }
        let actions = [
            ("send", measured.send), ("receive", measured.receive), ("delete", measured.delete),
            ("send to receive", measured.endToEnd),
        ]
        var series: [PlotSeries] = []
        let shown = actions.compactMap { name, action in action.map { (name, $0) } }.filter { $0.1.requests > 0 }
        let end = shown.map { $0.1.distribution.plotEnd(requests: $0.1.requests) }.max() ?? 10
        for (index, (name, action)) in shown.enumerated() {
            let ownEnd = action.distribution.plotEnd(requests: action.requests)
            series.append(action.distribution.series(name, style: index + 1, end: ownEnd))
        }
        guard !series.isEmpty else { return [] }
        var parts = [Plot.percentiles("Latency up to the slowest request in so many", series, end: end).html]
        if measured.send.knownBelow < 100 {
            let known = decimal(measured.send.knownBelow, places: 1)
            parts.append(
                """
                <p class="warn">Sends: only \(known) % of what was due was sent. Beyond that percentile the line is what was \
                waited at least.</p>
                """)
        }
        return parts
    }

    /// Bars, one a shard, and the mean.
    var shardPlot: [HTML] {
        guard let imbalance else { return [] }
        let (height, left, width) = (22.0, 190.0, 450.0)
        let largest = Double(shards.map(\.messages).max() ?? 1)
        let mean = Double(shards.reduce(0) { $0 + $1.messages }) / Double(shards.count)
        let bars: [HTML] = shards.enumerated().map { index, shard in
            let y = Double(index) * height
            let length = Double(shard.messages) / largest * width
            let name = shard.name.count > 26 ? "…" + shard.name.suffix(25) : shard.name
            let count = Quantity.count(Double(shard.messages))
            return """
                <text x="\(decimal(left - 8, places: 1))" y="\(decimal(y + 15, places: 1))" text-anchor="end">\(name)</text>\
                <rect class="s1" x="\(decimal(left, places: 1))" y="\(decimal(y + 3, places: 1))" \
                width="\(decimal(length, places: 1))" height="16"/>\
                <text x="\(decimal(left + length + 8, places: 1))" y="\(decimal(y + 15, places: 1))">\(count)</text>
                """
        }
        let total = decimal(Double(shards.count) * height, places: 0)
        let x = decimal(left + mean / largest * width, places: 1)
        let source = shardsFromAnswers ? "as the answers say" : "as the ring computes"
        var parts: [HTML] = [
            """
            <figure>
            <figcaption>Messages accepted by each shard, \(source)</figcaption>
            <svg viewBox="0 0 760 \(total)" role="img" aria-label="Messages by shard">
            \(bars)
            <path class="axis" stroke-dasharray="4 3" d="M\(x) 0V\(total)"/>
            </svg>
            </figure>
            """,
            """
            <p>The largest has \(HTML.figure("/imbalance", decimal(imbalance, places: 3), decimal(imbalance, places: 3))) \
            times the mean (dashed), \(Quantity.count(mean)) messages.</p>
            """,
        ]
        if let share = sending?.hottestShare, let group = sending?.hottestGroup {
            let percent = decimal(share * 100, places: 2)
            parts.append(
                """
                <p>Hottest group: \(SendTemplate.groupID(group)), with \
                \(HTML.figure("/hottestGroup/share", decimal(share, places: 3), "\(percent) %")) of the messages.</p>
                """)
        }
        return parts
    }
}
