// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolCore

@Suite struct `What is audited` {
    private let start = Timestamp(milliseconds: 1_800_000_000_000)
    private let key = "QPAAAAAAAAAAAAAAAAAA"

    private func word(_ text: String) throws -> AuditWord { try #require(AuditWord(text)) }

    private func entry(
        _ action: AccessActions = .admin, _ outcome: AuditOutcome = .begun, operation: String = "PurgeQueue"
    ) throws -> AuditEntry {
        AuditEntry(
            time: start, caller: key, address: try word("::1"), action: action, operation: try word(operation),
            pool: PoolName("emails.fifo"), outcome: outcome, request: try word("0a-1"))
    }

    private func refusal(_ operation: String = "SendMessage") throws -> AuditEntry {
        try entry(.send, .refused(word("AccessDenied")), operation: operation)
    }

    // MARK: - Entries

    @Test(arguments: [AccessActions.send, .receive, .metrics, [.send, .receive]])
    func `what is no admin action is kept only if it is refused`(action: AccessActions) throws {
        for outcome in [AuditOutcome.begun, .done, .failed(status: 500)] {
            #expect(try entry(action, outcome).urgency == .never)
        }
        #expect(try entry(action, .refused(word("AccessDenied"))).urgency == .soon)
    }

    @Test func `an admin action is kept before it is taken and before it is answered, its refusal soon`() throws {
        for outcome in [AuditOutcome.begun, .done, .failed(status: 404)] {
            #expect(try entry(.admin, outcome).urgency == .before)
            #expect(try entry([.admin, .send], outcome).urgency == .before)
        }
        #expect(try entry(.admin, .refused(word("AccessDenied"))).urgency == .soon)
    }

    @Test func `an entry's members have every part, and none that is not there`() throws {
        #expect(
            try entry(.admin, .done).members == """
                "caller":"QPAAAAAAAAAAAAAAAAAA","address":"::1","action":"admin","operation":"PurgeQueue",\
                "pool":"emails.fifo","outcome":"done","request":"0a-1"
                """)
        let failed = try entry(.admin, .failed(status: 404)).members
        #expect(failed.hasSuffix(#","outcome":"failed","status":404,"request":"0a-1""#))
        let unknown = AuditEntry(
            time: start, caller: nil, action: .send, operation: try word("SendMessage"), pool: nil,
            outcome: .refused(try word("InvalidClientTokenId")), request: nil)
        #expect(
            unknown.members == """
                "action":"send","operation":"SendMessage","outcome":"refused","reason":"InvalidClientTokenId"
                """)
    }

    @Test func `an entry says how its request came, and to which key it was done`() throws {
        let entry = AuditEntry(
            time: start, caller: nil, via: .command, action: .admin, operation: try word("revokeKey"), pool: nil,
            key: key, outcome: .done, request: nil)
        #expect(
            entry.members == """
                "protocol":"command","action":"admin","operation":"revokeKey","key":"QPAAAAAAAAAAAAAAAAAA",\
                "outcome":"done"
                """)
        let unknown = AuditEntry(
            time: start, caller: nil, via: .query, action: [], operation: .unknown, pool: nil, key: "no key's id",
            outcome: .refused(.accessDenied), request: nil)
        #expect(
            unknown.members == """
                "protocol":"query","operation":"unknown","outcome":"refused","reason":"access-denied"
                """)
    }

    @Test func `an entry names the one message that it is about`() throws {
        let message = try #require(MessageID("5A8B1C0E-5d0f-8a52-9d70-6f0a3f6f0f11"))
        let entry = AuditEntry(
            time: start, caller: key, action: .admin, operation: try word("showDeadLetter"),
            pool: PoolName("emails.fifo"), message: message, outcome: .done, request: nil)
        #expect(
            entry.members == """
                "caller":"QPAAAAAAAAAAAAAAAAAA","action":"admin","operation":"showDeadLetter",\
                "pool":"emails.fifo","message":"5a8b1c0e-5d0f-8a52-9d70-6f0a3f6f0f11","outcome":"done"
                """)
    }

    @Test(arguments: ["", "a b", "a\"b", "a\\b", "a\n", "mail@example.org", "ä", String(repeating: "a", count: 65)])
    func `a word is nothing that a sender could write a text or a mail address in`(text: String) {
        #expect(AuditWord(text) == nil)
    }

    @Test(arguments: ["alice@example.org", "qp_secret", "", "QPAAAAAAAAAAAAAAAAAA\""])
    func `a caller that is no key's id is left out`(caller: String) throws {
        let entry = AuditEntry(
            time: start, caller: caller, action: .admin, operation: try word("o"), pool: nil, outcome: .done,
            request: nil)
        #expect(entry.caller == nil && !entry.members.contains("caller"))
    }

    // MARK: - The queue

    private typealias Queue = AuditQueue<Int>

    private func wait(_ step: Queue.Step) -> Int64?? {
        if case .wait(let milliseconds) = step { return .some(milliseconds) }
        return nil
    }

    private func batch(_ step: Queue.Step) throws -> Queue.Batch {
        guard case .write(let batch) = step else {
            Issue.record("nothing is written: \(step)")
            throw NoBatch()
        }
        return batch
    }

    private struct NoBatch: Error {}

    @Test func `an entry that somebody waits for is written at once, with all that waits`() throws {
        var queue = Queue()
        #expect(wait(queue.next(now: start)) == .some(nil))
        queue.add(try refusal(), now: start)
        #expect(wait(queue.next(now: start + 1)) == 999)
        #expect(queue.add(try entry(), waiter: 7))
        #expect(queue.add(try entry(.admin, .done), waiter: 8))
        let batch = try batch(queue.next(now: start + 1))
        #expect(batch.entries == [try refusal(), try entry(), try entry(.admin, .done)])
        #expect(batch.waiters == [7, 8])
        #expect(wait(queue.next(now: start + 5_000)) == .some(nil))
    }

    @Test func `a refusal waits a second for others, and not longer because others come`() throws {
        var queue = Queue()
        for after in stride(from: Int64(0), to: 1_000, by: 100) {
            queue.add(try refusal("o\(after)"), now: start + after)
            #expect(wait(queue.next(now: start + after)) == 1_000 - after)
        }
        let batch = try batch(queue.next(now: start + 1_000))
        #expect(batch.entries.map(\.operation.text) == stride(from: 0, to: 1_000, by: 100).map { "o\($0)" })
        queue.add(try refusal(), now: start + 1_500)
        #expect(wait(queue.next(now: start + 2_000)) == 500)
    }

    @Test func `requests over a limit are one entry for a key and a limit, with their count`() throws {
        var queue = Queue()
        func over(_ limit: CallerLimit, _ caller: String) throws -> AuditEntry {
            AuditEntry(
                time: start, caller: caller, action: .send, operation: try word("o"), pool: nil,
                outcome: .overLimit(limit), request: nil)
        }
        let other = "QPBBBBBBBBBBBBBBBBBB"
        for _ in 0..<3_000 { queue.add(try over(.requests, key), now: start) }
        for _ in 0..<2 { queue.add(try over(.bytes, key), now: start) }
        queue.add(try refusal(), now: start)
        queue.add(try over(.requests, other), now: start)
        #expect(wait(queue.next(now: start)) == 1_000)
        let first = try batch(queue.next(now: start + 1_000))
        #expect(first.entries.map(\.count) == [3_000, 2, 1, 1] && first.leftOut == 0)
        #expect(first.entries[0].members.hasSuffix("\"reason\":\"over-limit-requests\",\"count\":3000"))
        // What comes while a write fails joins its own kind, and none is lost.
        queue.add(try over(.requests, key), now: start + 1_000)
        queue.returnRefusals(of: first, now: start + 1_100)
        for _ in 0..<4 { queue.add(try over(.requests, key), now: start + 1_200) }
        let second = try batch(queue.next(now: start + 3_000))
        let own = second.entries.filter { $0.outcome == .overLimit(.requests) && $0.caller == key }
        #expect(own.map(\.count) == [3_000, 5])
    }

    @Test func `of a flood a bounded number is held, and the others are counted`() throws {
        var queue = Queue()
        for _ in 0..<(Queue.refusalsMax + 250) { queue.add(try refusal(), now: start) }
        #expect(queue.refusals == Queue.refusalsMax)
        let batch = try batch(queue.next(now: start + 1_000))
        #expect(batch.entries.count == Queue.refusalsMax && batch.leftOut == 250)
        queue.add(try refusal(), now: start + 1_000)
        #expect(try self.batch(queue.next(now: start + 2_000)).leftOut == 0)
    }

    @Test func `a flood of refusals keeps no admin action out, and waiters are bounded of their own`() throws {
        var queue = Queue()
        for _ in 0..<Queue.refusalsMax { queue.add(try refusal(), now: start) }
        for waiter in 0..<Queue.waitersMax { #expect(queue.add(try entry(), waiter: waiter)) }
        #expect(!queue.add(try entry(), waiter: -1))
        let batch = try batch(queue.next(now: start))
        #expect(batch.waiters == Array(0..<Queue.waitersMax))
        #expect(queue.add(try entry(), waiter: -1))
    }

    @Test func `refusals of a failed write come again, before later ones; what was waited for does not`() throws {
        var queue = Queue()
        queue.add(try refusal("first"), now: start)
        #expect(queue.add(try entry(), waiter: 1))
        let failed = try batch(queue.next(now: start))
        queue.add(try refusal("second"), now: start + 10)
        queue.returnRefusals(of: failed, now: start + 10)
        #expect(wait(queue.next(now: start + 10)) == 1_000)
        let batch = try batch(queue.next(now: start + 1_010))
        #expect(batch.entries.map(\.operation.text) == ["first", "second"])
        #expect(batch.waiters.isEmpty)
    }

    @Test func `a write that fails on and on loses count of no refusal`() throws {
        var queue = Queue()
        var now = start
        for _ in 0..<5 {
            for _ in 0..<600 { queue.add(try refusal(), now: now) }
            now = now + 1_000
            let failed = try batch(queue.next(now: now))
            for _ in 0..<100 { queue.add(try refusal(), now: now) }
            queue.returnRefusals(of: failed, now: now)
            #expect(queue.refusals <= Queue.refusalsMax)
        }
        now = now + 1_000
        let batch = try batch(queue.next(now: now))
        #expect(batch.entries.count + batch.leftOut == 5 * 700)
    }

    @Test func `at the end nothing waits`() throws {
        var queue = Queue()
        queue.add(try refusal(), now: start)
        #expect(try batch(queue.next(now: start, isEnding: true)).entries.count == 1)
        #expect(wait(queue.next(now: start, isEnding: true)) == .some(nil))
    }
}
