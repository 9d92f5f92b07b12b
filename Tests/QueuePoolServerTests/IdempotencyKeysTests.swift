// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Testing

@testable import QueuePoolServer

@Suite struct `Idempotency keys` {
    private let request = Hash128(high: 1, low: 1)
    private let other = Hash128(high: 2, low: 2)
    private let answer: [UInt8] = [1, 2, 3]

    private func key(_ number: Int) -> Hash128 { Hash128(high: 7, low: UInt64(number)) }
    private func at(_ milliseconds: Int64) -> Timestamp { Timestamp(milliseconds: 1_000_000 + milliseconds) }

    private func keys(window: Int64 = 1_000, records: Int = 100) -> IdempotencyKeys {
        IdempotencyKeys(windowMilliseconds: window, bytesMax: records * (IdempotencyKeys.recordBytes + answer.count))
    }

    private func finish(_ keys: inout IdempotencyKeys, _ number: Int, _ answer: [UInt8]?, _ time: Int64) throws {
        let record = keys.record(key: key(number), answer: answer, now: at(time))
        keys.finish(try #require(record))
    }

    /// Carries a request out, with an answer.
    private func run(_ keys: inout IdempotencyKeys, _ number: Int, _ time: Int64 = 0) throws {
        #expect(keys.begin(key: key(number), fingerprint: request, now: at(time)) == .run)
        try finish(&keys, number, answer, time)
    }

    @Test func `the first answer is replayed until the window is over, and then forgotten`() throws {
        var keys = keys()
        try run(&keys, 1)
        for time in [0, 1, 999] as [Int64] {
            #expect(keys.begin(key: key(1), fingerprint: request, now: at(time)) == .replay(answer))
        }
        #expect(keys.begin(key: key(1), fingerprint: request, now: at(1_000)) == .run)
        #expect(keys.bytes == 0)
    }

    @Test func `another request with the key is refused, while the first is under way and after`() throws {
        var keys = keys()
        #expect(keys.begin(key: key(1), fingerprint: request, now: at(0)) == .run)
        #expect(keys.begin(key: key(1), fingerprint: other, now: at(0)) == .reused)
        #expect(keys.begin(key: key(1), fingerprint: request, now: at(0)) == .running)
        // A record that is being written is not an answer yet.
        let record = keys.record(key: key(1), answer: answer, now: at(0))
        #expect(keys.begin(key: key(1), fingerprint: request, now: at(0)) == .running)
        #expect(keys.oldest <= record?.number ?? 0, "what is being written must not go")
        keys.finish(try #require(record))
        #expect(keys.begin(key: key(1), fingerprint: other, now: at(1)) == .reused)
        #expect(keys.begin(key: key(2), fingerprint: other, now: at(1)) == .run)
    }

    @Test func `a failure frees the key for any request`() {
        var keys = keys()
        #expect(keys.begin(key: key(1), fingerprint: request, now: at(0)) == .run)
        keys.abandon(key: key(1))
        #expect(keys.begin(key: key(1), fingerprint: other, now: at(0)) == .run)
        #expect(keys.count == 0 && keys.bytes == 0)
    }

    @Test func `a failure of a message that may be stored frees the key for the same request only`() throws {
        var keys = keys()
        #expect(keys.begin(key: key(1), fingerprint: request, now: at(0)) == .run)
        try finish(&keys, 1, nil, 0)
        #expect(keys.begin(key: key(1), fingerprint: other, now: at(1)) == .reused)
        #expect(keys.begin(key: key(1), fingerprint: request, now: at(1)) == .run)
        // The second try surely stores nothing: what is not known of the first is still not known.
        keys.abandon(key: key(1))
        #expect(keys.begin(key: key(1), fingerprint: other, now: at(2)) == .reused)
        try run(&keys, 1, 3)
        #expect(keys.begin(key: key(1), fingerprint: request, now: at(4)) == .replay(answer))
        // The record of the first try goes first and does not take the answer along.
        #expect(keys.begin(key: key(1), fingerprint: request, now: at(1_002)) == .replay(answer))
        #expect(keys.begin(key: key(1), fingerprint: request, now: at(1_003)) == .run)
    }

    @Test func `an uncertain try that expires while the next one is under way leaves nothing behind`() throws {
        var keys = keys()
        #expect(keys.begin(key: key(1), fingerprint: request, now: at(0)) == .run)
        try finish(&keys, 1, nil, 0)
        #expect(keys.begin(key: key(1), fingerprint: request, now: at(999)) == .run)
        #expect(keys.begin(key: key(1), fingerprint: request, now: at(1_000)) == .running)
        keys.abandon(key: key(1))
        #expect(keys.begin(key: key(1), fingerprint: other, now: at(1_000)) == .run)
    }

    @Test func `the oldest are dropped for new ones, and never more than that`() throws {
        var keys = keys(records: 3)
        for number in 0..<5 { try run(&keys, number) }
        #expect(keys.count == 3 && keys.droppedEarly == 2 && keys.oldest == 3)
        for number in 2..<5 {
            #expect(keys.begin(key: key(number), fingerprint: request, now: at(0)) == .replay(answer))
        }
        #expect(keys.begin(key: key(0), fingerprint: other, now: at(0)) == .run)
    }

    @Test func `records that were read back answer as they did, and no longer than before`() throws {
        var keys = keys()
        let record = { (number: Int64, time: Int64) in
            IdempotencyRecord(
                number: number, key: key(Int(number)), fingerprint: request, at: at(time), answer: answer)
        }
        keys.restore(record(4, -1_000), now: at(0))
        keys.restore(record(7, -999), now: at(0))
        // The clock was set back since.
        keys.restore(record(8, 50_000), now: at(0))
        #expect(keys.begin(key: key(4), fingerprint: request, now: at(0)) == .run)
        #expect(keys.begin(key: key(7), fingerprint: request, now: at(0)) == .replay(answer))
        #expect(keys.begin(key: key(8), fingerprint: other, now: at(999)) == .reused)
        #expect(keys.record(key: key(4), answer: answer, now: at(999))?.number == 9)
        #expect(keys.begin(key: key(8), fingerprint: other, now: at(1_000)) == .run)
    }

    /// Against a model without bounds, order or memory.
    @Test func `random requests are decided as a plain table decides them`() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var state = seed
        func random(_ limit: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % limit
        }
        struct Known {
            var fingerprint: Hash128
            var isRunning = false
            var answers: [(at: Int64, answer: [UInt8]?)] = []
        }
        var keys = keys(window: 50)
        var model: [Int: Known] = [:]
        var now: Int64 = 0
        for step in 0..<20_000 {
            now += Int64(random(4))
            let number = random(8)
            let fingerprint = random(3) == 0 ? other : request
            for (number, var known) in model {
                known.answers.removeAll { now - $0.at >= 50 }
                model[number] = known.isRunning || !known.answers.isEmpty ? known : nil
            }
            if let known = model[number], known.isRunning, random(2) == 0 {
                // The bounds are looked at as requests arrive.
                _ = keys.begin(key: key(number), fingerprint: known.fingerprint, now: at(now))
                let result = random(3)
                if result == 2 {
                    keys.abandon(key: key(number))
                } else {
                    let answer = result == 0 ? [UInt8(step & 255)] : nil
                    try finish(&keys, number, answer, now)
                    model[number]?.answers.append((now, answer))
                }
                model[number]?.isRunning = false
                continue
            }
            let expected: IdempotencyKeys.Decision
            if let known = model[number] {
                if known.fingerprint != fingerprint {
                    expected = .reused
                } else if known.isRunning {
                    expected = .running
                } else if let answer = known.answers.last?.answer {
                    expected = .replay(answer)
                } else {
                    expected = .run
                }
            } else {
                expected = .run
            }
            let decision = keys.begin(key: key(number), fingerprint: fingerprint, now: at(now))
            try #require(decision == expected, "seed \(seed), step \(step)")
            if decision == .run { model[number, default: Known(fingerprint: fingerprint)].isRunning = true }
        }
    }
}

@Suite struct `The header Idempotency-Key` {
    @Test(
        arguments: [
            ("a", "a"), ("order 17", "order 17"), ("\"order-17\"", "order-17"), (#""a\"b\\c""#, #"a"b\c"#),
            (#"a"b\"#, #"a"b\"#), (String(repeating: "x", count: 255), String(repeating: "x", count: 255)),
            ("\"" + String(repeating: "x", count: 255) + "\"", String(repeating: "x", count: 255)),
        ])
    func `is text, or text in quotes`(value: String, content: String) throws {
        #expect(try IdempotencyKey([value])?.bytes == Array(content.utf8))
    }

    @Test(
        arguments: [
            [""], ["\"\""], ["\""], ["\"a"], [#""a\""#], [#""a\b""#], ["\"a\"b"], ["\"a\";x=1"], ["ä"], ["a\tb"],
            ["a\u{7F}"], [String(repeating: "x", count: 256)], ["a", "a"],
        ])
    func `is refused without its value`(values: [String]) {
        #expect {
            try IdempotencyKey(values)
        } throws: { error in
            guard let problem = error as? Problem else { return false }
            return problem.status == 400 && problem.field == "Idempotency-Key" && !problem.detail.contains("xxx")
        }
    }

    @Test func `gives a deduplication id that a shard takes`() throws {
        #expect(try IdempotencyKey(["order-17"])?.deduplicationID == Array("order-17".utf8))
        for key in ["order 17", String(repeating: "x", count: 129)] {
            let id = try #require(try IdempotencyKey([key])).deduplicationID
            #expect(id.count == 64 && id.allSatisfy { $0 > 0x20 && $0 < 0x7F })
        }
        #expect(try IdempotencyKey([]) == nil)
    }
}
