// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolCore

@Suite struct `A FIFO queue delivers` {
    private let on = QueueOnLog()

    @Test func `messages of one group together and in order, then other groups`() {
        on.sendAll("g1-m1", "g2-m1", "g1-m2", "g1-m3")
        #expect(on.receive() == ["g1-m1", "g1-m2", "g1-m3", "g2-m1"])
    }

    @Test func `groups in turn: who was served goes behind those not served yet`() {
        on.sendAll("g1-m1", "g2-m1", "g2-m2", "g3-m1", "g1-m2")
        #expect(on.receive(3, seconds: 0) == ["g1-m1", "g1-m2", "g2-m1"])
        #expect(on.receive(10) == ["g3-m1", "g1-m1", "g1-m2", "g2-m1", "g2-m2"])
    }

    @Test func `nothing of a group while its oldest messages are in flight`() {
        on.sendAll("g-m1", "g-m2", "g-m3")
        let held = on.take(2)
        #expect(on.receive().isEmpty)
        #expect(on.delete(held[0].handle) == .write(held[0].sequence))
        #expect(on.receive().isEmpty)
        on.delete(held[1].handle)
        #expect(on.receive() == ["g-m3"])
    }

    @Test func `nothing when a later message runs out behind one that was extended`() {
        on.sendAll("g-m1", "g-m2", "g-m3")
        let held = on.take()
        #expect(on.change(held[0].handle, seconds: 300) == .changed)
        on.wait(31)
        #expect(on.receive().isEmpty)
    }

    @Test func `up to the message that was extended and not beyond`() {
        on.sendAll("g-m1", "g-m2", "g-m3")
        let held = on.take()
        _ = on.change(held[1].handle, seconds: 300)
        on.wait(31)
        #expect(on.receive() == ["g-m1"])
    }

    @Test func `two when the third was extended`() {
        on.sendAll("g-m1", "g-m2", "g-m3")
        let held = on.take()
        _ = on.change(held[2].handle, seconds: 300)
        on.wait(31)
        #expect(on.receive() == ["g-m1", "g-m2"])
    }

    @Test func `a released head at once, also while its follower is in flight`() {
        on.sendAll("g-m1", "g-m2")
        let held = on.take()
        #expect(on.change(held[0].handle, seconds: 0) == .changed)
        #expect(on.receive() == ["g-m1"])
    }

    @Test func `no new message of a group in flight, until the last one is deleted`() {
        on.sendAll("g-m1")
        let held = on.take()
        on.sendAll("g-m2")
        #expect(!on.queue.hasReadyGroup)
        on.delete(held[0].handle)
        #expect(on.queue.hasReadyGroup)
        #expect(on.receive() == ["g-m2"])
    }

    @Test func `and leaves visible what was received with timeout 0`() {
        on.sendAll("g-m1", "g-m2")
        let first = on.take(seconds: 0)
        #expect(first.map(\.receiveCount) == [1, 1])
        let second = on.take(seconds: 0)
        #expect(second.map(\.receiveCount) == [2, 2])
        #expect(on.queue.inFlightCount == 0)
    }

    @Test func `a group that ran empty and came back`() {
        for round in 1...3 {
            on.sendAll("g-m\(round)")
            let held = on.take()
            #expect(held.map(on.body) == ["g-m\(round)"])
            on.delete(held[0].handle)
        }
        #expect(on.queue.messageCount == 0)
        #expect(on.queue.oldestAge(on.now) == nil)
    }

    @Test func `other groups while one is held (I5)`() {
        on.sendAll("poison-m1", "poison-m2", "g-m1")
        #expect(on.receive(1) == ["poison-m1"])
        #expect(on.receive() == ["g-m1"])
    }

    @Test func `again after the timeout, with a higher count`() {
        on.sendAll("g-m1")
        #expect(on.take().map(\.receiveCount) == [1])
        #expect(on.queue.nextVisibleAt == on.now + 30_000)
        on.wait(30)
        let again = on.take()
        #expect(again.map(\.receiveCount) == [2])
        #expect(again.map(\.firstReceivedAt) == [QueueOnLog.start])
    }

