// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking

// What connections add: each has one request outstanding, so that a single one shows what a request costs in time, and
// many show how well requests share a commit. For each number a fresh server, so that no figure has another's data.

/// The parameters of a curve over numbers of connections.
package struct ConnectionCurveOptions: Hashable, Sendable {
    /// Numbers of sending connections, each 1...4096, in the order they are measured.
    package var connectionCounts = [1, 2, 4, 16, 64, 256]
    /// Everything else of each measurement; its first number of shards is taken, its quota and connections are not.
    package var scale = ScaleOptions()
    /// Requests/s per shard and action; `nil` = no limit, which would hide what connections add.
    package var quota: Int?

    package init() { scale.shardCounts = [8] }

    /// - Throws: `InvalidBenchOption` with the first field that is out of range.
    package func validated() throws(InvalidBenchOption) -> ConnectionCurveOptions {
        guard !connectionCounts.isEmpty else {
            throw InvalidBenchOption(
                field: "connections", value: "an empty list", allowed: "1...4096, separated by commas")
        }
        guard scale.shardCounts.count == 1 else {
            throw InvalidBenchOption(
                field: "shards", value: "\(scale.shardCounts.count) numbers",
                allowed: "one number, with several numbers of connections")
        }
        guard scale.mode != .drain else {
            throw InvalidBenchOption(
                field: "mode", value: "drain", allowed: "send or both, with several numbers of connections")
        }
        for count in connectionCounts { _ = try bench(connections: count).validated() }
        return self
    }

    /// The measurement of one step: messages one by one, unless a batch is given.
    func bench(connections: Int) -> BenchOptions {
        var options = scale.bench(shards: scale.shardCounts.first ?? 0)
        options.connections = connections
        options.batch = scale.batch ?? (scale.api == .ndjson ? nil : 1)
        options.quota = quota
        options.retryThrottled = nil
        return options
    }
}

/// What a curve found.
package struct ConnectionCurveReport: Sendable {
    /// One number of connections each.
    package let steps: [BenchReport]

    /// Whether a signal ended the run; the last step is then cut short.
    package var isInterrupted: Bool { steps.contains(where: \.isInterrupted) }
    /// Whether no check of any step found a violation.
    package var holds: Bool { steps.allSatisfy(\.checks.holds) }
    /// Thresholds that some step missed.
    package var missed: [String] {
        steps.flatMap { step in
            step.verdicts.filter { !$0.isMet }.map {
                "\($0.threshold.text) at \(step.options.connections) connections"
            }
        }
    }

    /// The curve as a table for people.
    package var text: String {
        var lines: [String] = []
        if let first = steps.first {
            lines.append(
                "\(first.options.mode.rawValue) by \(first.options.api.rawValue), \(first.options.batchSize) a request, "
                    + "\(first.options.bodyBytes) bytes, \(first.options.shards) shards, seed \(first.seed), "
                    + "\(first.machine.cores) cores, \(first.machine.processor)")
        }
        lines.append(
            row("connections", "", "messages/s", "p50 us", "p99 us", "p99.9 us", "delete p50", "server us"))
        for step in steps {
            let send = step.measured?.send
            let delete = step.measured?.delete
            let latencies = send?.latencies ?? []
            func latency(_ name: String) -> String {
                latencies.first { $0.name == name && send?.requests ?? 0 > 0 }.map {
                    ($0.isLowerBound ? ">=" : "") + decimal($0.microseconds, places: 0)
                } ?? "-"
            }
            let count = String(step.options.connections)
            lines.append(
                row(
                    // As wide as its title.
                    count + String(repeating: " ", count: max(0, 11 - count.count)), "",
                    decimal(send?.messagesPerSecond ?? 0, places: 0), latency("p50"), latency("p99"), latency("p99.9"),
                    delete.flatMap { $0.requests > 0 ? decimal($0.p50, places: 0) : nil } ?? "-",
                    step.measured?.serverCPUPerMessage.map { decimal($0, places: 1) } ?? "-"))
        }
        for step in steps { lines += step.verdicts.map { "\(step.options.connections) connections: \($0)" } }
        if isInterrupted { lines.append("interrupted: the last line is of what ran until then") }
        return lines.joined(separator: "\n") + "\n"
    }

    /// The curve as JSON, with the whole report of every step.
    package var json: String {
        JSONValue.object([
            ("kind", .text("scale-connections")), ("holds", .boolean(holds)), ("interrupted", .boolean(isInterrupted)),
            (
                "steps",
                .list(
                    steps.map {
                        .object([("connections", .integer($0.options.connections)), ("report", $0.value)])
                    })
            ),
        ]).rendered() + "\n"
    }
}

/// Measures every number of connections, one after the other. Blocks the calling thread.
/// - Throws: `InvalidBenchOption`, `BenchFailure`.
package func runConnectionCurve(
    _ options: ConnectionCurveOptions, version: String = "unknown",
    progress: @escaping (String) -> Void = { _ in }
) throws -> ConnectionCurveReport {
    let options = try options.validated()
    var steps: [BenchReport] = []
    for count in options.connectionCounts where steps.last?.isInterrupted != true {
        steps.append(
            try runBench(options.bench(connections: count), version: version) { phase in
                progress("\(count) connections: \(phase)")
            })
    }
    return ConnectionCurveReport(steps: steps)
}
