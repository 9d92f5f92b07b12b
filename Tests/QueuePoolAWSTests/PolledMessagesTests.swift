// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Testing

@testable import QueuePoolAWS

private let start = Timestamp(milliseconds: 1_800_000_000_000)

/// Messages with their groups, named by their handles.
private func batch(_ names: [(String, UInt64)]) -> (messages: [ReceivedMessage], groups: [UInt64]) {
    let messages = names.map { name, _ in
        ReceivedMessage(
            handle: ReceiptHandle(
                shard: ShardTag(rawValue: 1), sequence: SequenceNumber(rawValue: 0), receiveCount: 1, place: 0,
                remote: name),
            messageID: MessageID(high: 1, low: 1), receiveCount: 1, firstReceivedAt: start, storage: [], offset: 0,
            length: 0)
    }
    return (messages, names.map(\.1))
}

private func names(_ messages: [ReceivedMessage]) -> [String] { messages.compactMap(\.handle.remote) }

@Suite("Messages that long polls bring")
struct PolledMessagesTests {
    @Test("start no poll unless somebody waits, and one that waits no longer than they do")
    func polls() {
        var polled = PolledMessages(seed: 1)
        #expect(polled.take(limit: 10, now: start).pollSeconds == nil)
        #expect(polled.ask(limit: 10, patienceSeconds: 7, now: start).pollSeconds == 7)
        #expect(polled.ask(limit: 10, patienceSeconds: 20, now: start).pollSeconds == nil)
        _ = polled.pollEnded(.success([]), groups: [], now: start + 7_000)
        #expect(polled.ask(limit: 10, patienceSeconds: 60, now: start + 7_000).pollSeconds == 20)
    }

    @Test("start more polls, up to eight, while polls come back full")
    func morePolls() {
        var polled = PolledMessages(seed: 1)
        _ = polled.ask(limit: 10, patienceSeconds: 20, now: start)
        for _ in 0..<20 {
            let (messages, groups) = batch((0..<10).map { ("\($0)", UInt64($0)) })
            _ = polled.pollEnded(.success(messages), groups: groups, now: start)
            #expect(polled.ask(limit: 10, patienceSeconds: 20, now: start).given.count == 10)
            while polled.ask(limit: 10, patienceSeconds: 20, now: start).pollSeconds != nil {}
        }
        #expect(polled.pollCount == PolledMessages.pollsMax)
    }

    /// I2.
    @Test("of one group go to one receiver; what does not fit goes back, last message first")
    func oneReceiverAGroup() {
        var polled = PolledMessages(seed: 1)
        _ = polled.ask(limit: 3, patienceSeconds: 20, now: start)
        let (messages, groups) = batch([("a1", 1), ("a2", 1), ("b1", 2), ("b2", 2), ("c1", 3), ("b3", 2)])
        _ = polled.pollEnded(.success(messages), groups: groups, now: start)
        let first = polled.ask(limit: 3, patienceSeconds: 20, now: start)
        #expect(names(first.given) == ["a1", "a2", "b1"])
        #expect(names(first.released) == ["b3", "b2"])
        #expect(names(polled.ask(limit: 3, patienceSeconds: 20, now: start).given) == ["c1"])
        #expect(polled.keptCount == 0)
    }

    @Test("go back after a second if nobody takes them, last message first")
    func expiry() {
        var polled = PolledMessages(seed: 1)
        _ = polled.ask(limit: 10, patienceSeconds: 20, now: start)
        let (messages, groups) = batch([("a1", 1), ("a2", 1)])
        _ = polled.pollEnded(.success(messages), groups: groups, now: start)
        #expect(polled.expire(now: start + 999).isEmpty)
        #expect(names(polled.expire(now: start + 1_000)) == ["a2", "a1"])
        #expect(polled.ask(limit: 10, patienceSeconds: 20, now: start + 1_000).given.isEmpty)
    }

    @Test("pause after a failure, longer after several, and tell those who do not wait")
    func failures() {
        var polled = PolledMessages(seed: 1)
        var now = start
        for _ in 0..<30 {
            #expect(polled.ask(limit: 10, patienceSeconds: 20, now: now).pollSeconds == 20)
            let wakeAt = polled.pollEnded(.failure(.unknownOutcome), groups: [], now: now)
            #expect(wakeAt > now && wakeAt - now <= 5_000)
            #expect(polled.ask(limit: 10, patienceSeconds: 20, now: now).pollSeconds == nil)
            #expect(polled.take(limit: 10, now: now).failure == .unknownOutcome)
            now = wakeAt
        }
        #expect(polled.ask(limit: 10, patienceSeconds: 20, now: now).pollSeconds == 20)
        _ = polled.pollEnded(.success([]), groups: [], now: now)
        #expect(polled.take(limit: 10, now: now).failure == nil)
    }
}
