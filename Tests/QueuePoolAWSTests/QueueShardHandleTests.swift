// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import QueuePoolCurl
import QueuePoolTestSupport
import Synchronization
import Testing

@testable import QueuePoolAWS

/// A service that keeps requests until it is told to answer them.
private final class SlowCaller: AWSCaller {
    private struct State {
        var waiting: [(ids: [String], done: @Sendable (Result<HTTPResponse, AWSError>) -> Void)] = []
        var count = 0
    }

    private let state = Mutex(State())

    var count: Int { state.withLock { $0.count } }

    func perform(_ request: AWSRequest) async throws(AWSError) -> HTTPResponse { throw .cancelled }

    func perform(_ request: AWSRequest, completion: @escaping @Sendable (Result<HTTPResponse, AWSError>) -> Void) {
        let body = try? JSONSerialization.jsonObject(with: Data(request.body)) as? [String: Any]
        let ids = (body?["Entries"] as? [[String: Any]] ?? []).compactMap { $0["Id"] as? String }
        state.withLock { state in
            state.count += 1
            state.waiting.append((ids, completion))
        }
    }

    /// Answers what is there by now.
    /// - Returns: whether there was anything.
    func answer() -> Bool {
        let waiting = state.withLock { state in
            defer { state.waiting = [] }
            return state.waiting
        }
        for (ids, done) in waiting { done(ok(["Successful": ids.map { ["Id": $0] }])) }
        return !waiting.isEmpty
    }
}

@Suite struct `Receipt handles of a remote queue` {
    private func handles(_ shard: QueueShard, _ numbers: Range<Int>) -> [ReceiptHandle] {
        numbers.map {
            ReceiptHandle(
                shard: shard.tag, sequence: SequenceNumber(rawValue: 0), receiveCount: 1, place: 0,
                remote: RemoteText("h\($0)"))
        }
    }

    @Test func `are deleted in fewer requests when many callers delete one each`() {
        let caller = SlowCaller()
        let shard = shard(caller)
        shard.setQuota(100_000)
        let deleted = Mutex(0)
        // Ten rounds of a hundred callers that delete side by side.
        for round in 0..<10 {
            for handle in handles(shard, round * 100..<round * 100 + 100) {
                shard.delete([handle]) { outcomes in
                    if case .deleted? = outcomes.first { deleted.withLock { $0 += 1 } }
                }
            }
            while caller.answer() {}
        }
        #expect(deleted.withLock { $0 } == 1_000)
        // A request each made 1,000 of them; full ones alone would be 100.
        #expect(caller.count <= 150)
    }

    @Test(arguments: [AWSError.credentials(reason: "none"), .cancelled])
    func `are answered for after the call has returned, also when nothing leaves`(_ error: AWSError) {
        let clock = ManualClock()
        let shard = shard(ScriptedCaller { _, _ in .failure(error) }, clock: clock)
        let answers = Mutex<[Int]>([])
        func ask(_ handles: [ReceiptHandle]) {
            shard.delete(handles) { outcomes in answers.withLock { $0.append(outcomes.count) } }
            let known = shard.changeVisibility(handles.map { ($0, 1) }) { outcomes in
                answers.withLock { $0.append(outcomes.count) }
            }
            #expect(known == nil)
        }
        ask([])
        ask(handles(shard, 0..<12))
        #expect(answers.withLock { $0 } == [])
        clock.advance(milliseconds: 0)
        #expect(answers.withLock { $0.sorted() } == [0, 0, 12, 12])
        shard.close()
        ask(handles(shard, 0..<2))
        #expect(answers.withLock { $0.count } == 4)
        clock.advance(milliseconds: 0)
        #expect(answers.withLock { $0.sorted() } == [0, 0, 2, 2, 12, 12])
    }

    @Test(arguments: [
        "ReceiptHandleIsInvalid", "InvalidParameterValue", "MessageNotInflight",
        "AWS.SimpleQueueService.MessageNotInflight",
    ])
    func `that are lost are told apart from failures by every code that says so`(_ code: String) async {
        let shard = shard(
            ScriptedCaller { _, _ in ok(["Failed": [["Id": "0", "Code": code, "SenderFault": true]]]) })
        let handle = handles(shard, 0..<1)[0]
        let outcomes = await withCheckedContinuation { done in shard.delete([handle]) { done.resume(returning: $0) } }
        guard case .expired? = outcomes.first else {
            Issue.record("\(outcomes)")
            return
        }
        let decisions = await shard.changeVisibility([(handle, 30)])
        #expect(decisions == [.unavailable])
    }

    @Test func `are asked for again when the service throttles, and not told to be lost when it goes on`() {
        let clock = ManualClock()
        let caller = ScriptedCaller { _, _ in refusal("RequestThrottled") }
        let shard = shard(caller, clock: clock)
        let handle = ReceiptHandle(
            shard: shard.tag, sequence: SequenceNumber(rawValue: 0), receiveCount: 1, place: 0, remote: RemoteText("h"))
        let told = Mutex<[VisibilityDecision]>([])
        let known = shard.changeVisibility([(handle, 30)]) { decisions in told.withLock { $0 = decisions } }
        clock.advance(milliseconds: 4_000)
        #expect(known == nil && told.withLock { $0 }.isEmpty && caller.requests.withLock { $0.count } > 1)
        clock.advance(milliseconds: 2_000)
        #expect(told.withLock { $0 } == [.failed(.quotaExceeded(retryAfterMilliseconds: 1_000))])
    }

    @Test func `go into requests of ten, and are answered for in their order`() async {
        let caller = ScriptedCaller { _, body in
            let entries = (body["Entries"] as? [[String: Any]] ?? []).reversed()
            func ids(_ isBad: Bool) -> [String] {
                entries.filter { ($0["ReceiptHandle"] as? String == "h13") == isBad }.compactMap { $0["Id"] as? String }
            }
            return ok([
                "Successful": ids(false).map { ["Id": $0] },
                "Failed": ids(true).map { ["Id": $0, "Code": "ReceiptHandleIsInvalid", "SenderFault": true] },
            ])
        }
        let shard = shard(caller)
        let handles = handles(shard, 0..<25)
        let outcomes = await withCheckedContinuation { done in shard.delete(handles) { done.resume(returning: $0) } }
        #expect(caller.requests.withLock { $0.count } == 3)
        for (place, outcome) in outcomes.enumerated() {
            switch outcome {
            case .deleted: #expect(place != 13)
            case .expired: #expect(place == 13)
            default: Issue.record("\(place): \(outcome)")
            }
        }
    }
}
