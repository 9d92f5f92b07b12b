// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

// The figures in Prometheus' text format 0.0.4. Source: "Exposition formats", prometheus.io.

extension WorkerMetrics {
    /// One sample: what follows the series' name, labels without the pool, value.
    private struct Row {
        var suffix = ""
        var labels: [(name: String, value: String)] = []
        let value: String
    }

    private struct Series: Sendable {
        let name: String
        let kind: String
        let help: String
        let rows: @Sendable (Snapshot) -> [Row]
    }

    private static let leaseSeries = [
        Series(name: "owned_shards", kind: "gauge", help: "Shards that the worker works on.") { now in
            [Row(value: "\(now.leases?.owned ?? now.counts.shards.count)")]
        },
        Series(
            name: "standby", kind: "gauge",
            help: "1 while there are as many workers as shards without this one, otherwise 0."
        ) { [Row(value: $0.isStandBy ? "1" : "0")] },
        Series(name: "leases_taken_total", kind: "counter", help: "Shards taken by lease.") {
            [Row(value: "\($0.leases?.begun ?? 0)")]
        },
        Series(name: "leases_given_total", kind: "counter", help: "Shards given to another worker, or given up.") {
            [Row(value: "\($0.leases?.given ?? 0)")]
        },
        Series(
            name: "leases_lost_total", kind: "counter", help: "Shards dropped because their lease may have been over."
        ) { [Row(value: "\($0.leases?.lost ?? 0)")] },
    ]

    private static let series =
        deliverySeries + leaseSeries + [
            Series(name: "held_messages", kind: "gauge", help: "Messages received and not finished.") { now in
                shardRows(now) { now.scheduler?.heldMessages[$0] ?? 0 }
            },
            Series(name: "held_bytes", kind: "gauge", help: "Bytes of bodies and attributes of held messages.") {
                [Row(value: "\($0.scheduler?.heldBytes ?? 0)")]
            },
            Series(
                name: "lapsed_messages_total", kind: "counter",
                help: "Messages whose visibility timeout ran out while they were held."
            ) { [Row(value: "\($0.scheduler?.lapsed ?? 0)")] },
            Series(name: "dead_letters_total", kind: "counter", help: "Messages stored in the dead-letter queue.") {
                $0.counts.deadLetters.sorted { $0.key < $1.key }
                    .map { Row(labels: [("reason", $0.key)], value: "\($0.value)") }
            },
            Series(
                name: "undeleted_messages", kind: "gauge",
                help: "Messages delivered or in the dead-letter queue, and not deleted yet."
            ) { [Row(value: "\($0.scheduler?.undeleted ?? 0)")] },
            Series(
                name: "target_up", kind: "gauge", help: "0 while nothing begins at the target but probes, otherwise 1."
            ) { now in
                now.counts.targets.indices.map { targetRow(now, $0, now.isTargetUp($0) ? 1 : 0) }
            },
            Series(
                name: "target_breaker_state", kind: "gauge",
                help: "1 for the state that the target's breaker is in, otherwise 0; half-open while a probe is out."
            ) { now in
                breakerRows(now)
            },
            Series(
                name: "target_breaker_opened_total", kind: "counter",
                help: "How often the target's breaker opened after it was closed."
            ) { now in
                now.counts.targets.indices.map { targetRow(now, $0, now.scheduler?.targets[$0].opened ?? 0) }
            },
            Series(
                name: "target_limited_total", kind: "counter",
                help: "Times a message had to wait for its target's own concurrency or rate."
            ) { now in
                limitedRows(now)
            },
            Series(
                name: "target_waiting_groups", kind: "gauge",
                help: "Groups that wait for their target's own concurrency or rate."
            ) { now in
                now.counts.targets.indices.map { targetRow(now, $0, now.scheduler?.targets[$0].waitingGroups ?? 0) }
            },
            Series(
                name: "shard_up", kind: "gauge", help: "0 if the last receive from the shard failed, otherwise 1."
            ) { now in
                shardRows(now) { now.isShardUp[$0] ? 1 : 0 }
            },
            Series(name: "received_messages_total", kind: "counter", help: "Messages received.") { now in
                shardRows(now) { now.counts.shards[$0].received }
            },
            Series(name: "deleted_messages_total", kind: "counter", help: "Messages deleted.") { now in
                shardRows(now) { now.counts.shards[$0].deleted }
            },
        ]

