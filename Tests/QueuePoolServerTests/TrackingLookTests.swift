// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Foundation
import QueuePoolCore
import QueuePoolRuntime
import Synchronization
import Testing

@testable import QueuePoolServer

/// Records in memory.
private final class Shelf: TrackingStore {
    private let records = Mutex<[String: TrackingRecord]>([:])

    func save(_ records: [TrackingRecord], ofPool pool: PoolName, expiresAt: Timestamp) {
        self.records.withLock { kept in
            for record in records { kept["\(pool)/\(record.id)"] = record }
        }
    }

    func record(_ id: String, ofPool pool: PoolName, now: Timestamp) -> TrackingRecord? {
        records.withLock { $0["\(pool)/\(id)"] }
    }

    func removeAll(ofPool pool: PoolName) {}
}

/// The system's time; whoever waits is counted and goes on at once.
private final class CountedClock: Clock {
    private let count = Mutex(0)
    private let queue = DispatchQueue(label: "queuepool.tests.counted-clock")
    private let atWait: @Sendable (Int) -> Void
    var waits: Int { count.withLock { $0 } }

    /// - Parameter atWait: called with the number of the wait before it ends.
    init(atWait: @escaping @Sendable (Int) -> Void = { _ in }) { self.atWait = atWait }

    func now() -> Timestamp { SystemClock().now() }
    func wallTime() -> Timestamp { SystemClock().wallTime() }

    func schedule(at time: Timestamp, _ body: @escaping @Sendable () -> Void) {
        let number = count.withLock { count in
            count += 1
            return count
        }
        queue.async {
            self.atWait(number)
            body()
        }
    }
}

/// The system's clock, of which no time is seen to pass: what was deleted a moment ago stays so on a slow machine.
private struct StillClock: Clock {
    private let time = SystemClock().now()

    func now() -> Timestamp { time }
    func wallTime() -> Timestamp { SystemClock().wallTime() }
    func schedule(at time: Timestamp, _ body: @escaping @Sendable () -> Void) {
        SystemClock().schedule(at: time, body)
    }
}

@Suite struct `A look for a message by its id` {
    private let shelf = Shelf()
    private let stage: ServiceStage
    private let pool: Pool
    private let tracking: MessageTracking

    init() throws {
        stage = try ServiceStage(shards: 1, tracking: shelf, clock: StillClock())
        pool = try #require(stage.registry.pool("mail.fifo"))
        tracking = try #require(stage.registry.tracking)
    }

    private func send() async throws -> MessageID {
        let text = #"{"QueueUrl":"mail.fifo","MessageGroupId":"g","MessageDeduplicationId":"d","MessageBody":"b"}"#
        let sent = try await stage.sqs("SendMessage", text)
        return try #require((sent.json["MessageId"] as? String).flatMap { MessageID($0) })
    }

    private func receiveAndDelete() async throws {
        let received = try await stage.sqs("ReceiveMessage", "{\"QueueUrl\":\"mail.fifo\"}")
        let messages = try #require(received.json["Messages"] as? [[String: Any]])
        let handle = try #require(messages.first?["ReceiptHandle"] as? String)
        let deleted = try await stage.sqs(
            "DeleteMessage", "{\"QueueUrl\":\"mail.fifo\",\"ReceiptHandle\":\"\(handle)\"}")
        #expect(deleted.status == 200)
    }

    /// Its state; `nil` for an answer of 404.
    private func look(_ id: MessageID, _ clock: CountedClock) async throws -> String? {
        do {
            let answer = try await TrackingService(tracking: tracking, clock: clock).show(pool, id: id.description)
            let json = try JSONSerialization.jsonObject(with: Data(answer.body)) as? [String: Any]
            return json?["state"] as? String
        } catch let problem as Problem {
            #expect(problem.status == 404)
            return nil
        }
    }

    @Test func `waits for no news of one that the shard never had`() async throws {
        let known = try await send()
        let clock = CountedClock()
        for step in [-1, 1] as [Int64] {
            let sequence = SequenceNumber(rawValue: known.sequence.rawValue + step)
            #expect(try await look(MessageID(shard: known.shard, sequence: sequence), clock) == nil)
        }
        #expect(try await look(known, clock) == "queued")
        #expect(clock.waits == 0)
    }

    @Test func `waits for what a worker tells of one that it has just deleted`() async throws {
        let id = try await send()
        try await receiveAndDelete()
        let clock = CountedClock { [shelf, pool] number in
            guard number == 2 else { return }
            shelf.save(
                [TrackingRecord(id: id.description, state: .sent, at: SystemClock().wallTime())], ofPool: pool.name,
                expiresAt: .distantFuture)
        }
        #expect(try await look(id, clock) == "sent")
        #expect(clock.waits == 2)
    }

    @Test func `does not wait for ever for a consumer that tells nothing`() async throws {
        let id = try await send()
        try await receiveAndDelete()
        let clock = CountedClock()
        #expect(try await look(id, clock) == nil)
        #expect(clock.waits == 5)
    }

    @Test func `finds at once what this process knows and has not saved yet`() async throws {
        let known = try await send()
        let id = MessageID(
            shard: known.shard, sequence: SequenceNumber(rawValue: known.sequence.rawValue + 1))
        tracking.note(.movedToDeadLetter([id]), ofPool: pool.name)
        let clock = CountedClock()
        #expect(try await look(id, clock) == "dead")
        #expect(clock.waits == 0)
    }
}
