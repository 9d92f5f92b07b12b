// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import QueuePoolCurl
import QueuePoolSQS
import QueuePoolTestSupport
import Synchronization
import Testing

@testable import QueuePoolAWS

@Suite("A shard that is a remote queue")
struct QueueShardTests {
    private func send(_ shard: QueueShard, _ messages: [OutgoingMessage]) async -> EntryAnswers {
        await withCheckedContinuation { done in shard.submit(ShardBatch(messages)) { done.resume(returning: $0) } }
    }

    @Test("says for each message what the service said, and checks the digests")
    func entries() async {
        let attribute = MessageAttribute(name: "n", text: "v")
        let caller = ScriptedCaller { _, _ in
            ok([
                "Successful": [
                    [
                        "Id": "0", "MessageId": uuid, "SequenceNumber": "18849496460467696128",
                        "MD5OfMessageBody": md5("a"),
                        "MD5OfMessageAttributes": MD5Digest(of: [attribute])?.hex ?? "",
                    ],
                    ["Id": "1", "MessageId": uuid, "SequenceNumber": "1", "MD5OfMessageBody": md5("not b")],
                ],
                "Failed": [
                    ["Id": "2", "Code": "RequestThrottled", "SenderFault": true],
                    ["Id": "3", "Code": "InternalError", "SenderFault": false],
                    ["Id": "4", "Code": "InvalidMessageContents", "SenderFault": true],
                ],
            ])
        }
        let messages = [message("g", "a", attributes: [attribute])] + "bcdef".map { message("g\($0)", String($0)) }
        let answers = await send(shard(caller), messages)
        guard case .entries(let outcomes) = answers, let id = MessageID(uuid) else {
            Issue.record("\(answers)")
            return
        }
        let receipt = SendReceipt(
            messageID: id, sequence: SequenceNumber(rawValue: 0), isDuplicate: false,
            remoteSequence: RemoteText("18849496460467696128"))
        #expect(
            outcomes == [
                .stored(receipt), .unknown, .throttled, .unknown, .permanent(.refused(code: "InvalidMessageContents")),
                // Not mentioned at all.
                .unknown,
            ])
    }

    @Test(
        "sorts a request that failed as a whole by what may have happened",
        arguments: [
            (refusal("RequestThrottled"), RequestFailure.throttled), (refusal("X", 503), .retryable),
            (refusal("InternalFailure", 500), .unknownOutcome),
            (refusal("QueueDoesNotExist"), .permanent(.refused(code: "QueueDoesNotExist"))),
            (.failure(.retryable(code: "Unreachable")), .retryable),
            (.failure(.unknownOutcome(code: "timeout")), .unknownOutcome),
            (.success(HTTPResponse(status: 200, headers: [], body: Array("{\"Succ".utf8))), .unknownOutcome),
        ])
    func failures(_ answer: Result<HTTPResponse, AWSError>, _ expected: RequestFailure) async {
        let answers = await send(shard(ScriptedCaller { _, _ in answer }), [message("g", "a")])
        #expect(answers == .failed(expected))
    }

    @Test(
        "answers after the call has returned, also what never leaves",
        arguments: [
            (AWSError.credentials(reason: "none"), RequestFailure.retryable), (.cancelled, .unknownOutcome),
        ])
    func neverWithinTheCall(_ error: AWSError, _ expected: RequestFailure) {
        let clock = ManualClock()
        let shard = shard(ScriptedCaller { _, _ in .failure(error) }, clock: clock)
        let answers = Mutex<[EntryAnswers]>([])
        for batch in [ShardBatch([message("g", "a")]), ShardBatch([])] {
            shard.submit(batch) { answer in answers.withLock { $0.append(answer) } }
        }
        shard.close()
        shard.submit(ShardBatch([message("g", "b")])) { answer in answers.withLock { $0.append(answer) } }
        #expect(answers.withLock { $0.isEmpty })
        clock.advance(milliseconds: 0)
        #expect(answers.withLock { $0 } == [.failed(expected), .entries([]), .failed(.permanent(.closed))])
    }

    @Test("gives a message as it came, with handles that find their way back")
    func receiving() async throws {
        let caller = ScriptedCaller { action, body in
            switch action {
            case "ReceiveMessage":
                ok([
                    "Messages": [
                        [
                            "MessageId": uuid, "ReceiptHandle": "opaque+/=", "Body": "hi \u{1F600}",
                            "MD5OfBody": md5("hi \u{1F600}"),
                            "Attributes": [
                                "MessageGroupId": "g", "MessageDeduplicationId": "d", "ApproximateReceiveCount": "3",
                                "SentTimestamp": "1700000000000", "SequenceNumber": "18849496460467696128",
                                "SenderId": "AIDA", "ApproximateFirstReceiveTimestamp": "1700000000001",
                            ],
                        ]
                    ]
                ])
            default: ok(["Successful": [["Id": "0"]], "Failed": []])
            }
        }
        let shard = shard(caller)
        let got = try await shard.receive(ReceiveCommand(limit: 10)).get()
        let first = try #require(got.first)
        #expect(first.withView { String(decoding: $0.body, as: UTF8.self) } == "hi \u{1F600}")
        #expect(first.receiveCount == 3 && first.remote?.sequence == "18849496460467696128")
        #expect(shard.counts().oldestAgeMilliseconds != nil)
        let text = first.handle.text
        let again = try #require(ReceiptHandle(Array(text.utf8)))
        #expect(again.shard == shard.tag && again.remote?.text == "opaque+/=")
        let outcomes = await withCheckedContinuation { done in
            shard.delete([again]) { done.resume(returning: $0) }
        }
        guard case .deleted? = outcomes.first else {
            Issue.record("\(outcomes)")
            return
        }
        let asked = caller.requests.withLock { String(decoding: $0.last?.body ?? [], as: UTF8.self) }
        #expect(asked.contains("opaque+/="))
    }

    @Test("leaves a message whose digest is wrong out, with those behind it in its group, and no others")
    func wrongDigest() async throws {
        @Sendable func entry(_ body: String, _ group: String, digestOf text: String) -> [String: Any] {
            [
                "MessageId": uuid, "ReceiptHandle": "h", "Body": body, "MD5OfBody": md5(text),
                "Attributes": ["MessageGroupId": group],
            ]
        }
        let caller = ScriptedCaller { _, _ in
            ok([
                "Messages": [
                    entry("a1", "a", digestOf: "a1"), entry("a2", "a", digestOf: "x"),
                    entry("a3", "a", digestOf: "a3"), entry("b1", "b", digestOf: "b1"),
                ]
            ])
        }
        let messages = try await shard(caller).receive(ReceiveCommand(limit: 10)).get()
        #expect(messages.map { $0.withView { String(decoding: $0.body, as: UTF8.self) } } == ["a1", "b1"])
    }

    @Test("counts each delivery of a message with a wrong digest, and tells of the message once")
    func damaged() async throws {
        let caller = ScriptedCaller { _, _ in
            ok([
                "Messages": [
                    [
                        "MessageId": uuid, "ReceiptHandle": "h", "Body": "b", "MD5OfBody": md5("x"),
                        "Attributes": ["MessageGroupId": "g"],
                    ]
                ]
            ])
        }
        let shard = shard(caller)
        let told = Mutex<[ShardEvent]>([])
        shard.onEvent { event in told.withLock { $0.append(event) } }
        for _ in 0..<2 {
            let messages = try await shard.receive(ReceiveCommand(limit: 10)).get()
            #expect(messages.isEmpty)
        }
        let id = try #require(MessageID(uuid))
        #expect(shard.counts().damaged == 2 && told.withLock { $0 } == [.damaged(id)])
        // Left to its visibility timeout: nothing but receives and the counts was asked for.
        #expect(
            Set(caller.requests.withLock { $0.map(\.action) }).isSubset(of: ["ReceiveMessage", "GetQueueAttributes"]))
    }

    @Test("does not know what only the service could count")
    func unknownCounts() {
        let shard = shard(
            ScriptedCaller { _, _ in ok(["Attributes": ["ApproximateNumberOfMessages": "3"]]) })
        _ = shard.counts()
        let counts = shard.counts()
        #expect(counts.backlog == 3)
        #expect(counts.oldestAgeMilliseconds == nil && counts.expired == nil)
        #expect(counts.movedToDeadLetter == nil && counts.duplicates == nil)
    }
}
