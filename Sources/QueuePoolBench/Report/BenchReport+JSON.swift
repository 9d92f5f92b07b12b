// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking

extension BenchReport {
    /// The run as JSON: every parameter, the machine, versions, seed, figures and findings. Sizes and counts only.
    package var json: String { value.rendered() + "\n" }

    var value: JSONValue {
        .object([
            ("kind", .text("bench")),
            ("version", .text(version)),
            ("seed", .unsigned(seed)),
            ("run", .text(String(run, radix: 16))),
            ("machine", machine.value),
            ("parameters", options.value),
            ("interrupted", .boolean(isInterrupted)), ("phases", .list(phases.map(\.value))),
            ("checks", checks.value), ("outages", outages.value),
            (
                "shards",
                .list(shards.map { .object([("name", .text($0.name)), ("messages", .integer($0.messages))]) })
            ),
            ("shardsFrom", .text(shardsFromAnswers ? "answers" : "ring")),
            (
                "hottestGroup",
                .object([
                    ("group", .optional(sending?.hottestGroup)), ("share", .optional(sending?.hottestShare)),
                ])
            ),
            ("handler", handler.map(\.value) ?? .null), ("imbalance", .optional(imbalance)),
            ("thresholds", .list(verdicts.map(\.value))),
            ("serverExitCode", .optional(serverExitCode.map(Int.init))),
        ])
    }
}

extension Machine {
    var value: JSONValue {
        .object([
            ("cores", .integer(cores)), ("processor", .text(processor)), ("memoryBytes", .integer(memoryBytes)),
            ("kernel", .text(kernel)), ("measuredAt", .integer(measuredAt)),
        ])
    }
}

extension BenchOptions {
    var value: JSONValue {
        .object([
            ("api", .text(api.rawValue)), ("mode", .text(mode.rawValue)), ("endpoint", .optional(endpoint)),
            ("pool", .text(pool)), ("shards", .integer(shards)), ("quota", .optional(quota)),
            ("connections", .integer(connections)), ("receivers", .integer(receiverCount)),
            ("batch", .integer(batchSize)), ("bodyBytes", .integer(bodyBytes)), ("groups", .integer(groups)),
            ("skew", .text(skew.description)), ("messages", .optional(messages)), ("seconds", .number(seconds)),
            ("warmUpSeconds", .number(warmUpSeconds)), ("rate", .optional(rate)),
            ("receiveFrom", .text(receiveFrom.rawValue)), ("waitSeconds", .integer(waitSeconds)),
            ("handlerMilliseconds", .optional(handlerMilliseconds)), ("verify", .boolean(verify)),
            ("retryThrottled", .boolean(retriesThrottled)),
        ])
    }
}

extension ActionReport {
    var value: JSONValue {
        .object([
            ("messages", .integer(messages)), ("requests", .integer(requests)),
            ("messagesPerSecond", .number(messagesPerSecond)), ("requestsPerSecond", .number(requestsPerSecond)),
            (
                "latencyMicroseconds",
                .object(
                    latencies.map { ($0.name, .number($0.microseconds)) }
                        + [("lowerBounds", .list(latencies.filter(\.isLowerBound).map { .text($0.name) }))])
            ),
            ("latencyDistribution", .list(distribution.map { .compact($0.value) })),
        ])
    }
}

extension ThresholdVerdict {
    var value: JSONValue {
        .object([
            ("threshold", .text(threshold.text)), ("value", .optional(found)), ("isLowerBound", .boolean(isLowerBound)),
            ("met", .boolean(isMet)),
        ])
    }
}

extension OutageReport {
    var value: JSONValue {
        .object([
            ("count", .integer(count)), ("seconds", .number(seconds)), ("longestSeconds", .number(longestSeconds)),
            ("unansweredRequests", .integer(unansweredRequests)), ("failedConnects", .integer(failedConnects)),
            ("isAway", .boolean(isAway)),
        ])
    }
}

extension PhaseReport {
    var value: JSONValue {
        .object([
            ("name", .text(name)), ("seconds", .number(seconds)), ("send", send.value), ("receive", receive.value),
            ("delete", delete.value), ("endToEnd", endToEnd.map(\.value) ?? .null), ("backlog", .integer(backlog)),
            ("emptyReceives", .integer(emptyReceives)), ("throttled", .integer(throttled)),
            ("reconnects", .integer(reconnects)), ("rate", .optional(rate)),
            ("due", .integer(due)), ("neverSent", .integer(neverSent)),
            ("errors", .object(errors.sorted { $0.key < $1.key }.map { ($0.key, .integer($0.value)) })),
            ("serverCPUMicrosecondsPerMessage", .optional(serverCPUPerMessage)),
            ("serverCores", .optional(serverCores)),
            ("shardServersCPUMicrosecondsPerMessage", .optional(shardCPUPerMessage)),
            ("shardServersCores", .optional(shardCores)),
            ("clientCPUMicrosecondsPerMessage", .number(clientCPUPerMessage)),
            ("clientCores", .number(clientCores)), ("machineCores", .optional(machineCores)),
            ("serverResidentBytes", .optional(residentBytes)),
            ("intervals", .list(intervals.map { .compact($0.value) })),
        ])
    }
}

extension CheckReport {
    var value: JSONValue {
        .object([
            ("holds", .boolean(holds)), ("acknowledged", .integer(acknowledged)), ("delivered", .integer(delivered)),
            ("lost", .optional(lost)), ("reordered", .integer(reordered)), ("duplicated", .integer(duplicated)),
            ("redelivered", .integer(redelivered)), ("corrupted", .integer(corrupted)),
            ("misplaced", .integer(misplaced)), ("foreign", .integer(foreign)), ("refused", .integer(refused)),
            ("outcomeUnknown", .integer(outcomeUnknown)),
            ("deliveredThoughRefused", .integer(deliveredThoughRefused)),
        ])
    }
}
