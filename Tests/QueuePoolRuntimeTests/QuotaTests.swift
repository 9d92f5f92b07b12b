// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import QueuePoolTestSupport
import Synchronization
import Testing

@Suite struct `The quota of a shard` {
    private let clock = ManualClock()

    private func shard(quota: Int?) -> PoolShard {
        PoolShard(
            index: ShardIndex(0), shard: WholeBatchShard(clock: clock),
            limits: BatcherLimits(requestEntriesMax: 10, requestBytesMax: 1 << 20), quota: quota, clock: clock)
    }

    @Test(arguments: QuotaAction.allCases) func `counts each action apart, and refills with time`(
        action: QuotaAction
    ) {
        let shard = shard(quota: 5)
        for _ in 0..<5 { #expect(shard.takeToken(action) == nil) }
        #expect(shard.takeToken(action) == 200)
        for other in QuotaAction.allCases where other != action { #expect(shard.takeToken(other) == nil) }
        clock.advance(milliseconds: 199)
        #expect(shard.takeToken(action) != nil)
        clock.advance(milliseconds: 1)
        #expect(shard.takeToken(action) == nil)
        #expect(shard.takeToken(action) != nil)
    }

    @Test func `is no limit if there is none`() {
        let shard = shard(quota: nil)
        for action in QuotaAction.allCases {
            #expect((0..<1_000).allSatisfy { _ in shard.takeToken(action) == nil })
        }
    }

    @Test func `refuses receives over it, and asks the shard no more`() throws {
        let stage = try ReceiveStage(shards: 1, quota: 3)
        stage.shards[0].put(20, isQuiet: true)
        for _ in 0..<3 { #expect(stage.told(stage.receive(limit: 1))?.numbers.count == 1) }
        let refused = stage.receive(limit: 1)
        let quota = ShardQuota(shard: "shard-0", requestsPerSecond: 3)
        #expect(stage.told(refused)?.failure == .quotaExceeded(retryAfterMilliseconds: 334, of: quota))
        #expect(stage.shards[0].asked.count == 3)
        stage.clock.advance(milliseconds: 334)
        #expect(stage.told(stage.receive(limit: 1))?.numbers == [4])
    }

    @Test func `refuses deletes over it, of that shard only`() throws {
        let stage = try ReceiveStage(shards: 2, quota: 1)
        let handles = stage.shards.map {
            ReceiptHandle(shard: $0.tag, sequence: SequenceNumber(rawValue: 1), receiveCount: 1, place: 0)
        }
        let told = Mutex<[DeleteOutcome]>([])
        func delete(_ handles: [ReceiptHandle]) -> [Bool] {
            stage.pool.delete(handles) { outcomes in told.withLock { $0 = outcomes } }
            stage.clock.advance(milliseconds: 0)
            return told.withLock {
                $0.map {
                    guard case .failed(.quotaExceeded(1_000, let quota)) = $0 else { return false }
                    return quota == ShardQuota(shard: "shard-0", requestsPerSecond: 1)
                }
            }
        }
        #expect(delete([handles[0]]) == [false])
        #expect(delete([handles[0], handles[1], handles[0]]) == [true, false, true])
    }

    @Test func `is named where a shard's service refuses, which does not know the shard by name`() throws {
        let stage = try ReceiveStage(shards: 1, quota: 7)
        stage.shards[0].be(.failing(.quotaExceeded(retryAfterMilliseconds: 700), after: 0))
        let quota = ShardQuota(shard: "shard-0", requestsPerSecond: 7)
        // The second is refused without a look, by what the first was told.
        for _ in 0..<2 {
            guard case .quotaExceeded(_, let told)? = stage.told(stage.receive())?.failure else {
                Issue.record("it was not refused for the quota")
                continue
            }
            #expect(told == quota)
        }
    }

    @Test func `is named to senders who waited for it until their deadline`() {
        let shard = WholeBatchShard(clock: clock)
        let sender = ShardSender(
            shard: shard, limits: BatcherLimits(requestEntriesMax: 1, requestBytesMax: 1 << 20), quota: 1,
            clock: clock)
        let told = Mutex<[ShardError]>([])
        for number in UInt8(0)..<40 {
            let message = OutgoingMessage(record: MessageRecord(bytes: [number]), groupHash: 1)
            let ticket = SendTicket { result in
                if case .failure(let error) = result { told.withLock { $0.append(error) } }
            }
            sender.send([BatcherEntry(message: message, ticket: ticket)])
        }
        for _ in 0..<40 { clock.advance(milliseconds: 1_000) }
        let quota = ShardQuota(shard: shard.name, requestsPerSecond: 1)
        let errors = told.withLock { $0 }
        #expect(errors.count + shard.stored.count == 40 && errors.count >= 9)
        #expect(errors.allSatisfy { $0 == .quotaExceeded(retryAfterMilliseconds: 1_000, of: quota) })
    }

    @Test func `is not another's where an error says whose it is`() {
        let (one, other) = (
            ShardQuota(shard: "one", requestsPerSecond: 1), ShardQuota(shard: "other", requestsPerSecond: 2)
        )
        let error = ShardError.quotaExceeded(retryAfterMilliseconds: 3)
        #expect(error.named(one) == .quotaExceeded(retryAfterMilliseconds: 3, of: one))
        #expect(error.named(one).named(other) == .quotaExceeded(retryAfterMilliseconds: 3, of: one))
        #expect(ShardError.earlierEntryFailed(error).named(one) == .earlierEntryFailed(error.named(one)))
        #expect(ShardError.storageFull.named(one) == .storageFull)
    }

    @Test func `lets requests leave one by one as it refills, with one timer at a time`() {
        let shard = WholeBatchShard(clock: clock)
        let sender = ShardSender(
            shard: shard, limits: BatcherLimits(requestEntriesMax: 1, requestBytesMax: 1 << 20),
            quota: 1, clock: clock)
        let told = Atomic(0)
        for number in UInt8(0)..<5 {
            let message = OutgoingMessage(record: MessageRecord(bytes: [number]), groupHash: 1)
            sender.send([
                BatcherEntry(message: message, ticket: SendTicket { _ in told.wrappingAdd(1, ordering: .relaxed) })
            ])
            clock.advance(milliseconds: 0)
            #expect(clock.timerCount == (number == 0 ? 0 : 1))
        }
        for second in 1...5 {
            #expect(shard.requests.count == second && told.load(ordering: .relaxed) == second)
            #expect(clock.timerCount == (second == 5 ? 0 : 1))
            clock.advance(milliseconds: 1_000)
        }
        #expect(shard.stored == [[0], [1], [2], [3], [4]])
    }
}
