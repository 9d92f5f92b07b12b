// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import QueuePoolTestSupport
import Synchronization
import Testing

@Suite("A slow, dead or throttled shard delays its own groups only")
struct ReceiveTests {
    @Test func `eight that wait are served side by side by eight slow shards`() throws {
        let stage = try ReceiveStage(shards: 8)
        for shard in stage.shards {
            shard.be(.slow(400))
            shard.put(isQuiet: true)
        }
        let receivers = (0..<8).map { _ in stage.receive(wait: 20) }
        // One after the other it would take 3,200 ms. Who came to an ill shard tries it again after a moment.
        stage.clock.advance(milliseconds: 1_000)
        for receiver in receivers {
            #expect(stage.told(receiver)?.numbers == [1])
            #expect(stage.time(receiver) ?? .max <= 1_000)
        }
        stage.clock.advance(milliseconds: 20_000)
        #expect(stage.shards.allSatisfy { $0.givenBack.isEmpty })
    }

    @Test(arguments: [false, true]) func `a hung shard delays one receiver for a moment and the others not`(isFar: Bool)
        throws
    {
        let stage = try ReceiveStage(shards: 4, isFar: isFar)
        stage.shards[0].be(.hung)
        for shard in stage.shards.dropFirst() { shard.put(10, isQuiet: true) }
        // The first begins at the hung shard, the others behind it.
        let first = stage.receive()
        #expect(stage.told(first) == nil)
        stage.clock.advance(milliseconds: 200)
        #expect(stage.time(first) == 200)
        #expect(stage.told(first)?.numbers.isEmpty == false)
        for _ in 0..<8 {
            let next = stage.receive(limit: 1)
            #expect(stage.time(next) == 200)
            #expect(stage.told(next)?.numbers.count == 1)
        }
        // Nothing is there for those who wait; what comes wakes one of them though the hung shard is asked first.
        let waiting = try ReceiveStage(shards: 4, isFar: isFar)
        waiting.shards[0].be(.hung)
        let receivers = (0..<4).map { _ in waiting.receive(wait: 20) }
        waiting.clock.advance(milliseconds: 1_000)
        waiting.shards[0].put()
        waiting.shards[2].put(3)
        #expect(receivers.contains { waiting.told($0)?.numbers == [1, 2, 3] && waiting.time($0) == 1_000 })
        waiting.clock.advance(milliseconds: 19_000)
        #expect(receivers.allSatisfy { waiting.told($0) != nil && waiting.told($0)?.failure == nil })
    }

    @Test(arguments: [false, true], [0, 10_000] as [Int64])
    func `a long poll with one dead shard of four gets another's message and never an error`(
        isFar: Bool, after: Int64
    ) throws {
        for dead in 0..<4 {
            let stage = try ReceiveStage(shards: 4, isFar: isFar)
            stage.shards[dead].be(.failing(.unavailable(retryAfterMilliseconds: 1_000), after: after))
            let receiver = stage.receive(wait: 20)
            stage.clock.advance(milliseconds: 5_000)
            #expect(stage.told(receiver) == nil)
            stage.shards[(dead + 1) % 4].put()
            #expect(stage.told(receiver)?.numbers == [1])
            #expect(stage.time(receiver) == 5_000)
            let empty = stage.receive(wait: 20)
            stage.clock.advance(milliseconds: 20_500)
            #expect(stage.told(empty)?.failure == nil)
            #expect(stage.told(empty)?.numbers.isEmpty == true)
        }
    }

    @Test func `a receive fails if every shard fails`() throws {
        let stage = try ReceiveStage(shards: 4)
        for shard in stage.shards { shard.be(.failing(.storageFailed(code: 10), after: 0)) }
        for wait in [0, 20, 0] {
            let receiver = stage.receive(wait: wait)
            #expect(stage.told(receiver)?.failure == .storageFailed(code: 10))
        }
    }

    @Test func `a long poll looks again at a throttled shard, which does not say when it is ready`() throws {
        let stage = try ReceiveStage(shards: 2)
        stage.shards[1].be(.failing(.quotaExceeded(retryAfterMilliseconds: 700), after: 0))
        stage.shards[1].put()
        let receiver = stage.receive(wait: 20)
        stage.clock.advance(milliseconds: 100)
        stage.shards[1].be(.well)
        stage.clock.advance(milliseconds: 599)
        #expect(stage.told(receiver) == nil)
        stage.clock.advance(milliseconds: 1)
        #expect(stage.told(receiver)?.numbers == [1])
    }

    @Test func `what comes late is for the next receiver`() throws {
        let stage = try ReceiveStage(shards: 2)
        stage.shards[0].be(.slow(400))
        stage.shards[0].put(3, isQuiet: true)
        let first = stage.receive()
        stage.clock.advance(milliseconds: 200)
        #expect(stage.told(first)?.numbers == [])
        stage.clock.advance(milliseconds: 200)
        let next = stage.receive(limit: 2)
        #expect(stage.told(next)?.numbers == [1, 2])
        #expect(stage.shards[0].asked.count == 1)
        #expect(stage.shards[0].givenBack == [])
    }

