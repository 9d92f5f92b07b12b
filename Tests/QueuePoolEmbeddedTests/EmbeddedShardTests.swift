// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import QueuePoolTestSupport
import Synchronization
import Testing

@testable import QueuePoolEmbedded

/// A shard in a directory of its own, and a clock that stands until it is moved.
private final class Bench: Sendable {
    let directory: String
    let clock = ManualClock()
    let pool = CommitPool(width: 2, clock: RealClock())

    init() throws {
        directory = FileManager.default.temporaryDirectory.path + "/queuepool-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    func pass(seconds: Int64) { clock.advance(milliseconds: Int(seconds) * 1_000) }

    func factory(_ folder: String = "own", cacheBytesMax: Int = 1 << 20) throws -> EmbeddedShardFactory {
        try FileManager.default.createDirectory(
            atPath: "\(directory)/\(folder)", withIntermediateDirectories: true)
        var options = EmbeddedShardOptions(pool: pool, clock: clock)
        options.cacheBytesMax = cacheBytesMax
        options.storeCount = 2
        return try EmbeddedShardFactory(directory: "\(directory)/\(folder)", options: options)
    }

    func open(_ folder: String = "own", name: String = "a-0000.fifo", cacheBytesMax: Int = 1 << 20) throws -> any Shard
    {
        try factory(folder, cacheBytesMax: cacheBytesMax).open(name: name, attributes: QueueAttributes())
    }

    /// What a crash leaves: the files as they are on the disk now, in another folder.
    func crashCopy(to copy: String) throws {
        try FileManager.default.copyItem(atPath: "\(directory)/own", toPath: "\(directory)/\(copy)")
    }
}

private func message(_ group: String, _ body: String, id: String? = nil) -> OutgoingMessage {
    let record = Array(body.utf8).withUnsafeBytes {
        MessageRecord(group: Array(group.utf8), deduplicationID: Array((id ?? body).utf8), body: $0)
    }
    return OutgoingMessage(record: record, groupHash: XXHash64.hash(group))
}

extension Shard {
    fileprivate func send(_ messages: [OutgoingMessage]) async throws -> [SendReceipt] {
        try await withCheckedContinuation { done in send(messages) { done.resume(returning: $0) } }.get()
    }

    fileprivate func take(_ limit: Int = 10) async throws -> [(body: String, message: ReceivedMessage)] {
        try await receive(ReceiveCommand(limit: limit)).get().map { message in
            (message.withView { String(decoding: $0.body, as: UTF8.self) }, message)
        }
    }

    fileprivate func remove(_ handles: [ReceiptHandle]) async -> [DeleteOutcome] {
        await withCheckedContinuation { done in delete(handles) { done.resume(returning: $0) } }
    }
}

@Suite("An embedded shard")
struct EmbeddedShardTests {
    @Test("gives back what it was sent after a clean stop, with receive counts and sequence numbers that grow")
    func cleanStop() async throws {
        let bench = try Bench()
        let first = try bench.open()
        let sent = try await first.send([message("g", "1"), message("g", "2"), message("h", "3")])
        #expect(try await first.take(1).map(\.body) == ["1"])
        first.close()
        let second = try bench.open()
        #expect(second.counts().inFlight == 1 && second.counts().backlog == 2)
        bench.pass(seconds: 31)
        let again = try await second.take()
        #expect(again.map(\.body).sorted() == ["1", "2", "3"])
        #expect(again.first { $0.body == "1" }?.message.receiveCount == 2)
        let later = try await second.send([message("g", "4")])
        #expect(later[0].sequence > sent[2].sequence)
        second.close()
    }

    @Test("has on stable storage what it answered: the files of that moment hold it")
    func durableBeforeAnswered() async throws {
        let bench = try Bench()
        let shard = try bench.open()
        for round in 0..<20 {
            _ = try await shard.send([message("g", "m\(round)")])
            try bench.crashCopy(to: "copy\(round)")
        }
        for round in [0, 7, 19] {
            let copy = try bench.open("copy\(round)")
            #expect(copy.counts().backlog == round + 1, "round \(round)")
            #expect(try await copy.take().first?.body == "m0")
            copy.close()
        }
        shard.close()
    }

    @Test("has a delete on stable storage before it answers")
    func durableDelete() async throws {
        let bench = try Bench()
        let shard = try bench.open()
        _ = try await shard.send([message("g", "1"), message("g", "2")])
        let taken = try await shard.take(1)
        guard case .deleted? = await shard.remove(taken.map(\.message.handle)).first else {
            Issue.record("not deleted")
            return
        }
        try bench.crashCopy(to: "copy")
        let copy = try bench.open("copy")
        #expect(try await copy.take().map(\.body) == ["2"])
        copy.close()
        shard.close()
    }

