// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolBench

@Suite struct AnswersTests {
    private func verdicts(_ status: Int, _ body: String, _ api: BenchOptions.API, count: Int) -> [Verdict] {
        var verdicts = Array(repeating: Verdict.unanswered, count: count)
        Array(body.utf8).withUnsafeBytes {
            Answers.readSend(Response(status: status, body: $0, closes: false), api: api, into: &verdicts)
        }
        return verdicts
    }

    @Test func `a REST answer names its shard`() {
        let body = #"{"id":"0","shard":"bench-0012.fifo","sequenceNumber":"00000000000000000001","duplicate":false}"#
        #expect(verdicts(202, body, .rest, count: 1) == [.accepted(shard: 12)])
    }

    @Test func `an error refuses every entry with its code`() {
        let body = #"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"no"}"#
        let refused = Verdict.refused(code: "400 QueueDoesNotExist")
        #expect(verdicts(400, body, .sqs, count: 2) == [refused, refused])
        #expect(verdicts(500, "", .rest, count: 1) == [.refused(code: "500")])
    }

    @Test func `batch entries are matched by their ids`() {
        let body =
            #"{"Failed":[{"Id":"1","SenderFault":false,"Code":"InternalError","Message":"a } \" {"}],"#
            + #""Successful":[{"Id":"2","MessageId":"x"},{"Id":"0","MessageId":"y"}]}"#
        #expect(
            verdicts(200, body, .sqs, count: 4) == [
                .accepted(shard: nil), .refused(code: "InternalError"), .accepted(shard: nil), .unanswered,
            ])
    }

    @Test func `lines are matched by their order`() {
        let body =
            #"{"line":1,"id":"a","shard":"p-0003.fifo","duplicate":false}"# + "\n"
            + #"{"line":2,"error":{"type":"t","title":"x","status":429,"detail":"d","field":"group"}}"# + "\n"
        #expect(
            verdicts(200, body, .ndjson, count: 3) == [.accepted(shard: 3), .refused(code: "429"), .unanswered])
    }

    @Test(arguments: [
        (429, "", true), (503, "", true), (403, #"{"__type":"com.amazonaws.sqs#RequestThrottled"}"#, true),
        (400, #"{"__type":"x#ThrottlingException"}"#, true), (400, #"{"__type":"x#InvalidParameterValue"}"#, false),
        (200, "Throttl", false), (403, "Thrott", false),
    ])
    func `throttling is told from other errors`(status: Int, body: String, expected: Bool) {
        Array(body.utf8).withUnsafeBytes {
            #expect(Answers.isThrottled(Response(status: status, body: $0, closes: false)) == expected)
        }
    }

    @Test(arguments: [
        #"{"MessageId":"m","ReceiptHandle":"h1","Body":"b1","Attributes":{"ApproximateReceiveCount":"2"}}"#,
        #"{"Attributes":{"ApproximateReceiveCount":"2","SenderId":"s"}, "Body": "b1", "ReceiptHandle": "h1"}"#,
    ])
    func `messages are read whatever the order of their members`(message: String) {
        let text = #"{"Messages":["# + message + "," + message + "]}"
        var messages: [ReceivedMessage] = []
        Array(text.utf8).withUnsafeBytes {
            ReceivedMessage.read($0, into: &messages)
            #expect(messages.count == 2)
            for message in messages {
                #expect(message.receiptHandle.equals("h1"))
                #expect(message.body.equals("b1"))
                #expect(message.receiveCount == 2)
            }
        }
    }

    @Test func `an empty receive has no messages`() {
        var messages = [ReceivedMessage()]
        Array("{}".utf8).withUnsafeBytes { ReceivedMessage.read($0, into: &messages) }
        #expect(messages.isEmpty)
    }

    @Test func `the facts of a pool are read`() {
        let facts = PoolFacts(
            Array(
                (#"{"name":"bench.fifo","epoch":3,"quota":300,"shards":[{"name":"bench-0000.fifo","index":0},"#
                    + #"{"name":"bench-0001.fifo","index":1}]}"#)
                    .utf8))
        #expect(facts.epoch == 3)
        #expect(facts.quota == 300)
        #expect(facts.shardNames == ["bench-0000.fifo", "bench-0001.fifo"])
    }
}