    @Test func `what nobody takes goes back, the last of a group first`() throws {
        let stage = try ReceiveStage(shards: 2)
        stage.shards[0].be(.slow(400))
        stage.shards[0].put(3, group: 7, isQuiet: true)
        stage.receive()
        stage.clock.advance(milliseconds: 400 + 4_999)
        #expect(stage.shards[0].givenBack == [])
        stage.clock.advance(milliseconds: 1)
        #expect(stage.shards[0].givenBack == [3, 2, 1])
    }

    @Test func `what comes late for a receive that can be repeated goes back at once`() throws {
        let stage = try ReceiveStage(shards: 2)
        stage.shards[0].be(.slow(400))
        stage.shards[0].put(3, group: 7, isQuiet: true)
        stage.receive(attempt: "a")
        stage.clock.advance(milliseconds: 399)
        #expect(stage.shards[0].givenBack == [])
        stage.clock.advance(milliseconds: 1)
        #expect(stage.shards[0].givenBack == [3, 2, 1])
    }

    @Test func `one group's messages that came late go to one receiver`() throws {
        let stage = try ReceiveStage(shards: 2)
        stage.shards[0].be(.slow(400))
        stage.shards[0].put(3, group: 7, isQuiet: true)
        stage.receive()
        stage.clock.advance(milliseconds: 400)
        stage.shards[0].be(.hung)
        let (one, other) = (stage.receive(limit: 1), stage.receive(limit: 1))
        #expect(stage.told(one)?.numbers == [1])
        stage.clock.advance(milliseconds: 200)
        #expect(stage.told(other)?.numbers == [])
        #expect(stage.shards[0].givenBack == [3, 2])
    }

    @Test func `a handle is its own shard's only`() throws {
        let stage = try ReceiveStage(shards: 2)
        stage.shards[1].put(1, isQuiet: true)
        let handle = try #require(stage.told(stage.receive())?.result.get().first?.handle)
        let told = Mutex<[Result<VisibilityDecision, ShardError>]>([])
        for (shard, decision) in zip(stage.pool.snapshot.shards, [VisibilityDecision.notOurs, .changed]) {
            stage.pool.changeVisibility([(handle: handle, seconds: 0)], in: shard) { outcomes in
                told.withLock { $0 = outcomes }
            }
            #expect(told.withLock { $0 } == [.success(decision)])
            #expect(stage.shards[1].givenBack == (decision == .changed ? [1] : []))
        }
    }

    @Test func `a wake-up costs one look where there is nothing any more`() throws {
        let stage = try ReceiveStage(shards: 4)
        stage.receive(wait: 20)
        let before = stage.shards.map(\.asked.count)
        stage.pool.hub.wake(ShardIndex(2))
        #expect(zip(stage.shards, before).map { $0.asked.count - $1 } == [0, 0, 1, 0])
    }

    @Test func `shards near by that answer within the call are asked in turn, for what is left`() throws {
        let stage = try ReceiveStage(shards: 3)
        for shard in stage.shards { shard.put(4, isQuiet: true) }
        let receiver = stage.receive()
        #expect(stage.told(receiver)?.numbers == [1, 2, 3, 4, 1, 2, 3, 4, 1, 2])
        #expect(stage.shards.map { $0.asked.map(\.limit) } == [[10], [6], [2]])
    }

    @Test func `a repeat of a receive asks the shards that answered it, and no others`() throws {
        let stage = try ReceiveStage(shards: 4)
        for shard in stage.shards.prefix(2) { shard.put(2, isQuiet: true) }
        #expect(stage.told(stage.receive(attempt: "a"))?.numbers.count == 4)
        for shard in stage.shards { shard.put(9, isQuiet: true) }
        let before = stage.shards.map(\.asked.count)
        stage.receive(attempt: "a")
        let asked: [Int] = zip(stage.shards, before).map { $0.asked.count - $1 }
        #expect(asked.prefix(2).contains { $0 > 0 })
        #expect(asked.suffix(2).allSatisfy { $0 == 0 })
        // Five minutes later it is a receive like any other.
        stage.clock.advance(milliseconds: 300_000)
        stage.receive(attempt: "a")
        let others = stage.shards[2].asked.count + stage.shards[3].asked.count
        #expect(others > before[2] + before[3])
    }

    @Test func `no more than ten thousand attempts are remembered`() {
        var attempts = AttemptShards()
        let now = Timestamp(milliseconds: 1_000_000)
        for number in 0..<10_100 { attempts.remember("\(number)", [ShardIndex(1)], now: now) }
        #expect(attempts.count == AttemptShards.attemptsMax)
        #expect(attempts.shards(of: "10099", now: now) == [ShardIndex(1)])
        #expect(attempts.shards(of: "10099", now: now + 300_000) == nil)
    }
}