    @Test func `at most 120,000 messages in flight, those held for deletion among them`() {
        for first in stride(from: 0, to: 121_000, by: 1_000) {
            on.commit((first..<(first + 1_000)).map { QueueOnLog.message("g\($0)", "b", id: "\($0)") })
        }
        var handles: [ReceiptHandle] = []
        while case let some = on.take(10), !some.isEmpty { handles += some.map(\.handle) }
        #expect(handles.count == QueueLimits.inFlightMax)
        #expect(on.queue.beginDelete(handles[0]) == .write(handles[0].sequence))
        #expect(on.receive().isEmpty)
        on.finish([handles[0]])
        #expect(on.receive().count == 1)
    }
}

@Suite struct `A FIFO queue deletes` {
    private let on = QueueOnLog()

    @Test func `by a handle in time, and says so again and again`() {
        on.sendAll("g-m1")
        let handle = on.take()[0].handle
        #expect(on.delete(handle) == .write(handle.sequence))
        #expect(on.delete(handle) == .alreadyDeleted)
        #expect(on.delete(handle) == .alreadyDeleted)
        #expect(on.queue.deletedCount == 1)
    }

    @Test func `not by a handle whose timeout ended`() {
        on.sendAll("g-m1")
        let handle = on.take()[0].handle
        on.wait(30)
        #expect(on.delete(handle) == .expired)
        #expect(on.receive() == ["g-m1"])
        #expect(on.delete(handle) == .expired)
    }

    @Test func `by a handle that was extended in time`() {
        on.sendAll("g-m1")
        let handle = on.take()[0].handle
        on.wait(20)
        #expect(on.change(handle, seconds: 60) == .changed)
        on.wait(50)
        #expect(on.delete(handle) == .write(handle.sequence))
    }

    @Test func `only its own messages`() {
        on.sendAll("g-m1")
        let handle = on.take()[0].handle
        let foreign = ReceiptHandle(
            shard: ShardTag(rawValue: 7), sequence: handle.sequence, receiveCount: 1, place: handle.place)
        #expect(on.delete(foreign) == .notOurs)
        #expect(on.change(foreign, seconds: 1) == .notOurs)
    }

    @Test func `once when asked twice at a time`() {
        on.sendAll("g-m1")
        let handle = on.take()[0].handle
        #expect(on.queue.beginDelete(handle) == .write(handle.sequence))
        #expect(on.queue.beginDelete(handle) == .underWay)
        #expect(on.change(handle, seconds: 0) == .unavailable)
        on.finish([handle])
        #expect(on.queue.messageCount == 0)
    }

    @Test func `not when the commit failed: the message is as before`() {
        on.sendAll("g-m1", "g-m2")
        let handle = on.take(1)[0].handle
        #expect(on.delete(handle, isDurable: false) == .write(handle.sequence))
        #expect(on.receive().isEmpty)
        #expect(on.queue.inFlightCount == 1)
        on.wait(30)
        #expect(on.receive() == ["g-m1", "g-m2"])
    }

    @Test func `bears hostile handles`() {
        on.sendAll("g-m1", "g-m2", "h-m1")
        let taken = on.take()
        on.delete(taken[0].handle)
        let sequences: [Int64] = [.min, -1, 0, 1, .max, taken[0].sequence.rawValue, taken[1].sequence.rawValue - 1]
        for place in [0, 1, 2, 3, 4_095, 4_096, UInt32.max] {
            for sequence in sequences {
                for count in [0, 1, UInt32.max] {
                    let handle = ReceiptHandle(
                        shard: QueueOnLog.tag, sequence: SequenceNumber(rawValue: sequence), receiveCount: count,
                        place: place, seal: 0)
                    #expect(on.queue.beginDelete(handle) == .notOurs)
                    on.queue.finishDelete(handle, isDurable: true, deletionRow: 9, now: on.now)
                    #expect(on.change(handle, seconds: 1) == .notOurs)
                    #expect(on.queue.locate(handle) == nil)
                }
            }
        }
        #expect(on.queue.messageCount == 2)
        #expect(on.queue.inFlightCount == 2)
    }
}

