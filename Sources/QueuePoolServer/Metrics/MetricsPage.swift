// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import Synchronization

// What operators watch, in Prometheus' text format 0.0.4. The figures live in the shards already; the page reads them
// when it is asked for, so that counting costs the hot path nothing twice. Labels are pool, shard and outcome only: their
// number is bounded, and no group, id or address can become one (I6).

struct MetricsPage: Sendable {
    let registry: PoolRegistry
    let requests: RequestCounters
    let door: DoorState
    /// The operators'; `nil`: they have none of their own.
    var admin: DoorState?
    let more: MoreMetrics
    var audit: (any AuditTrail)?

    private struct Series: Sendable {
        let name: String
        let kind: String
        let help: String
        /// `nil`: the shard does not know, and has no row.
        let value: @Sendable (ShardCounts) -> String?
    }

    private static let series = [
        Series(name: "backlog_messages", kind: "gauge", help: "Messages that wait.") { String($0.backlog) },
        Series(name: "in_flight_messages", kind: "gauge", help: "Messages received and not yet deleted.") {
            String($0.inFlight)
        },
        Series(name: "delayed_messages", kind: "gauge", help: "Messages whose delay has not passed.") {
            String($0.delayed)
        },
        Series(name: "oldest_age_seconds", kind: "gauge", help: "Age of the oldest undeleted message.") {
            $0.oldestAgeMilliseconds.map { "\(Double($0) / 1_000)" }
        },
        Series(name: "deduplication_entries", kind: "gauge", help: "Deduplication ids in memory.") {
            String($0.deduplicationEntries)
        },
        Series(name: "sent_messages_total", kind: "counter", help: "Messages accepted.") { String($0.sent) },
        Series(name: "duplicate_messages_total", kind: "counter", help: "Sends answered as duplicates.") {
            $0.duplicates.map { String($0) }
        },
        Series(name: "received_messages_total", kind: "counter", help: "Deliveries.") { String($0.received) },
        Series(name: "deleted_messages_total", kind: "counter", help: "Messages deleted by receivers.") {
            String($0.deleted)
        },
        Series(name: "expired_messages_total", kind: "counter", help: "Messages dropped by retention.") {
            $0.expired.map { String($0) }
        },
        Series(name: "dead_letter_messages_total", kind: "counter", help: "Messages moved to the dead-letter queue.") {
            $0.movedToDeadLetter.map { String($0) }
        },
        Series(name: "damaged_messages_total", kind: "counter", help: "Deliveries whose digest was wrong.") {
            $0.damaged.map { String($0) }
        },
        Series(name: "commits_total", kind: "counter", help: "Commits to stable storage.") { String($0.commits) },
    ]

    func text() -> String {
        let pools = registry.pools.map { pool in
            (pool: pool, shards: pool.snapshot.shards.map { (shard: $0, counts: $0.shard.counts()) })
        }
        var out = ""
        for series in MetricsPage.series {
            MetricsPage.head("queuepool_\(series.name)", series.kind, series.help, &out)
            for pool in pools {
                for shard in pool.shards {
                    guard let value = series.value(shard.counts) else { continue }
                    out += "queuepool_\(series.name){pool=\"\(pool.pool.name.text)\",shard=\"\(shard.shard.name)\"} "
                    out += value + "\n"
                }
            }
        }
        requestsToQueues(pools.flatMap { pool in pool.shards.map { (pool.pool, $0.shard.name, $0.counts) } }, &out)
        MetricsPage.head("queuepool_waiting_sends", "gauge", "Messages that wait in a shard's batcher.", &out)
        for pool in pools {
            for shard in pool.shards {
                out += "queuepool_waiting_sends{pool=\"\(pool.pool.name.text)\",shard=\"\(shard.shard.name)\"} "
                out += "\(shard.shard.sender.waitingEntries)\n"
            }
        }
        MetricsPage.head(
            "queuepool_waiting_bytes", "gauge", "Bytes of memory of all messages that wait for a shard.", &out)
        out += "queuepool_waiting_bytes \(registry.waitingBytes)\n"
        MetricsPage.head("queuepool_refused_sends_total", "counter", "Messages that were not taken, by reason.", &out)
        for pool in pools {
            for shard in pool.shards {
                for row in shard.shard.sender.refusals.rows {
                    out +=
                        "queuepool_refused_sends_total{pool=\"\(pool.pool.name.text)\",shard=\"\(shard.shard.name)\","
                    out += "reason=\"\(row.reason)\"} \(row.count)\n"
                }
            }
        }
        MetricsPage.head("queuepool_waiting_receives", "gauge", "Receives that wait for a message.", &out)
        for pool in pools {
            out += "queuepool_waiting_receives{pool=\"\(pool.pool.name.text)\"} \(pool.pool.hub.waiterCount)\n"
        }
        MetricsPage.head("queuepool_topology_epoch", "gauge", "The topology's version.", &out)
        for pool in pools {
            let epoch = pool.pool.snapshot.topology.epoch.number
            out += "queuepool_topology_epoch{pool=\"\(pool.pool.name.text)\"} \(epoch)\n"
        }
        MetricsPage.head("queuepool_http_answers_total", "counter", "HTTP answers by outcome.", &out)
        for row in requests.rows() { out += "queuepool_http_answers_total{outcome=\"\(row.outcome)\"} \(row.count)\n" }
        MetricsPage.head("queuepool_connections", "gauge", "Open connections.", &out)
        out += "queuepool_connections \(door.connections.load(ordering: .relaxed))\n"
        if let admin {
            MetricsPage.head("queuepool_admin_connections", "gauge", "Open connections of the admin port.", &out)
            out += "queuepool_admin_connections \(admin.connections.load(ordering: .relaxed))\n"
        }
        MetricsPage.head(
            "queuepool_http_connections_cut_total", "counter", "Connections refused or ended by the server, by reason.",
            &out)
        for reason in ConnectionCounters.Reason.allCases {
            let count = door.cuts.value(reason) + (admin?.cuts.value(reason) ?? 0)
            out += "queuepool_http_connections_cut_total{reason=\"\(reason.text)\"} \(count)\n"
        }
        MetricsPage.head(
            "queuepool_http_no_room_total", "counter", "Requests refused because the server holds all that it may.",
            &out)
        out += "queuepool_http_no_room_total \(door.budget.refusalCount)\n"
        MetricsPage.head(
            "queuepool_http_held_bytes", "gauge", "Bytes of requests not yet whole and of answers not yet read.", &out)
        out += "queuepool_http_held_bytes \(door.budget.heldBytes)\n"
        MetricsPage.refusals(door.service.refusals, &out)
        if let bodies = registry.bodies { MetricsPage.bodies(bodies, &out) }
        if let tracking = registry.tracking { MetricsPage.tracking(tracking, &out) }
        if let audit { MetricsPage.audit(audit, &out) }
        return out + more.text()
    }

