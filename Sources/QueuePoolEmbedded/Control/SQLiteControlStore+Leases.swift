// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

// Leases are in the control store's own file, so that a pool and its leases go in one transaction, and so that a write
// for a pool that is not stored is refused in the transaction that would have done it.
//
// A renewal or a write of a lease is one transaction of one row: one flush of the disk, whether a pool has 8 shards or
// 256. A read of the table takes no lock that a writer waits for. No revision is counted: servers that ask for it would
// read all pools again at every heartbeat.

extension SQLiteControlStore: LeaseStore {
    /// What the schema has for leases.
    static let leaseTables =
        """
        CREATE TABLE workers (
            pool TEXT NOT NULL, worker TEXT NOT NULL, beat INTEGER NOT NULL, renewed_at INTEGER NOT NULL,
            leaving INTEGER NOT NULL, PRIMARY KEY (pool, worker)) WITHOUT ROWID;
        CREATE TABLE leases (
            pool TEXT NOT NULL, number INTEGER NOT NULL, owner TEXT, next TEXT, acquired_at INTEGER NOT NULL,
            version INTEGER NOT NULL, PRIMARY KEY (pool, number)) WITHOUT ROWID;
        """

    package func table(ofPool pool: PoolName) throws(LeaseStoreError) -> LeaseTable {
        try leases { (database) throws(DatabaseError) in
            // Both are of one moment: a lease whose owner began between two looks would seem to have none.
            try SQLiteControlStore.transaction(database, begin: "BEGIN") { () throws(DatabaseError) in
                guard let leases = try SQLiteControlStore.leases(of: pool, database),
                    let heartbeats = try SQLiteControlStore.heartbeats(of: pool, database)
                else { return .failure(.failed(code: "DamagedLease")) }
                return .success(LeaseTable(heartbeats: heartbeats, leases: leases))
            }
        }
    }

    package func renew(_ heartbeat: WorkerHeartbeat, ofPool pool: PoolName) throws(LeaseStoreError) {
        try change(pool) { (database) throws(DatabaseError) -> Result<Void, LeaseStoreError> in
            let stored = try SQLiteControlStore.beat(of: heartbeat.worker, pool, database)
            guard stored == heartbeat.beat || stored ?? 0 == heartbeat.beat - 1 else { return .failure(.conflict) }
            let row = try database.prepare("INSERT OR REPLACE INTO workers VALUES (?, ?, ?, ?, ?)")
            row.bind(1, pool.text)
            row.bind(2, heartbeat.worker.text)
            row.bind(3, Int64(heartbeat.beat))
            row.bind(4, heartbeat.renewedAt.milliseconds)
            row.bind(5, heartbeat.isLeaving ? 1 : 0)
            try row.run("write a heartbeat")
            return .success(())
        }
    }

    package func remove(_ worker: WorkerID, beat: Int, ofPool pool: PoolName) throws(LeaseStoreError) {
        try leases { (database) throws(DatabaseError) -> Result<Void, LeaseStoreError> in
            try SQLiteControlStore.transaction(database) { () throws(DatabaseError) in
                guard let stored = try SQLiteControlStore.beat(of: worker, pool, database) else { return .success(()) }
                guard stored == beat else { return .failure(.conflict) }
                let row = try database.prepare("DELETE FROM workers WHERE pool = ? AND worker = ?")
                row.bind(1, pool.text)
                row.bind(2, worker.text)
                try row.run("remove a heartbeat")
                return .success(())
            }
        }
    }

    package func write(_ lease: ShardLease, ofPool pool: PoolName) throws(LeaseStoreError) -> Int {
        try change(pool) { (database) throws(DatabaseError) in
            let held = try database.prepare("SELECT version FROM leases WHERE pool = ? AND number = ?")
            held.bind(1, pool.text)
            held.bind(2, Int64(lease.shard.number))
            let version = try held.next("read a lease's version") ? Int(held.integer(0)) : 0
            held.reset()
            guard version == lease.version else { return .failure(.conflict) }
            let row = try database.prepare("INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?, ?)")
            row.bind(1, pool.text)
            row.bind(2, Int64(lease.shard.number))
            for (column, worker) in [(Int32(3), lease.owner), (4, lease.next)] {
                if let worker { row.bind(column, worker.text) } else { row.bindNull(column) }
            }
            row.bind(5, lease.acquiredAt.milliseconds)
            row.bind(6, Int64(version + 1))
            try row.run("write a lease")
            return .success(version + 1)
        }
    }

