// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

extension LogFile {
    /// Rows that one slice looks at: what it reads and writes takes a few milliseconds.
    static let sliceRowsMax = 512
    /// Bytes of bodies after which a slice ends. To free a body, SQLite reads all of it.
    static let sliceBytesMax = 4 << 20

    static func identities(_ database: Database) throws(DatabaseError) -> [String: LogIdentity] {
        var found: [String: LogIdentity] = [:]
        let select = try database.prepare("SELECT number, name, tag, key0, key1 FROM shards")
        while try select.next("read the shards") {
            found[select.text(1)] = LogIdentity(
                number: select.integer(0), tag: ShardTag(rawValue: UInt64(bitPattern: select.integer(2))),
                deduplicationHash: SipHash128(
                    key0: UInt64(bitPattern: select.integer(3)), key1: UInt64(bitPattern: select.integer(4))))
        }
        return found
    }

    /// The shard's identity, made if it has none yet; on stable storage when this returns.
    func identity(of name: String, random: () -> UInt64) throws(DatabaseError) -> LogIdentity {
        if let known = identities[name] { return known }
        let identity = LogIdentity(
            number: (identities.values.map(\.number) + leaving.keys).reduce(0, max) + 1,
            tag: ShardTag(rawValue: random()),
            deduplicationHash: SipHash128(key0: random(), key1: random()))
        try commit { () throws(DatabaseError) in
            let insert = try database.prepare(
                "INSERT INTO shards (number, name, tag, key0, key1) VALUES (?, ?, ?, ?, ?)")
            insert.bind(1, identity.number)
            insert.bind(2, name)
            insert.bind(3, Int64(bitPattern: identity.tag.rawValue))
            insert.bind(4, Int64(bitPattern: identity.deduplicationHash.key0))
            insert.bind(5, Int64(bitPattern: identity.deduplicationHash.key1))
            try insert.run("add a shard")
        }
        identities[name] = identity
        return identity
    }

    /// Begins a shard's removal: from now on nobody knows it, whatever happens; its rows go in slices.
    func beginRemoval(of name: String) throws(DatabaseError) {
        guard let identity = identities[name] else { return }
        try commit { () throws(DatabaseError) in
            for query in ["INSERT INTO leaving (number) VALUES (?)", "DELETE FROM shards WHERE number = ?"] {
                let statement = try database.prepare(query)
                statement.bind(1, identity.number)
                try statement.run("remove a shard")
            }
        }
        identities[name] = nil
        leaving[identity.number] = 0
    }

    /// Removes rows of shards that are leaving: a bounded number, so that other shards' senders do not wait long.
    /// - Returns: whether there are more.
    func removeSlice() throws(DatabaseError) -> Bool {
        guard let (number, after) = leaving.min(by: { $0.key < $1.key }) else { return false }
        let slice = try removalSlice(number, after: after)
        try commit { () throws(DatabaseError) in
            for row in slice.rows { try delete(row: row) }
            if slice.isLast { try database.execute("DELETE FROM leaving WHERE number = \(number)") }
        }
        leaving[number] = slice.isLast ? nil : slice.end
        return !leaving.isEmpty
    }

    private func removalSlice(
        _ number: Int64, after: Int64
    ) throws(DatabaseError) -> (rows: [Int64], end: Int64, isLast: Bool) {
        let found = try database.prepare(
            "SELECT id, shard, length(body) FROM log WHERE id > ? ORDER BY id LIMIT \(LogFile.sliceRowsMax)")
        found.bind(1, after)
        var (rows, end, count, bytes) = ([Int64](), after, 0, 0)
        while bytes < LogFile.sliceBytesMax {
            guard try found.next("find rows to remove") else { return (rows, end, count < LogFile.sliceRowsMax) }
            end = found.integer(0)
            count += 1
            guard found.integer(1) == number else { continue }
            rows.append(end)
            bytes += Int(found.integer(2))
        }
        found.reset()
        return (rows, end, false)
    }

    /// The shards whose removal was begun and not finished, each with the last row that was looked at.
    static func leaving(_ database: Database) throws(DatabaseError) -> [Int64: Int64] {
        var found: [Int64: Int64] = [:]
        let select = try database.prepare("SELECT number FROM leaving")
        while try select.next("read the shards that are leaving") { found[select.integer(0)] = 0 }
        return found
    }

    /// The shards, with how many rows each has. Reads the whole index of rows, and no body.
    func rows() throws(DatabaseError) -> [String: Int] {
        var found = identities.mapValues { _ in 0 }
        let rows = try database.prepare(
            "SELECT name, count(*) FROM log JOIN shards ON shards.number = log.shard GROUP BY log.shard")
        while try rows.next("count rows") { found[rows.text(0)] = Int(rows.integer(1)) }
        return found
    }
}
