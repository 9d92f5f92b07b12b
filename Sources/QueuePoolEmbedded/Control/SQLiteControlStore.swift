// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import Synchronization

// Pools and their topologies in one small SQLite file. A pool is written in one transaction, so that a topology is
// never seen half. Rarely used, so one lock around the connection is all it needs.

package final class SQLiteControlStore: ControlStore {
    private struct Connection: ~Copyable {
        let database: Database
    }

    private let connection: Mutex<Connection>

    /// Opens the file, or makes it.
    package init(path: String) throws(ControlStoreError) {
        do throws(DatabaseError) {
            let database = try Database(path: path)
            try database.execute(
                """
                PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                CREATE TABLE IF NOT EXISTS pools (
                    name TEXT PRIMARY KEY, epoch INTEGER NOT NULL, next_index INTEGER NOT NULL, quota INTEGER,
                    created_at INTEGER NOT NULL, modified_at INTEGER NOT NULL, attributes TEXT NOT NULL,
                    slots BLOB NOT NULL, history BLOB NOT NULL) WITHOUT ROWID;
                CREATE TABLE IF NOT EXISTS shards (
                    pool TEXT NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL, weight INTEGER NOT NULL,
                    PRIMARY KEY (pool, number)) WITHOUT ROWID;
                CREATE TABLE IF NOT EXISTS tags (
                    pool TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (pool, key)) WITHOUT ROWID;
                """)
            connection = Mutex(Connection(database: database))
        } catch { throw .failed(code: error.code) }
    }

    package func pools() throws(ControlStoreError) -> [PoolDefinition] {
        try run { (database) throws(DatabaseError) in
            let rows = try database.prepare(
                """
                SELECT name, epoch, next_index, quota, created_at, modified_at, attributes, slots, history
                FROM pools ORDER BY name
                """)
            var found: [Result<PoolDefinition, ControlStoreError>] = []
            while try rows.next("read pools") {
                let shards = try SQLiteControlStore.shards(of: rows.text(0), database)
                let tags = try SQLiteControlStore.tags(of: rows.text(0), database)
                found.append(SQLiteControlStore.definition(rows, shards, tags))
            }
            return found
        }.map { (result) throws(ControlStoreError) in try result.get() }
    }

    package func save(_ pool: PoolDefinition) throws(ControlStoreError) {
        try run { (database) throws(DatabaseError) in
            try SQLiteControlStore.transaction(database) { () throws(DatabaseError) in
                try SQLiteControlStore.remove(pool.name.text, database)
                try SQLiteControlStore.insert(pool, database)
            }
        }
    }

    package func remove(_ pool: PoolName) throws(ControlStoreError) {
        try run { (database) throws(DatabaseError) in
            try SQLiteControlStore.transaction(database) { () throws(DatabaseError) in
                try SQLiteControlStore.remove(pool.text, database)
            }
        }
    }

    private func run<R: Sendable>(
        _ body: (Database) throws(DatabaseError) -> sending R
    ) throws(ControlStoreError) -> R {
        let result: Result<R, DatabaseError> = connection.withLock { connection in
            do throws(DatabaseError) { return .success(try body(connection.database)) } catch { return .failure(error) }
        }
        switch result {
        case .success(let value): return value
        case .failure(let error): throw .failed(code: error.code)
        }
    }

    private static func transaction(
        _ database: Database, _ body: () throws(DatabaseError) -> Void
    ) throws(DatabaseError) {
        try database.execute("BEGIN IMMEDIATE")
        do throws(DatabaseError) {
            try body()
            try database.execute("COMMIT")
        } catch {
            if database.isInTransaction { try? database.execute("ROLLBACK") }
            throw error
        }
    }

    // MARK: - Rows

    private static func definition(
        _ row: Statement, _ shards: [ShardEntry], _ tags: [String: String]
    ) -> Result<PoolDefinition, ControlStoreError> {
        guard let name = PoolName(row.text(0)), let slots = TopologyEncoding.slots(row.bytes(7)),
            let history = TopologyEncoding.history(row.bytes(8)), !shards.isEmpty
        else { return .failure(.damaged(pool: row.text(0))) }
        let topology = Topology(
            epoch: Epoch(Int(row.integer(1))), shards: shards, slots: slots, history: history,
            nextIndex: Int(row.integer(2)))
        var definition = PoolDefinition(
            name: name, topology: topology, attributes: row.text(6), tags: tags,
            quota: row.isNull(3) ? nil : Int(row.integer(3)), createdAt: Timestamp(milliseconds: row.integer(4)))
        definition.modifiedAt = Timestamp(milliseconds: row.integer(5))
        return .success(definition)
    }

    private static func shards(of pool: String, _ database: Database) throws(DatabaseError) -> [ShardEntry] {
        let rows = try database.prepare("SELECT number, name, weight FROM shards WHERE pool = ? ORDER BY number")
        rows.bind(1, pool)
        var found: [ShardEntry] = []
        while try rows.next("read shards") {
            found.append(
                ShardEntry(
                    index: ShardIndex(Int(rows.integer(0))), name: rows.text(1), weight: Int(rows.integer(2))))
        }
        return found
    }

    private static func tags(of pool: String, _ database: Database) throws(DatabaseError) -> [String: String] {
        let rows = try database.prepare("SELECT key, value FROM tags WHERE pool = ?")
        rows.bind(1, pool)
        var found: [String: String] = [:]
        while try rows.next("read tags") { found[rows.text(0)] = rows.text(1) }
        return found
    }

    private static func remove(_ pool: String, _ database: Database) throws(DatabaseError) {
        for table in ["tags", "shards"] {
            let delete = try database.prepare("DELETE FROM \(table) WHERE pool = ?")
            delete.bind(1, pool)
            try delete.run("remove \(table)")
        }
        let delete = try database.prepare("DELETE FROM pools WHERE name = ?")
        delete.bind(1, pool)
        try delete.run("remove a pool")
    }

    private static func insert(_ pool: PoolDefinition, _ database: Database) throws(DatabaseError) {
        let row = try database.prepare("INSERT INTO pools VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
        row.bind(1, pool.name.text)
        row.bind(2, Int64(pool.topology.epoch.number))
        row.bind(3, Int64(pool.topology.nextIndex))
        if let quota = pool.quota { row.bind(4, Int64(quota)) } else { row.bindNull(4) }
        row.bind(5, pool.createdAt.milliseconds)
        row.bind(6, pool.modifiedAt.milliseconds)
        row.bind(7, pool.attributes)
        row.bind(8, copying: TopologyEncoding.encode(slots: pool.topology.slots))
        row.bind(9, copying: TopologyEncoding.encode(history: pool.topology.history))
        try row.run("write a pool")
        let shard = try database.prepare("INSERT INTO shards VALUES (?, ?, ?, ?)")
        for entry in pool.topology.shards {
            shard.bind(1, pool.name.text)
            shard.bind(2, Int64(entry.index.number))
            shard.bind(3, entry.name)
            shard.bind(4, Int64(entry.weight))
            try shard.run("write a shard")
        }
        let tag = try database.prepare("INSERT INTO tags VALUES (?, ?, ?)")
        for (key, value) in pool.tags {
            tag.bind(1, pool.name.text)
            tag.bind(2, key)
            tag.bind(3, value)
            try tag.run("write a tag")
        }
    }
}