    package func removeAll(ofPool pool: PoolName) throws(LeaseStoreError) {
        try leases { (database) throws(DatabaseError) -> Result<Void, LeaseStoreError> in
            try SQLiteControlStore.transaction(database) { () throws(DatabaseError) in
                try SQLiteControlStore.removeLeases(of: pool, database)
                return .success(())
            }
        }
    }

    /// A part of the transaction that removes the pool.
    static func removeLeases(of pool: PoolName, _ database: Database) throws(DatabaseError) {
        for table in ["leases", "workers"] {
            let delete = try database.prepare("DELETE FROM \(table) WHERE pool = ?")
            delete.bind(1, pool.text)
            try delete.run("remove \(table)")
        }
    }

    /// Makes a change in a transaction, if the pool is stored.
    private func change<R: Sendable>(
        _ pool: PoolName, _ body: (Database) throws(DatabaseError) -> Result<R, LeaseStoreError>
    ) throws(LeaseStoreError) -> R {
        try leases { (database) throws(DatabaseError) in
            try SQLiteControlStore.transaction(database) { () throws(DatabaseError) in
                let row = try database.prepare("SELECT 1 FROM pools WHERE name = ?")
                row.bind(1, pool.text)
                guard try row.next("look for a pool") else { return .failure(.noPool) }
                row.reset()
                return try body(database)
            }
        }
    }

    private func leases<R: Sendable>(
        _ body: (Database) throws(DatabaseError) -> Result<R, LeaseStoreError>
    ) throws(LeaseStoreError) -> R {
        let result: Result<R, LeaseStoreError>
        do throws(ControlStoreError) {
            result = try run { (database) throws(DatabaseError) in try body(database) }
        } catch {
            guard case .failed(let code) = error else { throw .failed(code: "SQLite") }
            throw .failed(code: "SQLite \(code)")
        }
        return try result.get()
    }

    // MARK: - Rows

    private static func beat(
        of worker: WorkerID, _ pool: PoolName, _ database: Database
    ) throws(DatabaseError) -> Int? {
        let row = try database.prepare("SELECT beat FROM workers WHERE pool = ? AND worker = ?")
        row.bind(1, pool.text)
        row.bind(2, worker.text)
        return try row.next("read a beat") ? Int(row.integer(0)) : nil
    }

    /// - Returns: `nil` if one of them does not parse.
    private static func heartbeats(
        of pool: PoolName, _ database: Database
    ) throws(DatabaseError) -> [WorkerHeartbeat]? {
        let rows = try database.prepare(
            "SELECT worker, beat, renewed_at, leaving FROM workers WHERE pool = ? ORDER BY worker")
        rows.bind(1, pool.text)
        var found: [WorkerHeartbeat] = []
        while try rows.next("read heartbeats") {
            guard let worker = WorkerID(rows.text(0)) else { return nil }
            found.append(
                WorkerHeartbeat(
                    worker: worker, beat: Int(rows.integer(1)), renewedAt: Timestamp(milliseconds: rows.integer(2)),
                    isLeaving: rows.integer(3) != 0))
        }
        return found
    }

    /// - Returns: `nil` if one of them does not parse.
    private static func leases(of pool: PoolName, _ database: Database) throws(DatabaseError) -> [ShardLease]? {
        let rows = try database.prepare(
            "SELECT number, owner, next, acquired_at, version FROM leases WHERE pool = ? ORDER BY number")
        rows.bind(1, pool.text)
        var found: [ShardLease] = []
        while try rows.next("read leases") {
            let workers = [Int32(1), 2].map { rows.isNull($0) ? nil : rows.text($0) }
            let (owner, next) = (workers[0].flatMap(WorkerID.init), workers[1].flatMap(WorkerID.init))
            guard (owner == nil) == (workers[0] == nil), (next == nil) == (workers[1] == nil) else { return nil }
            found.append(
                ShardLease(
                    shard: ShardIndex(Int(rows.integer(0))), owner: owner, next: next,
                    acquiredAt: Timestamp(milliseconds: rows.integer(3)), version: Int(rows.integer(4))))
        }
        return found
    }
}
