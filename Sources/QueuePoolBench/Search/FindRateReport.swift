// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking

extension FindRateReport {
    static let header =
        QueuePoolBench.row("asked/s", "", "reached/s", "p50 us", "p99 us", "p99.9 us") + "   verdict"

    /// The row of a run.
    static func row(_ step: FindRateStep) -> String {
        let send = step.phase.send
        func latency(_ name: String) -> String {
            send.latencies.first { $0.name == name }.map {
                ($0.isLowerBound ? ">=" : "") + decimal($0.microseconds, places: 0)
            } ?? "-"
        }
        return QueuePoolBench.row(
            rate(step.rate), "", rate(send.messagesPerSecond), latency("p50"), latency("p99"), latency("p99.9"))
            + "   " + (step.holds ? "held" : step.reasons.joined(separator: ", "))
    }

    /// What was found, for people; the rows of the runs are printed as they end.
    package var text: String {
        var lines = [
            "\(options.mode.rawValue) by \(options.api.rawValue), \(options.batchSize) a request, "
                + "\(options.connections) connections, \(options.groups) groups (\(options.skew)), "
                + "\(options.bodyBytes) bytes, \(options.shards) shards, \(steps.count) runs of "
                + "\(decimal(options.seconds, places: 1)) s",
            "seed \(seed), run \(String(run, radix: 16)), \(machine.cores) cores, \(machine.processor)",
            "check: \(checks.holds ? "holds" : "BROKEN") - acknowledged \(checks.acknowledged), delivered "
                + "\(checks.delivered), lost \(checks.lost.map(String.init) ?? "not drained"), reordered "
                + "\(checks.reordered), duplicated \(checks.duplicated), corrupted \(checks.corrupted), misplaced "
                + "\(checks.misplaced); redelivered \(checks.redelivered), refused \(checks.refused), outcome unknown "
                + "\(checks.outcomeUnknown)",
        ]
        if let closedPerSecond { lines.append("a closed loop reaches \(FindRateReport.rate(closedPerSecond))/s") }
        if outages.count > 0 {
            lines.append("outages: \(outages.count), \(decimal(outages.seconds, places: 2)) s in all")
        }
        if let code = serverExitCode, code != 0 { lines.append("server: exit code \(code)") }
        lines.append(conclusion)
        return lines.joined(separator: "\n") + "\n"
    }

    /// The last line.
    package var conclusion: String {
        let cut = isInterrupted ? "interrupted: " : outages.isAway ? "the server stayed away: " : ""
        guard checks.holds else { return "a check is broken: no rate is told" }
        guard let found = result.rate else {
            if !cut.isEmpty || steps.isEmpty { return cut + "no rate is known to hold \(threshold.text)" }
            return "no rate holds \(threshold.text), not even \(FindRateReport.rate(result.failedRate ?? 0))/s"
        }
        var text = cut + "highest rate with \(threshold.text): \(FindRateReport.rate(found))/s"
        if !result.isConfirmed { text += ", held once only" }
        if let failed = result.failedRate {
            text += "; \(FindRateReport.rate(failed))/s failed"
            if !result.isNarrow { text += ", the rates between them were not tried" }
        } else {
            text += "; no higher one was seen to fail"
        }
        return text
    }

    private static func rate(_ value: Double) -> String { decimal(value, places: value < 100 ? 1 : 0) }

    /// The search as JSON.
    package var json: String {
        JSONValue.object([
            ("kind", .text("bench-find-rate")), ("version", .text(version)), ("seed", .unsigned(seed)),
            ("run", .text(String(run, radix: 16))), ("machine", machine.value), ("parameters", options.value),
            ("interrupted", .boolean(isInterrupted)),
            (
                "findRate",
                .object([
                    ("rate", .optional(result.rate)), ("threshold", .text(threshold.text)),
                    ("confirmed", .boolean(result.isConfirmed)), ("failedRate", .optional(result.failedRate)),
                    ("narrow", .boolean(result.isNarrow)), ("lowestRate", .optional(lowestRate)),
                    ("closedLoopMessagesPerSecond", .optional(closedPerSecond)),
                    ("steps", .list(steps.map(\.value))),
                ])
            ),
            ("checks", checks.value), ("outages", outages.value),
            ("serverExitCode", .optional(serverExitCode.map(Int.init))),
        ]).rendered() + "\n"
    }
}

extension FindRateStep {
    var value: JSONValue {
        .object([
            ("rate", .number(rate)), ("held", .boolean(holds)), ("reasons", .list(reasons.map { .text($0) })),
            ("thresholds", .list(verdicts.map(\.value))), ("phase", phase.value),
        ])
    }
}
