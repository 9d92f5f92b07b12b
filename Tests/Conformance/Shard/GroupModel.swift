// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolTestSupport
import Testing

/// What a FIFO queue holds, as plainly as it can be said.
struct GroupModel {
    private struct Entry {
        let body: String
        var held: Delivery?
        var visibleAt = Timestamp.distantPast
        var count = 0
    }

    private var groups: [String: [Entry]] = [:]

    /// Undeleted messages in order; groups without any are left out.
    var bodies: [String: [String]] { groups.mapValues { $0.map(\.body) }.filter { !$0.value.isEmpty } }

    mutating func send(_ group: String, _ body: String) { groups[group, default: []].append(Entry(body: body)) }

    /// Compares what a receive gave with what it may give: of each group a run from its first undeleted message on, none
    /// of them in flight; and, unless the limit was met, of every group whose first message is not in flight.
    mutating func receive(
        _ came: [Delivery], limit: Int, until: Timestamp, now: Timestamp, _ bench: ShardBench
    ) {
        bench.check(came.count <= limit, "a receive of \(limit) gave \(came.count)")
        var taken: [String: Int] = [:]
        for delivery in came {
            let position = taken[delivery.group, default: 0]
            let entries = groups[delivery.group, default: []]
            guard position < entries.count, entries[position].body == delivery.body else {
                bench.check(
                    false, "\(delivery.group) gave \(delivery.body) in the place of \(entries.map(\.body)).\(position)")
                return
            }
            bench.check(entries[position].visibleAt <= now, "\(delivery.body) was given while it is in flight")
            bench.check(
                delivery.count == entries[position].count + 1,
                "\(delivery.body) came with count \(delivery.count), the last was \(entries[position].count)")
            groups[delivery.group]?[position].held = delivery
            groups[delivery.group]?[position].visibleAt = until
            groups[delivery.group]?[position].count = delivery.count
            taken[delivery.group] = position + 1
        }
        guard came.count < limit else { return }
        for (group, entries) in groups {
            guard let next = entries.dropFirst(taken[group, default: 0]).first else { continue }
            bench.check(next.visibleAt > now, "\(next.body) of \(group) was left although there was room for it")
        }
    }

    /// A message that was received, in flight still or not.
    func anyHeld(_ random: inout SplitMix64) -> Delivery? {
        let held = groups.sorted { $0.key < $1.key }.flatMap(\.value).compactMap(\.held)
        return held.isEmpty ? nil : held[random.below(held.count)]
    }

    func isInFlight(_ delivery: Delivery, now: Timestamp) -> Bool {
        groups[delivery.group, default: []].contains { $0.body == delivery.body && $0.visibleAt > now }
    }

    mutating func delete(_ delivery: Delivery) { groups[delivery.group]?.removeAll { $0.body == delivery.body } }

    mutating func setVisible(_ delivery: Delivery, at time: Timestamp) {
        guard let position = groups[delivery.group]?.firstIndex(where: { $0.body == delivery.body }) else { return }
        groups[delivery.group]?[position].visibleAt = time
    }
}
