// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Testing

/// What a redrive is told, what it wants done upon each, and what it says in the end.
struct MoveStory: Sendable, CustomTestStringConvertible {
    let testDescription: String
    var shards = 1
    var destination: String?
    var perSecondMax: Int?
    let steps: [(MoveStage.Step, String)]
    let status: MoveStatus
    let moved: Int
    var reason: String?

    private static let away = ShardError.unavailable(retryAfterMilliseconds: 1)
    private static let denied = ShardError.refused(code: "AccessDenied")

    static let all = [
        MoveStory(
            testDescription: "shard after shard, each to its end", shards: 2,
            steps: [
                (.start, "receive 10 of 0"), (.got("a0 b1 a2"), "send a0 b1 a2 to home"),
                (.sent([nil, nil, nil]), "delete a0 b1 a2 of 0"),
                (.deleted([.deleted, .deleted, .deleted]), "receive 10 of 0"), (.got(""), "receive 10 of 1"),
                (.got("c3"), "send c3 to home"), (.sent([nil]), "delete c3 of 1"),
                (.deleted([.deleted]), "receive 10 of 1"), (.got(""), "end"),
            ], status: .completed, moved: 4),
        MoveStory(
            testDescription: "each pool's messages are one request, in order",
            steps: [
                (.start, "receive 10 of 0"), (.got("a0>x b1 a2 c3>x b4"), "send a0 c3 to x"),
                (.sent([nil, nil]), "send b1 a2 b4 to home"), (.sent([nil, nil, nil]), "delete a0 b1 a2 c3 b4 of 0"),
                (.deleted(Array(repeating: .deleted, count: 5)), "receive 10 of 0"), (.got(""), "end"),
            ], status: .completed, moved: 5),
        MoveStory(
            testDescription: "all go to one destination, wherever they came from", destination: "there.fifo",
            steps: [
                (.start, "receive 10 of 0"), (.got("a0>x b1>- c2>dead"), "send a0 b1 c2 to there"),
                (.sent([nil, nil, nil]), "delete a0 b1 c2 of 0"),
                (.deleted([.deleted, .deleted, .deleted]), "receive 10 of 0"), (.got(""), "end"),
            ], status: .completed, moved: 3),
        MoveStory(
            testDescription: "what was not stored is sent again alone, and what was is deleted with it",
            steps: [
                (.start, "receive 10 of 0"), (.got("a0 b1 a2 c3"), "send a0 b1 a2 c3 to home"),
                (.sent([away, nil, .earlierEntryFailed(away), nil]), "wait 250"), (.timer, "send a0 a2 to home"),
                (.sent([nil, away]), "wait 500"), (.timer, "send a2 to home"),
                (.sent([nil]), "delete b1 c3 a0 a2 of 0"),
                (.deleted(Array(repeating: .deleted, count: 4)), "receive 10 of 0"), (.got(""), "end"),
            ], status: .completed, moved: 4),
        MoveStory(
            testDescription: "one that is refused ends it, though the first of them is only away",
            steps: [
                (.start, "receive 10 of 0"), (.got("a0 b1 a2 c3"), "send a0 b1 a2 c3 to home"),
                (.sent([away, nil, .earlierEntryFailed(away), denied]), "delete b1 of 0"),
                (.deleted([.deleted]), "give back c3 a2 a0 to 0"), (.gaveBack, "end"),
            ], status: .failed, moved: 1, reason: "the destination did not take a message (refused)"),
        MoveStory(
            testDescription: "what has nowhere to go goes back before what was not stored and is in front of it",
            steps: [
                (.start, "receive 10 of 0"), (.got("c0>-"), "receive 10 of 0"),
                (.got("a1 b2 a3>- a4"), "send a1 b2 to home"),
                (.sent([denied, denied]), "give back a4 a3 c0 b2 a1 to 0"), (.gaveBack, "end"),
            ], status: .failed, moved: 0, reason: "the destination did not take a message (refused)"),
        MoveStory(
            testDescription: "a message without an answer counts as not stored",
            steps: [
                (.start, "receive 10 of 0"), (.got("a0 b1"), "send a0 b1 to home"), (.sent([nil]), "wait 250"),
                (.timer, "send b1 to home"), (.sent([nil]), "delete a0 b1 of 0"),
                (.deleted([.deleted, .deleted]), "receive 10 of 0"), (.got(""), "end"),
            ], status: .completed, moved: 2),
        MoveStory(
            testDescription: "a message without a home keeps its group, and goes back when the shard was read",
            shards: 2,
            steps: [
                (.start, "receive 10 of 0"), (.got("a0>- b1 a2 c3>dead"), "send b1 to home"),
                (.sent([nil]), "delete b1 of 0"), (.deleted([.deleted]), "receive 10 of 0"),
                (.got("d4>-"), "receive 10 of 0"), (.got(""), "give back d4 c3 a2 a0 to 0"),
                (.gaveBack, "receive 10 of 1"), (.got(""), "end"),
            ], status: .failed, moved: 1, reason: "4 messages do not say which queue they came from"),
        MoveStory(
            testDescription: "a message without a home that comes again is counted once",
            steps: [
                (.start, "receive 10 of 0"), (.got("a0>- b1>-"), "receive 10 of 0"), (.got("a0>-"), "receive 10 of 0"),
                (.got(""), "give back b1 a0 to 0"), (.gaveBack, "end"),
            ], status: .failed, moved: 0, reason: "2 messages do not say which queue they came from"),
        MoveStory(
            testDescription: "no more a second than it may", perSecondMax: 4,
            steps: [
                (.start, "receive 4 of 0"), (.got("a0 a1 a2"), "send a0 a1 a2 to home"),
                (.sent([nil, nil, nil]), "delete a0 a1 a2 of 0"),
                (.deleted([.deleted, .deleted, .deleted]), "wait 750"), (.timer, "receive 4 of 0"),
                (.got("b3>-"), "receive 4 of 0"), (.got(""), "give back b3 to 0"), (.gaveBack, "end"),
            ], status: .failed, moved: 3, reason: "1 messages do not say which queue they came from"),
        MoveStory(
            testDescription: "at one a second it takes one at a time", perSecondMax: 1,
            steps: [
                (.start, "receive 1 of 0"), (.got("a0"), "send a0 to home"), (.sent([nil]), "delete a0 of 0"),
                (.deleted([.deleted]), "wait 1000"), (.timer, "receive 1 of 0"),
                (.got("a1"), "send a1 to home"), (.sent([nil]), "delete a1 of 0"),
                (.deleted([.deleted]), "wait 1000"), (.timer, "receive 1 of 0"), (.got(""), "end"),
            ], status: .completed, moved: 2),
        MoveStory(
            testDescription: "at a higher rate it takes ten at a time, and waits when a second's worth has gone",
            perSecondMax: 12,
            steps: [
                (.start, "receive 10 of 0"),
                (.got("a0 a1 a2 a3 a4 a5 a6 a7 a8"), "send a0 a1 a2 a3 a4 a5 a6 a7 a8 to home"),
                (.sent(Array(repeating: nil, count: 9)), "delete a0 a1 a2 a3 a4 a5 a6 a7 a8 of 0"),
                (.deleted(Array(repeating: .deleted, count: 9)), "wait 584"), (.timer, "receive 10 of 0"),
                (.got(""), "end"),
            ], status: .completed, moved: 9),
        MoveStory(
            testDescription: "what is not moved takes nothing of the rate, and what is sent late is paid late",
            perSecondMax: 2,
            steps: [
                (.start, "receive 2 of 0"), (.got("a0>- b1>-"), "receive 2 of 0"),
                (.got("c2 c3"), "send c2 c3 to home"),
                (.sent([away, away]), "wait 250"), (.timer, "send c2 c3 to home"),
                (.sent([nil, nil]), "delete c2 c3 of 0"),
                (.deleted([.deleted, .deleted]), "wait 1000"), (.cancel, ""), (.timer, "give back b1 a0 to 0"),
                (.gaveBack, "end"),
            ], status: .failed, moved: 2, reason: "2 messages do not say which queue they came from"),
        MoveStory(
            testDescription: "a deletion in doubt is tried again, also when it was cancelled",
            steps: [
                (.start, "receive 10 of 0"), (.got("a0 b1"), "send a0 b1 to home"), (.cancel, ""),
                (.sent([nil, nil]), "delete a0 b1 of 0"), (.deleted([.failed(.unknownOutcome)]), "wait 250"),
                (.timer, "delete a0 b1 of 0"), (.deleted([.deleted, .deleted]), "end"),
            ], status: .cancelled, moved: 2),
        MoveStory(
            testDescription: "a deletion that came too late is told, after the others were done",
            steps: [
                (.start, "receive 10 of 0"), (.got("a0 b1 c2"), "send a0 b1 c2 to home"),
                (.sent([nil, nil, nil]), "delete a0 b1 c2 of 0"),
                (.deleted([.expired, .failed(away), .deleted]), "wait 250"), (.timer, "delete b1 of 0"),
                (.deleted([.deleted]), "end"),
            ], status: .failed, moved: 3,
            reason: "a moved message could not be deleted (the time to delete it was over)"),
        MoveStory(
            testDescription: "cancelled between two tries it gives back and tries no more",
            steps: [
                (.start, "receive 10 of 0"), (.got("a0 b1 a2"), "send a0 b1 a2 to home"),
                (.sent([away, nil, .earlierEntryFailed(away)]), "wait 250"), (.cancel, ""), (.timer, "delete b1 of 0"),
                (.deleted([.deleted]), "give back a2 a0 to 0"), (.gaveBack, "end"),
            ], status: .cancelled, moved: 1),
        MoveStory(
            testDescription: "cancelled while the source is away it reads no more", shards: 2,
            steps: [
                (.start, "receive 10 of 0"), (.cannotRead(away), "wait 250"), (.cancel, ""), (.timer, "end"),
            ], status: .cancelled, moved: 0),
        MoveStory(
            testDescription: "a source that comes back is read with new patience",
            steps: [
                (.start, "receive 10 of 0"), (.cannotRead(away), "wait 250"), (.timer, "receive 10 of 0"),
                (.cannotRead(away), "wait 500"), (.timer, "receive 10 of 0"), (.got("a0>-"), "receive 10 of 0"),
                (.cannotRead(away), "wait 250"), (.timer, "receive 10 of 0"), (.got(""), "give back a0 to 0"),
                (.gaveBack, "end"),
            ], status: .failed, moved: 0, reason: "1 messages do not say which queue they came from"),
        MoveStory(
            testDescription: "what answers nothing is ignored",
            steps: [
                (.timer, ""), (.start, "receive 10 of 0"), (.start, ""), (.sent([nil]), ""), (.gaveBack, ""),
                (.got("a0"), "send a0 to home"), (.got("b1"), ""), (.deleted([.deleted]), ""), (.timer, ""),
                (.sent([nil]), "delete a0 of 0"), (.sent([nil]), ""), (.deleted([.deleted]), "receive 10 of 0"),
                (.got(""), "end"), (.got("c2"), ""), (.start, ""), (.cancel, ""),
            ], status: .completed, moved: 1),
        MoveStory(
            testDescription: "a source without shards is empty", shards: 0, steps: [(.start, "end")],
            status: .completed, moved: 0),
    ]
}

