// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking

// Does throughput grow with N? For each N a fresh server with a quota per shard, load well above N x quota x 10, and
// the ratio of what went through to that product. The buckets start full (one second's worth), so nothing counts until
// the warm-up has used that up. Groups are many: with 1,000 the busiest of 8 shards gets about a tenth more than its
// share and, in a closed loop, holds the others back; with 65,536 about one in a hundred.

/// The parameters of a scale run.
package struct ScaleOptions: Hashable, Sendable {
    /// Numbers of shards, each 1...256, in the order they are measured.
    package var shardCounts = [1, 2, 4, 8]
    /// Requests/s per shard and action, 1...100,000.
    package var quota = 300
    /// How messages are sent; `.sqs` sends batches of 10, `.rest` leaves the batching to the server.
    package var api = BenchOptions.API.sqs
    package var mode = BenchOptions.Mode.send
    /// Messages/s of each step in an open loop; `nil` = closed loops, as much as goes through.
    package var rate: Double?
    /// Messages a request; `nil` = 10 by `.sqs`, the API's default otherwise.
    package var batch: Int?
    package var skew = GroupSkew.uniform
    /// What every step must reach.
    package var thresholds: [Threshold] = []
    package var connections = 128
    package var bodyBytes = 1_024
    package var groups = 65_536
    package var seconds = 8.0
    package var warmUpSeconds = 3.0
    package var seed: UInt64?
    /// Whether every step is drained and checked, which takes as long again.
    package var verify = false
    package var executable = "/proc/self/exe"
    package var dataDirectoryParent: String?

    package init() {}

    /// - Throws: `InvalidBenchOption` with the first field that is out of range.
    package func validated() throws(InvalidBenchOption) -> ScaleOptions {
        guard !shardCounts.isEmpty else {
            throw InvalidBenchOption(field: "shards", value: "an empty list", allowed: "1...256, separated by commas")
        }
        for count in shardCounts { try require("shards", count, 1...256) }
        try require("quota", quota, 1...100_000)
        _ = try bench(shards: 1).validated()
        return self
    }

    /// What the quota lets through: batches as they are sent by `.sqs`; otherwise the server batches, or a receive does.
    func allowedPerSecond(shards: Int) -> Double {
        Double(shards * quota * (api == .sqs && mode != .drain ? batch ?? 10 : 10))
    }

    /// The measurement of one step.
    func bench(shards: Int) -> BenchOptions {
        var options = BenchOptions()
        options.api = api
        options.batch = batch ?? (api == .sqs ? 10 : nil)
        options.mode = mode
        options.rate = rate
        options.skew = skew
        options.thresholds = thresholds
        // A drain takes as long as the other measurements.
        if mode == .drain { options.messages = max(1, Int(allowedPerSecond(shards: shards) * seconds)) }
        options.shards = shards
        options.quota = quota
        options.connections = connections
        options.bodyBytes = bodyBytes
        options.groups = groups
        options.seconds = seconds
        options.warmUpSeconds = warmUpSeconds
        options.seed = seed
        options.verify = verify
        options.retryThrottled = true
        options.executable = executable
        options.dataDirectoryParent = dataDirectoryParent
        return options
    }
}

/// One number of shards.
package struct ScaleStep: Sendable {
    package let shards: Int
    /// Messages/s by the quota: shards x quota x messages a request.
    package let allowedPerSecond: Double
    package let report: BenchReport

    /// The rate that was asked for, where the quota allows more.
    package var expectedPerSecond: Double { min(allowedPerSecond, report.options.rate ?? allowedPerSecond) }
    /// Of sends; of a drain, deletes.
    package var messagesPerSecond: Double { measured?.messagesPerSecond ?? 0 }
    package var ratio: Double { messagesPerSecond / expectedPerSecond }
    var measured: ActionReport? { report.options.mode == .drain ? report.measured?.delete : report.measured?.send }
}

/// What a scale run found.
package struct ScaleReport: Sendable {
    /// A quota is used when at least this share of it goes through.
    package static let ratioMin = 0.95

    package let options: ScaleOptions
    package let steps: [ScaleStep]

    /// Whether a signal ended the run; the last step is then cut short.
    package var isInterrupted: Bool { steps.contains(where: \.report.isInterrupted) }
    package var reachesRatio: Bool { steps.allSatisfy { $0.ratio >= ScaleReport.ratioMin } }
    /// Whether no check of any step found a violation.
    package var holds: Bool { steps.allSatisfy(\.report.checks.holds) }
    /// Thresholds that some step missed.
    package var missed: [String] {
        steps.flatMap { step in
            step.report.verdicts.filter { !$0.isMet }.map { "\($0.threshold.text) at \(step.shards) shards" }
        }
    }

    /// The run as a table for people.
    package var text: String {
        var lines = [row("shards", "quota", "allowed/s", "messages/s", "ratio", "p50 us", "p99 us")]
        for step in steps {
            let send = step.measured
            lines.append(
                row(
                    String(step.shards), String(options.quota), decimal(step.allowedPerSecond, places: 0),
                    decimal(step.messagesPerSecond, places: 0), decimal(step.ratio, places: 3),
                    decimal(send?.p50 ?? 0, places: 0), decimal(send?.p99 ?? 0, places: 0)))
        }
        for step in steps { lines += step.report.verdicts.map { "\(step.shards) shards: \($0)" } }
        if isInterrupted { lines.append("interrupted: the last line is of what ran until then") }
        return lines.joined(separator: "\n") + "\n"
    }

    /// The run as JSON, with the whole report of every step.
    package var json: String {
        let value = JSONValue.object([
            ("kind", .text("scale")), ("quota", .integer(options.quota)),
            ("reachesRatio", .boolean(reachesRatio)), ("holds", .boolean(holds)),
            ("interrupted", .boolean(isInterrupted)),
            (
                "steps",
                .list(
                    steps.map {
                        .object([
                            ("shards", .integer($0.shards)), ("allowedPerSecond", .number($0.allowedPerSecond)),
                            ("expectedPerSecond", .number($0.expectedPerSecond)),
                            ("messagesPerSecond", .number($0.messagesPerSecond)), ("ratio", .number($0.ratio)),
                            ("report", $0.report.value),
                        ])
                    })
            ),
        ])
        return value.rendered() + "\n"
    }
}

/// Measures every number of shards, one after the other. Blocks the calling thread.
/// - Throws: `InvalidBenchOption`, `BenchFailure`.
package func runScale(
    _ options: ScaleOptions, version: String = "unknown", progress: @escaping (String) -> Void = { _ in }
) throws -> ScaleReport {
    let options = try options.validated()
    var steps: [ScaleStep] = []
    for shards in options.shardCounts where steps.last?.report.isInterrupted != true {
        let report = try runBench(options.bench(shards: shards), version: version) { phase in
            progress("\(shards) shards: \(phase)")
        }
        steps.append(
            ScaleStep(
                shards: shards, allowedPerSecond: options.allowedPerSecond(shards: shards), report: report))
    }
    return ScaleReport(options: options, steps: steps)
}
