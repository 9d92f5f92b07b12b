// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import QueuePoolTestSupport
import Synchronization
import Testing

/// What senders were told, in the order of telling.
private final class Told: Sendable {
    private let state = Mutex<[(number: UInt8, result: Result<SendReceipt, ShardError>, at: Timestamp)]>([])

    var all: [(number: UInt8, result: Result<SendReceipt, ShardError>, at: Timestamp)] { state.withLock { $0 } }
    var numbers: [UInt8] { all.map(\.number) }
    var successes: [UInt8] { all.filter { (try? $0.result.get()) != nil }.map(\.number) }

    func entry(_ number: UInt8, group: UInt64, _ clock: ManualClock) -> BatcherEntry<SendTicket> {
        let message = OutgoingMessage(record: MessageRecord(bytes: [number]), groupHash: group)
        return BatcherEntry(
            message: message,
            ticket: SendTicket { result in self.state.withLock { $0.append((number, result, clock.now())) } })
    }
}

private func poolShard(_ shard: FaultyEntryShard, _ clock: ManualClock, quota: Int? = nil) -> PoolShard {
    let limits = BatcherLimits(requestEntriesMax: 10, requestBytesMax: 1 << 20, waitingEntriesMax: 100)
    return PoolShard(index: ShardIndex(0), shard: shard, limits: limits, quota: quota, clock: clock)
}

@Suite struct `The sender of a shard that answers for each entry` {
    let clock = ManualClock()

    @Test func `is chosen for it, sends a lone message at once and tells its receipt`() {
        let shard = FaultyEntryShard(name: "a", clock: clock)
        let sender = poolShard(shard, clock).sender
        let told = Told()
        sender.send([told.entry(1, group: 1, clock)])
        #expect(shard.requests == 1)
        #expect(sender.waitingEntries == 0)
        clock.advance(milliseconds: 20)
        #expect(told.successes == [1])
        #expect(shard.stored == [[1]])
    }

    @Test func `sends groups side by side and each group one by one`() {
        let shard = FaultyEntryShard(name: "a", clock: clock)
        let sender = poolShard(shard, clock).sender
        let told = Told()
        sender.send((0..<40).map { told.entry($0, group: UInt64($0 % 8), clock) })
        clock.advance(milliseconds: 20 * 5)
        #expect(told.successes.count == 40)
        #expect(shard.requests == 5)
        #expect(shard.largestRequest == 8)
        for group in 0..<8 {
            let order = shard.stored.map { $0[0] }.filter { Int($0) % 8 == group }
            #expect(order == order.sorted())
        }
    }

    @Test func `stores nothing twice when answers are lost`() {
        let shard = FaultyEntryShard(name: "a", clock: clock)
        shard.be(.forgetful)
        let sender = poolShard(shard, clock).sender
        let told = Told()
        sender.send((0..<20).map { told.entry($0, group: UInt64($0 % 2), clock) })
        clock.advance(milliseconds: 30_000)
        #expect(Set(told.numbers).count == 20)
        #expect(told.numbers.count == 20)
        #expect(Set(shard.stored).count == shard.stored.count)
        #expect(told.successes.count == 20)
    }

    /// I5.
    @Test func `is not held up by another shard that is dead`() {
        let dead = FaultyEntryShard(name: "a", clock: clock)
        let well = FaultyEntryShard(name: "b", clock: clock)
        dead.be(.dead)
        let senders = [dead, well].map { poolShard($0, clock).sender }
        let late = Told()
        let prompt = Told()
        let start = clock.now()
        for number in UInt8(0)..<50 {
            senders[0].send([late.entry(number, group: UInt64(number), clock)])
            senders[1].send([prompt.entry(number, group: UInt64(number), clock)])
        }
        clock.advance(milliseconds: 40_000)
        #expect(prompt.successes.count == 50)
        #expect(prompt.all.allSatisfy { $0.at - start <= 20 * 6 })
        #expect(late.numbers.count == 50)
        #expect(late.successes.isEmpty)
        // A time limit in which nothing was answered, and two seconds.
        #expect(late.all.allSatisfy { $0.at - start <= 15_000 })
        // Eight at first, then one at a time: nobody storms a dead shard.
        #expect(dead.requests <= 8 + 4)
    }

    @Test func `says what is wrong: full, or unknown`() {
        let shard = FaultyEntryShard(name: "a", clock: clock)
        shard.be(.dead)
        let sender = poolShard(shard, clock).sender
        let told = Told()
        sender.send((0..<100).map { told.entry($0, group: 1, clock) })
        sender.send([told.entry(200, group: 2, clock)])
        #expect(told.numbers == [200])
        if case .failure(.overloaded) = told.all[0].result {} else { Issue.record("expected overloaded") }
        clock.advance(milliseconds: 45_000)
        #expect(told.numbers.count == 101)
        let unknown = told.all.filter { $0.result == .failure(.unknownOutcome) }.map(\.number)
        #expect(unknown == [0])
        #expect(sender.waitingEntries == 0)
    }

    @Test func `bears a shard that refuses thousands of requests at once`() {
        let shard = FaultyEntryShard(name: "a", clock: clock)
        let limits = BatcherLimits(requestEntriesMax: 10, requestBytesMax: 1 << 20)
        let sender = ShardSender(shard: shard, limits: limits, quota: 100_000, clock: clock)
        shard.be(.closed)
        let told = Told()
        sender.send((0..<20_000).map { told.entry(UInt8($0 % 200), group: 1, clock) })
        #expect(told.numbers.isEmpty)
        clock.advance(milliseconds: 0)
        #expect(told.numbers.count == 20_000)
        #expect(told.successes.isEmpty)
        #expect(shard.requests == 20_000)
    }

    @Test func `keeps the quota`() {
        let shard = FaultyEntryShard(name: "a", clock: clock)
        let sender = poolShard(shard, clock, quota: 4).sender
        let told = Told()
        for number in UInt8(0)..<90 { sender.send([told.entry(number, group: UInt64(number), clock)]) }
        clock.advance(milliseconds: 1_000)
        #expect(shard.requests <= 5)
        clock.advance(milliseconds: 3_000)
        #expect(told.successes.count == 90)
        #expect(shard.largestRequest == 10)
    }
}
