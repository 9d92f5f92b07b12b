// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Testing

@testable import QueuePoolWorker

@Suite struct `A message that is given up` {
    private static let reason = DeadLetterReason(
        reason: "attempts-exhausted", errorClass: "http-503", attempts: 5)

    private func attributes(own: Int, body: Int = 10, recipients: [Int]? = nil) -> [String: String] {
        var message = WorkMessage(
            id: "m", handle: "h", group: "g", body: Array(repeating: 0x61, count: body),
            attributes: (0..<own).map { MessageAttribute(name: $0 == 0 ? "Content-Type" : "own\($0)", text: "v") })
        message.recipients = recipients
        let found = DeadLetterAttributes.attributes(
            message, Self.reason, pool: "emails.fifo", failedAt: "2026-01-02T03:04:05Z")
        #expect(found.count <= 10)
        #expect(found.reduce(body) { $0 + $1.byteCount } <= 1 << 20)
        return Dictionary(uniqueKeysWithValues: found.map { ($0.name, String(decoding: $0.value, as: UTF8.self)) })
    }

    @Test(arguments: 0...5) func `says why, in an attribute each`(own: Int) {
        let found = attributes(own: own)
        #expect(found.count == own + 5)
        #expect(found["queuepool.reason"] == "attempts-exhausted" && found["queuepool.error-class"] == "http-503")
        #expect(found["queuepool.attempts"] == "5" && found["queuepool.pool"] == "emails.fifo")
        #expect(found["queuepool.failed-at"] == "2026-01-02T03:04:05Z")
    }

    @Test(arguments: 6...9) func `says why in one attribute if there is room for one`(own: Int) {
        let found = attributes(own: own)
        #expect(found.count == own + 1)
        #expect(
            found["queuepool.dead-letter"]
                == "reason=attempts-exhausted error-class=http-503 attempts=5 failed-at=2026-01-02T03:04:05Z "
                + "pool=emails.fifo")
    }

    @Test func `keeps all ten attributes of its own`() {
        #expect(attributes(own: 10).keys.filter { $0.hasPrefix("queuepool.") } == [])
    }

    @Test func `tells the recipients that are left in any case`() {
        #expect(attributes(own: 3, recipients: [1, 4])["queuepool.recipients"] == "1,4")
        let full = attributes(own: 10, recipients: [1, 4])
        #expect(full["queuepool.recipients"] == "1,4" && full["Content-Type"] == "v")
    }

    @Test(arguments: [0, 10, 40, 60, 100, 150, 200]) func `is never too large for the queue`(room: Int) {
        let found = attributes(own: 0, body: (1 << 20) - room)
        #expect(room < 150 || found["queuepool.reason"] != nil)
    }

    @Test func `names its pool by its deduplication id, where no attribute fits`() {
        let id = DeadLetterMark.deduplicationID(
            message: "0b1e9cb8-4a5d-4c8e-9d4c-0123456789ab", pool: "emails.fifo")
        #expect(DeadLetterMark.pool(ofDeduplicationID: Array(id.utf8)) == "emails.fifo")
        #expect(DeadLetterMark.pool(ofDeduplicationID: Array("0b1e9cb8".utf8)) == nil)
        #expect(DeadLetterMark.pool(ofDeduplicationID: Array("dead/".utf8)) == nil)
        let long = DeadLetterMark.deduplicationID(
            message: String(repeating: "m", count: 100), pool: "emails.fifo-and-more.fifo")
        #expect(long.utf8.count == 100, "an id that is too long would be refused")
    }
}
