// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// What a worker saw of the others. Only its own clock is in it: a beat counts from when the first read that showed it was
// ANSWERED (the beat may have been stored a moment before), and a read that shows that it stood still must have LEFT a
// term later. So a standstill of this worker is never counted against another.

/// Which beats of which workers were seen, and since when.
struct WorkerSightings: Sendable {
    private struct Sighting: Sendable {
        var beat: Int
        var since: Timestamp
    }

    private var seen: [WorkerID: Sighting] = [:]
    /// Everybody of whom an earlier read showed a heartbeat or a lease.
    private var known: Set<WorkerID> = []

    /// Notes what a read showed.
    /// - Returns: the heartbeats that stood still for a whole term.
    mutating func note(
        _ table: LeaseTable, readLeftAt: Timestamp, now: Timestamp, termMilliseconds: Int64
    ) -> [WorkerHeartbeat] {
        var still: [WorkerHeartbeat] = []
        var next: [WorkerID: Sighting] = [:]
        for heartbeat in table.heartbeats {
            if let sighting = seen[heartbeat.worker], sighting.beat == heartbeat.beat {
                next[heartbeat.worker] = sighting
                let isStill = readLeftAt - sighting.since >= termMilliseconds
                if isStill || Mutation.livingWorkerRemoved.isOn { still.append(heartbeat) }
            } else {
                next[heartbeat.worker] = Sighting(beat: heartbeat.beat, since: now)
            }
        }
        seen = next
        return still
    }

    /// Whether a worker was seen before the last read. Then that read, if it shows no heartbeat of it, shows that it was
    /// removed. Otherwise it may have begun while the read was under way: a store that reads heartbeats first and
    /// leases then shows a lease of somebody who had no heartbeat a moment before.
    func isKnown(_ worker: WorkerID) -> Bool { known.contains(worker) }

    /// To be called when the decisions of a read were made: from now on, those whom it showed are known.
    mutating func remember(_ table: LeaseTable) {
        known = Set(table.heartbeats.map(\.worker)).union(table.leases.compactMap(\.owner))
    }
}
