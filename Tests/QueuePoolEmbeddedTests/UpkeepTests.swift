// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import QueuePoolTestSupport
import Synchronization
import Testing

@testable import QueuePoolEmbedded

/// A store with one shard, in memory if the machine has such a directory, and a clock that stands until it is moved.
final class UpkeepBench: Sendable {
    static let start = Timestamp(milliseconds: 1_800_000_000_000)

    let path: String
    let clock = ManualClock(UpkeepBench.start)
    let options: EmbeddedShardOptions
    let store: Store

    init() {
        let memory = FileManager.default.isWritableFile(atPath: "/dev/shm")
        path = (memory ? "/dev/shm" : FileManager.default.temporaryDirectory.path) + "/queuepool-\(UUID().uuidString)"
        options = EmbeddedShardOptions(pool: CommitPool(width: 1, clock: RealClock()), clock: clock)
        store = Store(path: path, pool: options.pool)
    }

    deinit { for ending in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: path + ending) } }

    func open(_ attributes: QueueAttributes = QueueAttributes()) throws -> EmbeddedShard {
        try store.open(name: "a-0000.fifo", attributes: attributes, options: options)
    }

    /// Rows of the log, all kinds together.
    func rowCount() throws -> Int { try store.rows(unlessAllAreIn: []).values.reduce(0, +) }
}

extension ManualClock {
    func pass(milliseconds: Int64) { advance(milliseconds: Int(milliseconds)) }
    func pass(seconds: Int64) { pass(milliseconds: seconds * 1_000) }
}

extension EmbeddedShard {
    func store(_ messages: (group: String, id: String)...) async throws -> [SendReceipt] {
        let outgoing = messages.map { message in
            let record = Array(message.id.utf8).withUnsafeBytes {
                MessageRecord(
                    group: Array(message.group.utf8), deduplicationID: Array(message.id.utf8), body: $0)
            }
            return OutgoingMessage(record: record, groupHash: XXHash64.hash(message.group))
        }
        return try await withCheckedContinuation { done in send(outgoing) { done.resume(returning: $0) } }.get()
    }

    func fetch(_ limit: Int = 10) async throws -> [ReceivedMessage] {
        try await receive(ReceiveCommand(limit: limit, visibilitySeconds: 43_200)).get()
    }

    func discard(_ messages: [ReceivedMessage]) async -> Bool {
        await withCheckedContinuation { (done: CheckedContinuation<[DeleteOutcome], Never>) in
            delete(messages.map(\.handle)) { done.resume(returning: $0) }
        }.allSatisfy { if case .deleted = $0 { true } else { false } }
    }
}

@Suite("Upkeep of a shard's log")
struct UpkeepTests {
    /// Eleven minutes in which the clock moves every thirty seconds only, so that nothing but the number of commits can
    /// keep upkeep going.
    @Test("keeps pace with the writer: after five minutes the log grows no more", arguments: [0, 100])
    func flat(stragglers: Int) async throws {
        let bench = UpkeepBench()
        let shard = try bench.open()
        var kept: [ReceivedMessage] = []
        var rows: [Int] = []
        var number = 0
        for _ in 0..<22 {
            bench.clock.pass(seconds: 30)
            for _ in 0..<200 {
                number += 1
                if stragglers > 0 {
                    _ = try await shard.store(("go\(number)", "\(number)"), ("stay\(number)", "stay \(number)"))
                } else {
                    _ = try await shard.store(("go\(number)", "\(number)"))
                }
                var taken = try await shard.fetch()
                if stragglers > 0 { kept.append(taken.removeLast()) }
                #expect(await shard.discard(taken))
                if kept.count > stragglers { #expect(await shard.discard([kept.removeFirst()])) }
            }
            rows.append(try bench.rowCount())
        }
        let early = rows[8..<11].max() ?? 0
        let late = rows[11...].max() ?? 0
        #expect(late < 2_500 + 4 * stragglers, "rows \(rows)")
        #expect(late < early + 200, "rows \(rows)")
        shard.close()
    }

    @Test("leaves every id that counts in the log, whatever slice its block went with")
    func keysSurvive() async throws {
        let bench = UpkeepBench()
        let shard = try bench.open()
        for number in 0..<500 {
            _ = try await shard.store(("g", "id \(number)"))
            #expect(await shard.discard(try await shard.fetch()))
            if number % 50 == 0 { bench.clock.pass(seconds: 1) }
        }
        shard.close()
        let again = try bench.open()
        for number in stride(from: 0, to: 500, by: 7) {
            #expect(try await again.store(("g", "id \(number)"))[0].isDuplicate, "id \(number)")
        }
        #expect(again.counts().backlog == 0, "nothing that was deleted came back")
        again.close()
    }

    @Test("goes on from turn to turn until a large backlog past retention is gone")
    func expiry() async throws {
        let bench = UpkeepBench()
        var attributes = QueueAttributes()
        attributes.retentionSeconds = 60
        let shard = try bench.open(attributes)
        let expired = Mutex(0)
        let (events, told) = AsyncStream<Int>.makeStream()
        shard.onEvent { event in if case .expired(let ids) = event { told.yield(ids.count) } }
        for number in 0..<35 {
            let record = Array("b".utf8).withUnsafeBytes { body in
                (0..<100).map { place in
                    OutgoingMessage(
                        record: MessageRecord(
                            group: Array("g".utf8), deduplicationID: Array("\(number) \(place)".utf8), body: body),
                        groupHash: XXHash64.hash("g"))
                }
            }
            _ = try await withCheckedContinuation { done in shard.send(record) { done.resume(returning: $0) } }.get()
        }
        bench.clock.pass(seconds: 61)
        // One turn is asked for; the others follow by themselves, with the clock standing still.
        _ = try await shard.store(("fresh", "fresh"))
        for await count in events {
            if expired.withLock({ total in
                total += count
                return total >= 3_500
            }) {
                break
            }
        }
        #expect(shard.counts().expired == 3_500 && shard.counts().backlog == 1)
        shard.close()
    }

    @Test("a receive that meets a message past retention drops it, and it stays dropped")
    func expiryAtReceive() async throws {
        let bench = UpkeepBench()
        var attributes = QueueAttributes()
        attributes.retentionSeconds = 60
        let shard = try bench.open(attributes)
        _ = try await shard.store(("g", "1"), ("g", "2"))
        // No second passes for the upkeep, but the retention period does for the messages.
        bench.clock.pass(milliseconds: 60_001)
        let (events, told) = AsyncStream<Int>.makeStream()
        shard.onEvent { event in if case .expired(let ids) = event { told.yield(ids.count) } }
        #expect(try await shard.fetch().isEmpty)
        var dropped = 0
        for await count in events {
            dropped += count
            if dropped == 2 { break }
        }
        shard.close()
        let again = try bench.open(attributes)
        #expect(again.counts().backlog == 0)
        again.close()
    }
}
