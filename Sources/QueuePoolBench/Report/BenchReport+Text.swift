// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking

extension BenchReport {
    /// The run as a table for people.
    package var text: String {
        var lines = [
            "\(options.mode.rawValue) by \(options.api.rawValue), \(options.batchSize) a request, "
                + "\(options.connections) connections, \(options.groups) groups (\(options.skew)), "
                + "\(options.bodyBytes) bytes, \(options.shards) shards"
                + (options.rate.map { ", open loop at \(decimal($0, places: 0)) messages/s" } ?? ""),
            "seed \(seed), run \(String(run, radix: 16)), \(machine.cores) cores, \(machine.processor)",
            "",
            row("phase", "action", "messages/s", "requests/s", "p50 us", "p90 us", "p99 us", "p99.9 us", "max us"),
        ]
        for phase in phases {
            let actions = [
                ("send", phase.send), ("receive", phase.receive), ("delete", phase.delete), ("end2end", phase.endToEnd),
            ]
            for case (let name, let action?) in actions where action.requests > 0 {
                lines.append(actionRow(phase.name, name, action))
            }
        }
        lines.append("")
        for phase in phases { lines.append(usageLine(phase)) }
        lines += findings
        return lines.joined(separator: "\n") + "\n"
    }

    private var findings: [String] {
        var lines: [String] = []
        if isInterrupted {
            let left = options.endpoint == nil ? 0 : max(0, checks.acknowledged - checks.delivered)
            lines.append(
                "interrupted: the figures are of what ran until then"
                    + (left > 0 ? "; \(left) acknowledged messages were left in the pool" : ""))
        }
        if outages.count > 0 {
            lines.append(
                "outages: \(outages.count), \(decimal(outages.seconds, places: 2)) s in all, longest "
                    + "\(decimal(outages.longestSeconds, places: 2)) s; \(outages.unansweredRequests) requests without an "
                    + "answer, \(outages.failedConnects) attempts to connect failed"
                    + (outages.isAway ? "; the server stayed away, nothing is verified" : ""))
        }
        for phase in phases where !phase.errors.isEmpty {
            let errors = phase.errors.sorted { $0.key < $1.key }.map { "\($0.key) x \($0.value)" }
            lines.append("\(phase.name): errors " + errors.joined(separator: ", "))
        }
        if let imbalance {
            let counts = shards.map { String($0.messages) }.joined(separator: " ")
            let source = shardsFromAnswers ? "answers" : "ring"
            lines.append("shards (\(source)): \(counts); largest / mean \(decimal(imbalance, places: 3))")
        }
        if let share = sending?.hottestShare, let group = sending?.hottestGroup {
            lines.append(
                "hottest group: \(SendTemplate.groupID(group)), \(decimal(share * 100, places: 2)) % of the messages")
        }
        if let handler { lines.append(handler.description) }
        lines.append(
            "check: \(checks.holds ? "holds" : "BROKEN") - acknowledged \(checks.acknowledged), delivered "
                + "\(checks.delivered), lost \(checks.lost.map(String.init) ?? "not drained"), reordered "
                + "\(checks.reordered), duplicated \(checks.duplicated), corrupted \(checks.corrupted), misplaced "
                + "\(checks.misplaced); redelivered \(checks.redelivered), refused \(checks.refused), outcome unknown "
                + "\(checks.outcomeUnknown), foreign \(checks.foreign)")
        lines += verdicts.map(\.description)
        if let code = serverExitCode, code != 0 { lines.append("server: exit code \(code)") }
        return lines
    }

    private func usageLine(_ phase: PhaseReport) -> String {
        var line = "\(phase.name): \(decimal(phase.seconds, places: 2)) s, client "
        line += "\(decimal(phase.clientCPUPerMessage, places: 1)) us CPU a message"
        if let cpu = phase.serverCPUPerMessage, let cores = phase.serverCores {
            line += ", server \(decimal(cpu, places: 1)) us (\(decimal(cores, places: 2)) cores)"
        }
        if let resident = phase.residentBytes { line += ", server memory \(resident >> 20) MiB" }
        if phase.throttled > 0 { line += ", throttled \(phase.throttled)" }
        if phase.reconnects > 0 { line += ", reconnects \(phase.reconnects)" }
        if phase.endToEnd != nil { line += ", \(phase.backlog) messages waiting at its end" }
        if let rate = phase.rate {
            line +=
                ", asked \(decimal(rate, places: 0))/s, reached \(decimal(phase.send.messagesPerSecond, places: 0))/s"
        }
        if phase.neverSent > 0 {
            let share = decimal(Double(phase.neverSent) / Double(Swift.max(1, phase.due)) * 100, places: 1)
            line += ", never sent \(phase.neverSent) of \(phase.due) due (\(share) %)"
        }
        return line
    }

    private func actionRow(_ phase: String, _ name: String, _ action: ActionReport) -> String {
        let latencies = action.latencies.map { ($0.isLowerBound ? ">=" : "") + decimal($0.microseconds, places: 0) }
        return row(
            phase, name, decimal(action.messagesPerSecond, places: 0), decimal(action.requestsPerSecond, places: 0),
            latencies[0], latencies[1], latencies[2], latencies[3], latencies[4])
    }
}

/// Two columns to the left, the others to the right.
func row(_ cells: String...) -> String {
    cells.enumerated().map { index, cell in
        let width = index < 2 ? 8 : 11
        let blanks = String(repeating: " ", count: max(0, width - cell.count))
        return index < 2 ? cell + blanks : blanks + cell
    }.joined()
}
