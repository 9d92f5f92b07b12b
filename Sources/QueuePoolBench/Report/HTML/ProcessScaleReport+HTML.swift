// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking

extension ProcessScaleReport {
    private var pageSteps: [PageStep] {
        steps.enumerated().map { index, step in
            PageStep(
                name: "\(step.shards) shards", pointer: "/steps/\(index)", checks: step.checks, verdicts: step.verdicts)
        }
    }

    /// The run as one page that loads nothing.
    package var html: String {
        var notes: [HTML] = steps.filter(\.endedBadly).map { "A process of \($0.shards) shards ended badly." }
        if !reachesRatio {
            notes.append(
                "Less than \(decimal(ScaleReport.ratioMin, places: 2)) of the quota, or of the rate, went through.")
        }
        // Numbers of shards differ from step to step, and so does what is allowed.
        let parameters = options.bench(shards: 1).value
        return HTML.page(
            title: "queuepool bench scale: a router over queues",
            [
                "<h1>queuepool bench scale: a router over queues</h1>",
                """
                <p class="dim">\(machine.when) · queuepool \(version) · seed \
                \(HTML.figure("/seed", String(seed), String(seed))) · quota \(quota)</p>
                """,
                pageSteps.verdict(notes: notes), HTML.section("Figures", [table, plot]),
                HTML.section("Open loops below what goes through", loadTable),
                HTML.section("What the checks counted", pageSteps.checkTable),
                HTML.section("Thresholds", pageSteps.thresholdTable),
                HTML.section("Machine", [HTML.list(machine.value, pointer: "/machine")]),
                HTML.section(
                    "Parameters",
                    [
                        HTML.list(
                            parameters, pointer: "/parameters",
                            only: ["api", "endpoint", "bodyBytes", "groups", "seconds", "warmUpSeconds", "rate"])
                    ]),
            ]
        ).text
    }

    private var table: HTML {
        let rows: [[HTML]] = steps.enumerated().map { index, step in
            let pointer = "/steps/\(index)"
            let phase = "\(pointer)/full/phase"
            return [
                HTML.figure("\(pointer)/shards", step.shards),
                HTML.rate("\(pointer)/allowedPerSecond", step.allowedPerSecond),
                HTML.rate("\(pointer)/acceptedPerSecond", step.full.phase.send.messagesPerSecond),
                HTML.ratio("\(pointer)/acceptedRatio", step.acceptedRatio),
                HTML.rate("\(pointer)/consumedPerSecond", step.full.phase.delete.messagesPerSecond),
                HTML.ratio("\(pointer)/consumedRatio", step.consumedRatio),
            ] + step.full.phase.send.cells(["p50", "p99"], "\(phase)/send") + [
                HTML.time("\(pointer)/full/routerCPUMicrosecondsPerMessage", step.full.routerCPUPerMessage),
                HTML.figure("\(pointer)/latency/addedMilliseconds", step.latency.addedMilliseconds) {
                    Quantity.time(microseconds: $0 * 1_000)
                },
            ]
        }
        return HTML.table(
            [
                "shards", "allowed/s", "accepted/s", "ratio", "consumed/s", "ratio", "p50", "p99",
                "router's CPU a message", "added to a send by the router",
            ], rows)
    }

    private var loadTable: [HTML] {
        let rows: [[HTML]] = steps.enumerated().flatMap { index, step in
            step.loads.enumerated().map { number, load in
                let pointer = "/steps/\(index)/loads/\(number)"
                return [
                    "\(step.shards)",
                    HTML.figure("\(pointer)/load", load.load) { decimal($0 * 100, places: 0) + " %" },
                    HTML.rate("\(pointer)/phase/send/messagesPerSecond", load.phase.send.messagesPerSecond),
                    HTML.figure("\(pointer)/batchFill", load.batchFill) { decimal($0, places: 2) },
                    HTML.figure("\(pointer)/cost/requestsPerMessage", load.cost?.requests) { decimal($0, places: 3) },
                ] + load.phase.send.cells(["p50", "p99"], "\(pointer)/phase/send")
            }
        }
        let header: [HTML] = [
            "shards", "of the quota", "messages/s", "messages a batch", "requests a message", "p50", "p99",
        ]
        return rows.isEmpty ? [] : [HTML.table(header, rows)]
    }

    private var plot: HTML {
        func series(_ name: String, _ style: Int, _ value: (ProcessScaleStep) -> Double) -> PlotSeries {
            PlotSeries(name, style: style, steps.map { (Double($0.shards), value($0)) })
        }
        return Plot.byShards([
            series("accepted", 1) { $0.full.phase.send.messagesPerSecond },
            series("consumed", 3) { $0.full.phase.delete.messagesPerSecond },
            series(options.scale.rate == nil ? "allowed by the quota" : "asked for", 2, \.expectedPerSecond),
        ]).html
    }
}

extension HTML {
    /// Some members of an object.
    fileprivate static func list(_ value: JSONValue, pointer: String, only names: Set<String>) -> HTML {
        guard case .object(let members) = value else { return "" }
        return list(.object(members.filter { names.contains($0.0) }), pointer: pointer)
    }
}
