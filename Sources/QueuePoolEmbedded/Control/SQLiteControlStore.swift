// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import Synchronization

// Pools and their topologies in one small SQLite file. A pool is written in one transaction, so that a topology is
// never seen half, and the version that the writer saw is compared in that transaction. Rarely used, so one lock around
// the connection is all it needs; other processes are kept apart by SQLite's own lock. Workers' leases and access keys are
// in the same file: SQLiteControlStore+Leases.swift, SQLiteAccessKeyStore.swift.

package final class SQLiteControlStore: ControlStore {
    private struct Connection: ~Copyable {
        let database: Database
    }

    private let connection: Mutex<Connection>

    /// Opens the file, or makes it. A file of an earlier version of the program is brought up to date.
    package init(path: String) throws(ControlStoreError) {
        let schema: Int
        do throws(DatabaseError) {
            let database = try Database(path: path)
            // Another process may be writing; a write takes it a few milliseconds.
            try database.execute("PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
            schema = try SQLiteControlStore.bringUpToDate(database)
            connection = Mutex(Connection(database: database))
        } catch { throw .failed(code: error.code) }
        guard schema <= SQLiteControlStore.steps.count else { throw .unknownSchema(schema) }
    }

    package func revision() throws(ControlStoreError) -> Int {
        try run { (database) throws(DatabaseError) in
            let row = try database.prepare("SELECT number FROM revision")
            return try row.next("read the revision") ? Int(row.integer(0)) : 0
        }
    }

    package func contents() throws(ControlStoreError) -> StoredPools {
        let found = try run { (database) throws(DatabaseError) in
            try SQLiteControlStore.definitions(database.prepare(SQLiteControlStore.select + " ORDER BY name"), database)
        }
        var contents = StoredPools()
        for result in found {
            do throws(ControlStoreError) { contents.pools.append(try result.get()) } catch {
                guard case .damaged(let name) = error else { throw error }
                contents.unreadable.append(name)
            }
        }
        return contents
    }

    package func pool(_ name: PoolName) throws(ControlStoreError) -> PoolDefinition? {
        try run { (database) throws(DatabaseError) in
            let rows = try database.prepare(SQLiteControlStore.select + " WHERE name = ?")
            rows.bind(1, name.text)
            return try SQLiteControlStore.definitions(rows, database)
        }.map { (result) throws(ControlStoreError) in try result.get() }.first
    }

    package func save(_ pool: PoolDefinition) throws(ControlStoreError) -> Int {
        let isOurs = try run { (database) throws(DatabaseError) in
            try SQLiteControlStore.transaction(database) { () throws(DatabaseError) in
                let row = try database.prepare("SELECT version FROM pools WHERE name = ?")
                row.bind(1, pool.name.text)
                let stored = try row.next("read a version") ? Int(row.integer(0)) : 0
                row.reset()
                guard stored == pool.version else { return false }
                try SQLiteControlStore.remove(pool.name.text, database)
                try SQLiteControlStore.insert(pool, version: pool.version + 1, database)
                try database.execute("UPDATE revision SET number = number + 1")
                return true
            }
        }
        guard isOurs else { throw .conflict(pool: pool.name.text) }
        return pool.version + 1
    }

    package func remove(_ pool: PoolDefinition) throws(ControlStoreError) {
        let isOurs = try run { (database) throws(DatabaseError) in
            try SQLiteControlStore.transaction(database) { () throws(DatabaseError) in
                let row = try database.prepare("SELECT version, created_at FROM pools WHERE name = ?")
                row.bind(1, pool.name.text)
                guard try row.next("read a version") else { return true }
                let stored = (Int(row.integer(0)), row.integer(1))
                row.reset()
                guard stored == (pool.version, pool.createdAt.milliseconds) else { return false }
                try SQLiteControlStore.remove(pool.name.text, database)
                try SQLiteControlStore.removeLeases(of: pool.name, database)
                try database.execute("UPDATE revision SET number = number + 1")
                return true
            }
        }
        guard isOurs else { throw .conflict(pool: pool.name.text) }
    }

    package func directory(_ id: String) throws(ControlStoreError) -> String? {
        try run { (database) throws(DatabaseError) in
            let row = try database.prepare("SELECT path FROM directories WHERE id = ?")
            row.bind(1, id)
            return try row.next("read a directory") ? row.text(0) : nil
        }
    }

    package func record(directory id: String, path: String) throws(ControlStoreError) {
        try run { (database) throws(DatabaseError) in
            let row = try database.prepare("INSERT OR REPLACE INTO directories VALUES (?, ?)")
            row.bind(1, id)
            row.bind(2, path)
            try row.run("write a directory")
        }
    }

    func run<R: Sendable>(
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

    /// - Parameter begin: `BEGIN` for what only reads: it keeps no writer waiting.
    static func transaction<R>(
        _ database: Database, begin: String = "BEGIN IMMEDIATE", _ body: () throws(DatabaseError) -> R
    ) throws(DatabaseError) -> R {
        try database.execute(begin)
        do throws(DatabaseError) {
            let value = try body()
            try database.execute("COMMIT")
            return value
        } catch {
            if database.isInTransaction { try? database.execute("ROLLBACK") }
            throw error
        }
    }

    // MARK: - Schema

    /// What each version of the schema adds to the one before; `user_version` of the file says how many it has.
    private static let steps = [
        """
        CREATE TABLE IF NOT EXISTS pools (
            name TEXT PRIMARY KEY, epoch INTEGER NOT NULL, next_index INTEGER NOT NULL, quota INTEGER,
            created_at INTEGER NOT NULL, modified_at INTEGER NOT NULL, attributes TEXT NOT NULL,
            slots BLOB NOT NULL, history BLOB NOT NULL) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS shards (
            pool TEXT NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL, weight INTEGER NOT NULL,
            PRIMARY KEY (pool, number)) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS tags (
            pool TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (pool, key)) WITHOUT ROWID;
        """,
        """
        ALTER TABLE pools ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
        ALTER TABLE pools ADD COLUMN backend TEXT NOT NULL DEFAULT 'embedded';
        ALTER TABLE shards ADD COLUMN queue_url TEXT;
        ALTER TABLE shards ADD COLUMN region TEXT;
        ALTER TABLE shards ADD COLUMN endpoint TEXT;
        ALTER TABLE shards ADD COLUMN role_arn TEXT;
        ALTER TABLE shards ADD COLUMN account TEXT;
        CREATE TABLE revision (number INTEGER NOT NULL);
        INSERT INTO revision VALUES (1);
        """,
        """
        ALTER TABLE pools ADD COLUMN deleting INTEGER NOT NULL DEFAULT 0;
        """,
        """
        ALTER TABLE pools ADD COLUMN owner TEXT;
        CREATE TABLE directories (id TEXT PRIMARY KEY, path TEXT NOT NULL) WITHOUT ROWID;
        """,
        leaseTables,
        """
        ALTER TABLE pools ADD COLUMN bodies TEXT;
        """,
        SQLiteAccessKeyStore.tables,
        SQLiteAccessKeyStore.limitsColumn,
    ]

    /// - Returns: the version of the file's schema, which is later than ours if a later program wrote it.
    private static func bringUpToDate(_ database: Database) throws(DatabaseError) -> Int {
        try transaction(database) { () throws(DatabaseError) in
            let row = try database.prepare("PRAGMA user_version")
            let version = try row.next("read the schema's version") ? Int(row.integer(0)) : 0
            row.finalize()
            for step in steps.dropFirst(version) { try database.execute(step) }
            if version < steps.count { try database.execute("PRAGMA user_version = \(steps.count)") }
            return max(version, steps.count)
        }
    }

    // MARK: - Rows

    private static let select =
        """
        SELECT name, epoch, next_index, quota, created_at, modified_at, attributes, slots, history, version, backend,
            deleting, owner, bodies
        FROM pools
        """

    private typealias Found = Result<PoolDefinition, ControlStoreError>

    private static func definitions(_ rows: Statement, _ database: Database) throws(DatabaseError) -> [Found] {
        var found: [Found] = []
        while try rows.next("read pools") {
            let shards = try shards(of: rows.text(0), database)
            let tags = try tags(of: rows.text(0), database)
            found.append(definition(rows, shards, tags))
        }
        return found
    }

    private static func definition(
        _ row: Statement, _ shards: [(entry: ShardEntry, address: ShardAddress?)], _ tags: [String: String]
    ) -> Found {
        guard let name = PoolName(row.text(0)), let slots = TopologyEncoding.slots(row.bytes(7)),
            let history = TopologyEncoding.history(row.bytes(8)), let backend = PoolBackend(rawValue: row.text(10)),
            let topology = try? Topology(
                stored: Epoch(Int(row.integer(1))), shards: shards.map(\.entry), slots: slots, history: history,
                nextIndex: Int(row.integer(2))),
            let bodies = placeOfBodies(row)
        else { return .failure(.damaged(pool: row.text(0))) }
        let addresses = shards.compactMap { shard in shard.address.map { (shard.entry.index, $0) } }
        var definition = PoolDefinition(
            name: name, topology: topology, backend: backend,
            addresses: Dictionary(addresses) { first, _ in first }, attributes: row.text(6), tags: tags,
            quota: row.isNull(3) ? nil : Int(row.integer(3)), createdAt: Timestamp(milliseconds: row.integer(4)),
            version: Int(row.integer(9)))
        definition.modifiedAt = Timestamp(milliseconds: row.integer(5))
        definition.isDeleting = row.integer(11) != 0
        definition.owner = row.isNull(12) ? nil : row.text(12)
        definition.bodies = bodies
        return .success(definition)
    }

    /// - Returns: `nil` for a text that is no place of bodies: messages that lie there would never come.
    private static func placeOfBodies(_ row: Statement) -> PoolBodies?? {
        row.isNull(13) ? .some(nil) : PoolBodies(text: row.text(13)).map { .some($0) }
    }

    private static func shards(
        of pool: String, _ database: Database
    ) throws(DatabaseError) -> [(entry: ShardEntry, address: ShardAddress?)] {
        let rows = try database.prepare(
            """
            SELECT number, name, weight, queue_url, region, endpoint, role_arn, account FROM shards
            WHERE pool = ? ORDER BY number
            """)
        rows.bind(1, pool)
        var found: [(entry: ShardEntry, address: ShardAddress?)] = []
        while try rows.next("read shards") {
            func text(_ column: Int32) -> String? { rows.isNull(column) ? nil : rows.text(column) }
            let entry = ShardEntry(
                index: ShardIndex(Int(rows.integer(0))), name: rows.text(1), weight: Int(rows.integer(2)))
            let address = text(3).map {
                ShardAddress(
                    endpoint: text(5), region: rows.text(4), queueURL: $0, roleARN: text(6), account: text(7))
            }
            found.append((entry, address))
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

    private static func insert(
        _ pool: PoolDefinition, version: Int, _ database: Database
    ) throws(DatabaseError) {
        let row = try database.prepare("INSERT INTO pools VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
        row.bind(1, pool.name.text)
        row.bind(2, Int64(pool.topology.epoch.number))
        row.bind(3, Int64(pool.topology.nextIndex))
        if let quota = pool.quota { row.bind(4, Int64(quota)) } else { row.bindNull(4) }
        row.bind(5, pool.createdAt.milliseconds)
        row.bind(6, pool.modifiedAt.milliseconds)
        row.bind(7, pool.attributes)
        row.bind(8, copying: TopologyEncoding.encode(slots: pool.topology.slots))
        row.bind(9, copying: TopologyEncoding.encode(history: pool.topology.history))
        row.bind(10, Int64(version))
        row.bind(11, pool.backend.rawValue)
        row.bind(12, pool.isDeleting ? 1 : 0)
        if let owner = pool.owner { row.bind(13, owner) } else { row.bindNull(13) }
        if let bodies = pool.bodies { row.bind(14, bodies.text) } else { row.bindNull(14) }
        try row.run("write a pool")
        let shard = try database.prepare("INSERT INTO shards VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
        for entry in pool.topology.shards {
            shard.bind(1, pool.name.text)
            shard.bind(2, Int64(entry.index.number))
            shard.bind(3, entry.name)
            shard.bind(4, Int64(entry.weight))
            let address = pool.addresses[entry.index]
            let texts = [address?.queueURL, address?.region, address?.endpoint, address?.roleARN, address?.account]
            for (column, text) in zip(Int32(5)..., texts) {
                if let text { shard.bind(column, text) } else { shard.bindNull(column) }
            }
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