@Suite struct `Changing the visibility` {
    private let on = QueueOnLog()

    @Test func `is refused beyond 12 hours from the receive`() {
        on.sendAll("g-m1")
        let handle = on.take()[0].handle
        #expect(on.change(handle, seconds: 43_200) == .changed)
        on.wait(3_600)
        #expect(on.change(handle, seconds: 39_601) == .beyondLimit)
        #expect(on.change(handle, seconds: 39_600) == .changed)
    }

    @Test func `is refused for a deleted or expired delivery`() {
        on.sendAll("g-m1", "h-m1")
        let taken = on.take()
        on.delete(taken[0].handle)
        #expect(on.change(taken[0].handle, seconds: 5) == .unavailable)
        on.wait(31)
        #expect(on.change(taken[1].handle, seconds: 5) == .unavailable)
    }

    @Test(arguments: [Int64.max, Int64.max / 2, 43_200_001])
    func `bears any number`(milliseconds: Int64) {
        on.sendAll("g-m1")
        let handle = on.take()[0].handle
        #expect(on.queue.changeVisibility(handle, milliseconds: milliseconds, now: on.now) == .beyondLimit)
        #expect(on.queue.inFlightCount == 1)
        #expect(on.queue.changeVisibility(handle, milliseconds: .min, now: on.now) == .changed)
        #expect(on.receive() == ["g-m1"])
    }
}

@Suite struct `Deduplication (I3)` {
    @Test func `answers with the first message for five minutes from the first send`() {
        let on = QueueOnLog()
        let first = on.send("g", "b", id: "id")
        on.wait(299)
        let second = on.send("g", "c", id: "id")
        #expect(second.isDuplicate)
        #expect(second.messageID == first.messageID && second.sequence == first.sequence)
        on.wait(1)
        #expect(on.send("g", "d", id: "id").isDuplicate)
        on.now = on.now + 1
        #expect(!on.send("g", "e", id: "id").isDuplicate)
        #expect(on.receive() == ["b", "e"])
        #expect(on.queue.duplicateCount == 2)
    }

    @Test func `holds within one commit and forgets a failed one`() {
        let on = QueueOnLog()
        let twins = [QueueOnLog.message("g", "b", id: "id"), QueueOnLog.message("g", "c", id: "id")]
        #expect(on.commit(twins, isDurable: false).map(\.isDuplicate) == [false, true])
        let receipts = on.commit(twins)
        #expect(receipts.map(\.isDuplicate) == [false, true])
        #expect(receipts[0].messageID == receipts[1].messageID)
        #expect(on.receive() == ["b"])
    }

    @Test func `outlives the message and a restart, but not a purge`() {
        let on = QueueOnLog()
        on.send("g", "b", id: "id")
        on.delete(on.take()[0].handle)
        #expect(on.send("g", "b", id: "id").isDuplicate)
        on.restart(isClean: false)
        #expect(on.send("g", "b", id: "id").isDuplicate)
        #expect(on.queue.removeAll() == 0)
        #expect(!on.send("g", "b", id: "id").isDuplicate)
        #expect(on.queue.removeAll() == 1)
        #expect(on.receive().isEmpty)
    }

    @Test func `is over the queue, or over the group if so set`() {
        let on = QueueOnLog()
        #expect(!on.send("g", "b", id: "id").isDuplicate)
        #expect(on.send("h", "b", id: "id").isDuplicate)
        var attributes = QueueAttributes()
        attributes.deduplicationScope = .messageGroup
        let perGroup = QueueOnLog(attributes)
        #expect(!perGroup.send("g", "b", id: "id").isDuplicate)
        #expect(!perGroup.send("h", "b", id: "id").isDuplicate)
        #expect(perGroup.send("h", "b", id: "id").isDuplicate)
    }