    private static let deliverySeries = [
        Series(name: "deliveries_total", kind: "counter", help: "Deliveries that ended, by outcome.") { now in
            now.counts.targets.flatMap { target in
                Outcome.allCases.map { outcome in
                    Row(
                        labels: [("target", target.label), ("outcome", outcome.text)],
                        value: "\(target.outcomes[outcome.rawValue])")
                }
            }
        },
        Series(name: "retries_total", kind: "counter", help: "Deliveries that were not a message's first.") { now in
            now.counts.targets.indices.map { targetRow(now, $0, now.counts.targets[$0].retries) }
        },
        Series(name: "handler_seconds", kind: "histogram", help: "How long deliveries took.") { now in
            now.counts.targets.flatMap { target in histogram(target.handlerSeconds, [("target", target.label)]) }
        },
        Series(name: "deliveries_under_way", kind: "gauge", help: "Deliveries that have begun and not ended.") { now in
            now.counts.targets.indices.map { targetRow(now, $0, now.counts.targets[$0].underWay) }
        },
    ]

    /// The figures of all workers of a process as one text: each series once, with a row for each worker.
    package static func page(_ workers: [WorkerMetrics]) -> String {
        let snapshots = workers.map { $0.snapshot() }
        var out = ""
        for series in series {
            let name = "queuepool_worker_\(series.name)"
            out += "# HELP \(name) \(series.help)\n# TYPE \(name) \(series.kind)\n"
            for snapshot in snapshots {
                for row in series.rows(snapshot) {
                    let labels = ([("pool", snapshot.pool)] + row.labels).map { "\($0)=\"\(escaped($1))\"" }
                    out += "\(name)\(row.suffix){\(labels.joined(separator: ","))} \(row.value)\n"
                }
            }
        }
        return out
    }

    private static func shardRows(_ now: Snapshot, _ value: (Int) -> Int) -> [Row] {
        now.counts.shards.enumerated().map { Row(labels: [("shard", $1.name)], value: "\(value($0))") }
    }

    private static func breakerRows(_ now: Snapshot) -> [Row] {
        let states: [(TargetFigures.State, String)] = [(.closed, "closed"), (.open, "open"), (.halfOpen, "half-open")]
        return now.counts.targets.indices.flatMap { target in
            let current = now.scheduler?.targets[target].state ?? .closed
            return states.map { state, name in
                Row(
                    labels: [("target", now.counts.targets[target].label), ("state", name)],
                    value: state == current ? "1" : "0")
            }
        }
    }

    private static func limitedRows(_ now: Snapshot) -> [Row] {
        now.counts.targets.indices.flatMap { target in
            let figures = now.scheduler?.targets[target]
            let limits = [
                ("concurrency", figures?.limitedByConcurrency ?? 0), ("rate", figures?.limitedByRate ?? 0),
            ]
            return limits.map { name, count in
                Row(labels: [("target", now.counts.targets[target].label), ("limit", name)], value: "\(count)")
            }
        }
    }

    private static func targetRow(_ now: Snapshot, _ target: Int, _ value: Int) -> Row {
        Row(labels: [("target", now.counts.targets[target].label)], value: "\(value)")
    }

    private static func histogram(_ histogram: SecondsHistogram, _ labels: [(name: String, value: String)]) -> [Row] {
        var rows: [Row] = []
        var count = 0
        for (index, more) in histogram.counts.enumerated() {
            count += more
            let bound = index < SecondsHistogram.bounds.count ? "\(SecondsHistogram.bounds[index])" : "+Inf"
            rows.append(Row(suffix: "_bucket", labels: labels + [("le", bound)], value: "\(count)"))
        }
        rows.append(Row(suffix: "_sum", labels: labels, value: "\(histogram.sum)"))
        rows.append(Row(suffix: "_count", labels: labels, value: "\(count)"))
        return rows
    }

    private static func escaped(_ value: String) -> String {
        var out = ""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\\": out += #"\\"#
            case "\"": out += #"\""#
            case "\n": out += #"\n"#
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out
    }
}
