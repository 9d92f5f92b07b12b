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

    @Test func `a file of the first version of the program opens, with its pools`() throws {
        defer { for suffix in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: path + suffix) } }
        let name = try #require(PoolName("old.fifo"))
        let topology = try Topology(pool: name, shardCount: 1)
        do {
            let database = try Database(path: path)
            try database.execute(
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
                INSERT INTO pools VALUES ('old.fifo', 1, 1, NULL, 5, 6, '', zeroblob(32768), zeroblob(0));
                INSERT INTO shards VALUES ('old.fifo', 0, 'old-0000.fifo', 100);
                """)
        }
        var expected = PoolDefinition(
            name: name, topology: topology, attributes: "", createdAt: Timestamp(milliseconds: 5), version: 1)
        expected.modifiedAt = Timestamp(milliseconds: 6)
        #expect(try SQLiteControlStore(path: path).pools() == [expected])
        #expect(try SQLiteControlStore(path: path).pools() == [expected])
    }

    @Test func `a file of a later version is refused`() throws {
        defer { for suffix in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: path + suffix) } }
        do { try Database(path: path).execute("PRAGMA user_version = 99") }
        #expect(throws: ControlStoreError.unknownSchema(99)) { try SQLiteControlStore(path: path) }
    }
}
