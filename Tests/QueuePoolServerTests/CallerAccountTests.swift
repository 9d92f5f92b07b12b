// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import QueuePoolCore
import QueuePoolSQS
import Testing

@testable import QueuePoolServer

@Suite struct `The account of a key` {
    private let start = Timestamp(milliseconds: 1_800_000_000_000)

    private func account(
        requests: Int? = nil, bytes: Int? = nil, connections: Int? = nil
    ) -> CallerAccount {
        CallerAccount(
            CallerLimits(requestsPerSecond: requests, bytesPerSecond: bytes, connections: connections), now: start)
    }

    private func refusal(
        _ account: CallerAccount, bytes: Int = 0, life: ConnectionLife? = nil, at now: Timestamp? = nil
    ) -> CallerRefusal? {
        account.refusal(keyID: "QP", bytes: bytes, life: life, now: now ?? start)
    }

    @Test func `who has no limits is never refused`() {
        let account = account()
        let life = ConnectionLife()
        for _ in 0..<1_000 { #expect(refusal(account, bytes: 1 << 30, life: life) == nil) }
        #expect(!account.countsBytes && !account.countsConnections)
    }

    @Test func `a refusal says which limit, what it is and when to come again`() {
        let account = account(requests: 2, bytes: 1_000)
        #expect(refusal(account, bytes: 600) == nil)
        let expected = CallerRefusal(
            keyID: "QP", limit: .bytes, value: 1_000, left: 400, retryAfterMilliseconds: 200)
        #expect(refusal(account, bytes: 600) == expected)
        #expect(refusal(account) == nil)
        #expect(refusal(account)?.limit == .requests)
    }

    @Test(arguments: [(1, 1), (1_000, 1), (1_001, 2), (10_000_000_000_000, 10_000_000_000)])
    func `seconds to wait are whole, and never too few`(milliseconds: Int64, seconds: Int) {
        let refusal = CallerRefusal(
            keyID: "QP", limit: .requests, value: 1, left: 0, retryAfterMilliseconds: milliseconds)
        #expect(refusal.retryAfterSeconds == seconds)
        #expect(refusal.fields.map(\.name) == ["Retry-After", "RateLimit-Policy", "RateLimit"])
        #expect(refusal.fields.first?.value == "\(seconds)")
    }

    @Test(arguments: CallerLimit.allCases) func `every protocol says it in its own words`(limit: CallerLimit) throws {
        let refusal = CallerRefusal(keyID: "QP", limit: limit, value: 7, left: 3, retryAfterMilliseconds: 1_500)
        let fault = AccessFault.limited(refusal)
        for (answer, status) in [(fault.answer, 429), (fault.sqsAnswer, 403), (fault.queryAnswer, 403)] {
            #expect(answer.status == status)
            // One of each: a client takes the first it finds.
            for (name, value) in refusal.fields {
                #expect(answer.headers.filter { $0.name == name }.map(\.value) == [value])
            }
            #expect(answer.headers.contains { $0 == ("RateLimit", "\"key-\(limit.rawValue)\";r=3;t=2") })
            #expect(answer.closes == (limit == .connections))
            #expect(String(decoding: answer.body, as: UTF8.self).contains("may have 7 "))
        }
        #expect(fault.sqsError.code == "RequestThrottled")
    }

    @Test func `a shard's refusal names the shard`() {
        let answer = Problem(ShardError.quotaExceeded(retryAfterMilliseconds: 1_500), of: "mail-0003.fifo").answer
        let body = String(decoding: answer.body, as: UTF8.self)
        #expect(answer.status == 429 && body.contains("\"shard\":\"mail-0003.fifo\""))
        #expect(answer.headers.contains { $0 == ("Retry-After", "2") })
    }

    // MARK: - Connections

    @Test func `a connection is counted once, and until it closes`() {
        let account = account(connections: 1)
        let (one, other) = (ConnectionLife(), ConnectionLife())
        for _ in 0..<5 { #expect(refusal(account, life: one) == nil) }
        #expect(refusal(account, life: other)?.limit == .connections)
        // It may be told more than once that it is gone.
        for _ in 0..<3 { one.close() }
        #expect(refusal(account, life: other) == nil)
        #expect(refusal(account, life: ConnectionLife())?.limit == .connections)
    }

    @Test func `a connection is the key's whose request came last`() {
        let (one, other) = (account(connections: 1), account(connections: 1))
        let life = ConnectionLife()
        #expect(refusal(one, life: life) == nil)
        #expect(refusal(other, life: life) == nil)
        #expect(refusal(one, life: ConnectionLife()) == nil)
        #expect(refusal(other, life: ConnectionLife())?.limit == .connections)
    }

    @Test func `a connection that was refused by another key stays where it was`() {
        let (one, full) = (account(connections: 1), account(connections: 1))
        let (life, holder) = (ConnectionLife(), ConnectionLife())
        #expect(refusal(one, life: life) == nil && refusal(full, life: holder) == nil)
        #expect(refusal(full, life: life)?.limit == .connections)
        #expect(refusal(one, life: ConnectionLife())?.limit == .connections)
        life.close()
        #expect(refusal(one, life: ConnectionLife()) == nil)
    }

    @Test func `one that is closed already is not counted`() {
        let account = account(connections: 1)
        let gone = ConnectionLife()
        gone.close()
        #expect(refusal(account, life: gone) == nil)
        #expect(refusal(account, life: ConnectionLife()) == nil)
    }

    @Test func `connections that open and close side by side leave nothing counted`() {
        let account = account(connections: 1_000_000)
        let lives = (0..<2_000).map { _ in ConnectionLife() }
        DispatchQueue.concurrentPerform(iterations: lives.count * 2) { number in
            if number % 2 == 0 { _ = refusal(account, life: lives[number / 2]) } else { lives[number / 2].close() }
        }
        account.change(to: CallerLimits(connections: 1), now: start)
        #expect(refusal(account, life: ConnectionLife()) == nil)
    }

    // MARK: - Changes

    @Test func `other limits hold for what comes, and what was used counts on`() {
        let account = account(requests: 1)
        let life = ConnectionLife()
        #expect(refusal(account, life: life) == nil && refusal(account, life: life) != nil)
        account.change(to: .none, now: start)
        #expect(refusal(account, bytes: 1 << 20, life: life) == nil && !account.countsBytes)
        account.change(to: CallerLimits(bytesPerSecond: 10, connections: 1), now: start)
        #expect(account.countsBytes && account.countsConnections)
        // One that was there before the limit is counted by its next request.
        #expect(refusal(account, bytes: 10, life: life) == nil)
        #expect(refusal(account, life: ConnectionLife())?.limit == .connections)
        #expect(refusal(account, bytes: 1, life: life)?.limit == .bytes)
    }

    @Test func `a debt of bytes is waited for`() {
        let account = account(bytes: 1_000)
        account.charge(bytes: 4_000, now: start)
        #expect(account.debtMilliseconds(now: start) == 3_000)
        #expect(refusal(account)?.retryAfterMilliseconds == 3_001)
        #expect(account.debtMilliseconds(now: start + 3_000) == 0)
    }

    @Test func `refusals are counted by limit`() {
        let counts = CallerRefusalCounts()
        for limit in [CallerLimit.bytes, .bytes, .connections] { counts.count(limit) }
        #expect(CallerLimit.allCases.map(counts.value) == [0, 2, 1])
    }
}
