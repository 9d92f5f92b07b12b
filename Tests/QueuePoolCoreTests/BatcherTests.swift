// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolTestSupport
import Testing

@testable import QueuePoolCore

private let start = Timestamp(milliseconds: 1_800_000_000_000)

/// An entry of group `group`; its record has `bytes` bytes.
private func entry(_ group: UInt64, _ ticket: Int, bytes: Int = 10) -> BatcherEntry<Int> {
    let record = MessageRecord(bytes: Array(repeating: 0, count: bytes))
    return BatcherEntry(message: OutgoingMessage(record: record, groupHash: group), ticket: ticket)
}

/// A batcher that expectations can call.
private final class TestBatcher {
    typealias Request = Batcher<Int>.Request
    private var batcher: Batcher<Int>

    init(limits: BatcherLimits, quota: TokenBucket? = nil) { batcher = Batcher(limits: limits, quota: quota) }

    var limits: BatcherLimits { batcher.limits }
    var waitingEntries: Int { batcher.waitingEntries }
    var waitingBytes: Int { batcher.waitingBytes }

    func accept(_ entries: [BatcherEntry<Int>]) -> Bool { batcher.accept(entries, now: start) }
    func next(now: Timestamp) -> Batcher<Int>.Step { batcher.next(now: now) }
    func finished(_ request: Request) { batcher.finished(request) }

    func sent(_ now: Timestamp = start) -> Request? {
        guard case .send(let request, refused: _) = next(now: now), !request.isEmpty else { return nil }
        return request
    }
}

/// A token bucket that expectations can call.
private final class TestBucket {
    private var bucket: TokenBucket

    init(rate: Int, burst: Int, now: Timestamp) { bucket = TokenBucket(rate: rate, burst: burst, now: now) }

    func take(now: Timestamp) -> Int? { bucket.take(now: now) }
}

private func limits(entries: Int = 10, bytes: Int = 1_000, waiting: Int = 1_000) -> BatcherLimits {
    BatcherLimits(
        requestEntriesMax: entries, requestBytesMax: bytes, waitingEntriesMax: waiting, waitingBytesMax: 1 << 20)
}