    private func attributes(_ scope: DeduplicationScope) -> QueueAttributes {
        var attributes = QueueAttributes()
        attributes.deduplicationScope = scope
        return attributes
    }

    @Test(arguments: [DeduplicationScope.queue, .messageGroup])
    func `goes on by the old scope when that is changed, and never lets a message in twice`(old: DeduplicationScope) {
        let new: DeduplicationScope = old == .queue ? .messageGroup : .queue
        let on = QueueOnLog(attributes(old))
        on.send("g", "b", id: "old")
        on.queue.setAttributes(attributes(new), now: on.now)
        on.send("g", "b", id: "new")
        for id in ["old", "new"] {
            #expect(on.send("g", "b", id: id).isDuplicate)
            #expect(on.send("h", "b", id: id).isDuplicate == (old == .queue))
        }
        on.wait(299)
        on.send("g", "b", id: "late")
        on.wait(2)
        on.send("g", "b", id: "later")
        #expect(on.send("g", "b", id: "late").isDuplicate, "accepted under the old scope, and asked for under the new")
        #expect(on.send("h", "b", id: "late").isDuplicate == (old == .queue))
        #expect(on.send("h", "b", id: "later").isDuplicate == (new == .queue), "by now the new scope counts")
        on.wait(301)
        #expect(!on.send("g", "b", id: "late").isDuplicate)
    }

    @Test func `takes another scope at once when it remembers nothing`() {
        let on = QueueOnLog()
        on.queue.setAttributes(attributes(.messageGroup), now: on.now)
        #expect(!on.send("g", "b", id: "id").isDuplicate)
        #expect(!on.send("h", "b", id: "id").isDuplicate)
    }
}

@Suite struct `Delay, retention and dead letters` {
    @Test func `a delay holds messages back and counts them apart`() {
        var attributes = QueueAttributes()
        attributes.delaySeconds = 10
        let on = QueueOnLog(attributes)
        on.sendAll("g-m1")
        on.wait(5)
        on.sendAll("g-m2", "h-m1")
        #expect(on.receive().isEmpty)
        #expect(on.queue.delayedCount(on.now) == 3)
        #expect(on.queue.nextVisibleAt == QueueOnLog.start + 10_000)
        on.wait(5)
        #expect(on.receive() == ["g-m1"])
        #expect(on.queue.delayedCount(on.now) == 2)
        on.wait(5)
        #expect(on.receive() == ["h-m1"])
    }

    @Test func `a changed delay acts on messages already there`() {
        let on = QueueOnLog()
        on.sendAll("g-m1", "h-m1")
        var attributes = QueueAttributes()
        for _ in 0..<1_000 {
            attributes.delaySeconds = attributes.delaySeconds == 60 ? 61 : 60
            on.queue.setAttributes(attributes, now: on.now)
        }
        #expect(on.queue.delayedHeadCount <= 2)
        #expect(on.receive().isEmpty)
        attributes.delaySeconds = 0
        on.queue.setAttributes(attributes, now: on.now)
        #expect(on.receive() == ["g-m1", "h-m1"])
        attributes.delaySeconds = 900
        on.queue.setAttributes(attributes, now: on.now)
        #expect(on.queue.delayedCount(on.now) == 0)
        #expect(on.queue.inFlightCount == 2)
    }

    @Test func `retention drops what is old and not in flight`() {
        var attributes = QueueAttributes()
        attributes.retentionSeconds = 60
        let on = QueueOnLog(attributes)
        on.sendAll("g-m1", "g-m2", "h-m1")
        on.wait(50)
        on.sendAll("h-m2")
        let held = on.take(1, seconds: 100)
        on.wait(11)
        let old = on.queue.takeExpired(now: on.now)
        #expect(old.count == 2)
        #expect(on.delete(old[0]) == .expired)
        #expect(on.receive().isEmpty)
        on.finish([old[0]], isExpiry: true)
        on.finish([old[1]], isDurable: false)
        #expect(on.queue.expiredCount == 1)
        #expect(on.delete(held[0].handle) == .write(held[0].sequence))
        #expect(on.queue.takeExpired(now: on.now).count == 1)
    }

