// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolCore

@Suite struct `Several receives of one shard` {
    /// Ten messages, each of a group of its own.
    private func ten(_ round: Int = 0) -> [String] { (0..<10).map { "f\(round * 10 + $0)-1" } }

    private func finish(_ names: [String], _ stage: SchedulerStage) {
        for name in names { stage.end(name) }
        // What is not in the first batch is in the second.
        for _ in 0..<2 { stage.deleted() }
    }

    /// A stage with nothing but two receives out, the first of which waits.
    private func two() -> (stage: SchedulerStage, first: Int, second: Int) {
        let stage = SchedulerStage { $0.receivesMax = 2 }
        stage.receive(ten())
        finish(ten(), stage)
        let out = stage.out()
        #expect(out.count == 2)
        _ = stage.told()
        return (stage, out.first ?? 0, out.last ?? 0)
    }

    @Test func `are not out unless they may`() {
        let stage = SchedulerStage()
        stage.receive(ten())
        #expect(stage.told(withPolls: true).filter { $0.hasPrefix("receive") } == ["receive 0"])
        #expect(stage.out().count == 1)
    }

    @Test func `come one by one with full answers, and go with the first that is not full`() {
        let stage = SchedulerStage(concurrency: 1_000) { $0.receivesMax = 3 }
        #expect(stage.out() == [1])
        stage.receive(ten(0), number: 1)
        #expect(stage.told(withPolls: true).filter { $0.hasPrefix("receive") } == ["receive 0", "receive 0 #3"])
        stage.receive(ten(1), number: 3)
        #expect(stage.told(withPolls: true).filter { $0.hasPrefix("receive") } == ["receive 0 #4", "receive 0 #5"])
        stage.receive(ten(2), number: 2)
        #expect(stage.told(withPolls: true).filter { $0.hasPrefix("receive") } == ["receive 0"], "one of them waits")
        #expect(stage.out() == [4, 5, 6], "and no more than three")
        stage.receive(Array(ten(3).prefix(9)), number: 5)
        #expect(stage.out() == [4, 6], "those that are out are answered")
        stage.receive([], number: 4)
        #expect(stage.out() == [6], "and an idle shard has one that waits")
        stage.wait(10_000)
        #expect(stage.out() == [6])
    }

    @Test func `go with one that fails`() {
        let (stage, first, second) = two()
        stage.receiveFailed(number: second)
        stage.wait(1_000)
        #expect(stage.out() == [first])
    }

    @Test func `are begun with one again when the shard is`() {
        let (stage, first, second) = two()
        stage.drop()
        stage.begin()
        stage.receiveFailed(number: first)
        #expect(stage.out().first == second && stage.out().count == 1, "it is out still")
        stage.receiveFailed(number: second)
        stage.wait(1_000)
        #expect(stage.out().count == 1)
    }

    @Test func `take no more than there is room for`() {
        let stage = SchedulerStage(concurrency: 1_000) {
            $0.receivesMax = 9
            $0.readyPerShardMax = 60
        }
        for round in 0..<4 { stage.receive(ten(round)) }
        #expect(stage.held + 10 * stage.out().count == 60)
    }

    @Test func `bring no more groups than get their turn soon`() {
        let stage = SchedulerStage(concurrency: 10) { $0.receivesMax = 9 }
        for round in 0..<9 {
            stage.receive(ten(round))
            finish(ten(round), stage)
        }
        #expect(stage.held == 0 && stage.out().count == 3, "one that waits, and what twice ten groups need")
    }

    @Test(arguments: [true, false])
    func `hold what they bring since they left, unless they wait`(waits: Bool) {
        let (stage, first, second) = two()
        for _ in 0..<61 { stage.wait(1_000) }
        stage.receive(["a-1"], number: waits ? first : second)
        #expect(stage.told() == (waits ? ["deliver a-1 1"] : []))
    }
}

/// Of two receives that are out together, the one whose answer comes last took its messages first.
@Suite struct `An answer that another overtook` {
    private func two() -> (stage: SchedulerStage, first: Int, second: Int) {
        let stage = SchedulerStage { $0.receivesMax = 2 }
        let names = (0..<10).map { "f\($0)-1" }
        stage.receive(names)
        for name in names { stage.end(name) }
        for _ in 0..<2 { stage.deleted() }
        _ = stage.told()
        return (stage, stage.out().first ?? 0, stage.out().last ?? 0)
    }

