// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolCore

private let start = Timestamp(milliseconds: 1_800_000_000_000)

/// Messages with their groups, named by their handles.
private func batch(_ names: [(String, UInt64)]) -> (messages: [ReceivedMessage], groups: [UInt64]) {
    let messages = names.map { name, _ in
        ReceivedMessage(
            handle: ReceiptHandle(
                shard: ShardTag(rawValue: 1), sequence: SequenceNumber(rawValue: 0), receiveCount: 1, place: 0,
                remote: RemoteText(name)),
            messageID: MessageID(high: 1, low: 1), receiveCount: 1, firstReceivedAt: start, storage: [], offset: 0,
            length: 0)
    }
    return (messages, names.map(\.1))
}

private func names(_ messages: [ReceivedMessage]) -> [String] { messages.compactMap { $0.handle.remote?.text } }

@Suite("Messages that long polls bring")
struct PolledMessagesTests {
    @Test("start no poll unless somebody waits, and one that waits no longer than they do")
    func polls() {
        var polled = PolledMessages(seed: 1)
        #expect(polled.take(limit: 10, visibilitySeconds: 30, now: start).pollSeconds == nil)
        #expect(polled.ask(limit: 10, visibilitySeconds: 30, patienceSeconds: 7, now: start).pollSeconds == 7)
        #expect(polled.ask(limit: 10, visibilitySeconds: 30, patienceSeconds: 20, now: start).pollSeconds == nil)
        _ = polled.pollEnded(PolledMessages.PollEnd(.success([]), startedAt: start, waitSeconds: 7), now: start + 7_000)
        #expect(polled.ask(limit: 10, visibilitySeconds: 30, patienceSeconds: 60, now: start + 7_000).pollSeconds == 20)
    }

    @Test("start more polls, up to eight, while polls come back full")
    func morePolls() {
        var polled = PolledMessages(seed: 1)
        _ = polled.ask(limit: 10, visibilitySeconds: 30, patienceSeconds: 20, now: start)
        for _ in 0..<20 {
            let (messages, groups) = batch((0..<10).map { ("\($0)", UInt64($0)) })
            _ = polled.pollEnded(
                PolledMessages.PollEnd(.success(messages), groups: groups, startedAt: start), now: start)
            #expect(polled.ask(limit: 10, visibilitySeconds: 30, patienceSeconds: 20, now: start).given.count == 10)
            while polled.ask(limit: 10, visibilitySeconds: 30, patienceSeconds: 20, now: start).pollSeconds != nil {}
        }
        #expect(polled.pollCount == PolledMessages.pollsMax)
    }

    /// I2.
    @Test("of one group go to one receiver; what does not fit goes back, last message first")
    func oneReceiverAGroup() {
        var polled = PolledMessages(seed: 1)
        _ = polled.ask(limit: 3, visibilitySeconds: 30, patienceSeconds: 20, now: start)
        let (messages, groups) = batch([("a1", 1), ("a2", 1), ("b1", 2), ("b2", 2), ("c1", 3), ("b3", 2)])
        _ = polled.pollEnded(PolledMessages.PollEnd(.success(messages), groups: groups, startedAt: start), now: start)
        let first = polled.ask(limit: 3, visibilitySeconds: 30, patienceSeconds: 20, now: start)
        #expect(names(first.given) == ["a1", "a2", "b1"])
        #expect(names(first.released) == ["b3", "b2"])
        #expect(names(polled.ask(limit: 3, visibilitySeconds: 30, patienceSeconds: 20, now: start).given) == ["c1"])
        #expect(polled.keptCount == 0)
    }

    @Test("go back after a quarter of their visibility timeout if nobody takes them, last message first")
    func expiry() {
        var polled = PolledMessages(seed: 1)
        _ = polled.ask(limit: 10, visibilitySeconds: 30, patienceSeconds: 20, now: start)
        let (messages, groups) = batch([("a1", 1), ("a2", 1)])
        _ = polled.pollEnded(PolledMessages.PollEnd(.success(messages), groups: groups, startedAt: start), now: start)
        #expect(polled.expire(now: start + 4_999).isEmpty)
        #expect(names(polled.expire(now: start + 5_000)) == ["a2", "a1"])
        #expect(polled.ask(limit: 10, visibilitySeconds: 30, patienceSeconds: 20, now: start + 5_000).given.isEmpty)
    }

    @Test("pause after a failure, longer after several, and tell those who do not wait")
    func failures() {
        var polled = PolledMessages(seed: 1)
        var now = start
        for _ in 0..<30 {
            #expect(polled.ask(limit: 10, visibilitySeconds: 30, patienceSeconds: 20, now: now).pollSeconds == 20)
            let wakeAt = polled.pollEnded(PolledMessages.PollEnd(.failure(.unknownOutcome), startedAt: now), now: now)
                .wakeAt
            #expect(wakeAt > now && wakeAt - now <= 5_000)
            #expect(polled.ask(limit: 10, visibilitySeconds: 30, patienceSeconds: 20, now: now).pollSeconds == nil)
            #expect(polled.take(limit: 10, visibilitySeconds: 30, now: now).failure == .unknownOutcome)
            now = wakeAt
        }
        #expect(polled.ask(limit: 10, visibilitySeconds: 30, patienceSeconds: 20, now: now).pollSeconds == 20)
        _ = polled.pollEnded(PolledMessages.PollEnd(.success([]), startedAt: now, waitSeconds: 20), now: now + 20_000)
        #expect(polled.take(limit: 10, visibilitySeconds: 30, now: now + 20_000).failure == nil)
    }

    @Test("get their timeout set anew for a receiver who asked for another, or comes late")
    func renewal() {
        for (seconds, later, expected) in [(30, Int64(0), false), (60, 0, true), (30, 1_001, true)] {
            var polled = PolledMessages(seed: 1)
            _ = polled.ask(limit: 10, visibilitySeconds: 30, patienceSeconds: 20, now: start)
            let (messages, groups) = batch([("a1", 1)])
            _ = polled.pollEnded(
                PolledMessages.PollEnd(.success(messages), groups: groups, startedAt: start), now: start)
            let asked = polled.take(limit: 10, visibilitySeconds: seconds, now: start + later)
            #expect(asked.given.count == 1 && asked.mustRenew == expected)
        }
    }

    @Test("get a short timeout set anew sooner: whoever gets them extends it at half")
    func renewalOfShortTimeouts() {
        for (later, expected) in [(Int64(375), false), (376, true)] {
            var polled = PolledMessages(seed: 1)
            _ = polled.ask(limit: 10, visibilitySeconds: 3, patienceSeconds: 20, now: start)
            let (messages, groups) = batch([("a1", 1)])
            let end = PolledMessages.PollEnd(
                .success(messages), groups: groups, visibilitySeconds: 3, startedAt: start)
            _ = polled.pollEnded(end, now: start)
            #expect(polled.take(limit: 10, visibilitySeconds: 3, now: start + later).mustRenew == expected)
        }
    }

    @Test("pause when a poll comes back empty before its time, so that a queue that does not wait is not hammered")
    func impatientService() {
        var polled = PolledMessages(seed: 1)
        _ = polled.ask(limit: 10, visibilitySeconds: 30, patienceSeconds: 20, now: start)
        let end = PolledMessages.PollEnd(.success([]), startedAt: start, waitSeconds: 20)
        #expect(polled.pollEnded(end, now: start + 5).wakeAt > start + 5)
        #expect(polled.ask(limit: 10, visibilitySeconds: 30, patienceSeconds: 20, now: start + 5).pollSeconds == nil)
    }
}
