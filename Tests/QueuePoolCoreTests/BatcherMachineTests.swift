// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolTestSupport
import Testing

@testable import QueuePoolCore

/// A batcher, and what its driver would have done.
private struct Stage {
    var batcher: Batcher<Int>
    var now = Timestamp(milliseconds: 1_800_000_000_000)
    private(set) var announced: [RequestID] = []
    private(set) var timers: [Timestamp] = []
    /// Tickets in the order of telling, and what they were told.
    private(set) var told: [Int] = []
    private(set) var errors: [Int: ShardError] = [:]
    private(set) var strangers = 0

    init(requestEntriesMax: Int = 10, waitingEntriesMax: Int = 100, quota: TokenBucket? = nil) {
        batcher = Batcher(
            limits: BatcherLimits(
                requestEntriesMax: requestEntriesMax, requestBytesMax: 1_000, waitingEntriesMax: waitingEntriesMax),
            quota: quota)
    }

    mutating func send(_ tickets: Int..., order: RequestOrder? = nil) {
        let entries = tickets.enumerated().map { position, ticket in
            BatcherEntry(
                message: OutgoingMessage(record: MessageRecord(bytes: [1, 2]), groupHash: 1), ticket: ticket,
                order: order, position: position)
        }
        perform(batcher.handle(.accept(entries), now: now))
    }

    /// - Returns: how many messages were pulled.
    mutating func pull(_ id: RequestID) -> Int {
        let (messages, effects) = batcher.pull(id, now: now)
        perform(effects)
        return messages.count
    }

    mutating func answer(_ id: RequestID, _ answers: EntryAnswers) {
        perform(batcher.handle(.answered(id, answers), now: now))
    }

    mutating func ring(after milliseconds: Int64) {
        now = now + milliseconds
        perform(batcher.handle(.timer, now: now))
    }

    private mutating func perform(_ effects: [SenderEffect<Int>]) {
        for effect in effects {
            switch effect {
            case .announce(let id): announced.append(id)
            case .send: strangers += 1
            case .complete(let ticket, let result): tell(ticket, result)
            case .settle(let entries, let answers):
                for (position, entry) in entries.enumerated() { tell(entry.ticket, answers.result(at: position)) }
            case .wake(let at): timers.append(at)
            }
        }
    }

    private mutating func tell(_ ticket: Int, _ result: Result<SendReceipt, ShardError>) {
        told.append(ticket)
        if case .failure(let error) = result { errors[ticket] = error }
    }

    static func stored(_ count: Int) -> EntryAnswers {
        let sequence = SequenceNumber(rawValue: 1)
        let receipt = SendReceipt(
            messageID: MessageID(shard: ShardTag(rawValue: 1), sequence: sequence), sequence: sequence,
            isDuplicate: false)
        return .entries(Array(repeating: .stored(receipt), count: count))
    }
}

@Suite struct `The batcher as a machine` {
    @Test func `announces once, and forms the request when it is asked for`() {
        var stage = Stage()
        stage.send(1)
        stage.send(2, 3)
        #expect(stage.announced == [0])
        #expect(stage.pull(0) == 3)
        stage.send(4)
        #expect(stage.announced == [0], "one request at a time")
        #expect(stage.batcher.heldEntries == 4 && stage.batcher.heldBytes == 8 && stage.batcher.waitingEntries == 1)
        stage.answer(0, Stage.stored(3))
        #expect(stage.told == [1, 2, 3] && stage.errors.isEmpty)
        #expect(stage.announced == [0, 1] && stage.pull(1) == 1)
        stage.answer(1, Stage.stored(1))
        #expect(stage.told == [1, 2, 3, 4])
        #expect(stage.batcher.heldEntries == 0 && stage.batcher.heldBytes == 0 && stage.strangers == 0)
    }

    @Test func `refuses what waited until its deadline, with its followers, and sends the rest`() {
        var stage = Stage()
        stage.send(1)
        let order = RequestOrder()
        stage.now = stage.now + 1_000
        stage.send(2, 3, order: order)
        stage.now = stage.now + 20_000
        stage.send(4)
        // Its token of the quota was gone again when the shard asked: a request may be formed late.
        stage.now = stage.now + 9_999
        #expect(stage.pull(0) == 3, "the first alone has waited for 30 seconds")
        #expect(stage.told == [1] && stage.errors[1] == .overloaded(retryAfterMilliseconds: 1_000))
        stage.send(5)
        stage.now = stage.now + 30_000
        stage.send(6)
        #expect(stage.told == [1, 5], "what is under way is not told by the deadline")
        stage.answer(0, Stage.stored(3))
        #expect(stage.told == [1, 5, 2, 3, 4] && stage.errors.count == 2)
        #expect(stage.pull(1) == 1 && stage.batcher.heldEntries == 1 && stage.batcher.heldBytes == 2)
    }

