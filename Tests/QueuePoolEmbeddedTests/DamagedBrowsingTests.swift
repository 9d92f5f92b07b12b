// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolTestSupport
import Testing

@testable import QueuePoolEmbedded

/// Rows of an open log, which nothing seals, whose bytes are not what they were.
@Suite struct `A damaged row among dead letters` {
    /// What makes a body of it, in SQL. As long as it was: another length is found when a shard is opened.
    static let damages = [
        "zeroblob(length(body))",
        // Each of its lengths is more than there is.
        "CAST(substr(body, 1, 8) || x'ffffff7f' || substr(body, 13) AS BLOB)",
        "CAST(substr(body, 1, 2) || x'ffff' || substr(body, 5) AS BLOB)",
        "CAST(substr(body, 1, 12) || x'ffffffff' || substr(body, 17) AS BLOB)",
    ]

    private func open(_ disk: FaultyDisk) throws -> any BrowsableShard {
        try #require(try disk.open() as? any BrowsableShard)
    }

    /// A shard opened again with messages of two groups, the third of which is damaged.
    private func damaged(by damage: String, _ disk: FaultyDisk) async throws -> (any BrowsableShard, [SequenceNumber]) {
        let first = try open(disk)
        var sent: [SendReceipt] = []
        for letters in [
            [letter("1"), letter("2")], [letter("3")], [letter("4")], [letter("5", group: "h"), letter("6")],
        ] { sent += try await first.put(letters) }
        first.close()
        let database = try Database(path: disk.store(0))
        try database.execute(
            "UPDATE log SET body = \(damage) WHERE id = (SELECT id FROM log WHERE kind = 1 ORDER BY id LIMIT 1 OFFSET 1)"
        )
        database.close()
        return (try open(disk), sent.map(\.sequence))
    }

    private func bodies(_ messages: [ReceivedMessage]) -> [String] {
        messages.map { message in message.withView { String(decoding: $0.body, as: UTF8.self) } }
    }

    @Test(arguments: damages) func `is passed by, and counted, in pages of every size`(damage: String) async throws {
        let disk = try FaultyDisk()
        let (shard, sent) = try await damaged(by: damage, disk)
        for limit in 1...7 {
            var found: [ReceivedMessage] = []
            var unreadable = 0
            var through: SequenceNumber?
            for _ in 0...sent.count {
                let page = try await shard.browse(after: through, limit: limit).get()
                found += page.messages.map(\.message)
                unreadable += page.unreadable
                #expect(page.messages.count + page.unreadable <= limit)
                through = page.through
                if page.isLast { break }
            }
            #expect(bodies(found) == ["1", "2", "4", "5", "6"])
            #expect(unreadable == 1 && through == sent.last)
        }
        shard.close()
    }

    @Test(arguments: damages) func `is never received, and hinders no other group`(damage: String) async throws {
        let disk = try FaultyDisk()
        let (shard, _) = try await damaged(by: damage, disk)
        var found: [String] = []
        for _ in 0..<4 {
            if let got = try? await shard.get() { found += got.map(\.body) }
        }
        #expect(found == ["1", "2", "5"], "what follows it in its group waits")
        shard.close()
    }

    @Test(arguments: damages) func `holds those of its group that were named behind it, and no other`(
        damage: String
    ) async throws {
        let disk = try FaultyDisk()
        let (shard, sent) = try await damaged(by: damage, disk)
        let first = try await shard.claim([sent[0], sent[2], sent[3], sent[4]], seconds: 30).get()
        #expect(bodies(first.messages) == ["1", "5"])
        #expect(first.unreadable == 1 && first.held == 1 && first.gone == 0)
        let second = try await shard.claim([sent[5]], seconds: 30, heldGroups: first.heldGroups).get()
        #expect(second.messages.isEmpty && second.held == 1)
        // It was given back, and whoever does not name it has the others.
        let others = try await shard.claim([sent[3], sent[5]], seconds: 30).get()
        #expect(bodies(others.messages) == ["4", "6"])
        #expect(try await shard.claim([sent[2]], seconds: 30).get().unreadable == 1)
        shard.close()
    }
}
