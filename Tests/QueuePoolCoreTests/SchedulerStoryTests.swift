// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolCore

/// A scheduler under virtual time, and its effects in words: `deliver a1 #1`, `delete a1`, `release a3 a2`, ...
private struct Story {
    var scheduler: GroupScheduler
    var now = Timestamp(milliseconds: 1_000_000)
    let visibility: Int64

    init(shards: Int = 1, seed: UInt64 = 1, _ change: (inout SchedulerLimits) -> Void = { _ in }) {
        var limits = SchedulerLimits()
        limits.visibilityMilliseconds = 60_000
        change(&limits)
        visibility = limits.visibilityMilliseconds
        scheduler = GroupScheduler(shardCount: shards, limits: limits, seed: seed)
    }

    /// `a1` is message a1 of group a.
    func message(_ word: String, shard: Int = 0, again: Int = 1) -> WorkMessage {
        WorkMessage(
            id: word, handle: "\(word)/\(again)", group: String(word.prefix(1)), shard: shard, receiveCount: again)
    }

    static func words(_ effects: [GroupScheduler.Effect]) -> [String] {
        effects.map { effect in
            switch effect {
            case .receive(let shard, _, _): "receive \(shard)"
            case .deliver(let message, let attempt, _): "deliver \(message.id) #\(attempt)"
            case .moveToDeadLetter(let message, let why):
                "move \(message.id) \(why.reason) \(why.errorClass) \(why.attempts)"
            case .delete(_, let messages): "delete " + messages.map(\.id).joined(separator: " ")
            case .extend(_, let messages): "extend " + messages.map(\.id).joined(separator: " ")
            case .release(_, let messages): "release " + messages.map(\.id).joined(separator: " ")
            case .deletesFail(let shard, let isFailing): "deletes of \(shard) \(isFailing ? "fail" : "work")"
            case .targetFails(let target, let errorClass): "target \(target) " + (errorClass ?? "answers")
            case .targetEnded(let target, let errorClass): "target \(target) ended \(errorClass)"
            case .cancelReceives: "cancel receives"
            case .drained(let shard): "drained \(shard)"
            case .finished: "finished"
            }
        }
    }

    private func told(_ effects: [GroupScheduler.Effect]) -> [String] {
        Story.words(effects).filter { !$0.hasPrefix("receive") }
    }

    mutating func receive(_ ids: String..., again: Int = 1) -> [String] {
        let messages = ids.map { message($0, again: again) }
        return told(scheduler.received(messages, from: 0, visibleAt: now + visibility, now: now))
    }
    mutating func attempt(_ id: String, _ outcome: DeliveryOutcome = .delivered, again: Int = 1) -> [String] {
        told(scheduler.attempted(message(id, again: again), target: 0, outcome, now: now))
    }
    mutating func moved(_ id: String, isStored: Bool = true) -> [String] {
        told(scheduler.moved(message(id), isStored: isStored, now: now))
    }
    mutating func deleted(lost: [String] = [], failed: [String] = []) -> [String] {
        let (lost, failed) = (lost.map { message($0) }, failed.map { message($0) })
        return told(scheduler.deleted(shard: 0, lost: lost, failed: failed, now: now))
    }
    mutating func extended(_ ids: String..., lost: [String] = []) -> [String] {
        let (all, lost) = (ids.map { message($0) }, lost.map { message($0) })
        return told(scheduler.extended(shard: 0, all, lost: lost, visibleAt: now + visibility, now: now))
    }
    mutating func tick(after milliseconds: Int64) -> [String] {
        now = now + milliseconds
        return told(scheduler.tick(now: now))
    }
    mutating func stop(within milliseconds: Int64 = 10_000) -> [String] {
        told(scheduler.stop(deadline: now + milliseconds, now: now))
    }
    /// The receive that was out ends without messages.
    mutating func receiveEnds() -> [String] {
        told(scheduler.receiveFailed(from: 0, now: now))
    }
}

