// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Histogram

// What an open loop owed at its end: requests that were due and never started. They have no latency, only a time that
// they have waited so far, so that a percentile which they reach is known from below only.

extension LoadLoop {
    /// Counts what is owed at the end of the window.
    func countArrivals(_ now: UInt64) {
        guard let schedule else { return }
        let owed = connections.reduce(0) { $0 + arrivalsOwed(by: $1, schedule, now) }
        // With a number of messages to send, arrivals go on in the schedule only.
        outcome.neverSent = min(owed, max(0, requestsLeft))
        outcome.due = schedule.count(before: now) - (owed - outcome.neverSent)
        closedAt = now
    }

    /// Enters how long each of them has waited; after the last answer, so that it makes no answer late.
    func recordWaits() {
        guard let schedule, outcome.neverSent > 0 else { return }
        var waits = outcome.statistics.send.latency
        var left = outcome.neverSent
        for connection in connections where left > 0 {
            let owed = min(left, arrivalsOwed(by: connection, schedule, closedAt))
            left -= owed
            // Millions may be owed: neighbours are entered as one value, the shortest wait of them.
            let step = max(1, owed / 4_096)
            for first in stride(from: 0, to: owed, by: step) {
                let count = min(step, owed - first)
                let last = connection.arrival + (first + count - 1) * plan.options.senderCount
                let wait = closedAt - min(closedAt, schedule.due(last))
                waits.record(min(wait, PhaseStatistics.Action.longest), count: UInt64(count))
            }
        }
        outcome.waits = waits
    }

    private func arrivalsOwed(by connection: Connection, _ schedule: OpenLoopSchedule, _ now: UInt64) -> Int {
        guard connection.role == .sender else { return 0 }
        let due = schedule.count(before: now)
        guard due > connection.arrival else { return 0 }
        return (due - connection.arrival - 1) / plan.options.senderCount + 1
    }
}
