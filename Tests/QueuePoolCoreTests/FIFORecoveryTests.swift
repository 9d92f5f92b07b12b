// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolTestSupport
import Testing

@testable import QueuePoolCore

@Suite struct `A queue rebuilt from its log` {
    private let on = QueueOnLog()

    /// Sends `count` messages over five groups, 50 a commit.
    private func fill(_ count: Int) {
        for first in stride(from: 0, to: count, by: 50) {
            on.commit((first..<(first + 50)).map { QueueOnLog.message("g\($0 % 5)", "m\($0)", id: "id-\($0)") })
        }
    }

    private func drain() -> [String] {
        var bodies: [String] = []
        while case let some = on.take(), !some.isEmpty {
            bodies += some.map(on.body)
            for entry in some { on.delete(entry.handle) }
        }
        return bodies.sorted()
    }

    @Test(arguments: SplitMix64.seeds(10))
    func `is the same after the log was swept and rewritten`(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        fill(1_000)
        var kept: Set<String> = Set((0..<1_000).map { "m\($0)" })
        for _ in 0..<300 {
            for entry in on.take(1 + random.below(5)) where random.chance(70) {
                kept.remove(on.body(entry))
                on.delete(entry.handle)
            }
            if random.chance(10) { on.rewrite(limit: random.below(8)) }
            if random.chance(20) { on.sweep() }
            if random.chance(3) { on.restart(isClean: random.chance(50)) }
            on.wait(10)
        }
        on.rewrite(limit: 1_000)
        on.sweep()
        #expect(!on.rows.values.contains { if case .deletions = $0 { true } else { false } }, "seed \(seed)")
        on.restart(isClean: false)
        #expect(on.queue.messageCount == kept.count, "seed \(seed)")
        #expect(drain() == kept.sorted(), "seed \(seed)")
    }

    @Test func `does not bring back what was deleted while its row was rewritten`() {
        on.commit((0..<3).map { QueueOnLog.message("g\($0)", "m\($0)", id: "id-\($0)") })
        let taken = on.take()
        on.delete(taken[1].handle)
        let pinned = on.queue.blocksPinning(deletionsBefore: on.nextRow, limit: 9)
        #expect(pinned.map(\.live.count) == [2])
        guard let (row, live) = pinned.first, let old = on.bodies[row] else { return }
        // The first message goes between the decision to rewrite and the note that it was done.
        on.delete(taken[0].handle)
        var body: [UInt8] = []
        let directory = live.map { entry in
            var moved = entry
            moved.offset = UInt32(body.count)
            body += old[Int(entry.offset)..<Int(entry.offset + entry.length)]
            return moved
        }
        on.rows[row] = .block(directory)
        on.bodies[row] = body
        on.queue.rewrote(row: row, directory: directory, body: body)
        on.sweep()
        on.restart(isClean: false)
        #expect(on.receive() == ["m2"])
    }

    @Test func `honours handles from before a clean stop, and only those in flight`() {
        on.sendAll("g-m1", "h-m1", "k-m1")
        let taken = on.take(2)
        on.restart(isClean: true)
        #expect(on.queue.inFlightCount == 2)
        #expect(on.delete(taken[0].handle) == .write(taken[0].sequence))
        on.wait(30)
        #expect(on.delete(taken[1].handle) == .expired)
        #expect(on.take().map(\.receiveCount) == [1, 2])
    }

    @Test func `refuses handles from before a crash, also when their message has a new receiver`() {
        on.sendAll("g-m1")
        let before = on.take()[0].handle
        on.restart(isClean: false)
        #expect(on.delete(before) == .expired)
        let after = on.take()[0].handle
        #expect(after.receiveCount == before.receiveCount && after.text != before.text)
        #expect(on.delete(before) == .expired && on.change(before, seconds: 0) == .unavailable)
        #expect(on.queue.inFlightCount == 1)
        on.restart(isClean: true)
        #expect(on.delete(before) == .expired && on.delete(after) == .write(after.sequence))
    }

    @Test func `gives everything again after a crash, in order`() {
        on.sendAll("g-m1", "g-m2", "h-m1")
        _ = on.take(1)
        on.restart(isClean: false)
        #expect(on.receive() == ["g-m1", "g-m2", "h-m1"])
    }

    @Test func `goes on with higher sequence numbers although the clock stepped back`() {
        let before = on.send("g", "b")
        on.now = on.now + -60_000
        on.restart(isClean: false)
        #expect(on.send("g", "c").sequence > before.sequence)
        #expect(on.receive() == ["b", "c"])
    }
}

@Suite struct `The cache of recent rows` {
    @Test func `keeps no names of rows that are long gone`() {
        let on = QueueOnLog(cacheBytesMax: 1 << 20)
        for round in 0..<5_000 {
            on.send("g", "m\(round)")
            for entry in on.take() { on.delete(entry.handle) }
        }
        #expect(on.queue.cache.bytes == 0)
        #expect(on.queue.cache.nameCount <= 1_025)
        #expect(on.queue.blocks.placeCount <= 2)
        #expect(on.queue.entries.placeCount <= 2)
    }

    @Test func `lets the oldest go when it may keep less, and takes more when it may again`() {
        let on = QueueOnLog(cacheBytesMax: 1 << 20)
        for round in 0..<50 { on.send("g\(round)", "m\(round)") }
        let all = on.queue.cachedBytes
        on.queue.limitCache(toBytes: all / 2)
        #expect(on.queue.cachedBytes <= all / 2 && on.queue.cachedBytes > all / 3)
        for round in 50..<60 { on.send("g\(round)", "m\(round)") }
        #expect(on.queue.cachedBytes <= all / 2)
        on.queue.limitCache(toBytes: 0)
        #expect(on.queue.cachedBytes == 0)
        on.queue.limitCache(toBytes: 1 << 20)
        on.send("new", "m")
        #expect(on.queue.cachedBytes > 0)
        #expect(Set((0..<8).flatMap { _ in on.take() }.map(\.handle.sequence)).count == 61)
    }

    @Test func `stays within its bytes, oldest out first`() {
        let on = QueueOnLog(cacheBytesMax: 1_000)
        for round in 0..<50 { on.send("g\(round)", "m\(round)") }
        #expect(on.queue.cache.bytes <= 1_000)
        let bodies = (0..<5).flatMap { _ in on.take() }.map(\.body)
        #expect(bodies.first == .some(nil))
        #expect(bodies.last?.map { $0.isEmpty } == false)
    }
}
