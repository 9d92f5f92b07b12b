// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking

extension BenchReport {
    /// The run as one page that loads nothing: what the check found comes first, whatever else the run was.
    package var html: String {
        HTML.page(
            title: "queuepool bench: \(options.mode.rawValue) by \(options.api.rawValue)",
            [
                "<h1>queuepool bench: \(options.mode.rawValue) by \(options.api.rawValue)</h1>",
                """
                <p class="dim">\(machine.when) · queuepool \(version) · seed \
                \(HTML.figure("/seed", String(seed), String(seed))) · run \(String(run, radix: 16))</p>
                """,
                checks.verdict(notes: notes), checkSection,
                HTML.section("Machine", [HTML.list(machine.value, pointer: "/machine")]),
                HTML.section("Parameters", [HTML.list(options.value, pointer: "/parameters")]),
                HTML.section("Figures", [figureTable, usageTable] + handlerParagraph),
                HTML.section("Over time", timePlots), HTML.section("Latency by percentile", percentilePlots),
                HTML.section("Balance of the shards", shardPlot),
                HTML.section("What did not go through", troubles), HTML.section("Thresholds", thresholdTable),
            ]
        ).text
    }

    /// What a reader must know before any figure.
    private var notes: [HTML] {
        var notes: [HTML] = []
        if isInterrupted { notes.append("Interrupted: the figures are of what ran until then.") }
        if outages.isAway { notes.append("The server stayed away, so nothing is verified.") }
        if let code = serverExitCode, code != 0 { notes.append("The server ended with exit code \(Int(code)).") }
        let missed = verdicts.filter { !$0.isMet }.map(\.threshold.text)
        if !missed.isEmpty { notes.append("Thresholds missed: \(missed.joined(separator: ", ")).") }
        if let neverSent = measured?.neverSent, neverSent > 0 {
            notes.append(
                """
                The rate was not reached: \(Quantity.count(Double(neverSent))) messages that were due were never sent, \
                and latencies behind ≥ are lower bounds.
                """)
        }
        return notes
    }

    private var checkSection: HTML {
        guard case .object(let members) = checks.value else { return "" }
        let counts = members.filter { $0.0 != "holds" }
        return HTML.section("What the check counted", [HTML.list(.object(counts), pointer: "/checks")])
    }

    private var figureTable: HTML {
        var rows: [[HTML]] = []
        for (index, phase) in phases.enumerated() {
            let actions = [
                ("send", "send", phase.send), ("receive", "receive", phase.receive),
                ("delete", "delete", phase.delete), ("endToEnd", "send to receive", phase.endToEnd),
            ]
            for case (let key, let name, let action?) in actions where action.requests > 0 {
                let pointer = "/phases/\(index)/\(key)"
                let rates = [
                    ("messagesPerSecond", action.messagesPerSecond), ("requestsPerSecond", action.requestsPerSecond),
                ]
                rows.append(
                    ["\(phase.name)", "\(name)", HTML.figure("\(pointer)/messages", action.messages)]
                        + rates.map {
                            HTML.figure(
                                "\(pointer)/\($0.0)", decimal($0.1, places: 3), Quantity.count($0.1.rounded()))
                        }
                        + action.latencies.map {
                            HTML.figure(
                                "\(pointer)/latencyMicroseconds/\($0.name)", decimal($0.microseconds, places: 3),
                                ($0.isLowerBound ? "≥ " : "") + Quantity.time(microseconds: $0.microseconds))
                        })
            }
        }
        return HTML.table(
            [
                "phase", "action", "messages", "messages/s", "requests/s", "p50", "p90", "p99", "p99.9", "max",
            ], rows, names: 2)
    }