    @Test func `tells later entries of a request that an earlier one came to its deadline`() {
        var stage = Stage(requestEntriesMax: 1)
        let order = RequestOrder()
        stage.send(1)
        stage.send(2, 3, order: order)
        #expect(stage.pull(0) == 1)
        stage.ring(after: 30_000)
        #expect(stage.told == [2, 3] && stage.errors.count == 2 && order.failure(before: 2, group: 1) != nil)
        stage.answer(0, Stage.stored(1))
        #expect(stage.told == [2, 3, 1] && stage.announced == [0] && stage.batcher.heldEntries == 0)
    }

    @Test func `gives nothing to a second pull, and tells nobody of a second answer`() {
        var stage = Stage()
        stage.send(1)
        #expect(stage.pull(7) == 0 && stage.pull(0) == 1 && stage.pull(0) == 0)
        stage.send(2)
        stage.answer(0, Stage.stored(1))
        #expect(stage.pull(1) == 1)
        stage.answer(0, .failed(.permanent(.closed)))
        #expect(stage.told == [1] && stage.errors.isEmpty && stage.batcher.heldEntries == 1)
        stage.answer(1, Stage.stored(1))
        #expect(stage.told == [1, 2])
    }

    @Test func `tells each of a request why it failed, and keeps the shard's own reason`() {
        for (failure, error) in [
            (RequestFailure.permanent(.storageFull), ShardError.storageFull), (.unknownOutcome, .unknownOutcome),
            (.throttled, .quotaExceeded(retryAfterMilliseconds: 1_000)),
            (.retryable, .unavailable(retryAfterMilliseconds: 1_000)),
        ] {
            var stage = Stage()
            stage.send(1, 2)
            #expect(stage.pull(0) == 2)
            stage.answer(0, .failed(failure))
            #expect(stage.errors == [1: error, 2: error])
        }
    }

    @Test func `calls unknown what an answer does not mention`() {
        var stage = Stage()
        stage.send(1, 2, 3)
        #expect(stage.pull(0) == 3)
        stage.answer(0, Stage.stored(1))
        #expect(stage.told == [1, 2, 3] && stage.errors == [2: .unknownOutcome, 3: .unknownOutcome])
    }

    @Test func `sends nothing behind a failed entry of its group, and the way is free for the next`() {
        var stage = Stage(requestEntriesMax: 1)
        stage.send(1, 2, order: RequestOrder())
        #expect(stage.pull(0) == 1)
        stage.answer(0, .failed(.permanent(.storageFull)))
        #expect(stage.announced == [0, 1])
        #expect(stage.pull(1) == 0)
        #expect(stage.errors == [1: .storageFull, 2: .earlierEntryFailed(.storageFull)])
        stage.send(3)
        #expect(stage.announced == [0, 1, 2])
        // The answer to the empty one comes late, and ends nothing that is under way.
        #expect(stage.pull(2) == 1)
        stage.answer(1, .entries([]))
        #expect(stage.told == [1, 2] && stage.announced == [0, 1, 2])
        stage.answer(2, Stage.stored(1))
        #expect(stage.told == [1, 2, 3])
    }

    @Test func `refuses at once what has no room, all or nothing`() {
        var stage = Stage(waitingEntriesMax: 2)
        stage.send(1)
        stage.send(2, 3)
        let error = ShardError.overloaded(retryAfterMilliseconds: 1_000)
        #expect(stage.errors == [2: error, 3: error] && stage.batcher.heldEntries == 1)
    }

    @Test func `tells who waited for the quota until his deadline that it was the quota`() {
        var stage = Stage()
        stage = Stage(requestEntriesMax: 1, quota: TokenBucket(rate: 1, now: stage.now))
        for number in 1...40 { stage.send(number) }
        for request: RequestID in 0..<30 {
            #expect(stage.announced.last == request && stage.pull(request) == 1)
            stage.answer(request, Stage.stored(1))
            stage.ring(after: 1_000)
        }
        // One a second, and ten whose time is over.
        #expect(stage.told == Array(1...40))
        #expect(stage.errors.keys.sorted() == Array(31...40))
        #expect(stage.errors.values.allSatisfy { $0 == .quotaExceeded(retryAfterMilliseconds: 1_000) })
    }

    @Test func `tells who waited for the shard until his deadline nothing of a quota that was spent before`() {
        var stage = Stage()
        stage = Stage(requestEntriesMax: 1, quota: TokenBucket(rate: 1, now: stage.now))
        stage.send(1)
        #expect(stage.pull(0) == 1)
        stage.send(2)
        stage.now = stage.now + 30_000
        stage.send(3)
        #expect(stage.errors == [2: .overloaded(retryAfterMilliseconds: 1_000)])
    }

    @Test func `waits for the quota with one timer`() {
        var stage = Stage(requestEntriesMax: 1)
        stage = Stage(requestEntriesMax: 1, quota: TokenBucket(rate: 1, now: stage.now))
        let start = stage.now
        stage.send(1)
        #expect(stage.pull(0) == 1)
        stage.answer(0, Stage.stored(1))
        stage.send(2)
        stage.send(3)
        #expect(stage.announced == [0] && stage.timers == [start + 1_000])
        stage.ring(after: 1_000)
        #expect(stage.announced == [0, 1] && stage.pull(1) == 1)
    }
}
