// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CFaultyVFS
import QueuePoolCore
import QueuePoolTestSupport
import Synchronization
import Testing

@testable import QueuePoolEmbedded

@Suite(.timeLimit(.minutes(1))) struct `What follows a move to the dead-letter queue` {
    /// Stands until a test moves it: a receive waits for its moves by these seconds, however long the test takes.
    private let seconds = ManualClock()
    private let disk: FaultyDisk

    init() throws { disk = try FaultyDisk(seconds: seconds) }

    private func attributes(givesUpAfter receives: Int? = 1) -> QueueAttributes {
        var attributes = QueueAttributes()
        attributes.visibilityTimeoutSeconds = 0
        attributes.redrive = receives.map { RedrivePolicy(deadLetterQueue: "dead.fifo", maxReceiveCount: $0) }
        return attributes
    }

    /// A shard whose messages are visible again at once, and are moved instead of received a second time.
    private func open(_ letters: DeadLetters) throws -> any Shard {
        let shard = try disk.open()
        shard.setAttributes(attributes())
        shard.setDeadLetterSink(letters.sink)
        return shard
    }

    private func receive(_ shard: any Shard, _ command: ReceiveCommand) async throws -> [ReceivedMessage] {
        try await shard.receive(command).get()
    }

    private func bodies(_ messages: [ReceivedMessage]) -> [String] {
        messages.map { message in message.withView { String(decoding: $0.body, as: UTF8.self) } }
    }

    /// Waits until a message was sent to the dead-letter queue.
    private func sent(to letters: DeadLetters) async { while letters.ids.isEmpty { await Task.yield() } }

    @Test func `comes in the same receive`() async throws {
        let letters = DeadLetters(.stored)
        let shard = try open(letters)
        let ids = try await shard.put("spent", "follower").map(\.messageID.description)
        #expect(try await shard.get(1).map(\.body) == ["spent"])
        #expect(try await shard.get(1).map(\.body) == ["follower"])
        #expect(letters.ids == [ids[0]])
        #expect(shard.counts().movedToDeadLetter == 1)
        shard.close()
    }

    @Test func `comes in the same receive after several moves, which keep their order`() async throws {
        let letters = DeadLetters(.stored)
        let shard = try open(letters)
        let ids = try await shard.put("1", "2", "3").map(\.messageID.description)
        #expect(try await shard.get(3).map(\.body) == ["1", "2", "3"])
        _ = try await shard.put("follower", "next")
        #expect(try await shard.get(10).map(\.body) == ["follower", "next"])
        #expect(letters.ids == ids)
        shard.close()
    }

    @Test func `is what a repeat of the attempt gets as well`() async throws {
        let shard = try open(DeadLetters(.stored))
        _ = try await shard.put("spent", "follower", "next")
        _ = try await shard.get(1)
        let attempt = ReceiveCommand(limit: 1, visibilitySeconds: 30, attemptID: "attempt")
        let first = try await receive(shard, attempt)
        #expect(bodies(first) == ["follower"])
        #expect(try await receive(shard, attempt).map(\.handle) == first.map(\.handle))
        shard.close()
    }

    @Test func `does not pass a message that the dead-letter queue refused, also once no policy is set`() async throws {
        let letters = DeadLetters(.refused)
        let shard = try open(letters)
        _ = try await shard.put("spent", "follower")
        _ = try await shard.get(1)
        #expect(try await shard.get(10).isEmpty)
        #expect(letters.ids.count == 1)
        shard.setAttributes(attributes(givesUpAfter: nil))
        #expect(try await shard.get(10).isEmpty, "the refused message waits for the next try")
        disk.pass(seconds: 2)
        #expect(try await shard.get(10).map(\.body) == ["spent", "follower"])
        shard.close()
    }

    @Test func `does not pass a message whose deletion was not written`() async throws {
        let shard = try open(DeadLetters(.stored))
        _ = try await shard.put("spent", "follower")
        _ = try await shard.get(1)
        // The first flush is of the note of what is moved, the second of its deletion.
        disk.fail(FAULTY_SYNC, of: FAULTY_WAL, nth: 2)
        #expect(try await shard.get(10).isEmpty)
        #expect(disk.failures == 1)
        shard.close()
    }

    @Test func `is waited for a bounded time, and no more once the dead-letter queue let a receive wait in vain`()
        async throws
    {
        let letters = DeadLetters(.silent)
        let shard = try open(letters)
        _ = try await shard.put("spent", "follower")
        _ = try await shard.get(1)
        async let waiting = shard.get(1)
        await sent(to: letters)
        for _ in 0..<2 { seconds.advance(milliseconds: 1_000) }
        #expect(try await waiting.isEmpty)
        let answered = letters.ids.count
        for number in 0..<40 {
            _ = try await shard.put([letter("spent \(number)", group: "h\(number)")])
            #expect(try await shard.get(1).map(\.body) == ["spent \(number)"])
            // No second passes any more: one that waited would wait for ever.
            #expect(try await shard.get(1).isEmpty)
        }
        #expect(letters.ids.count == answered + 40)
        shard.close()
    }

    @Test func `holds up no other group's messages`() async throws {
        let letters = DeadLetters(.silent)
        let shard = try open(letters)
        _ = try await shard.put("spent", "follower")
        _ = try await shard.get(1)
        async let waiting = shard.get(1)
        await sent(to: letters)
        _ = try await shard.put([letter("other", group: "h")])
        #expect(try await waiting.map(\.body) == ["other"])
        shard.close()
    }

    @Test func `is not waited for when the shard closes`() async throws {
        let letters = DeadLetters(.silent)
        let shard = try open(letters)
        _ = try await shard.put("spent", "follower")
        _ = try await shard.get(1)
        async let waiting = shard.get(1)
        await sent(to: letters)
        shard.close()
        #expect(try await waiting.isEmpty)
    }

    @Test func `is given to whoever made the move, before others are told of it`() async throws {
        let shard = try open(DeadLetters(.stored))
        let stolen = Mutex(0)
        _ = try await shard.put("spent", "follower")
        _ = try await shard.get(1)
        shard.onReady { [weak shard] in
            let take: @Sendable (ReceiveAnswer) -> Void = { result in
                if case .success(let messages) = result { stolen.withLock { $0 += messages.count } }
            }
            if let known = shard?.receive(ReceiveCommand(limit: 10, visibilitySeconds: 30), completion: take) {
                take(known)
            }
        }
        #expect(try await shard.get(1).map(\.body) == ["follower"])
        shard.close()
    }
}
