// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolSQS
import Testing

@testable import QueuePoolServer

@Suite struct `Whoever is over a shard's quota` {
    private let quota = ShardQuota(shard: "mail-0003.fifo", requestsPerSecond: 300)

    /// Over each protocol.
    private func answers(_ error: ShardError) -> [Answer] {
        [Problem(error).answer, SQSService.answer(SQSError(error)), QueryService.answer(SQSError(error))]
    }

    private func values(_ name: String, _ answer: Answer) -> [String] {
        answer.headers.filter { $0.name == name }.map(\.value)
    }

    @Test(arguments: [(1, 1), (1_000, 1), (1_001, 2)])
    func `is told which shard, what its quota is and when to come again`(milliseconds: Int, seconds: Int) {
        for answer in answers(.quotaExceeded(retryAfterMilliseconds: milliseconds, of: quota)) {
            // One of each: a client takes the first it finds.
            #expect(values("Retry-After", answer) == ["\(seconds)"])
            #expect(values("RateLimit-Policy", answer) == ["\"mail-0003.fifo\";q=300;w=1"])
            #expect(values("RateLimit", answer) == ["\"mail-0003.fifo\";r=0;t=\(seconds)"])
            #expect(String(decoding: answer.body, as: UTF8.self).contains("mail-0003.fifo"))
        }
    }

    @Test func `is told no number that nobody knows`() {
        let unknown = ShardQuota(shard: "far.fifo", requestsPerSecond: nil)
        for answer in answers(.quotaExceeded(retryAfterMilliseconds: 1_000, of: unknown)) {
            #expect(values("RateLimit-Policy", answer).isEmpty)
            #expect(values("RateLimit", answer) == ["\"far.fifo\";r=0;t=1"])
        }
    }

    @Test func `is told the shard that the message was sent to if the error names none`() {
        let answer = Problem(ShardError.quotaExceeded(retryAfterMilliseconds: 1), of: "mail-0003.fifo").answer
        #expect(values("RateLimit", answer) == ["\"mail-0003.fifo\";r=0;t=1"])
        // An error that names its shard is not told as another's.
        let named = Problem(ShardError.quotaExceeded(retryAfterMilliseconds: 1, of: quota), of: "mail-0003.fifo").answer
        #expect(values("RateLimit-Policy", named) == ["\"mail-0003.fifo\";q=300;w=1"])
    }

    @Test func `is the only one to be told of a quota`() {
        let others: [ShardError] = [
            .overloaded(retryAfterMilliseconds: 9), .unavailable(retryAfterMilliseconds: 9), .storageFull, .closed,
            .quotaExceeded(retryAfterMilliseconds: 9),
        ]
        for error in others {
            for answer in answers(error) { #expect(!answer.headers.contains { $0.name.hasPrefix("RateLimit") }) }
            for answer in answers(error) { #expect(values("Retry-After", answer).count == 1) }
        }
    }
}
