// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking

extension ProcessScaleReport {
    /// The run as tables for people.
    package var text: String {
        let way = options.endpoint == nil ? "a server of its own" : "a queue"
        var lines = [
            "router over SQS queues, \(way) a shard, \(options.scale.api.rawValue), one message a request, "
                + "\(options.scale.bodyBytes) bytes, quota \(quota)",
            "seed \(seed), \(machine.cores) cores, \(machine.processor)", "",
            (options.scale.rate.map { "an open loop at \(decimal($0, places: 0)) messages/s" }
                ?? "as much as goes through") + " (cores: router, shard servers, this client)",
            row("shards", "quota", "allowed/s", "accepted/s", "ratio", "consumed/s", "ratio", "router us", "cores"),
        ]
        lines += steps.map(fullRow)
        lines += [
            "",
            (options.scale.rate == nil ? "open loops below that" : "the same load")
                + " (fill: messages of a SendMessageBatch)",
            row("shards", "load", "messages/s", "fill", "req/msg", "$/million", "p50 us", "p99 us"),
        ]
        for step in steps { lines += (step.rate == nil ? step.loads : [step.full]).map { loadRow(step, $0) } }
        lines += [
            "",
            "single sends, one at a time, to the router and straight to a shard (us); so fast is one group, at most",
            row("shards", "", "router p50", "shard p50", "added ms", "failures", "group/s"),
        ]
        lines += steps.map(latencyRow)
        lines.append("")
        lines += steps.map(checkLine)
        for step in steps { lines += step.verdicts.map { "\(step.shards) shards: \($0)" } }
        if !reachesRatio { lines += steps.filter { !$0.reachesRatio }.map(limitLine) }
        let price = decimal(RequestCost.dollarsPerMillionRequests, places: 2)
        lines.append(
            "requests are sends of the router and receives and deletes of the consumer, empty receives too; a million "
                + "costs $\(price) (SQS FIFO, us-east-1, June 2026)")
        return lines.joined(separator: "\n") + "\n"
    }

    private func fullRow(_ step: ProcessScaleStep) -> String {
        let phase = step.full.phase
        return row(
            String(step.shards), String(quota), decimal(step.allowedPerSecond, places: 0),
            decimal(phase.send.messagesPerSecond, places: 0), decimal(step.acceptedRatio, places: 3),
            decimal(phase.delete.messagesPerSecond, places: 0), decimal(step.consumedRatio, places: 3),
            optional(step.full.routerCPUPerMessage, places: 1)) + "   " + cores(phase)
    }

    private func loadRow(_ step: ProcessScaleStep, _ load: ProcessPhase) -> String {
        let send = load.phase.send
        return row(
            String(step.shards),
            decimal((load.load ?? step.expectedPerSecond / step.allowedPerSecond) * 100, places: 0) + " %",
            decimal(send.messagesPerSecond, places: 0), optional(load.batchFill, places: 2),
            optional(load.cost?.requests, places: 3), optional(load.cost?.dollarsPerMillionMessages, places: 3),
            decimal(send.p50, places: 0), decimal(send.p99, places: 0))
    }

    private func latencyRow(_ step: ProcessScaleStep) -> String {
        let latency = step.latency
        return row(
            String(step.shards), "", decimal(latency.router.p50, places: 0), optional(latency.straight?.p50, places: 0),
            optional(latency.addedMilliseconds, places: 3), String(latency.failures),
            optional(latency.groupPerSecond, places: 0))
    }

    private func checkLine(_ step: ProcessScaleStep) -> String {
        let checks = step.checks
        return "check, \(step.shards) shards: \(checks.holds ? "holds" : "BROKEN") - acknowledged "
            + "\(checks.acknowledged), delivered \(checks.delivered), lost "
            + "\(checks.lost.map(String.init) ?? "not drained"), reordered \(checks.reordered), duplicated "
            + "\(checks.duplicated), corrupted \(checks.corrupted), misplaced \(checks.misplaced); redelivered "
            + "\(checks.redelivered), refused \(checks.refused), outcome unknown \(checks.outcomeUnknown)"
            + (step.endedBadly ? "; a process ended badly" : "")
    }

    /// Whether the quota or the machine was the limit.
    private func limitLine(_ step: ProcessScaleStep) -> String {
        let phase = step.full.phase
        let used = (phase.serverCores ?? 0) + (phase.shardCores ?? 0) + phase.clientCores
        let busy = phase.machineCores ?? used
        let reason =
            busy > 0.85 * Double(machine.cores)
            ? "the processors were the limit, not the quota" : "the processors were not the limit"
        return "\(step.shards) shards: \(decimal(used, places: 2)) of \(machine.cores) cores used by the run, "
            + "\(decimal(busy, places: 2)) busy in all: \(reason)"
    }

    private func cores(_ phase: PhaseReport) -> String {
        [phase.serverCores, phase.shardCores, phase.clientCores].map { optional($0, places: 2) }.joined(separator: " ")
    }

    private func optional(_ value: Double?, places: Int) -> String { value.map { decimal($0, places: places) } ?? "-" }
}
