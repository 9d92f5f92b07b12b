// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import QueuePoolEmbedded
import Testing

@Suite("The control store in SQLite")
struct ControlStoreTests {
    private let path = NSTemporaryDirectory() + "queuepool-control-\(UUID().uuidString).sqlite"

    private func pool(_ name: String = "emails.fifo") throws -> PoolDefinition {
        let name = try #require(PoolName(name))
        return PoolDefinition(
            name: name, topology: try Topology(pool: name, shardCount: 2).adding(name: "emails-0002.fifo"),
            backend: .sqs,
            addresses: [
                ShardIndex(0): ShardAddress(region: "eu-central-1", queueURL: "https://x/1/a.fifo"),
                ShardIndex(2): ShardAddress(
                    endpoint: "http://y", region: "us-east-1", queueURL: "https://x/2/b.fifo", roleARN: "arn",
                    account: "2"),
            ], attributes: "{}", tags: ["a": "b"], quota: 300, createdAt: Timestamp(milliseconds: 7))
    }

    private func withStore(_ body: (SQLiteControlStore, SQLiteControlStore) throws -> Void) throws {
        defer { for suffix in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: path + suffix) } }
        try body(try SQLiteControlStore(path: path), try SQLiteControlStore(path: path))
    }

    @Test func `a pool read back is the pool that was written`() throws {
        try withStore { one, other in
            var pool = try pool()
            pool.version = try one.save(pool)
            #expect(try other.pools() == [pool])
            #expect(try other.pool(pool.name) == pool)
        }
    }

    @Test(arguments: [nil, "directory-1"] as [String?], [false, true])
    func `whose a pool is and whether it is being deleted are written and read back`(
        owner: String?, isDeleting: Bool
    ) throws {
        try withStore { one, other in
            var pool = try pool()
            pool.owner = owner
            pool.isDeleting = isDeleting
            pool.version = try one.save(pool)
            #expect(try other.pool(pool.name) == pool)
            #expect(try other.pools() == [pool])
            // And changed by whoever reads it.
            pool.owner = owner == nil ? "directory-2" : nil
            pool.isDeleting.toggle()
            pool.version = try other.save(pool)
            #expect(try one.pool(pool.name) == pool)
        }
    }

    @Test func `a pool is removed by who saw it last, and not if it was made anew`() throws {
        try withStore { one, other in
            var pool = try pool()
            pool.isDeleting = true
            pool.version = try one.save(pool)
            var stale = pool
            pool.quota = 1
            pool.version = try other.save(pool)
            #expect(throws: ControlStoreError.conflict(pool: "emails.fifo")) { try one.remove(stale) }
            #expect(try one.pool(pool.name) == pool)
            try one.remove(pool)
            // What is gone already is removed.
            try other.remove(pool)
            // Another pool of the same name and version, made later.
            let anew = PoolDefinition(
                name: pool.name, topology: pool.topology, attributes: "", createdAt: Timestamp(milliseconds: 8))
            _ = try one.save(anew)
            stale.version = 1
            #expect(throws: ControlStoreError.conflict(pool: "emails.fifo")) { try other.remove(stale) }
            #expect(try one.pool(pool.name)?.createdAt == anew.createdAt)
        }
    }

    @Test func `directories are found by their ids, at the place that was said last`() throws {
        try withStore { one, other in
            #expect(try one.directory("a") == nil)
            try one.record(directory: "a", path: "/x")
            try one.record(directory: "b", path: "/y")
            #expect(try other.directory("a") == "/x" && other.directory("b") == "/y")
            try other.record(directory: "a", path: "/z")
            #expect(try one.directory("a") == "/z" && one.directory("b") == "/y")
        }
    }

    @Test func `of two writers that saw the same, one is told`() throws {
        try withStore { one, other in
            var pool = try pool()
            pool.version = try one.save(pool)
            pool.quota = 1
            #expect(try other.save(pool) == 2)
            #expect(throws: ControlStoreError.conflict(pool: "emails.fifo")) { try one.save(pool) }
            pool.version = 0
            #expect(throws: ControlStoreError.conflict(pool: "emails.fifo")) { try one.save(pool) }
        }
    }

    @Test func `the revision grows with every write, and with nothing else`() throws {
        try withStore { one, other in
            let start = try one.revision()
            var pool = try pool()
            #expect(try one.save(pool) == 1)
            #expect(try other.revision() == start + 1)
            #expect(throws: ControlStoreError.self) { try other.save(pool) }
            #expect(try other.revision() == start + 1)
            pool.version = 1
            try other.remove(pool)
            #expect(try one.revision() == start + 2)
            #expect(try one.pool(pool.name) == nil)
        }
    }

    /// The schema of the program's first version, and what the next three added to it.
    private static let schemas = [
        """
        CREATE TABLE pools (
            name TEXT PRIMARY KEY, epoch INTEGER NOT NULL, next_index INTEGER NOT NULL, quota INTEGER,
            created_at INTEGER NOT NULL, modified_at INTEGER NOT NULL, attributes TEXT NOT NULL,
            slots BLOB NOT NULL, history BLOB NOT NULL) WITHOUT ROWID;
        CREATE TABLE shards (
            pool TEXT NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL, weight INTEGER NOT NULL,
            PRIMARY KEY (pool, number)) WITHOUT ROWID;
        CREATE TABLE tags (
            pool TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (pool, key)) WITHOUT ROWID;
        INSERT INTO pools VALUES ('old.fifo', 1, 1, 30, 5, 6, '', zeroblob(32768), zeroblob(0));
        INSERT INTO shards VALUES ('old.fifo', 0, 'old-0000.fifo', 100);
        INSERT INTO tags VALUES ('old.fifo', 'team', 'mail');
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
        UPDATE pools SET version = 4, backend = 'sqs';
        UPDATE shards SET queue_url = 'https://x/1/a.fifo', region = 'eu-central-1', account = '1';
        UPDATE revision SET number = 9;
        PRAGMA user_version = 2;
        """,
        """
        ALTER TABLE pools ADD COLUMN deleting INTEGER NOT NULL DEFAULT 0;
        UPDATE pools SET deleting = 1;
        PRAGMA user_version = 3;
        """,
        """
        ALTER TABLE pools ADD COLUMN owner TEXT;
        CREATE TABLE directories (id TEXT PRIMARY KEY, path TEXT NOT NULL) WITHOUT ROWID;
        UPDATE pools SET owner = 'directory-0';
        PRAGMA user_version = 4;
        """,
    ]

    /// 0: a file of the first version that says no version; 1: one that says it.
    @Test(arguments: 0...4) func `a file of an earlier version of the program opens, with its pools`(
        version: Int
    ) throws {
        defer { for suffix in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: path + suffix) } }
        let name = try #require(PoolName("old.fifo"))
        do {
            let database = try Database(path: path)
            for schema in ControlStoreTests.schemas.prefix(max(1, version)) { try database.execute(schema) }
            if version == 1 { try database.execute("PRAGMA user_version = 1") }
        }
        var expected = PoolDefinition(
            name: name, topology: try Topology(pool: name, shardCount: 1), attributes: "", tags: ["team": "mail"],
            quota: 30, createdAt: Timestamp(milliseconds: 5), version: 1)
        if version >= 2 {
            expected = PoolDefinition(
                name: name, topology: expected.topology, backend: .sqs,
                addresses: [
                    ShardIndex(0): ShardAddress(region: "eu-central-1", queueURL: "https://x/1/a.fifo", account: "1")
                ], attributes: "", tags: ["team": "mail"], quota: 30, createdAt: Timestamp(milliseconds: 5), version: 4)
        }
        expected.modifiedAt = Timestamp(milliseconds: 6)
        expected.isDeleting = version >= 3
        expected.owner = version >= 4 ? "directory-0" : nil
        #expect(try SQLiteControlStore(path: path).pools() == [expected])
        // Once more, and everything that came later can be written.
        let store = try SQLiteControlStore(path: path)
        #expect(try store.pools() == [expected])
        #expect(try store.revision() == (version >= 2 ? 9 : 1))
        expected.owner = "directory-1"
        expected.isDeleting.toggle()
        expected.version = try store.save(expected)
        try store.record(directory: "directory-1", path: "/x")
        #expect(try SQLiteControlStore(path: path).pools() == [expected])
        #expect(try store.directory("directory-1") == "/x")
        #expect(try store.table(ofPool: name) == LeaseTable())
        let worker = try #require(WorkerID("w"))
        let heartbeat = WorkerHeartbeat(worker: worker, beat: 1, renewedAt: Timestamp(milliseconds: 7), isLeaving: true)
        try store.renew(heartbeat, ofPool: name)
        var lease = ShardLease(shard: ShardIndex(0), owner: worker, acquiredAt: Timestamp(milliseconds: 8))
        lease.version = try store.write(lease, ofPool: name)
        let table = LeaseTable(heartbeats: [heartbeat], leases: [lease])
        #expect(try SQLiteControlStore(path: path).table(ofPool: name) == table)
    }

    @Test(arguments: [
        "UPDATE workers SET worker = 'a b'", "UPDATE leases SET owner = ''", "UPDATE leases SET next = '!'",
    ])
    func `leases that do not parse are told, not left out`(damage: String) throws {
        try withStore { one, other in
            let name = try pool().name
            _ = try one.save(pool())
            let worker = try #require(WorkerID("w"))
            try one.renew(
                WorkerHeartbeat(worker: worker, beat: 1, renewedAt: Timestamp(milliseconds: 7)), ofPool: name)
            _ = try one.write(
                ShardLease(shard: ShardIndex(0), owner: worker, acquiredAt: Timestamp(milliseconds: 8)), ofPool: name)
            #expect(try other.table(ofPool: name).leases.count == 1)
            try Database(path: path).execute(damage)
            #expect(throws: LeaseStoreError.failed(code: "DamagedLease")) { try other.table(ofPool: name) }
        }
    }

    @Test func `a lease that cannot be written is told by SQLite's code`() throws {
        try withStore { one, other in
            let name = try pool().name
            _ = try one.save(pool())
            try Database(path: path).execute("DROP TABLE leases")
            #expect(throws: LeaseStoreError.failed(code: "SQLite 1")) {
                try one.write(
                    ShardLease(shard: ShardIndex(0), acquiredAt: Timestamp(milliseconds: 8)), ofPool: name)
            }
            // The transaction that failed holds nobody up.
            let worker = try #require(WorkerID("w"))
            try other.renew(
                WorkerHeartbeat(worker: worker, beat: 1, renewedAt: Timestamp(milliseconds: 7)), ofPool: name)
        }
    }

    @Test func `a file of a later version is refused`() throws {
        defer { for suffix in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: path + suffix) } }
        do { try Database(path: path).execute("PRAGMA user_version = 99") }
        #expect(throws: ControlStoreError.unknownSchema(99)) { try SQLiteControlStore(path: path) }
    }
}