struct SchedulerStoryTests {
    private let failure = DeliveryOutcome.failed(errorClass: "http-503")

    @Test func `groups side by side, each in order, the next when the one before is done`() {
        var story = Story()
        #expect(story.receive("a1", "a2", "b1", "a3") == ["deliver a1 #1", "deliver b1 #1"])
        #expect(story.attempt("a1") == ["delete a1"], "a2 waits for the delete")
        #expect(story.receive("a4") == [])
        #expect(story.attempt("b1") == [], "one batch of deletes at a time")
        #expect(story.deleted() == ["deliver a2 #1", "delete b1"])
        #expect(story.deleted() == [])
        #expect(story.attempt("a2") == ["delete a2"])
        #expect(story.deleted() == ["deliver a3 #1"])
        #expect(story.attempt("a3") == ["delete a3"])
        #expect(story.deleted() == ["deliver a4 #1"])
    }

    @Test func `no more deliveries than the limit, and groups take turns`() {
        var story = Story { $0.concurrency = 2 }
        #expect(story.receive("a1", "b1", "c1", "a2") == ["deliver a1 #1", "deliver b1 #1"])
        #expect(story.attempt("a1") == ["deliver c1 #1", "delete a1"])
        #expect(story.attempt("b1") == [])
        #expect(story.deleted() == ["deliver a2 #1", "delete b1"])
    }

    @Test func `a retry holds its followers, and no other group`() {
        var story = Story { $0.visibilityMilliseconds = 1_000_000 }
        _ = story.receive("a1", "a2", "b1", "b2")
        #expect(story.attempt("a1", failure) == [])
        #expect(story.attempt("b1") == ["delete b1"])
        #expect(story.deleted() == ["deliver b2 #1"])
        #expect(story.tick(after: 500) == ["deliver a1 #2"])
        #expect(story.attempt("a1") == ["delete a1"])
        #expect(story.deleted() == ["deliver a2 #1"], "attempts begin anew with the next message")
    }

    @Test func `attempts exhausted: dead-letter queue, and the group goes on`() {
        var story = Story {
            $0.maxAttempts = 2
            $0.visibilityMilliseconds = 1_000_000
        }
        _ = story.receive("a1", "a2")
        _ = story.attempt("a1", failure)
        #expect(story.tick(after: 500) == ["deliver a1 #2"])
        #expect(story.attempt("a1", failure) == ["move a1 attempts-exhausted http-503 2"])
        #expect(story.tick(after: 10_000) == [], "a2 waits for the dead-letter queue's answer")
        #expect(story.moved("a1") == ["delete a1"])
        #expect(story.deleted() == ["deliver a2 #1"])
        #expect(story.scheduler.deadLetterCount == 1)
    }

    @Test func `a permanent failure is not tried again; one that cannot be stored is not lost`() {
        var story = Story { $0.visibilityMilliseconds = 1_000_000 }
        _ = story.receive("a1", "a2")
        #expect(story.attempt("a1", .refused(errorClass: "http-400")) == ["move a1 permanent-failure http-400 1"])
        #expect(story.moved("a1", isStored: false) == [])
        #expect(story.tick(after: 30_000) == ["move a1 permanent-failure http-400 1"], "and it is not delivered again")
    }

    @Test func `a lost delete drops the followers, which come again in order`() {
        var story = Story { $0.concurrency = 1 }
        _ = story.receive("a1", "b1")
        #expect(story.attempt("a1") == ["deliver b1 #1", "delete a1"])
        #expect(story.receive("a2", "a3") == [])
        #expect(story.deleted(lost: ["a1"]) == [], "a2 must not overtake a1, which comes again")
        #expect(story.scheduler.lapsedCount == 3)
        #expect(story.attempt("b1") == ["delete b1"])
        #expect(story.receive("a1", "a2", "a3", again: 2) == [], "a1 was delivered: it is not delivered again")
        #expect(story.deleted() == ["delete a1"])
        #expect(story.deleted() == ["deliver a2 #1"])
    }

