// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

// Keys are in the control store's own file, which nobody but its owner may read: the secret of a signature has to be kept
// as it is. A key and its secrets are written in one transaction, and the revision that the writer saw is compared in it.
// Keys have a revision of their own, so that a new key makes no server read all pools again, and the other way round.

/// Keys in the control store's file.
package struct SQLiteAccessKeyStore: AccessKeyStore {
    /// What the schema has for keys.
    static let tables =
        """
        CREATE TABLE access_keys (
            id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, rights TEXT NOT NULL, created_at INTEGER NOT NULL,
            revoked_at INTEGER, last_used_at INTEGER, revision INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE access_secrets (
            key TEXT NOT NULL, version INTEGER NOT NULL, secret TEXT NOT NULL, token_hash BLOB NOT NULL,
            created_at INTEGER NOT NULL, expires_at INTEGER, PRIMARY KEY (key, version)) WITHOUT ROWID;
        CREATE TABLE access_revision (number INTEGER NOT NULL);
        INSERT INTO access_revision VALUES (1);
        """
    /// What a later version of the schema adds; a key that was made before it has no limits.
    static let limitsColumn = "ALTER TABLE access_keys ADD COLUMN limits TEXT NOT NULL DEFAULT ''"

    private let control: SQLiteControlStore

    /// - Parameter control: the store whose file the keys are in.
    package init(_ control: SQLiteControlStore) { self.control = control }

    package func revision() throws(AccessKeyStoreError) -> Int {
        try run { (database) throws(DatabaseError) in
            let row = try database.prepare("SELECT number FROM access_revision")
            return .success(try row.next("read the revision of keys") ? Int(row.integer(0)) : 0)
        }
    }

    package func contents() throws(AccessKeyStoreError) -> StoredAccessKeys {
        try run { (database) throws(DatabaseError) in
            // All of one moment: a key that is rotated between two looks would seem to have no secret.
            try SQLiteControlStore.transaction(database, begin: "BEGIN") { () throws(DatabaseError) in
                .success(try SQLiteAccessKeyStore.contents(database))
            }
        }
    }

    package func create(_ key: AccessKey) throws(AccessKeyStoreError) -> Int {
        try change { (database) throws(DatabaseError) in
            let held = try database.prepare("SELECT 1 FROM access_keys WHERE id = ? OR name = ?")
            held.bind(1, key.id)
            held.bind(2, key.name)
            let isTaken = try held.next("look for a key")
            held.reset()
            guard !isTaken else { return .failure(.taken) }
            let row = try database.prepare("INSERT INTO access_keys VALUES (?, ?, ?, ?, ?, NULL, 1, ?)")
            row.bind(1, key.id)
            row.bind(2, key.name)
            row.bind(3, key.rights.text)
            row.bind(4, key.createdAt.milliseconds)
            if let time = key.revokedAt { row.bind(5, time.milliseconds) } else { row.bindNull(5) }
            row.bind(6, key.limits.text)
            try row.run("write a key")
            try SQLiteAccessKeyStore.writeSecrets(of: key, database)
            return .success(1)
        }
    }

    package func replace(_ key: AccessKey, ifRevision revision: Int) throws(AccessKeyStoreError) -> Int {
        try change { (database) throws(DatabaseError) in
            let held = try database.prepare("SELECT 1 FROM access_keys WHERE id = ? AND name = ? AND revision = ?")
            held.bind(1, key.id)
            held.bind(2, key.name)
            held.bind(3, Int64(revision))
            let isOurs = try held.next("read a key's revision")
            held.reset()
            guard isOurs else { return .failure(.conflict) }
            let row = try database.prepare(
                "UPDATE access_keys SET rights = ?, revoked_at = ?, revision = ?, limits = ? WHERE id = ?")
            row.bind(1, key.rights.text)
            if let time = key.revokedAt { row.bind(2, time.milliseconds) } else { row.bindNull(2) }
            row.bind(3, Int64(revision + 1))
            row.bind(4, key.limits.text)
            row.bind(5, key.id)
            try row.run("write a key")
            try SQLiteAccessKeyStore.removeSecrets(of: key.id, database)
            try SQLiteAccessKeyStore.writeSecrets(of: key, database)
            return .success(revision + 1)
        }
    }

    package func remove(_ key: AccessKey) throws(AccessKeyStoreError) {
        try change { (database) throws(DatabaseError) -> Result<Void, AccessKeyStoreError> in
            let held = try database.prepare("SELECT revision FROM access_keys WHERE id = ?")
            held.bind(1, key.id)
            let revision = try held.next("read a key's revision") ? Int(held.integer(0)) : nil
            held.reset()
            guard let revision else { return .success(()) }
            guard revision == key.revision else { return .failure(.conflict) }
            try SQLiteAccessKeyStore.removeSecrets(of: key.id, database)
            let row = try database.prepare("DELETE FROM access_keys WHERE id = ?")
            row.bind(1, key.id)
            try row.run("remove a key")
            return .success(())
        }
    }

    package func touch(_ id: String, at time: Timestamp) throws(AccessKeyStoreError) {
        try run { (database) throws(DatabaseError) -> Result<Void, AccessKeyStoreError> in
            let row = try database.prepare(
                "UPDATE access_keys SET last_used_at = ? WHERE id = ? AND (last_used_at IS NULL OR last_used_at <= ?)")
            row.bind(1, time.milliseconds)
            row.bind(2, id)
            row.bind(3, (time + -AccessKey.touchMilliseconds).milliseconds)
            try row.run("write a key's use")
            return .success(())
        }
    }

    // MARK: - Rows

    private static func contents(_ database: Database) throws(DatabaseError) -> StoredAccessKeys {
        var contents = StoredAccessKeys()
        let rows = try database.prepare(
            """
            SELECT id, name, rights, created_at, revoked_at, last_used_at, revision, limits FROM access_keys
            ORDER BY name
            """)
        while try rows.next("read keys") {
            func time(_ column: Int32) -> Timestamp? {
                rows.isNull(column) ? nil : Timestamp(milliseconds: rows.integer(column))
            }
            let secrets = try secrets(of: rows.text(0), database)
            guard let rights = AccessRights(text: rows.text(2)), let limits = CallerLimits(text: rows.text(7)),
                let secrets
            else {
                contents.unreadable.append(rows.text(0))
                continue
            }
            contents.keys.append(
                AccessKey(
                    id: rows.text(0), name: rows.text(1), rights: rights, limits: limits, secrets: secrets,
                    createdAt: Timestamp(milliseconds: rows.integer(3)), revokedAt: time(4), lastUsedAt: time(5),
                    revision: Int(rows.integer(6))))
        }
        return contents
    }

    /// - Returns: `nil` if one of them is none.
    private static func secrets(of key: String, _ database: Database) throws(DatabaseError) -> [AccessSecret]? {
        let rows = try database.prepare(
            "SELECT version, secret, token_hash, created_at, expires_at FROM access_secrets WHERE key = ?")
        rows.bind(1, key)
        var found: [AccessSecret] = []
        while try rows.next("read secrets") {
            let hash = rows.bytes(2)
            // An empty secret would let everybody in who signs with none.
            guard !rows.text(1).isEmpty, hash.count == AccessKey.tokenHashBytes else { return nil }
            found.append(
                AccessSecret(
                    version: Int(rows.integer(0)), secret: rows.text(1), tokenHash: hash,
                    createdAt: Timestamp(milliseconds: rows.integer(3)),
                    expiresAt: rows.isNull(4) ? nil : Timestamp(milliseconds: rows.integer(4))))
        }
        return found
    }

    private static func writeSecrets(of key: AccessKey, _ database: Database) throws(DatabaseError) {
        let row = try database.prepare("INSERT INTO access_secrets VALUES (?, ?, ?, ?, ?, ?)")
        for secret in key.secrets {
            row.bind(1, key.id)
            row.bind(2, Int64(secret.version))
            row.bind(3, secret.secret)
            row.bind(4, copying: secret.tokenHash)
            row.bind(5, secret.createdAt.milliseconds)
            if let time = secret.expiresAt { row.bind(6, time.milliseconds) } else { row.bindNull(6) }
            try row.run("write a secret")
        }
    }

    private static func removeSecrets(of key: String, _ database: Database) throws(DatabaseError) {
        let row = try database.prepare("DELETE FROM access_secrets WHERE key = ?")
        row.bind(1, key)
        try row.run("remove secrets")
    }

    // MARK: - Transactions

    /// Makes a change and counts it.
    private func change<R: Sendable>(
        _ body: (Database) throws(DatabaseError) -> Result<R, AccessKeyStoreError>
    ) throws(AccessKeyStoreError) -> R {
        try run { (database) throws(DatabaseError) in
            try SQLiteControlStore.transaction(database) { () throws(DatabaseError) in
                let result = try body(database)
                if case .success = result { try database.execute("UPDATE access_revision SET number = number + 1") }
                return result
            }
        }
    }

    private func run<R: Sendable>(
        _ body: (Database) throws(DatabaseError) -> Result<R, AccessKeyStoreError>
    ) throws(AccessKeyStoreError) -> R {
        let result: Result<R, AccessKeyStoreError>
        do throws(ControlStoreError) {
            result = try control.run { (database) throws(DatabaseError) in try body(database) }
        } catch {
            guard case .failed(let code) = error else { throw .failed(code: "SQLite") }
            throw .failed(code: "SQLite error \(code)")
        }
        return try result.get()
    }
}