    @Test("remembers deduplication ids over a crash for five minutes, also of messages that are gone")
    func deduplication() async throws {
        let bench = try Bench()
        let shard = try bench.open()
        _ = try await shard.send([message("g", "1", id: "x")])
        _ = await shard.remove(try await shard.take().map(\.message.handle))
        _ = try await shard.send([message("g", "2", id: "y")])
        try bench.crashCopy(to: "copy")
        let copy = try bench.open("copy")
        #expect(try await copy.send([message("g", "other", id: "x")])[0].isDuplicate)
        bench.pass(seconds: 301)
        #expect(try await copy.send([message("g", "other", id: "x")])[0].isDuplicate == false)
        copy.close()
        shard.close()
    }

    @Test("puts what gathers into one commit")
    func groupCommit() async throws {
        let bench = try Bench()
        let shard = try bench.open()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<400 {
                group.addTask { _ = try await shard.send([message("g\(number % 7)", "\(number)")]) }
            }
            try await group.waitForAll()
        }
        #expect(shard.counts().sent == 400 && shard.counts().commits < 400)
        shard.close()
    }

    @Test("reads bodies from the file when none are kept in memory")
    func withoutCache() async throws {
        let bench = try Bench()
        let shard = try bench.open(cacheBytesMax: 0)
        _ = try await shard.send((0..<30).map { message("g", "\($0)") })
        #expect(try await shard.take().map(\.body) == (0..<10).map(String.init))
        shard.close()
    }

    @Test("refuses a file of another format, and a row that does not parse")
    func damage() async throws {
        let bench = try Bench()
        let shard = try bench.open()
        _ = try await shard.send([message("g", "1")])
        shard.close()
        let path = "\(bench.directory)/own/store-0.sqlite"
        let database = try Database(path: path)
        try database.execute("UPDATE log SET head = x'0102' WHERE kind = 1")
        database.close()
        #expect(throws: ShardOpenError.damagedRow(1)) { _ = try bench.open() }
        // Another shard of the same file is none the worse for it.
        try bench.open(name: "a-0002.fifo").close()
    }

    @Test("refuses to start beside a shard's file of an older format")
    func olderFormat() throws {
        let bench = try Bench()
        let factory = try bench.factory()
        FileManager.default.createFile(atPath: "\(bench.directory)/own/a-0000.fifo.sqlite", contents: Data([1]))
        #expect(throws: ShardOpenError.self) {
            _ = try factory.open(name: "a-0000.fifo", attributes: QueueAttributes())
        }
    }

    @Test("shares its file with others: each has its own messages, over crash, purge and removal")
    func sharedFile() async throws {
        let bench = try Bench()
        let factory = try bench.factory()
        let names = ["a-0000.fifo", "a-0002.fifo", "b-0004.fifo"]
        let shards = try names.map { try factory.open(name: $0, attributes: QueueAttributes()) }
        for round in 0..<5 {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (shard, name) in zip(shards, names) {
                    group.addTask { _ = try await shard.send([message("g", "\(name) \(round)")]) }
                }
                try await group.waitForAll()
            }
        }
        try bench.crashCopy(to: "copy")
        for name in names {
            let copy = try bench.open("copy", name: name)
            #expect(try await copy.take().map(\.body) == (0..<5).map { "\(name) \($0)" })
            copy.close()
        }
        let purged = try await withCheckedContinuation { done in shards[0].purge { done.resume(returning: $0) } }.get()
        #expect(purged == 5 && shards[0].counts().backlog == 0 && shards[1].counts().backlog == 5)
        shards[1].close()
        try factory.remove(name: names[1])
        let remade = try factory.open(name: names[1], attributes: QueueAttributes())
        #expect(remade.counts().backlog == 0 && remade.tag != shards[1].tag)
        remade.close()
        shards[0].close()
        shards[2].close()
        // Opened again alone and together, after a clean stop.
        let again = try factory.open(name: names[2], attributes: QueueAttributes())
        #expect(try await again.take().count == 5)
        let emptied = try factory.open(name: names[0], attributes: QueueAttributes())
        #expect(emptied.counts().backlog == 0)
        emptied.close()
        again.close()
    }

    @Test("spreads a pool's shards evenly over the files")
    func spread() throws {
        let bench = try Bench()
        let factory = try bench.factory()
        for number in 0..<4 { try factory.open(name: "a-000\(number).fifo", attributes: QueueAttributes()).close() }
        for file in 0..<2 {
            let database = try Database(path: "\(bench.directory)/own/store-\(file).sqlite")
            let rows = try database.prepare("SELECT count(*) FROM shards")
            #expect(try rows.next("count") && rows.integer(0) == 2)
            rows.finalize()
            database.close()
        }
    }
}
