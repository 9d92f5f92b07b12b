// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Testing

@testable import QueuePoolEmbedded

@Suite("Rows of deliveries")
struct UpkeepRowTests {
    private let state = DeliveryState(
        sequence: SequenceNumber(rawValue: 77 << 20), receiveCount: 3, visibleAt: Timestamp(milliseconds: 90),
        receivedAt: Timestamp(milliseconds: 80), firstReceivedAt: Timestamp(milliseconds: 78), incarnation: 5)

    @Test("without their opening, as older versions wrote them, are read")
    func withoutOpening() throws {
        var head = LogEncoding.encode(states: [state], lastSequence: SequenceNumber(rawValue: 99 << 20))
        head.removeLast(4)
        let kept = try #require(LogEncoding.states(head, kind: LogKind.deliveries))
        var expected = state
        expected.incarnation = 0
        #expect(kept.states == [expected] && kept.lastSequence == SequenceNumber(rawValue: 99 << 20))
        #expect(LogEncoding.states(head, kind: LogKind.deliveriesOfOpenings) == nil)
    }

    @Test("with their opening come back as they were")
    func withOpening() throws {
        let head = LogEncoding.encode(states: [state, state], lastSequence: SequenceNumber(rawValue: 1))
        let kept = try #require(LogEncoding.states(head, kind: LogKind.deliveriesOfOpenings))
        #expect(kept.states == [state, state])
        #expect(LogEncoding.states(head, kind: LogKind.deliveries) == nil)
    }
}