    @Test func `a failed delete is tried again`() {
        var story = Story()
        _ = story.receive("a1")
        #expect(story.attempt("a1") == ["delete a1"])
        #expect(story.deleted(failed: ["a1"]) == ["deletes of 0 fail", "delete a1"])
        #expect(story.deleted() == ["deletes of 0 work"])
    }

    @Test func `visibility is extended at half time, of the whole group and once at a time`() {
        var story = Story { $0.visibilityMilliseconds = 30_000 }
        _ = story.receive("a1", "a2")
        #expect(story.tick(after: 13_499) == [])
        #expect(story.tick(after: 1) == ["extend a1 a2"])
        #expect(story.tick(after: 100) == [])
        #expect(story.extended("a1", "a2") == [])
        #expect(story.tick(after: 14_999) == [])
        #expect(story.tick(after: 1) == ["extend a1 a2"])
        _ = story.scheduler.extensionFailed(shard: 0, [story.message("a1")], now: story.now)
        #expect(story.tick(after: 100) == [], "not at every tick: what is left of a quota would be spent")
        #expect(story.tick(after: 900) == ["extend a1 a2"])
    }

    @Test func `what no extension kept is dropped before the answer's way could be over at the queue`() {
        var story = Story { $0.visibilityMilliseconds = 30_000 }
        _ = story.receive("a1", "a2")
        #expect(story.attempt("a1") == ["delete a1"])
        #expect(story.tick(after: 28_499).contains { $0.hasPrefix("extend") })
        #expect(story.scheduler.figures.heldMessages == [2])
        _ = story.tick(after: 1)
        #expect(story.deleted(lost: ["a1"]) == [] && story.scheduler.figures.heldMessages == [0])
    }

    @Test func `an extension that was lost drops the group; what is being delivered is left to end`() {
        var story = Story { $0.visibilityMilliseconds = 30_000 }
        _ = story.receive("a1", "a2")
        _ = story.tick(after: 15_000)
        #expect(story.extended("a1", "a2", lost: ["a1"]) == [])
        #expect(story.attempt("a1") == ["delete a1"], "and a2 is not begun")
        #expect(story.deleted(lost: ["a1"]) == [])
    }

    @Test func `what is visible to others again is not delivered`() {
        var story = Story {
            $0.concurrency = 1
            $0.visibilityMilliseconds = 30_000
            $0.standstillMilliseconds = 60_000
        }
        #expect(story.receive("a1", "b1", "b2") == ["deliver a1 #1"])
        _ = story.tick(after: 15_000)
        #expect(story.tick(after: 15_000) == [], "nobody answered the extension")
        #expect(story.attempt("a1") == ["delete a1"])
        #expect(story.receive("b1", again: 2) == ["deliver b1 #2"])
    }

    @Test func `a stop waits for its receives, releases last first, deletes what ends, and finishes`() {
        var story = Story()
        _ = story.receive("a1", "a2", "a3")
        #expect(story.stop() == ["cancel receives"], "one that is out could take again what is given back")
        #expect(Set(story.receive("c1", "c2")) == ["release a3 a2", "release c2 c1"], "an answer that was on its way")
        #expect(story.attempt("a1") == ["delete a1"])
        #expect(story.deleted() == ["drained 0", "finished"])
        #expect(story.tick(after: 1) == [], "once")
    }

    @Test func `a stop gives back what waits for a retry or fails now`() {
        var story = Story()
        _ = story.receive("a1", "a2", "b1", "b2")
        _ = story.attempt("a1", failure)
        #expect(story.stop() == ["cancel receives"])
        #expect(Set(story.receiveEnds()) == ["release a2 a1", "release b2"])
        #expect(story.attempt("b1", failure) == ["release b1", "drained 0", "finished"])
    }

