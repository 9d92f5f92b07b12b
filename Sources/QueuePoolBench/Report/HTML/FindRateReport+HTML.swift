// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking

extension FindRateReport {
    /// The search as one page that loads nothing.
    package var html: String {
        HTML.page(
            title: "queuepool bench: the highest rate with \(threshold.text)",
            [
                "<h1>queuepool bench: the highest rate with \(threshold.text)</h1>",
                """
                <p class="dim">\(machine.when) · queuepool \(version) · seed \
                \(HTML.figure("/seed", String(seed), String(seed))) · run \(String(run, radix: 16))</p>
                """,
                checks.verdict(notes: notes), HTML.paragraph(sentence), HTML.section("Runs in their order", figures),
                HTML.section("What the check counted", [HTML.list(counts, pointer: "/checks")]),
                HTML.section("Machine", [HTML.list(machine.value, pointer: "/machine")]),
                HTML.section("Parameters", [HTML.list(options.value, pointer: "/parameters")]),
            ]
        ).text
    }

    /// The conclusion as it stands in the text, with a capital and a stop.
    private var sentence: String { conclusion.prefix(1).uppercased() + conclusion.dropFirst() + "." }

    private var counts: JSONValue {
        guard case .object(let members) = checks.value else { return .null }
        return .object(members.filter { $0.0 != "holds" })
    }

    private var notes: [HTML] {
        var notes: [HTML] = []
        if isInterrupted { notes.append("Interrupted: the search did not come to its end.") }
        if outages.isAway { notes.append("The server stayed away, so nothing is verified.") }
        if let code = serverExitCode, code != 0 { notes.append("The server ended with exit code \(Int(code)).") }
        return notes
    }

    private var figures: [HTML] {
        var parts: [HTML] = []
        if let closedPerSecond {
            let rate = HTML.rate("/findRate/closedLoopMessagesPerSecond", closedPerSecond)
            parts.append("<p>A closed loop reaches \(rate) messages a second.</p>")
        }
        guard !steps.isEmpty else { return parts + ["<p>No run came to its end.</p>"] }
        return parts + [table, plot]
    }

    private var table: HTML {
        let rows: [[HTML]] = steps.enumerated().map { index, step in
            let pointer = "/findRate/steps/\(index)"
            let send = step.phase.send
            let outcome: HTML =
                step.holds
                ? "<span class=\"good\">held</span>"
                : "<strong class=\"bad\">\(step.reasons.joined(separator: ", "))</strong>"
            return [
                HTML.rate("\(pointer)/rate", step.rate),
                HTML.rate("\(pointer)/phase/send/messagesPerSecond", send.messagesPerSecond),
            ] + send.cells(["p50", "p90", "p99", "p99.9", "max"], "\(pointer)/phase/send") + [
                HTML.figure("\(pointer)/phase/neverSent", step.phase.neverSent), outcome,
            ]
        }
        return HTML.table(
            ["asked/s", "reached/s", "p50", "p90", "p99", "p99.9", "max", "never sent", "verdict"], rows)
    }

    private var plot: HTML {
        func latencies(_ name: String, _ style: Int) -> PlotSeries {
            PlotSeries(
                name, style: style,
                steps.map { step in
                    let send = step.phase.send
                    return (step.rate, send.requests > 0 ? send.latencies.first { $0.name == name }?.microseconds : nil)
                })
        }
        let judged = threshold.figure.rawValue
        var series = [latencies(judged, 1)]
        if judged != "p50" { series.append(latencies("p50", 3)) }
        series.append(PlotSeries("the limit", style: 2, steps.map { ($0.rate, threshold.limit) }))
        let highest = steps.map(\.rate).max() ?? 1
        return Plot(
            title: "Latency of the sends by the rate that was asked for",
            xAxis: Axis.linear("messages a second", to: highest) { Quantity.count($0) },
            yAxis: Plot.latencyAxis(series), series: series
        ).html
    }
}