    @Test func `a message failed by retention's commit counts its first receive from then`() {
        var attributes = QueueAttributes()
        attributes.retentionSeconds = 60
        let on = QueueOnLog(attributes)
        on.sendAll("g-m1")
        on.wait(61)
        on.finish(on.queue.takeExpired(now: on.now), isDurable: false, isExpiry: true)
        on.wait(5)
        attributes.retentionSeconds = 120
        on.queue.setAttributes(attributes, now: on.now)
        let taken = on.take()
        #expect(taken.map(\.receiveCount) == [1])
        #expect(taken.map(\.firstReceivedAt) == [on.now])
    }

    @Test func `the receive beyond the count moves the message, and the group goes on`() {
        var attributes = QueueAttributes()
        attributes.redrive = RedrivePolicy(deadLetterQueue: "emails-dlq.fifo", maxReceiveCount: 2)
        let on = QueueOnLog(attributes)
        on.sendAll("g-m1", "g-m2")
        let first = on.take(1, seconds: 0)
        let last = on.take(1, seconds: 0)
        #expect(last[0].receiveCount == 2)
        var moves = on.queue.receive(limit: 10, visibilityMilliseconds: 1_000, attemptID: nil, now: on.now)
        #expect(moves.received.isEmpty)
        #expect(moves.toDeadLetter.map(on.body) == ["g-m1"])
        #expect(on.delete(last[0].handle) == .expired)
        #expect(on.delete(first[0].handle) == .expired)
        #expect(on.receive().isEmpty)
        on.finish(moves.toDeadLetter.map(\.handle), isDurable: false)
        moves = on.queue.receive(limit: 10, visibilityMilliseconds: 1_000, attemptID: nil, now: on.now)
        #expect(moves.toDeadLetter.count == 1)
        on.finish(moves.toDeadLetter.map(\.handle))
        #expect(on.receive() == ["g-m2"])
    }
}

@Suite struct `A repeated receive attempt` {
    private let on = QueueOnLog()

    @Test func `gets the same messages and handles, and their timeouts start anew`() {
        on.sendAll("g-m1", "h-m1", "k-m1")
        let first = on.take(2, attempt: "a")
        on.wait(20)
        let second = on.take(10, attempt: "a")
        #expect(second.map(\.handle) == first.map(\.handle))
        on.wait(20)
        #expect(on.receive() == ["k-m1"])
        #expect(on.delete(first[0].handle) == .write(first[0].sequence))
        on.wait(10)
        #expect(on.receive() == ["h-m1"])
    }

    @Test func `is a new receive once a message was deleted, changed or timed out`() {
        on.sendAll("g-m1", "h-m1", "k-m1")
        let deleted = on.take(1, attempt: "a")
        on.delete(deleted[0].handle)
        let changed = on.take(1, attempt: "a")
        #expect(changed.map(on.body) == ["h-m1"])
        _ = on.change(changed[0].handle, seconds: 100)
        #expect(on.receive(1, attempt: "a") == ["k-m1"])
        on.wait(31)
        #expect(on.take(1, attempt: "a").map(\.receiveCount) == [2])
    }

    @Test func `with timeout 0 gives its messages back`() {
        on.sendAll("g-m1")
        _ = on.take(1, attempt: "a")
        #expect(on.receive(1, seconds: 0, attempt: "a") == ["g-m1"])
        #expect(on.receive(1) == ["g-m1"])
    }

    @Test func `is forgotten after five minutes`() {
        on.sendAll("g-m1", "h-m1")
        _ = on.take(1, seconds: 1_000, attempt: "a")
        on.wait(300)
        #expect(on.receive(1, attempt: "a") == ["h-m1"])
    }
}
