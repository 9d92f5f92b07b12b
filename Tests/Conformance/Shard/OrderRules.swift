// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolTestSupport
import Testing

// What a group's order means at the border (I2), and how a group is locked while its messages are in flight.

enum OrderRules {
    /// Sends of many kinds, each answered before the next begins.
    static let sends: ShardRule = { bench in
        var sent: [String: [String]] = [:]
        for round in 0..<8 {
            var batch: [OutgoingMessage] = []
            for position in 0...(round % 4) {
                let group = "g\((round + position) % 3)"
                sent[group, default: []].append("\(group) \(round).\(position)")
                batch.append(bench.message(group, "\(group) \(round).\(position)"))
            }
            try await bench.send(batch)
        }
        let came = Dictionary(grouping: try await bench.drain()) { String($0.prefix(2)) }
        bench.check(came == sent, "groups came as \(came), sent were \(sent)")
    }

    /// Entries of one batch, whose groups alternate.
    static let entriesOfABatch: ShardRule = { bench in
        let bodies = (0..<10).map { "\($0 % 3 == 0 ? "a" : "b") \($0)" }
        let receipts = try await bench.send(bodies.map { bench.message(String($0.prefix(1)), $0) })
        bench.check(receipts.count == 10, "\(receipts.count) receipts for 10 messages")
        let numbers = receipts.map { bench.traits.numbersItself ? $0.sequence.text : $0.remoteSequence?.text ?? "" }
        for group in ["a", "b"] {
            let own = zip(bodies, numbers).filter { $0.0.hasPrefix(group) }.map(\.1)
            bench.check(own == own.sorted() && Set(own).count == own.count, "numbers of \(group) do not grow: \(own)")
        }
        let came = try await bench.receive()
        for group in ["a", "b"] {
            let own = came.map(\.body).filter { $0.hasPrefix(group) }
            bench.check(own == bodies.filter { $0.hasPrefix(group) }, "group \(group) came as \(own)")
        }
        for delivery in came {
            let position = bodies.firstIndex(of: delivery.body)
            bench.check(
                position.map { receipts[$0].messageID } == delivery.message.messageID,
                "\(delivery.body) came under another id than its receipt has")
        }
    }

    /// A group's followers come when all that was received before them is deleted, and not earlier.
    static let lockUntilDeleted: ShardRule = { bench in
        try await bench.send((0..<5).map { bench.message("g", "\($0)") } + [bench.message("other", "x")])
        var rest = try await bench.receive(2)
        bench.check(rest.map(\.body) == ["0", "1"], "a receive of two gave \(rest.map(\.body))")
        let beside = try await bench.receive()
        bench.check(beside.map(\.body) == ["x"], "while two are in flight came \(beside.map(\.body))")
        while let last = rest.popLast() {
            let locked = try await bench.receive()
            bench.check(locked.isEmpty, "with \(rest.count + 1) in flight came \(locked.map(\.body))")
            bench.check(await bench.delete(last).allSatisfy(\.isDeleted), "\(last.body) was not deleted")
        }
        let followers = try await bench.receive()
        bench.check(followers.map(\.body) == ["2", "3", "4"], "after the deletes came \(followers.map(\.body))")
    }

    /// The same when visibility ends.
    static let lockUntilVisible: ShardRule = { bench in
        try await bench.send((0..<4).map { bench.message("g", "\($0)") })
        let first = try await bench.receive(2)
        bench.pass(seconds: 29)
        let early = try await bench.receive()
        bench.check(early.isEmpty, "a second before visibility ends came \(early.map(\.body))")
        bench.pass(seconds: 2)
        let again = try await bench.receive()
        bench.check(first.map(\.body) == ["0", "1"], "at first came \(first.map(\.body))")
        bench.check(again.map(\.body) == ["0", "1", "2", "3"], "then came \(again.map(\.body))")
    }