@Suite struct `The machine of a redrive` {
    @Test(arguments: MoveStory.all)
    func `does as the story says`(story: MoveStory) throws {
        var stage = try MoveStage(
            shards: story.shards, destination: story.destination, perSecondMax: story.perSecondMax)
        for (number, step) in story.steps.enumerated() {
            let wanted = try stage.tell(step.0)
            #expect(wanted.joined(separator: ", ") == step.1, "step \(number)")
        }
        #expect(stage.machine.report.status == story.status)
        #expect(stage.machine.report.moved == story.moved)
        #expect(stage.machine.report.failureReason == story.reason)
    }

    @Test func `tries for half a minute, and gives back ten at a time, the last first`() throws {
        var stage = try MoveStage()
        _ = try stage.tell(.start)
        let words = (0..<12).map { "a\($0)" }
        _ = try stage.tell(.got(words.joined(separator: " ")))
        let refusals = Array(repeating: ShardError?.some(.storageFull), count: 12)
        let start = stage.now
        for _ in 0..<7 {
            #expect(try stage.tell(.sent(refusals)).first?.hasPrefix("wait") == true)
            #expect(try stage.tell(.timer) == ["send \(words.joined(separator: " ")) to home"])
        }
        #expect(stage.now - start == 31_750)
        #expect(try stage.tell(.sent(refusals)) == ["give back a11 a10 a9 a8 a7 a6 a5 a4 a3 a2 to 0"])
        #expect(try stage.tell(.gaveBack) == ["give back a1 a0 to 0"])
        #expect(try stage.tell(.gaveBack) == ["end"])
        #expect(stage.machine.report.failureReason == "the destination did not take a message (storage-full)")
    }

    @Test func `keeps back no more than it can hold hidden`() throws {
        var stage = try MoveStage()
        _ = try stage.tell(.start)
        for round in 0..<999 {
            let words = (0..<10).map { "a\(round * 10 + $0)>-" }
            #expect(try stage.tell(.got(words.joined(separator: " "))) == ["receive 10 of 0"])
        }
        let last = (9_990..<10_000).map { "a\($0)>-" }.joined(separator: " ")
        #expect(try stage.tell(.got(last)).first?.hasPrefix("give back a9999 a9998") == true)
        for _ in 0..<999 { #expect(try stage.tell(.gaveBack).first?.hasPrefix("give back") == true) }
        #expect(try stage.tell(.gaveBack) == ["end"])
        #expect(
            stage.machine.report.failureReason
                == "10000 messages and more do not say which queue they came from")
    }
}