    private var usageTable: HTML {
        func figure(_ pointer: String, _ value: Double?, _ shown: (Double) -> String) -> HTML {
            value.map { HTML.figure(pointer, decimal($0, places: 3), shown($0)) } ?? "–"
        }
        let rows: [[HTML]] = phases.enumerated().map { index, phase in
            let pointer = "/phases/\(index)"
            let isShown = phase.send.requests + phase.delete.requests > 0
            func cost(_ key: String, _ value: Double?) -> HTML {
                figure("\(pointer)/\(key)", isShown ? value : nil) { Quantity.time(microseconds: $0) }
            }
            return [
                "\(phase.name)", figure("\(pointer)/seconds", phase.seconds) { Quantity.significant($0) + " s" },
                cost("serverCPUMicrosecondsPerMessage", phase.serverCPUPerMessage),
                figure("\(pointer)/serverCores", phase.serverCores) { decimal($0, places: 2) },
                cost("shardServersCPUMicrosecondsPerMessage", phase.shardCPUPerMessage),
                cost("clientCPUMicrosecondsPerMessage", phase.clientCPUPerMessage),
                figure("\(pointer)/clientCores", phase.clientCores) { decimal($0, places: 2) },
                figure("\(pointer)/machineCores", phase.machineCores) { decimal($0, places: 2) },
                phase.residentBytes.map {
                    HTML.figure("\(pointer)/serverResidentBytes", String($0), "\($0 >> 20) MiB")
                } ?? "–", HTML.figure("\(pointer)/backlog", phase.backlog),
            ]
        }
        return HTML.table(
            [
                "phase", "length", "server CPU a message", "server cores", "shards' CPU a message",
                "client CPU a message", "client cores", "busy cores of the machine", "server memory",
                "backlog at its end",
            ], rows)
    }

    private var handlerParagraph: [HTML] { handler.map { [HTML.paragraph($0.description)] } ?? [] }

    private var troubles: [HTML] {
        let rows: [[HTML]] = phases.enumerated().map { index, phase in
            let pointer = "/phases/\(index)"
            return [
                "\(phase.name)",
                phase.rate.map { HTML.figure("\(pointer)/rate", decimal($0, places: 3), Quantity.count($0)) } ?? "–",
                HTML.figure("\(pointer)/due", phase.due), HTML.figure("\(pointer)/neverSent", phase.neverSent),
                HTML.figure("\(pointer)/throttled", phase.throttled),
                HTML.figure("\(pointer)/emptyReceives", phase.emptyReceives),
                HTML.figure("\(pointer)/reconnects", phase.reconnects),
            ]
        }
        var parts = [
            HTML.table(
                [
                    "phase", "messages/s asked for", "due", "never sent", "throttled, sent again", "empty receives",
                    "reconnects",
                ], rows)
        ]
        let errors = phases.flatMap { phase in
            phase.errors.sorted { $0.key < $1.key }.map { code, count -> [HTML] in
                ["\(phase.name)", "\(code)", "\(Quantity.count(Double(count)))"]
            }
        }
        if !errors.isEmpty { parts.append(HTML.table(["phase", "error", "entries"], errors, names: 2)) }
        if outages.count > 0 {
            parts.append("<h3>Outages of the server</h3>")
            parts.append(HTML.list(outages.value, pointer: "/outages"))
        }
        return parts
    }

    private var thresholdTable: [HTML] {
        let rows: [[HTML]] = verdicts.enumerated().map { $1.cells("/thresholds/\($0)") }
        return rows.isEmpty ? [] : [HTML.table(["asked for", "found", "outcome"], rows, names: 1)]
    }
}

extension ThresholdVerdict {
    /// What was asked for, what was found and whether it is met.
    func cells(_ pointer: String) -> [HTML] {
        let value = found.map {
            HTML.figure("\(pointer)/value", decimal($0, places: 3), (isLowerBound ? "≥ " : "") + shown($0))
        }
        return [
            "\(threshold.text)", value ?? "not known",
            isMet ? "<span class=\"good\">met</span>" : "<strong class=\"bad\">MISSED</strong>",
        ]
    }

    func shown(_ value: Double) -> String {
        guard threshold.figure.isTime else { return Quantity.count(value) }
        return threshold.figure == .outage
            ? Quantity.significant(value) + " s" : Quantity.time(microseconds: value)
    }
}
