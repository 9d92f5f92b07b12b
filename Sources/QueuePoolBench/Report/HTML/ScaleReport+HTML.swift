// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking

extension ScaleReport {
    private var pageSteps: [PageStep] {
        steps.enumerated().map { index, step in
            PageStep(
                name: "\(step.shards) shards", pointer: "/steps/\(index)/report", checks: step.report.checks,
                verdicts: step.report.verdicts)
        }
    }

    /// The run as one page that loads nothing.
    package var html: String {
        var notes = zip(steps, pageSteps).flatMap { $0.report.stepNotes($1.name) }
        if !reachesRatio {
            notes.append(
                "Less than \(decimal(ScaleReport.ratioMin, places: 2)) of the quota, or of the rate, went through.")
        }
        return HTML.page(
            title: "queuepool bench scale: shards",
            ["<h1>queuepool bench scale: shards</h1>"]
                + scalePage(
                    first: steps.first?.report, steps: pageSteps, notes: notes, without: ["shards", "messages"],
                    figures: [table, plot])
        ).text
    }

    private var table: HTML {
        let rows: [[HTML]] = steps.enumerated().map { index, step in
            let pointer = "/steps/\(index)"
            let phase = step.report.measuredPointer("\(pointer)/report")
            let action = "\(phase)/\(step.report.options.mode == .drain ? "delete" : "send")"
            return [
                HTML.figure("\(pointer)/shards", step.shards),
                HTML.rate("\(pointer)/allowedPerSecond", step.allowedPerSecond),
                HTML.rate("\(pointer)/messagesPerSecond", step.messagesPerSecond),
                HTML.ratio("\(pointer)/ratio", step.ratio),
            ] + (step.measured?.cells(["p50", "p99", "p99.9"], action) ?? ["–", "–", "–"]) + [
                HTML.time(
                    "\(phase)/serverCPUMicrosecondsPerMessage", step.report.measured?.serverCPUPerMessage)
            ]
        }
        return HTML.table(
            ["shards", "allowed/s", "messages/s", "ratio", "p50", "p99", "p99.9", "server CPU a message"], rows)
    }

    private var plot: HTML {
        let through = PlotSeries("went through", style: 1, steps.map { (Double($0.shards), $0.messagesPerSecond) })
        let asked = PlotSeries(
            options.rate == nil ? "allowed by the quota" : "asked for", style: 2,
            steps.map { (Double($0.shards), $0.expectedPerSecond) })
        return Plot.byShards([through, asked]).html
    }
}

extension Plot {
    /// Messages a second by the number of shards.
    static func byShards(_ series: [PlotSeries]) -> Plot {
        Plot(
            title: "Messages a second by the number of shards",
            xAxis: Axis.linear("shards", to: series.flatMap(\.points).map(\.x).max() ?? 1) { Quantity.count($0) },
            yAxis: rateAxis(series), series: series)
    }
}

extension ConnectionCurveReport {
    private var pageSteps: [PageStep] {
        steps.enumerated().map { index, step in
            PageStep(
                name: "\(step.options.connections) connections", pointer: "/steps/\(index)/report",
                checks: step.checks, verdicts: step.verdicts)
        }
    }

    /// The curve as one page that loads nothing.
    package var html: String {
        HTML.page(
            title: "queuepool bench scale: connections",
            ["<h1>queuepool bench scale: connections</h1>"]
                + scalePage(
                    first: steps.first, steps: pageSteps,
                    notes: zip(steps, pageSteps).flatMap { $0.stepNotes($1.name) },
                    without: ["connections", "receivers"], figures: [table, plot])
        ).text
    }

    private var table: HTML {
        let rows: [[HTML]] = steps.enumerated().map { index, step in
            let phase = step.measuredPointer("/steps/\(index)/report")
            return [
                HTML.figure("/steps/\(index)/connections", step.options.connections),
                HTML.rate("\(phase)/send/messagesPerSecond", step.measured?.send.messagesPerSecond),
            ] + (step.measured?.send.cells(["p50", "p99", "p99.9"], "\(phase)/send") ?? ["–", "–", "–"])
                + (step.measured?.delete.cells(["p50"], "\(phase)/delete") ?? ["–"]) + [
                    HTML.time("\(phase)/serverCPUMicrosecondsPerMessage", step.measured?.serverCPUPerMessage)
                ]
        }
        return HTML.table(
            ["connections", "messages/s", "p50", "p99", "p99.9", "p50 of deletes", "server CPU a message"], rows)
    }

    private var plot: HTML {
        let counts = steps.map { Double($0.options.connections) }
        let series = [
            PlotSeries("sent", style: 1, zip(counts, steps).map { ($0, $1.measured?.send.messagesPerSecond) })
        ]
        return Plot(
            title: "Messages a second by the number of connections",
            xAxis: Axis.logarithmic("connections", counts) { Quantity.count($0) }, yAxis: Plot.rateAxis(series),
            series: series
        ).html
    }
}

/// What follows the heading of a page of steps that are whole runs.
private func scalePage(
    first: BenchReport?, steps: [PageStep], notes: [HTML], without: Set<String>, figures: [HTML]
) -> [HTML] {
    let origin: HTML =
        first.map {
            "<p class=\"dim\">\($0.machine.when) · queuepool \($0.version) · seed of the first \(String($0.seed))</p>"
        } ?? ""
    let (machine, parameters) = ("/steps/0/report/machine", "/steps/0/report/parameters")
    return [
        origin, steps.verdict(notes: notes),
        HTML.section("Figures", figures),
        HTML.section("What the checks counted", steps.checkTable),
        HTML.section("Thresholds", steps.thresholdTable),
        HTML.section("Machine", first.map { [HTML.list($0.machine.value, pointer: machine)] } ?? []),
        HTML.section(
            "Parameters of all",
            first.map { [HTML.list($0.options.value, pointer: parameters, without: without)] } ?? []),
    ]
}
