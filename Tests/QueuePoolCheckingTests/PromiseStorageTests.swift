// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking
import QueuePoolCore
import Testing

/// I1, I4, I7, liveness, and what nobody sent.
@Suite struct PromiseStorageTests {
    // MARK: - I1, I7, liveness -

    @Test func `every end that can be told is an end`() {
        var story = Story()
        story.send(1, 2, 3)
        story.deliver(1)
        story.deadLetter(2)
        story.expire(3)
        story.finish()
        #expect(story.broken == [])
        #expect(story.checker.counts.accepted == 3)
    }

    @Test func `an accepted message that is never handed is lost`() {
        var story = Story()
        story.send(1, 2)
        story.deliver(1)
        story.finish()
        #expect(story.broken == [.durable])
        #expect(story.checker.violations.first?.message == 2)
    }

    @Test func `one of which a duplicate was acknowledged is lost too`() {
        var story = Story()
        let lost = story.begin(1)
        story.refuse(lost, isUnknown: true)
        let again = story.begin(1)
        story.accept(again, id: 1, isDuplicate: true)
        story.finish()
        #expect(story.broken == [.durable])
    }

    @Test func `what was refused, is in doubt or has no answer need not come`() {
        var story = Story()
        let refused = story.begin(1)
        story.refuse(refused)
        let doubted = story.begin(2)
        story.refuse(doubted, isUnknown: true)
        _ = story.begin(3)
        story.finish()
        #expect(story.broken == [])
    }

    @Test func `what was refused for certain and comes all the same is counted`() {
        var story = Story()
        let refused = story.begin(1)
        story.refuse(refused)
        let doubted = story.begin(2)
        story.refuse(doubted, isUnknown: true)
        story.deliver(1, 2)
        story.finish()
        #expect(story.broken == [])
        #expect(story.checker.counts.handedThoughRefused == 1)
    }

    @Test(arguments: [false, true])
    func `where a refusal is final, what was refused in every try must not be handed`(isHandedFirst: Bool) {
        let now = Timestamp(milliseconds: 1_000)
        var checker = PromiseChecker(refusalsAreFinal: true)
        checker.began(request: 1, entries: [(message: 1, group: 0), (message: 2, group: 1)], now: now)
        if isHandedFirst { checker.handed(message: 1, messageID: 1, worker: 0, now: now) }
        #expect(checker.violations.isEmpty)
        checker.refused(request: 1, entry: 0, isUnknown: false, now: now)
        checker.refused(request: 1, entry: 1, isUnknown: true, now: now)
        if !isHandedFirst { checker.handed(message: 1, messageID: 1, worker: 0, now: now) }
        checker.handed(message: 2, messageID: 2, worker: 0, now: now)
        #expect(checker.violations.map(\.promise) == [.authenticity])
        #expect(checker.violations.map(\.message) == [1])
    }

    @Test func `a message that was handed and then vanished is lost silently`() {
        var story = Story()
        story.send(1)
        story.hand(1)
        story.end(worker: 0)
        story.finish()
        #expect(story.broken == [.nothingLost])
    }

    @Test func `a message that was deleted and never handed is lost silently`() {
        var story = Story()
        story.send(1)
        story.delete(1)
        story.finish()
        #expect(story.broken == [.nothingLost])
        #expect(story.texts == ["was deleted and never handed"])
    }

    @Test func `what is dead untried may be deleted`() {
        var story = Story()
        story.send(1)
        story.deadLetter(1)
        story.delete(1)
        story.finish()
        #expect(story.broken == [])
    }

    @Test func `a message that the queue still has is stuck, not lost`() {
        var story = Story()
        story.send(1, group: 1)
        story.send(2, group: 2)
        story.hand(2)
        story.stopFaults()
        story.wait(milliseconds: 60_000)
        story.finish(stillQueued: [1, 2])
        #expect(story.broken == [.liveness, .liveness])
        #expect(story.texts.first == "was accepted and is still queued, not handed, 60001 ms after the faults stopped")
    }

    @Test func `a redriven message that never comes again is lost`() {
        var story = Story()
        story.send(1)
        story.hand(1)
        story.deadLetter(1)
        story.redrive(1)
        story.finish()
        #expect(story.broken == [.durable])
    }

    // MARK: - I4 -

    @Test func `a group has one shard, and groups have their own`() {
        var story = Story()
        story.send(1, 2, group: 1, shard: 3)
        story.send(3, 4, group: 2, shard: 4)
        #expect(story.broken == [])
    }

    @Test func `a group on two shards in one epoch is misplaced`() {
        var story = Story()
        story.send(1, shard: 3)
        story.send(2, shard: 4)
        #expect(story.broken == [.placement])
        #expect(story.texts == ["was stored on shard 4, and its group on shard 3 in the same epoch"])
    }

    @Test func `a group may have another shard in another epoch, and one only`() {
        var story = Story()
        story.send(1, shard: 3)
        story.changeEpoch()
        story.send(2, 3, shard: 4)
        #expect(story.broken == [])
        story.send(4, shard: 3)
        #expect(story.broken == [.placement])
    }

    @Test func `a request that saw the epoch change may have been stored in either`() {
        var story = Story()
        story.send(1, shard: 3)
        let slow = story.begin(2)
        story.changeEpoch()
        story.send(3, shard: 4)
        story.accept(slow, id: 2, shard: 3)
        story.send(4, shard: 4)
        #expect(story.broken == [])
    }

    @Test func `a duplicate of an earlier epoch's message may name that epoch's shard`() {
        var story = Story()
        story.send(1, shard: 3)
        story.changeEpoch()
        story.send(2, shard: 4)
        let again = story.begin(1)
        story.accept(again, id: 1, isDuplicate: true, shard: 3)
        #expect(story.broken == [])
    }

    // MARK: - What nobody sent -

    @Test func `a message that nobody began is corrupted`() {
        var story = Story()
        story.hand(1)
        story.deadLetter(2)
        story.delete(3)
        story.expire(4)
        #expect(story.broken == [.authenticity, .authenticity, .authenticity, .authenticity])
        #expect(story.checker.violations.first?.group == -1)
    }

    @Test func `an answer that nobody waits for is corrupted`() {
        var story = Story()
        let request = story.begin(1, 2)
        story.accept(request, 0, id: 1)
        story.accept(request, 0, id: 1)
        story.refuse(request, 2)
        story.refuse(99, 0)
        #expect(story.broken == [.authenticity, .authenticity, .authenticity])
    }

    @Test func `a request number that begins twice is corrupted`() {
        var checker = PromiseChecker()
        checker.began(request: 1, entries: [(1, 0)], now: Timestamp(milliseconds: 1))
        checker.began(request: 1, entries: [(2, 0)], now: Timestamp(milliseconds: 2))
        #expect(checker.violations.map(\.description) == ["corrupted at 2 ms: request 1 began twice"])
    }

    // MARK: - What is kept -

    @Test func `the first violations are kept and all are counted`() {
        var story = Story()
        for message in 0..<50 { story.send(message, shard: message) }
        #expect(story.checker.violations.count == 20)
        #expect(story.checker.broken == [.placement: 49])
        #expect(story.checker.violations.map(\.message) == Array(1...20))
        story.finish()
        #expect(story.checker.violations.count == 20)
        #expect(story.checker.broken == [.placement: 49, .durable: 50])
    }

    @Test func `a violation reads as one line`() {
        var story = Story()
        story.send(7, group: 3)
        story.finish()
        #expect(
            story.checker.violations.map(\.description) == [
                "I1 at 1800000000003 ms: message 7 of group 3 was accepted and never handed, and the queue does not have it"
            ])
    }
}