    private static func audit(_ audit: any AuditTrail, _ out: inout String) {
        head("queuepool_audit_failures_total", "counter", "Writes and reopenings of the audit log that failed.", &out)
        out += "queuepool_audit_failures_total \(audit.failures)\n"
        head("queuepool_audit_lost_total", "counter", "Entries of the audit log that were not kept.", &out)
        out += "queuepool_audit_lost_total \(audit.lost)\n"
    }

    /// Those of all keys together: a label for each would have no bound.
    private static func refusals(_ refusals: CallerRefusalCounts?, _ out: inout String) {
        head("queuepool_key_limited_total", "counter", "Requests refused by a limit of their key, by limit.", &out)
        for limit in CallerLimit.allCases {
            out += "queuepool_key_limited_total{limit=\"\(limit.rawValue)\"} \(refusals?.value(limit) ?? 0)\n"
        }
    }

    private static func tracking(_ tracking: MessageTracking, _ out: inout String) {
        head("queuepool_tracking_records_total", "counter", "News of messages that were kept.", &out)
        out += "queuepool_tracking_records_total \(tracking.savedCount)\n"
        head(
            "queuepool_tracking_dropped_total", "counter",
            "News of messages that this process had no room for: their store took fewer than came.", &out)
        out += "queuepool_tracking_dropped_total \(tracking.droppedCount)\n"
    }

    private static func bodies(_ bodies: BodyOptions, _ out: inout String) {
        if let counts = bodies.counts() {
            head("queuepool_bodies", "gauge", "Large bodies in the data directory.", &out)
            out += "queuepool_bodies \(counts.bodies)\n"
            head("queuepool_bodies_bytes", "gauge", "Bytes of large bodies in the data directory.", &out)
            out += "queuepool_bodies_bytes \(counts.bytes)\n"
        }
        head(
            "queuepool_bodies_missing_total", "counter", "Deliveries that did not take place: the body was not there.",
            &out)
        out += "queuepool_bodies_missing_total \(bodies.counters.missing)\n"
        head(
            "queuepool_bodies_unread_total", "counter",
            "Deliveries that did not take place: the body could not be read.", &out)
        out += "queuepool_bodies_unread_total \(bodies.counters.failed)\n"
    }

    /// What shards that are remote queues were asked; nothing for those of our own.
    private func requestsToQueues(_ shards: [(pool: Pool, name: String, counts: ShardCounts)], _ out: inout String) {
        MetricsPage.head(
            "queuepool_queue_requests_total", "counter", "Requests to shards that are queues of SQS, by outcome.", &out)
        for shard in shards {
            guard let requests = shard.counts.requests else { continue }
            for action in QueueAction.allCases {
                for outcome in QueueRequestOutcome.allCases {
                    out += "queuepool_queue_requests_total{pool=\"\(shard.pool.name.text)\",shard=\"\(shard.name)\","
                    out += "action=\"\(action.text)\",outcome=\"\(outcome.text)\"} "
                    out += "\(requests.requests(action, outcome))\n"
                }
            }
        }
        MetricsPage.head(
            "queuepool_queue_entries_total", "counter",
            "Messages and receipt handles in requests to such shards; a request of SQS takes ten.", &out)
        for shard in shards {
            guard let requests = shard.counts.requests else { continue }
            for action in QueueAction.allCases {
                out += "queuepool_queue_entries_total{pool=\"\(shard.pool.name.text)\",shard=\"\(shard.name)\","
                out += "action=\"\(action.text)\"} \(requests.entries(action))\n"
            }
        }
    }

    private static func head(_ name: String, _ kind: String, _ help: String, _ out: inout String) {
        out += "# HELP \(name) \(help)\n# TYPE \(name) \(kind)\n"
    }
}
