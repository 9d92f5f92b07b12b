// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

/// What a lease store does, in memory: the conditions of the port and nothing else.
struct LeaseRows {
    private(set) var heartbeats: [WorkerID: WorkerHeartbeat] = [:]
    private(set) var leases: [ShardIndex: ShardLease] = [:]

    var table: LeaseTable { LeaseTable(heartbeats: sortedHeartbeats, leases: sortedLeases) }
    var sortedHeartbeats: [WorkerHeartbeat] { heartbeats.values.sorted { $0.worker < $1.worker } }
    var sortedLeases: [ShardLease] { leases.values.sorted { $0.shard < $1.shard } }

    mutating func renew(_ heartbeat: WorkerHeartbeat) -> Result<Void, LeaseStoreError> {
        let stored = heartbeats[heartbeat.worker]?.beat ?? 0
        guard stored == heartbeat.beat - 1 || stored == heartbeat.beat else { return .failure(.conflict) }
        heartbeats[heartbeat.worker] = heartbeat
        return .success(())
    }

    mutating func remove(_ worker: WorkerID, beat: Int) -> Result<Void, LeaseStoreError> {
        guard let stored = heartbeats[worker] else { return .success(()) }
        guard stored.beat == beat else { return .failure(.conflict) }
        heartbeats[worker] = nil
        return .success(())
    }

    mutating func write(_ lease: ShardLease) -> Result<Int, LeaseStoreError> {
        guard leases[lease.shard]?.version ?? 0 == lease.version else { return .failure(.conflict) }
        var lease = lease
        lease.version += 1
        leases[lease.shard] = lease
        return .success(lease.version)
    }
}

/// How the way to the store fails.
struct LeaseFaults {
    /// Milliseconds, of each way.
    var delayMax = 20
    /// Percent of calls that do not arrive, or arrive long after their caller was told that they failed.
    var lostCalls = 0
    var lostAnswers = 0
    /// Percent of calls that leave long after they were asked for, because the process stood still.
    var stalls = 0
    /// Percent of drains that nobody ever reports.
    var endlessDrains = 0
    var drainMax = 500
}
