// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CFaultyVFS
import QueuePoolCore
import QueuePoolTestSupport
import Synchronization
import Testing

@testable import QueuePoolEmbedded

/// A dead-letter queue that notes what it is sent, and answers as told.
final class DeadLetters: Sendable {
    enum Answer { case stored, refused, silent }

    private let state = Mutex<(ids: [String], answer: Answer)>(([], .stored))

    init(_ answer: Answer) { state.withLock { $0.answer = answer } }

    var ids: [String] { state.withLock { $0.ids } }

    func set(_ answer: Answer) { state.withLock { $0.answer = answer } }

    var sink: DeadLetterSink {
        { [self] messages, completion in
            let answer = state.withLock { state in
                state.ids += messages.map { $0.record.withView { String(decoding: $0.deduplicationID, as: UTF8.self) } }
                return state.answer
            }
            switch answer {
            case .silent: break
            case .refused: completion(messages.map { _ in .failure(.closed) })
            case .stored:
                completion(
                    messages.map { _ in
                        .success(
                            SendReceipt(
                                messageID: MessageID(high: 1, low: 1), sequence: SequenceNumber(rawValue: 1),
                                isDuplicate: false))
                    })
            }
        }
    }
}

@Suite("Moves to the dead-letter queue of an embedded shard")
struct DeadLetterTests {
    private func attributes() -> QueueAttributes {
        var attributes = QueueAttributes()
        attributes.visibilityTimeoutSeconds = 0
        attributes.redrive = RedrivePolicy(deadLetterQueue: "dead.fifo", maxReceiveCount: 1)
        return attributes
    }

    private func open(_ disk: FaultyDisk, _ letters: DeadLetters, _ name: String = "own") throws -> any Shard {
        let shard = try disk.open(name)
        shard.setAttributes(attributes())
        shard.setDeadLetterSink(letters.sink)
        return shard
    }

    /// Turns until something came about; each send is a turn of the store.
    private func turns(_ shard: any Shard, _ disk: FaultyDisk, until isDone: () -> Bool) async throws {
        for _ in 0..<200 where !isDone() {
            disk.pass(seconds: 2)
            _ = try await shard.put("turn")
            await Task.yield()
        }
    }

    @Test("delete what was stored there")
    func stored() async throws {
        let disk = try FaultyDisk()
        let letters = DeadLetters(.stored)
        let shard = try open(disk, letters)
        let id = try #require(try await shard.put("spent").first).messageID.description
        #expect(try await shard.get(1).map(\.body) == ["spent"])
        #expect(try await shard.get(1).isEmpty)
        try await turns(shard, disk) { shard.counts().movedToDeadLetter == 1 }
        #expect(letters.ids == [id])
        #expect(shard.counts().movedToDeadLetter == 1)
        shard.close()
    }

    @Test("are taken up again after a crash between the two writes, before anybody receives the message")
    func crash() async throws {
        let disk = try FaultyDisk()
        let before = DeadLetters(.silent)
        let shard = try open(disk, before)
        let id = try #require(try await shard.put("spent").first).messageID.description
        _ = try await shard.get(1)
        #expect(try await shard.get(1).isEmpty)
        #expect(before.ids == [id])
        try disk.losePower(to: "next")

        let after = DeadLetters(.stored)
        let next = try open(disk, after, "next")
        #expect(try await next.get(1).isEmpty, "a spent message was delivered after the crash")
        try await turns(next, disk) { next.counts().movedToDeadLetter == 1 }
        // The same id: the dead-letter queue stores no copy.
        #expect(after.ids == [id])
        next.close()

        let last = try open(disk, after, "next")
        try await turns(last, disk) { false }
        #expect(after.ids == [id], "what was moved is moved no more")
        last.close()
        shard.close()
    }

    @Test("to a queue that takes nothing are tried ever less often, and hold up their own group only")
    func refused() async throws {
        let disk = try FaultyDisk()
        let letters = DeadLetters(.refused)
        let shard = try open(disk, letters)
        let events = Mutex(0)
        shard.onEvent { event in if case .deadLetterFailed = event { events.withLock { $0 += 1 } } }
        _ = try await shard.put("spent")
        _ = try await shard.get(1)
        for _ in 0..<1_000 { #expect(try await shard.get(1).isEmpty) }
        #expect(letters.ids.count == 1, "receives made it try again")
        #expect(events.withLock { $0 } == 1)
        letters.set(.stored)
        disk.pass(seconds: 2)
        #expect(try await shard.get(1).isEmpty)
        try await turns(shard, disk) { shard.counts().movedToDeadLetter == 1 }
        #expect(shard.counts().movedToDeadLetter == 1)
        shard.close()
    }

    @Test("that have to wait are put back until the next try: nothing is ready before, and nobody is woken")
    func pause() async throws {
        let disk = try FaultyDisk()
        let letters = DeadLetters(.refused)
        let shard = try open(disk, letters)
        _ = try await shard.put("spent")
        _ = try await shard.get(1)
        #expect(try await shard.get(1).isEmpty)
        // The refusal was settled by the turn that this send waits for.
        _ = try await shard.put("turn")
        let start = disk.clock.now()
        #expect(shard.nextVisibleAt() == start + DeadLetterMoves.firstPause)
        #expect(shard.counts().inFlight == 1 && shard.counts().backlog == 1)
        let woken = Mutex(0)
        shard.onReady { woken.withLock { $0 += 1 } }
        for round in 0..<20 {
            #expect(try await shard.get(1).isEmpty, "round \(round)")
            _ = try await shard.put("\(round)")
        }
        #expect(woken.withLock { $0 } == 0, "woken for messages that nobody can have")
        #expect(letters.ids.count == 1)
        shard.close()
    }

    @Test("whose deletion could not be written wait, and count as moved only when it was; the failure is told once")
    func failedDeletion() async throws {
        let disk = try FaultyDisk()
        let shard = try open(disk, DeadLetters(.stored))
        let failures = Mutex(0)
        shard.onEvent { event in if case .commitsFail = event { failures.withLock { $0 += 1 } } }
        _ = try await shard.put("spent")
        let handle = try #require(try await shard.get(1).first).handle
        // The first flush is of the note of what is moved, the second of its deletion.
        disk.fail(FAULTY_SYNC, of: FAULTY_WAL, nth: 2)
        #expect(try await shard.get(1).isEmpty)
        // A delete waits for its turn, behind that of the move.
        _ = await shard.drop(handle)
        #expect(disk.failures == 1)
        #expect(shard.counts().movedToDeadLetter == 0)
        #expect(shard.counts().inFlight == 1)
        #expect(shard.nextVisibleAt() == disk.clock.now() + DeadLetterMoves.firstPause)
        for _ in 0..<3 { #expect(await shard.drop(handle) == false) }
        #expect(failures.withLock { $0 } == 1)
        shard.close()
    }
}
