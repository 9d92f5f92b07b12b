// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// What a router asked of its queues, read from its metrics page: the difference of two readings is a phase.

/// Counts of a router's requests to the queues of one pool.
struct RouterTraffic: Hashable, Sendable {
    /// What is asked of a queue.
    enum Action: String, CaseIterable, Sendable {
        case send
        case receive
        case delete
        case visibility
    }

    /// Requests of one action by how they ended.
    struct Requests: Hashable, Sendable {
        /// Every one of them.
        var all = 0
        /// Refused because of the quota.
        var throttled = 0
        /// Messages in them.
        var entries = 0

        static func - (later: Requests, earlier: Requests) -> Requests {
            Requests(
                all: later.all - earlier.all, throttled: later.throttled - earlier.throttled,
                entries: later.entries - earlier.entries)
        }

        /// Messages a request; `nil` without a request.
        var fill: Double? { all > 0 ? Double(entries) / Double(all) : nil }
    }

    private var counts: [Action: Requests] = [:]

    subscript(_ action: Action) -> Requests { counts[action] ?? Requests() }

    /// Reads a metrics page.
    /// - Returns: `nil` when the page says nothing of such requests of this pool.
    init?(page: String, pool: String) {
        for line in page.split(separator: "\n") {
            guard let sample = Sample(line), sample.labels["pool"] == pool,
                let action = sample.labels["action"].flatMap(Action.init(rawValue:))
            else { continue }
            switch sample.name {
            case "queuepool_queue_requests_total":
                counts[action, default: Requests()].all += sample.value
                if sample.labels["outcome"] == "throttled" {
                    counts[action, default: Requests()].throttled += sample.value
                }
            case "queuepool_queue_entries_total": counts[action, default: Requests()].entries += sample.value
            default: break
            }
        }
        if counts.isEmpty { return nil }
    }

    private init() {}

    static func - (later: RouterTraffic, earlier: RouterTraffic) -> RouterTraffic {
        var result = RouterTraffic()
        for action in Action.allCases { result.counts[action] = later[action] - earlier[action] }
        return result
    }

    /// Asks a router; `nil` when it does not count such requests.
    static func read(_ endpoint: Endpoint, pool: String) throws -> RouterTraffic? {
        let answer = try ControlClient(endpoint: endpoint).get("/metrics")
        guard answer.status == 200 else { return nil }
        return RouterTraffic(page: String(decoding: answer.body, as: UTF8.self), pool: pool)
    }
}

/// One line of a metrics page whose labels hold no quotes, as those read here.
private struct Sample {
    let name: Substring
    var labels: [Substring: String] = [:]
    let value: Int

    init?(_ line: Substring) {
        guard line.first != "#", let open = line.firstIndex(of: "{"), let end = line.lastIndex(of: "}"), open < end,
            let number = Double(line[line.index(after: end)...].drop { $0 == " " }), number >= 0, number < 1e15
        else { return nil }
        name = line[..<open]
        value = Int(number)
        for pair in line[line.index(after: open)..<end].split(separator: ",") {
            let parts = pair.split(separator: "=", maxSplits: 1)
            guard parts.count == 2 else { return nil }
            labels[parts[0]] = parts[1].filter { $0 != "\"" }
        }
    }
}
