// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolCore

@Suite struct `A shard that throttles past a deadline` {
    private static func limits(deadline: Int64) -> RequestLimits {
        var limits = RequestLimits()
        limits.deadlineMilliseconds = deadline
        return limits
    }

    /// Answers all requests alike until a message's sender is told.
    private func told(
        _ number: Int, _ stage: inout SendStage, _ answer: (_ entries: Int) -> EntryAnswers
    ) throws -> ShardError {
        for _ in 0..<10_000 where stage.told[number] == nil {
            if let (id, messages) = stage.underWay.first {
                stage.answer(id, answer(messages.count))
            } else if !stage.wake() {
                break
            }
        }
        guard case .failure(let error) = try #require(stage.told[number]).result else {
            Issue.record("it was stored")
            return .closed
        }
        return error
    }

    private func isQuota(_ error: ShardError) -> Bool {
        if case .quotaExceeded(let wait, _) = error { wait > 0 } else { false }
    }

    @Test func `has its senders told of its quota, whether it throttles requests or entries`() throws {
        for deadline in [1_000, 30_000] as [Int64] {
            var stage = SendStage(limits: Self.limits(deadline: deadline), quota: .init(start: 300))
            let whole = stage.accept([1])[0]
            #expect(isQuota(try told(whole, &stage) { _ in .failed(.throttled) }))
            var other = SendStage(limits: Self.limits(deadline: deadline), quota: .init(start: 300))
            let each = other.accept([1])[0]
            #expect(
                isQuota(try told(each, &other) { .entries(Array(repeating: .throttled, count: $0)) }))
        }
    }

    @Test func `has those told of it that never left, and those that come while it goes on`() throws {
        var stage = SendStage(limits: Self.limits(deadline: 30_000), quota: .init(start: 300))
        let numbers = stage.accept([1, 1, 1])
        let last = try told(numbers[2], &stage) { _ in .failed(.throttled) }
        #expect(isQuota(last.root))
        // More than its probes take is refused at once.
        stage.accept((10..<20).map { UInt64($0) })
        let refused = stage.accept([30])[0]
        guard case .failure(let error) = try #require(stage.told[refused]).result else {
            Issue.record("it was stored")
            return
        }
        #expect(isQuota(error))
    }

    @Test func `has them told that it is away once it fails otherwise`() throws {
        var stage = SendStage(limits: Self.limits(deadline: 5_000), quota: .init(start: 300))
        let number = stage.accept([1])[0]
        var answers = 0
        let error = try told(number, &stage) { _ in
            answers += 1
            return .failed(answers < 3 ? .throttled : .retryable)
        }
        if case .unavailable = error { return }
        Issue.record("told \(error)")
    }

    @Test func `has those told of it whom its rate alone kept waiting`() throws {
        var stage = SendStage(
            limits: Self.limits(deadline: 1_000), quota: .init(start: 1, ceiling: 1))
        let numbers = stage.accept(Array(repeating: 1, count: 5))
        var error: ShardError?
        for _ in 0..<10_000 where stage.told[numbers[4]] == nil {
            if let id = stage.underWay.keys.first { stage.answerStored(id) } else if !stage.wake() { break }
        }
        if case .failure(let found) = stage.told[numbers[4]]?.result { error = found }
        #expect(isQuota(try #require(error).root))
    }
}