    /// Given back, last message of a group first, messages come again at once and in order.
    static let givenBack: ShardRule = { bench in
        try await bench.send((0..<4).map { bench.message("g", "\($0)") })
        let taken = try await bench.receive(3)
        let decisions = await bench.setVisibility(0, taken.reversed())
        bench.check(decisions == [.changed, .changed, .changed], "giving back answered \(decisions)")
        let again = try await bench.receive()
        bench.check(again.map(\.body) == ["0", "1", "2", "3"], "after that came \(again.map(\.body))")
        bench.check(again.map(\.count) == [2, 2, 2, 1], "receive counts are \(again.map(\.count))")
        let stale = await bench.setVisibility(0, taken)
        bench.check(!stale.contains(.changed), "handles of the deliveries before still do it: \(stale)")
    }

    /// Kept longer, messages stay in flight longer; a deleted one cannot be kept.
    static let keptLonger: ShardRule = { bench in
        try await bench.send(bench.message("g", "0"), bench.message("h", "1"))
        let taken = try await bench.receive()
        bench.check(await bench.delete(taken.filter { $0.group == "h" }).allSatisfy(\.isDeleted), "no delete")
        let decisions = await bench.setVisibility(100, taken)
        for (delivery, decision) in zip(taken, decisions) {
            let wanted: VisibilityDecision = delivery.group == "g" ? .changed : .unavailable
            bench.check(decision == wanted, "\(delivery.group): \(decision)")
        }
        bench.pass(seconds: 99)
        bench.check(try await bench.receive().isEmpty, "it came before its time")
        bench.pass(seconds: 2)
        bench.check(try await bench.receive().map(\.body) == ["0"], "it did not come when its time was over")
    }

    /// A long walk of sends, receives, deletes, give-backs and passing time, compared with a model of the queue.
    static func walk(seed: UInt64, steps: Int) -> ShardRule {
        { bench in
            var random = SplitMix64(seed: seed)
            var model = GroupModel()
            for step in 0..<steps where bench.findings.all.isEmpty {
                let now = bench.stage.clock.now()
                switch random.below(10) {
                case 0...2:
                    let groups = (0...random.below(4)).map { _ in "g\(random.below(4))" }
                    let bodies = groups.enumerated().map { "\(step).\($0.offset)" }
                    try await bench.send(zip(groups, bodies).map { bench.message($0, $1) })
                    for (group, body) in zip(groups, bodies) { model.send(group, body) }
                case 3...5:
                    let limit = 1 + random.below(10)
                    let came = try await bench.receive(limit)
                    model.receive(came, limit: limit, until: now + 30_000, now: now, bench)
                case 6...7:
                    guard let one = model.anyHeld(&random) else { continue }
                    let isHeld = model.isInFlight(one, now: now)
                    let outcome = await bench.delete(one)
                    bench.check(
                        outcome.count == 1 && outcome[0].isDeleted == isHeld, "step \(step): delete said \(outcome)")
                    if isHeld { model.delete(one) }
                case 8:
                    guard let one = model.anyHeld(&random) else { continue }
                    let wanted: VisibilityDecision = model.isInFlight(one, now: now) ? .changed : .unavailable
                    let seconds = random.chance(70) ? 0 : 1 + random.below(60)
                    let decisions = await bench.setVisibility(seconds, one)
                    bench.check(decisions == [wanted], "step \(step): visibility said \(decisions)")
                    if wanted == .changed { model.setVisible(one, at: now + Int64(seconds) * 1_000) }
                default: bench.pass(seconds: 1 + random.below(20))
                }
            }
            bench.pass(seconds: 100)
            var came: [String: [String]] = [:]
            var taken = try await bench.receive()
            while !taken.isEmpty {
                for delivery in taken { came[delivery.group, default: []].append(delivery.body) }
                // What cannot be deleted would come again without end.
                guard await bench.delete(taken).allSatisfy(\.isDeleted) else { break }
                taken = try await bench.receive()
            }
            bench.check(came == model.bodies, "seed \(seed): at last came \(came), left were \(model.bodies)")
        }
    }
}
