// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolChecking

// What a scale run over queues of an SQS service found, as values.

/// One stretch of load over such a pool.
package struct ProcessPhase: Sendable {
    /// What the load client saw: `server` is the router here.
    package let phase: PhaseReport
    /// The open loop's share of N x quota x 10; `nil` = as much as goes through.
    package let load: Double?
    /// Messages of a SendMessageBatch; `nil` when the router does not count them.
    package let batchFill: Double?
    /// Sends of the router that its queues refused because of the quota.
    package let throttledSends: Int?
    package let cost: RequestCost?

    /// Microseconds of the router's CPU a message accepted.
    package var routerCPUPerMessage: Double? {
        guard let cores = phase.serverCores, phase.send.messagesPerSecond > 0 else { return nil }
        return cores * 1e6 / phase.send.messagesPerSecond
    }
}

/// One number of shards.
package struct ProcessScaleStep: Sendable {
    package let shards: Int
    /// shards x quota x 10.
    package let allowedPerSecond: Double
    /// Messages a second that were asked for; `nil` = as much as goes through.
    package let rate: Double?
    /// At that rate, or as much as goes through.
    package let full: ProcessPhase
    /// Open loops below what goes through; none when a rate was asked for.
    package let loads: [ProcessPhase]
    package let latency: AddedLatency
    package let checks: CheckReport
    /// Thresholds, judged by `full`.
    package let verdicts: [ThresholdVerdict]
    /// Whether a process of the run's own ended otherwise than by exit code 0.
    package let endedBadly: Bool

    /// The rate that was asked for, where the quota allows more.
    package var expectedPerSecond: Double { min(allowedPerSecond, rate ?? allowedPerSecond) }
    package var acceptedRatio: Double { full.phase.send.messagesPerSecond / expectedPerSecond }
    package var consumedRatio: Double { full.phase.delete.messagesPerSecond / expectedPerSecond }
    package var reachesRatio: Bool { min(acceptedRatio, consumedRatio) >= ScaleReport.ratioMin }
}

/// Everything that the run found.
package struct ProcessScaleReport: Sendable {
    /// Below this a router is not felt, milliseconds.
    package static let addedMillisecondsMax = 1.0

    package let options: ProcessScaleOptions
    package let machine: Machine
    package let version: String
    package let seed: UInt64
    package let quota: Int
    package let steps: [ProcessScaleStep]

    package var holds: Bool { steps.allSatisfy { $0.checks.holds && !$0.endedBadly } }
    package var reachesRatio: Bool { steps.allSatisfy(\.reachesRatio) }
    /// Thresholds that some step missed.
    package var missed: [String] {
        steps.flatMap { step in
            step.verdicts.filter { !$0.isMet }.map { "\($0.threshold.text) at \(step.shards) shards" }
        }
    }
}

extension ProcessScaleReport {
    /// The run as JSON, with everything that was measured.
    package var json: String {
        let parameters = options.bench(shards: 1)
        let value = JSONValue.object([
            ("kind", .text("scale-processes")), ("version", .text(version)), ("seed", .unsigned(seed)),
            ("machine", machine.value),
            (
                "parameters",
                .object([
                    ("api", .text(parameters.api.rawValue)), ("endpoint", .optional(options.endpoint)),
                    ("pool", .text(options.pool)), ("quota", .integer(quota)), ("rate", .optional(parameters.rate)),
                    ("connectionsPerShard", .integer(options.scale.connections)),
                    ("receiversPerShard", .integer(options.receiversPerShard)),
                    ("receivesFrom", .text(options.endpoint == nil ? "shard servers" : "router")),
                    ("bodyBytes", .integer(parameters.bodyBytes)), ("groups", .integer(parameters.groups)),
                    ("seconds", .number(parameters.seconds)), ("warmUpSeconds", .number(parameters.warmUpSeconds)),
                    ("latencyPairs", .integer(options.latencyPairs)),
                ])
            ),
            ("ratioMin", .number(ScaleReport.ratioMin)),
            ("addedMillisecondsMax", .number(ProcessScaleReport.addedMillisecondsMax)),
            ("dollarsPerMillionRequests", .number(RequestCost.dollarsPerMillionRequests)),
            ("holds", .boolean(holds)), ("reachesRatio", .boolean(reachesRatio)),
            ("steps", .list(steps.map(\.value))),
        ])
        return value.rendered() + "\n"
    }
}

extension ProcessScaleStep {
    var value: JSONValue {
        .object([
            ("shards", .integer(shards)), ("allowedPerSecond", .number(allowedPerSecond)),
            ("expectedPerSecond", .number(expectedPerSecond)),
            ("acceptedPerSecond", .number(full.phase.send.messagesPerSecond)),
            ("acceptedRatio", .number(acceptedRatio)),
            ("consumedPerSecond", .number(full.phase.delete.messagesPerSecond)),
            ("consumedRatio", .number(consumedRatio)), ("full", full.value), ("loads", .list(loads.map(\.value))),
            ("latency", latency.value), ("checks", checks.value), ("thresholds", .list(verdicts.map(\.value))),
            ("endedBadly", .boolean(endedBadly)),
        ])
    }
}

extension ProcessPhase {
    var value: JSONValue {
        .object([
            ("load", .optional(load)), ("batchFill", .optional(batchFill)),
            ("throttledSends", .optional(throttledSends)), ("cost", cost.map(\.value) ?? .null),
            ("routerCPUMicrosecondsPerMessage", .optional(routerCPUPerMessage)), ("phase", phase.value),
        ])
    }
}

extension RequestCost {
    var value: JSONValue {
        .object([
            ("sendRequestsPerMessage", .number(sends)), ("receiveRequestsPerMessage", .number(receives)),
            ("deleteRequestsPerMessage", .number(deletes)), ("requestsPerMessage", .number(requests)),
            ("dollarsPerMillionMessages", .number(dollarsPerMillionMessages)),
        ])
    }
}

extension AddedLatency {
    var value: JSONValue {
        .object([
            ("router", router.value), ("straight", straight.map(\.value) ?? .null),
            ("addedMilliseconds", .optional(addedMilliseconds)), ("groupPerSecond", .optional(groupPerSecond)),
            ("failures", .integer(failures)),
        ])
    }
}