    @Test func `does not bring back what was delivered and deleted, nor what follows it`() {
        let (stage, first, second) = two()
        stage.receive(["a-1"], number: second, handle: "again", receiveCount: 2)
        stage.end("a-1")
        stage.deleted()
        #expect(stage.told() == ["deliver a-1 2", "delete a-1"])
        stage.receive(["a-1", "a-2", "b-1"], number: first, isStale: true)
        #expect(stage.told() == ["deliver b-1 1"], "a-2 would begin although it is not held")
        stage.receive(["a-2"], handle: "again", receiveCount: 2)
        #expect(stage.told() == ["deliver a-2 2"])
    }

    @Test func `does not bring back what was delivered if it is known only behind another`() {
        let (stage, first, second) = two()
        stage.receive(["a-2"], number: second, handle: "again", receiveCount: 2)
        stage.end("a-2")
        stage.deleted()
        _ = stage.told()
        stage.receive(["a-1", "a-2"], number: first, isStale: true)
        #expect(stage.told() == [], "a-1 was done with before a-2 was given out")
    }

    @Test func `does not change the handle of what is held`() {
        let (stage, first, second) = two()
        stage.receive(["a-1", "a-2"], number: second, handle: "again", receiveCount: 2)
        stage.receive(["a-1", "a-2"], number: first, isStale: true)
        stage.end("a-1")
        #expect(stage.deletedHandles == ["againa-1"])
        stage.deleted()
        #expect(stage.told() == ["deliver a-1 2", "delete a-1", "deliver a-2 1"])
    }

    @Test func `changes it if it was given out later`() {
        let (stage, first, second) = two()
        stage.receive(["a-1", "a-2"], number: second)
        stage.receive(["a-1", "a-2"], number: first, handle: "again", receiveCount: 2)
        stage.end("a-1")
        #expect(stage.deletedHandles == ["againa-1"])
    }

    @Test func `brings nothing behind what follows it`() {
        let (stage, first, second) = two()
        stage.receive(["a-3"], number: second)
        stage.receive(["a-1", "a-2"], number: first, isStale: true)
        stage.end("a-3")
        stage.deleted()
        #expect(stage.told() == ["deliver a-3 1", "delete a-3"])
    }

    @Test func `brings what the queue gave out after a delete that is not answered yet`() {
        let (stage, first, second) = two()
        stage.receive(["a-1"], number: second)
        stage.end("a-1")
        stage.receive(["a-2"], number: first)
        stage.deleted()
        #expect(stage.told() == ["deliver a-1 1", "delete a-1", "deliver a-2 1"])
    }

    @Test func `is not remembered for longer than one is out`() {
        let (stage, first, second) = two()
        stage.receive(["a-1"], number: second)
        #expect(!stage.isForgetful)
        stage.receive([], number: first)
        stage.end("a-1")
        stage.deleted()
        _ = stage.told()
        stage.receive(["a-1"], handle: "redriven")
        #expect(stage.told() == ["deliver a-1 1"])
        #expect(stage.isForgetful)
    }
}

@Suite struct `What is held ready` {
    /// Five hands work on groups of ten messages.
    /// - Returns: how many messages are held when the shard is asked for more.
    private func heldWhenAsked(millisecondsADelivery: Int64) -> Int {
        let stage = SchedulerStage(concurrency: 5)
        for group in 0..<5 {
            #expect(stage.out().count == 1, "a hand is idle")
            stage.receive((0..<10).map { "\(group)-\($0)" })
        }
        #expect(stage.out() == [] && stage.held == 50)
        for round in 0..<10 {
            stage.wait(millisecondsADelivery)
            stage.extendAll()
            for group in 0..<5 {
                stage.end("\(group)-\(round)")
                stage.deleted()
                if !stage.out().isEmpty { return stage.held }
            }
            stage.deleted()
        }
        return 0
    }

    @Test func `is what can be begun within a third of the visibility timeout`() {
        #expect(heldWhenAsked(millisecondsADelivery: 100) == 24, "26 were delivered lately")
        #expect((10...15).contains(heldWhenAsked(millisecondsADelivery: 10_000)), "some 10 were")
        #expect(heldWhenAsked(millisecondsADelivery: 40_000) == 9, "fewer than an answer brings")
    }
}
