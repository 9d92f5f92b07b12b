// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolCore

@Suite struct `What must leave instead of being delivered` {
    private let on: QueueOnLog

    init() {
        var attributes = QueueAttributes()
        attributes.retentionSeconds = 60
        on = QueueOnLog(attributes)
    }

    /// Sets a redrive policy that what was received once has spent.
    private func setRedrive() {
        var attributes = on.queue.attributes
        attributes.redrive = RedrivePolicy(deadLetterQueue: "emails-dlq.fifo", maxReceiveCount: 1)
        on.queue.setAttributes(attributes, now: on.now)
    }

    private func receive(_ limit: Int = 10, seconds: Int64 = 30) -> ReceiveDecision {
        on.queue.advance(to: on.now)
        return on.queue.receive(limit: limit, visibilityMilliseconds: seconds * 1_000, attemptID: nil, now: on.now)
    }

    @Test func `nothing older than the retention period is delivered, whether upkeep came or not`() {
        on.sendAll("g-m1", "g-m2", "h-m1")
        on.wait(30)
        on.sendAll("g-m3")
        on.wait(31)
        let decision = receive()
        #expect(decision.received.map(on.body) == ["g-m3"], "followers are judged by their own age")
        #expect(decision.expired.count == 3 && decision.toDeadLetter.isEmpty)
        #expect(on.queue.takeExpired(now: on.now).isEmpty, "they are held already")
        #expect(on.receive().isEmpty)
        on.finish(decision.expired, isExpiry: true)
        #expect(on.queue.expiredCount == 3 && on.queue.messageCount == 1)
    }

    @Test func `a drop that was not written is tried again, and the message is not delivered meanwhile`() {
        on.sendAll("g-m1")
        on.wait(61)
        on.finish(receive().expired, isDurable: false, isExpiry: true)
        #expect(on.queue.hasReadyGroup)
        let again = receive()
        #expect(again.received.isEmpty && again.expired.count == 1)
    }

    @Test func `the age that counts is that at the receive, to the millisecond`() {
        on.sendAll("g-m1")
        on.wait(60)
        #expect(on.receive(seconds: 0) == ["g-m1"])
        on.now = on.now + 1
        #expect(receive().received.isEmpty)
    }

    @Test func `a repeated attempt does not deliver what grew too old since`() {
        on.sendAll("g-m1")
        on.wait(50)
        #expect(on.take(attempt: "a").count == 1)
        on.wait(11)
        #expect(on.take(attempt: "a").isEmpty)
    }

    @Test func `a receive drops a bounded number, and neither upkeep nor others wait for it`() {
        on.commit((0..<250).map { QueueOnLog.message("old", "m\($0)", id: "old-\($0)") })
        on.commit((0..<250).map { QueueOnLog.message("o\($0)", "m\($0)", id: "id-\($0)") })
        on.wait(61)
        on.sendAll("g-m1")
        let first = receive(1)
        #expect(first.received.map(on.body) == ["g-m1"])
        #expect(first.expired.count == ReceiveDecision.expiredMax)
        on.finish(first.expired, isExpiry: true)
        var dropped = first.expired.count
        while case let decision = receive(1), !decision.expired.isEmpty {
            #expect(decision.received.isEmpty && decision.expired.count <= ReceiveDecision.expiredMax)
            dropped += decision.expired.count
            on.finish(decision.expired, isExpiry: true)
        }
        #expect(dropped == 500)
        #expect(on.queue.messageCount == 1 && !on.queue.hasReadyGroup)
    }

    @Test func `a receive moves a bounded number of dead letters and walks past the others once`() {
        for first in stride(from: 0, to: 3_000, by: 250) {
            on.commit((first..<(first + 250)).map { QueueOnLog.message("p\($0)", "m\($0)", id: "p-\($0)") })
        }
        for _ in 0..<300 { _ = on.take(10, seconds: 0) }
        setRedrive()
        on.sendAll("g-m1")
        let decision = receive(1)
        #expect(decision.received.map(on.body) == ["g-m1"], "others are not blocked (I5)")
        #expect(decision.toDeadLetter.count == ReceiveDecision.deadLettersMax)
        #expect(on.queue.ready.first == noPlace, "nobody who must leave stands among the others")
        on.finish(decision.toDeadLetter.map(\.handle))
        var moved = decision.toDeadLetter.count
        while case let next = receive(1).toDeadLetter, !next.isEmpty {
            #expect(next.count <= ReceiveDecision.deadLettersMax)
            moved += next.count
            on.finish(next.map(\.handle))
        }
        #expect(moved == 3_000 && on.queue.messageCount == 1)
    }

    @Test func `a move that failed goes behind the others, and the group waits for it`() {
        for number in 0..<11 { on.send("p\(number)", "m\(number)") }
        for _ in 0..<2 { _ = on.take(10, seconds: 0) }
        setRedrive()
        on.send("p0", "follower")
        let first = receive(1).toDeadLetter
        #expect(first.count == 10)
        on.finish(first.map(\.handle), isDurable: false)
        let second = receive(1).toDeadLetter
        #expect(Set(second.map(\.sequence)).subtracting(first.map(\.sequence)).count == 1)
        on.finish(second.map(\.handle))
        #expect(on.queue.messageCount == 2 && on.queue.hasReadyGroup)
    }

    @Test func `a redrive policy that is lifted lets them be delivered`() {
        on.sendAll("g-m1", "g-m2")
        _ = on.take(1, seconds: 0)
        var attributes = on.queue.attributes
        setRedrive()
        attributes.redrive = nil
        on.queue.setAttributes(attributes, now: on.now)
        #expect(on.receive(seconds: 0) == ["g-m1", "g-m2"])
        setRedrive()
        #expect(receive().toDeadLetter.map(on.body) == ["g-m1"])
    }

    @Test func `a longer retention period keeps what was about to be dropped`() {
        on.sendAll("g-m1")
        on.wait(61)
        on.finish(receive().expired, isDurable: false, isExpiry: true)
        var attributes = on.queue.attributes
        attributes.retentionSeconds = 120
        on.queue.setAttributes(attributes, now: on.now)
        #expect(on.receive() == ["g-m1"])
    }
}