@Suite struct `The batcher` {
    @Test func `sends a lone entry at once and gathers while a request is under way`() throws {
        let batcher = TestBatcher(limits: limits())
        #expect(batcher.accept([entry(1, 1)]))
        let first = try #require(batcher.sent())
        #expect(first.map(\.ticket) == [1])
        for ticket in 2...14 { #expect(batcher.accept([entry(UInt64(ticket % 3), ticket)])) }
        #expect(batcher.sent() == nil)
        batcher.finished(first)
        let second = try #require(batcher.sent())
        #expect(second.map(\.ticket) == Array(2...11))
        batcher.finished(second)
        #expect(batcher.sent()?.map(\.ticket) == [12, 13, 14])
        #expect(batcher.waitingEntries == 0)
        #expect(batcher.waitingBytes == 0)
    }

    @Test func `keeps a request within its bytes, but lets a lone large entry through`() throws {
        let batcher = TestBatcher(limits: limits())
        #expect(batcher.accept([entry(1, 1, bytes: 600), entry(2, 2, bytes: 600), entry(3, 3, bytes: 5_000)]))
        for ticket in 1...3 {
            let request = try #require(batcher.sent())
            #expect(request.map(\.ticket) == [ticket])
            batcher.finished(request)
        }
    }

    @Test func `refuses whole what has no room, and takes a lone large request`() {
        let batcher = TestBatcher(limits: limits(waiting: 3))
        #expect(batcher.accept((1...5).map { entry(1, $0) }))
        #expect(!batcher.accept([entry(1, 6)]))
        #expect(batcher.waitingEntries == 5)
        #expect(batcher.sent()?.count == 5)
        #expect(batcher.accept([entry(1, 6), entry(1, 7)]))
        #expect(!batcher.accept([entry(1, 8), entry(1, 9)]))
        #expect(batcher.accept([entry(1, 8)]))
    }

    @Test func `waits for its quota and then sends`() {
        let batcher = TestBatcher(limits: limits(), quota: TokenBucket(rate: 10, burst: 1, now: start))
        #expect(batcher.accept([entry(1, 1)]))
        guard let first = batcher.sent() else { return #expect(Bool(false), "the first token was not there") }
        batcher.finished(first)
        #expect(batcher.accept([entry(1, 2)]))
        guard case .wait(let until) = batcher.next(now: start) else { return #expect(Bool(false), "no wait") }
        #expect(until - start == 100)
        #expect(batcher.sent(start + 99) == nil)
        #expect(batcher.sent(until)?.map(\.ticket) == [2])
    }

    @Test(arguments: SplitMix64.seeds(40))
    func `keeps order, limits and bounds under random load (I2)`(seed: UInt64) {
        var run = RandomRun(seed: seed)
        for _ in 0..<1_500 { run.step() }
        run.drain()
    }
}

/// Random accepts, sends and answers, with what must hold checked at each.
private struct RandomRun {
    let seed: UInt64
    var random: SplitMix64
    var batcher: TestBatcher
    var requests: [TestBatcher.Request] = []
    var ticket = 0
    var waiting: [UInt64: [Int]] = [:]
    var now = start

    init(seed: UInt64) {
        self.seed = seed
        random = SplitMix64(seed: seed)
        let chosen = limits(
            entries: 1 + random.below(10), bytes: 50 + random.below(200), waiting: 5 + random.below(60))
        let quota = random.chance(30) ? TokenBucket(rate: 50 + random.below(500), now: start) : nil
        batcher = TestBatcher(limits: chosen, quota: quota)
    }

    mutating func step() {
        now = now + Int64(random.below(4))
        switch random.below(10) {
        case 0..<5: accept()
        case 5..<8: send()
        default: answer()
        }
        let count = waiting.values.reduce(0) { $0 + $1.count }
        #expect(batcher.waitingEntries == count, "seed \(seed)")
    }

    private mutating func accept() {
        let entries = (0..<(1 + random.below(4))).map { _ -> BatcherEntry<Int> in
            ticket += 1
            return entry(UInt64(random.below(6)), ticket, bytes: 1 + random.below(120))
        }
        let before = batcher.waitingEntries
        guard batcher.accept(entries) else { return }
        #expect(before == 0 || before + entries.count <= batcher.limits.waitingEntriesMax, "seed \(seed)")
        for entry in entries { waiting[entry.message.groupHash, default: []].append(entry.ticket) }
    }

    private mutating func send() {
        guard requests.isEmpty else {
            #expect(batcher.sent(now) == nil, "seed \(seed)")
            return
        }
        guard let request = batcher.sent(now) else { return }
        #expect(!request.isEmpty && request.count <= batcher.limits.requestEntriesMax, "seed \(seed)")
        let bytes = request.reduce(0) { $0 + $1.message.byteCount }
        #expect(request.count == 1 || bytes <= batcher.limits.requestBytesMax, "seed \(seed)")
        for entry in request {
            let group = entry.message.groupHash
            #expect(waiting[group]?.first == entry.ticket, "seed \(seed): out of order")
            waiting[group]?.removeFirst()
        }
        requests.append(request)
    }

    private mutating func answer() {
        guard !requests.isEmpty else { return }
        batcher.finished(requests.remove(at: random.below(requests.count)))
    }

    /// Everything that was accepted leaves in the end.
    mutating func drain() {
        for _ in 0..<100_000 where batcher.waitingEntries > 0 {
            now = now + 50
            send()
            answer()
        }
        #expect(batcher.waitingEntries == 0 && batcher.waitingBytes == 0, "seed \(seed)")
        #expect(waiting.values.allSatisfy { $0.isEmpty }, "seed \(seed)")
    }
}

@Suite struct `The token bucket` {
    @Test(arguments: SplitMix64.seeds(20))
    func `never lets more than rate * t + burst pass in any stretch`(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let (rate, burst) = (1 + random.below(900), 1 + random.below(50))
        let bucket = TestBucket(rate: rate, burst: burst, now: start)
        var now = start
        var taken: [Timestamp] = []
        for _ in 0..<300 {
            if bucket.take(now: now) == nil { taken.append(now) }
            if random.chance(50) { now = now + Int64(random.below(6)) }
            if random.chance(1) { now = now + Int64(random.below(5_000)) }
        }
        var excess = 0
        for first in taken.indices {
            for last in taken.indices[first...] {
                let allowed = Int(taken[last] - taken[first]) * rate + burst * 1_000
                excess = max(excess, (last - first + 1) * 1_000 - allowed)
            }
        }
        #expect(excess == 0, "seed \(seed)")
    }

    @Test func `serves at its rate those who come when they are told to`() {
        let bucket = TestBucket(rate: 300, burst: 2, now: start)
        var now = start
        var passed = 0
        while now < start + 10_000 {
            if let wait = bucket.take(now: now) {
                #expect(wait >= 1)
                now = now + Int64(wait)
            } else {
                passed += 1
            }
        }
        #expect((2_999...3_002).contains(passed))
    }

    @Test func `holds no more than its burst after a long rest`() {
        let bucket = TestBucket(rate: 300, burst: 5, now: start)
        let later = start + 365 * 86_400_000 * 100
        for _ in 0..<5 { #expect(bucket.take(now: later) == nil) }
        #expect(bucket.take(now: later) != nil)
    }

    @Test func `gains nothing while the clock stands or steps back`() {
        let bucket = TestBucket(rate: 1_000, burst: 1, now: start)
        #expect(bucket.take(now: start) == nil)
        #expect(bucket.take(now: start) == 1)
        #expect(bucket.take(now: start + -60_000) == 1)
        #expect(bucket.take(now: start) == 1)
        #expect(bucket.take(now: start + 1) == nil)
    }

    @Test(arguments: [(0, 0), (-5, -5), (Int.max, Int.max), (1, Int.max), (Int.max, 1)])
    func `bears any rate and burst`(rate: Int, burst: Int) {
        let bucket = TestBucket(rate: rate, burst: burst, now: start)
        #expect(bucket.take(now: start) == nil)
        _ = bucket.take(now: .distantFuture)
        _ = bucket.take(now: .distantPast)
    }
}
