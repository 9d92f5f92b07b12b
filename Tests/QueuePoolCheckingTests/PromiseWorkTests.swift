// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking
import Testing

/// I2 while workers work: one message of a group at a time, and never back.
@Suite struct PromiseWorkTests {
    @Test func `the next message begins when the one before is deleted, dead or expired`() {
        var story = Story()
        story.send(1, 2, 3, 4)
        story.deliver(1)
        story.hand(2)
        story.deadLetter(2)
        story.hand(3)
        story.expire(3)
        story.deliver(4)
        story.finish()
        #expect(story.broken == [])
    }

    @Test func `a message that begins while another of its group is unfinished breaks the order`() {
        var story = Story()
        story.send(1, 2)
        story.hand(1)
        story.hand(2)
        story.delete(1)
        story.delete(2)
        story.finish()
        #expect(story.broken == [.order])
        #expect(story.texts == ["was handed while message 1 was unfinished"])
    }

    @Test func `groups are worked on side by side`() {
        var story = Story()
        story.send(1, group: 1)
        story.send(2, group: 2)
        story.hand(1)
        story.hand(2)
        story.delete(2)
        story.delete(1)
        story.finish()
        #expect(story.broken == [])
    }

    @Test func `a worker tries the same message again in place`() {
        var story = Story()
        story.send(1)
        story.hand(1)
        story.hand(1)
        story.delete(1)
        story.finish()
        #expect(story.broken == [])
        #expect(story.checker.counts.handed == 1)
        #expect(story.checker.counts.handedAgain == 1)
    }

    @Test func `two workers with one message break the order`() {
        var story = Story()
        story.send(1)
        story.hand(1, worker: 1)
        story.hand(1, worker: 2)
        #expect(story.broken == [.order])
        #expect(story.texts == ["was handed by worker 2 while worker 1 held it"])
    }

    @Test func `another worker may have it once its visibility ran out`() {
        var story = Story()
        story.send(1)
        story.hand(1, worker: 1)
        story.lapse(1)
        story.hand(1, worker: 2)
        story.delete(1)
        story.finish()
        #expect(story.broken == [])
    }

    @Test func `a worker whose message went to another does not try it again`() {
        var story = Story()
        story.send(1)
        story.hand(1, worker: 1)
        story.lapse(1)
        story.hand(1, worker: 2)
        story.hand(1, worker: 1)
        #expect(story.broken == [.order])
    }

    @Test func `another worker may have what a crashed one held`() {
        var story = Story()
        story.send(1)
        story.hand(1, worker: 1)
        story.end(worker: 1)
        story.hand(1, worker: 2)
        story.delete(1)
        story.finish()
        #expect(story.broken == [])
    }

    @Test func `a crash frees what was held before it only`() {
        var story = Story()
        story.send(1)
        story.end(worker: 1)
        story.hand(1, worker: 1)
        story.hand(1, worker: 2)
        #expect(story.broken == [.order])
    }

    @Test func `a crashed worker's unfinished message still comes before the next`() {
        var story = Story()
        story.send(1, 2)
        story.hand(1, worker: 1)
        story.end(worker: 1)
        story.hand(2, worker: 2)
        #expect(story.broken == [.order])
    }

    @Test func `a message whose delete was not acknowledged, but done, lets the next one go`() {
        var story = Story()
        story.send(1, 2)
        story.hand(1, worker: 1)
        story.remove(1)
        story.end(worker: 1)
        story.hand(2, worker: 2)
        story.delete(2)
        story.finish()
        #expect(story.broken == [])
    }

    @Test func `going back to a message after a later one was handed breaks the order`() {
        var story = Story()
        story.send(1, 2)
        story.hand(1)
        story.deadLetter(1)
        story.hand(2)
        story.delete(2)
        story.hand(1)
        #expect(story.broken == [.order])
        #expect(story.texts == ["was handed again after a later message of its group"])
    }

    @Test func `a dead message whose delete was lost with the worker may come again before later ones`() {
        var story = Story()
        story.send(1, 2)
        story.hand(1, worker: 1)
        story.deadLetter(1)
        story.end(worker: 1)
        story.hand(1, worker: 2)
        story.deadLetter(1)
        story.delete(1)
        story.deliver(2, worker: 2)
        story.finish()
        #expect(story.broken == [])
    }

    @Test func `a redriven message comes again behind what its group had accepted`() {
        var story = Story()
        story.send(1, 2)
        story.hand(1)
        story.deadLetter(1)
        story.delete(1)
        story.deliver(2)
        story.redrive(1)
        story.send(3)
        story.hand(1, id: 9)
        story.delete(1)
        story.deliver(3)
        story.finish()
        #expect(story.broken == [])
    }

    @Test func `a message that began after a redrive does not overtake the redriven one`() {
        var story = Story()
        story.send(1)
        story.hand(1)
        story.deadLetter(1)
        story.delete(1)
        story.redrive(1)
        story.send(2)
        story.deliver(2, 1)
        #expect(story.broken == [.order])
    }

    @Test func `an entry that is redriven before the next one of its request was handed has had its turn`() {
        var story = Story()
        let request = story.begin(1, 2)
        story.accept(request, 0, id: 1)
        story.accept(request, 1, id: 2)
        story.hand(1)
        story.deadLetter(1)
        story.delete(1)
        story.redrive(1)
        story.deliver(2, 1)
        story.finish()
        #expect(story.broken == [])
    }

    @Test func `a message that began before a redrive does not wait for the redriven one`() {
        var story = Story()
        story.send(1, 2)
        story.deadLetter(2)
        story.send(3)
        story.redrive(2)
        story.deliver(1, 3, 2)
        story.finish()
        #expect(story.broken == [])
    }

    @Test(arguments: [1, 9])
    func `a retry may be told the id from before a redrive or the one after it`(id: Int) {
        var story = Story()
        story.send(1)
        story.deadLetter(1)
        story.redrive(1)
        let early = story.begin(1)
        story.accept(early, id: id, isDuplicate: true)
        story.hand(1, id: 9)
        let late = story.begin(1)
        story.accept(late, id: id, isDuplicate: true)
        story.delete(1)
        story.finish()
        #expect(story.broken == [])
    }

    @Test func `a redrive does not allow that the message is accepted as new`() {
        var story = Story()
        story.send(1)
        story.deadLetter(1)
        story.redrive(1)
        let again = story.begin(1)
        story.accept(again, id: 1)
        #expect(story.broken == [.noDuplicate])
    }

    @Test func `an expired message that comes again after a later one breaks the order`() {
        var story = Story()
        story.send(1, 2)
        story.hand(1)
        story.expire(1)
        story.deliver(2)
        story.hand(1)
        #expect(story.broken == [.order])
    }
}