    @Test func `a stop tries a delete that failed again`() {
        var story = Story()
        _ = story.receive("a1")
        _ = story.attempt("a1")
        #expect(story.stop() == ["cancel receives"])
        #expect(story.receiveEnds() == [])
        #expect(story.deleted(failed: ["a1"]) == ["deletes of 0 fail", "delete a1"])
        #expect(story.deleted() == ["deletes of 0 work", "drained 0", "finished"])
    }

    @Test func `a stop ends at its deadline`() {
        var story = Story()
        _ = story.receive("a1")
        #expect(story.stop(within: 5_000) == ["cancel receives"])
        #expect(story.tick(after: 4_999) == [])
        #expect(story.tick(after: 1) == ["release a1", "drained 0", "finished"])
    }

    @Test func `a stop of an idle worker finishes when its receives have ended`() {
        var story = Story(shards: 2)
        #expect(Story.words(story.scheduler.tick(now: story.now)) == ["receive 0", "receive 1"])
        #expect(Story.words(story.scheduler.stop(deadline: story.now + 1_000, now: story.now)) == ["cancel receives"])
        #expect(Story.words(story.scheduler.receiveFailed(from: 0, now: story.now)) == ["drained 0"])
        #expect(Story.words(story.scheduler.receiveFailed(from: 1, now: story.now)) == ["drained 1", "finished"])
    }

    @Test func `a shard is asked once at a time, and not while enough is held`() {
        var story = Story { $0.readyPerShardMax = 2 }
        #expect(Story.words(story.scheduler.tick(now: story.now)) == ["receive 0"])
        #expect(Story.words(story.scheduler.tick(now: story.now)) == [])
        let two = [story.message("a1"), story.message("a2")]
        let held = story.scheduler.received(two, from: 0, visibleAt: story.now + 60_000, now: story.now)
        #expect(Story.words(held) == ["deliver a1 #1"])
        #expect(Story.words(story.scheduler.attempted(two[0], target: 0, .delivered, now: story.now)) == ["delete a1"])
        let next = Story.words(story.scheduler.deleted(shard: 0, lost: [], failed: [], now: story.now))
        #expect(next == ["deliver a2 #1", "receive 0"])
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func `pauses are within the exponential ceiling and differ`(seed: UInt64) {
        var story = Story(seed: seed) {
            $0.maxAttempts = 100
            $0.visibilityMilliseconds = 10_000_000
        }
        _ = story.receive("a1")
        var pauses: Set<Int64> = []
        for attempt in 1...12 {
            #expect(story.attempt("a1", failure) == [])
            let ceiling = min(30_000, 500 << Int64(attempt - 1))
            var pause: Int64 = 0
            while story.tick(after: 50) == [], pause <= ceiling { pause += 50 }
            #expect(pause <= ceiling)
            pauses.insert(pause)
        }
        #expect(pauses.count > 3, "jitter")
    }

    @Test func `Retry-After is heeded, up to the cap`() {
        var story = Story { $0.visibilityMilliseconds = 10_000_000 }
        _ = story.receive("a1")
        _ = story.attempt("a1", .failed(errorClass: "http-429", retryAfterMilliseconds: 7_000))
        #expect(story.tick(after: 6_999) == [])
        #expect(story.tick(after: 1) == ["deliver a1 #2"])
        _ = story.attempt("a1", .failed(errorClass: "http-429", retryAfterMilliseconds: 86_400_000))
        #expect(story.tick(after: 30_000) == ["deliver a1 #3"])
    }

    @Test func `a receive that failed is repeated after a pause`() {
        var story = Story()
        _ = story.scheduler.tick(now: story.now)
        #expect(Story.words(story.scheduler.receiveFailed(from: 0, now: story.now)).count <= 1)
        #expect(Story.words(story.scheduler.tick(now: story.now + 500)).count <= 1)
    }
}
