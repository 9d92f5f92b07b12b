// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import QueuePoolTestSupport
import Synchronization
import Testing

/// How many messages were stored, and why others were not.
private final class Answers: Sendable {
    private let state = Mutex<[Result<SendReceipt, ShardError>]>([])

    func take(_ result: Result<SendReceipt, ShardError>) { state.withLock { $0.append(result) } }
    var stored: Int { state.withLock { $0.filter { (try? $0.get()) != nil }.count } }
    var overloaded: Int {
        state.withLock { results in
            results.filter { if case .failure(.overloaded) = $0 { true } else { false } }.count
        }
    }
}

@Suite("Memory of the messages that wait for all shards")
struct WaitingBudgetTests {
    private static let bodyBytes = 20_000
    private let answers = Answers()

    private func message(group: UInt64) -> OutgoingMessage {
        OutgoingMessage(
            record: MessageRecord(bytes: Array(repeating: 1, count: WaitingBudgetTests.bodyBytes)), groupHash: group)
    }

    /// A group of each slot, so that every shard has some.
    private func send(_ count: Int, to pool: Pool) {
        for number in 0..<count { pool.send(message(group: UInt64(number)), completion: answers.take) }
    }

    @Test func `a hundred shards that stand still take no more than the process may`() throws {
        let stage = RegistryStage()
        var options = PoolOptions()
        options.waitingBudget = WaitingBudget(limit: 4 << 20)
        let registry = stage.registry(options: options)
        let pool = try registry.create(try stage.name(), shards: 100, attributes: "")
        send(1_000, to: pool)
        // Each of them has room for thousands.
        let fitting = (4 << 20) / (WaitingBudgetTests.bodyBytes + WaitingBudget.bytesOfMessage)
        #expect(answers.overloaded == 1_000 - fitting)
        #expect(registry.waitingBytes == fitting * (WaitingBudgetTests.bodyBytes + WaitingBudget.bytesOfMessage))
        for _ in 0..<1_000 where answers.stored < fitting {
            for shard in pool.snapshot.shards { stage.shards.shard(shard.name)?.answer() }
        }
        #expect(answers.stored == fitting)
        #expect(registry.waitingBytes == 0)
        send(1, to: pool)
        #expect(answers.overloaded == 1_000 - fitting)
    }

    @Test func `a message costs something however small it is`() throws {
        let entry = BatcherEntry(
            message: OutgoingMessage(record: MessageRecord(bytes: [1]), groupHash: 1), ticket: SendTicket { _ in })
        #expect(WaitingBudget.cost([entry, entry]) >= 1_024)
    }

    @Test func `what a shard refuses for itself is given back`() {
        let budget = WaitingBudget(limit: 1 << 20)
        let shard = FakeShard(name: "a", tag: ShardTag(rawValue: 1), onCounts: nil)
        let sender = ShardSender(
            shard: shard, limits: BatcherLimits(requestEntriesMax: 1, requestBytesMax: 1, waitingEntriesMax: 1),
            quota: nil, clock: ManualClock(), budget: budget)
        for number in 0..<10 { sender.send([entry(UInt64(number))]) }
        #expect(answers.overloaded == 8)
        #expect(budget.bytes == 2 * (WaitingBudgetTests.bodyBytes + WaitingBudget.bytesOfMessage))
        shard.answer()
        shard.answer()
        #expect(answers.stored == 2 && budget.bytes == 0)
    }

    @Test func `what follows a failed entry is given back`() {
        let budget = WaitingBudget(limit: 1 << 20)
        let shard = FakeShard(name: "a", tag: ShardTag(rawValue: 1), onCounts: nil)
        let sender = ShardSender(
            shard: shard, limits: BatcherLimits(requestEntriesMax: 10, requestBytesMax: 1 << 20), quota: nil,
            clock: ManualClock(), budget: budget)
        let order = RequestOrder()
        sender.send([entry(1)])
        sender.send((1...3).map { entry(2, order: order, position: $0) })
        order.fail(0, group: 2, because: .storageFull)
        shard.answer()
        #expect(answers.stored == 1 && budget.bytes == 0)
    }

    @Test func `shards that answer for each entry keep to it too`() {
        let clock = ManualClock()
        let budget = WaitingBudget(limit: 1 << 20)
        let shards = (0..<4).map { FaultyEntryShard(name: "s\($0)", clock: clock) }
        let limits = BatcherLimits(requestEntriesMax: 10, requestBytesMax: 1 << 20)
        let senders = shards.map {
            ShardSender(shard: $0, limits: limits, quota: nil, clock: clock, budget: budget)
        }
        for shard in shards { shard.be(.dead) }
        for number in 0..<400 { senders[number % 4].send([entry(UInt64(number))]) }
        let fitting = (1 << 20) / (WaitingBudgetTests.bodyBytes + WaitingBudget.bytesOfMessage)
        #expect(answers.overloaded == 400 - fitting)
        #expect(budget.bytes <= budget.limit)
        for shard in shards { shard.be(.well) }
        // Past every deadline, and past the time in which a lost request may arrive.
        clock.advance(milliseconds: 900_000)
        #expect(budget.bytes == 0)
    }

    private func entry(_ group: UInt64, order: RequestOrder? = nil, position: Int = 0) -> BatcherEntry<SendTicket> {
        BatcherEntry(
            message: message(group: group), ticket: SendTicket(answers.take), order: order, position: position)
    }
}
