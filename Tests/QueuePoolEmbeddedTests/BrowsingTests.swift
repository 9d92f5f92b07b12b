// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolTestSupport
import Testing

@testable import QueuePoolEmbedded

@Suite("Reading a shard for people, and taking messages by number")
struct BrowsingTests {
    private func open(_ disk: FaultyDisk, _ name: String = "own") throws -> any BrowsableShard {
        try #require(try disk.open(name) as? any BrowsableShard)
    }

    private func bodies(_ messages: [ReceivedMessage]) -> [String] {
        messages.map { message in message.withView { String(decoding: $0.body, as: UTF8.self) } }
    }

    /// All of a shard, in pages.
    private func walk(_ shard: any BrowsableShard, by limit: Int) async throws -> [BrowsedMessage] {
        var found: [BrowsedMessage] = []
        while true {
            let page = try await shard.browse(after: found.last?.message.messageID.sequence, limit: limit).get()
            found += page.messages
            if page.isLast { return found }
            #expect(page.messages.count == limit)
        }
    }

    @Test("pages of every size are the whole, in order, from commits of several sizes", arguments: 1...8)
    func pages(limit: Int) async throws {
        let disk = try FaultyDisk()
        let shard = try open(disk)
        _ = try await shard.put("1")
        _ = try await shard.put("2", "3", "4")
        _ = try await shard.put("5", "6")
        let gone = try #require(try await shard.get(1).first)
        #expect(await shard.drop(gone.handle))
        let found = try await walk(shard, by: limit)
        #expect(bodies(found.map(\.message)) == ["2", "3", "4", "5", "6"])
        shard.close()
    }

    @Test("reading counts as no receive and hides nothing, and what is in flight is shown as that")
    func silent() async throws {
        let disk = try FaultyDisk()
        let shard = try open(disk)
        _ = try await shard.put("1", "2", "3")
        let before = shard.counts()
        _ = try await walk(shard, by: 2)
        #expect(shard.counts() == before)
        let received = try await shard.receive(ReceiveCommand(limit: 1)).get()
        #expect(received.map(\.receiveCount) == [1])
        #expect(try await walk(shard, by: 2).map(\.isInFlight) == [true, false, false])
        shard.close()
    }

    @Test("a message is taken from the middle of its group, deleted, and gone after a restart")
    func middle() async throws {
        let disk = try FaultyDisk()
        let shard = try open(disk)
        let sent = try await shard.put("1", "2", "3", "4")
        let claims = try await shard.claim([sent[1].sequence, sent[3].sequence], seconds: 30).get()
        #expect(bodies(claims.messages) == ["2", "4"])
        // What is behind a taken one waits for it; what is before it does not.
        #expect(try await shard.get().map(\.body) == ["1"])
        #expect(await shard.drop(claims.messages[0].handle))
        #expect(await shard.changeVisibility([(claims.messages[1].handle, 0)]) == [.changed])
        #expect(try await shard.claim([sent[1].sequence], seconds: 30).get().gone == 1)
        shard.close()
        let next = try open(disk)
        #expect(bodies(try await walk(next, by: 10).map(\.message)) == ["1", "3", "4"])
        next.close()
    }

    @Test("behind one that a receiver has, those of its group stay, from call to call")
    func held() async throws {
        let disk = try FaultyDisk()
        let shard = try open(disk)
        let sent = try await shard.put("1", "2", "3")
        #expect(try await shard.get(1).map(\.body) == ["1"])
        let first = try await shard.claim([sent[0].sequence], seconds: 30).get()
        #expect(first.held == 1 && first.messages.isEmpty)
        let second = try await shard.claim([sent[1].sequence], seconds: 30, heldGroups: first.heldGroups).get()
        #expect(second.held == 1 && second.messages.isEmpty)
        let without = try await shard.claim([sent[2].sequence], seconds: 30).get()
        #expect(bodies(without.messages) == ["3"])
        shard.close()
    }

    @Test("numbers that no message has are gone, whatever they are", arguments: [Int64.min, -1, 0, 1, .max])
    func strangers(number: Int64) async throws {
        let disk = try FaultyDisk()
        let shard = try open(disk)
        _ = try await shard.put("1")
        let claims = try await shard.claim([SequenceNumber(rawValue: number)], seconds: 30).get()
        #expect(claims.gone == 1 && claims.messages.isEmpty)
        shard.close()
    }
}
