// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolSQS
import Testing

@Suite struct `ReceiveMessage` {
    private func request(_ members: String) throws(SQSError) -> ReceiveMessageRequest {
        try "{\"QueueUrl\":\"http://h/0/q.fifo\"\(members)}".parsed(ReceiveMessageRequest.init)
    }

    private func error(_ members: String) -> SQSError? {
        failure { () throws(SQSError) in try request(members) }
    }

    @Test func `has defaults`() throws {
        let plain = try request("")
        #expect(plain.queue == "q.fifo" && plain.max == 1 && plain.visibilitySeconds == nil && plain.waitSeconds == nil)
        #expect(plain.attemptID == nil && plain.systemAttributes.isEmpty && plain.attributes.isEmpty)
    }

    @Test func `reads every member`() throws {
        let full = try request(
            #","MaxNumberOfMessages":10,"VisibilityTimeout":0,"WaitTimeSeconds":20,"ReceiveRequestAttemptId":"a1","#
                + #""MessageSystemAttributeNames":["SentTimestamp","SequenceNumber"],"AttributeNames":["All"],"#
                + #""MessageAttributeNames":["one","pre.*"],"Other":{}"#)
        #expect(full.max == 10 && full.visibilitySeconds == 0 && full.waitSeconds == 20 && full.attemptID == "a1")
        #expect(full.systemAttributes == [.sentTimestamp, .sequenceNumber])
        #expect(full.attributes == MessageAttributeFilter(names: ["one"], prefixes: ["pre."]))
    }

    @Test(arguments: [
        (
            #","MaxNumberOfMessages":11"#,
            "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided."
        ),
        (
            #","MaxNumberOfMessages":0"#,
            "Value 0 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided."
        ),
        (
            #","WaitTimeSeconds":21"#,
            "Value 21 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided."
        ),
        (
            #","WaitTimeSeconds":-1"#,
            "Value -1 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided."
        ),
        (
            #","VisibilityTimeout":43201"#,
            "Value 43201 for parameter VisibilityTimeout is invalid. Reason: Must be >= 0 and <= 43200, if provided."
        ),
        (
            #","ReceiveRequestAttemptId":"a b""#,
            """
            Value (3 bytes) for parameter ReceiveRequestAttemptId is invalid. Reason: \
            ReceiveRequestAttemptId can only include alphanumeric and punctuation characters. 1 to \
            128 in length.
            """
        ),
    ])
    func `values out of range are refused`(_ members: String, _ text: String) {
        #expect(error(members) == SQSError(.invalidParameterValue, text))
    }

    @Test func `the deprecated list of names counts if the other is missing`() throws {
        let all: SystemAttributeNames = [
            .senderID, .sentTimestamp, .approximateFirstReceiveTimestamp, .approximateReceiveCount, .messageGroupID,
            .messageDeduplicationID, .sequenceNumber, .traceHeader, .deadLetterQueueSourceArn,
        ]
        #expect(SystemAttributeNames.all == all)
        #expect(try request(#","AttributeNames":["All"]"#).systemAttributes == all)
        #expect(try request(#","AttributeNames":["Policy","SenderId"]"#).systemAttributes == .senderID)
        let names = [
            "SenderId", "SentTimestamp", "ApproximateFirstReceiveTimestamp", "ApproximateReceiveCount",
            "MessageGroupId",
            "MessageDeduplicationId", "SequenceNumber", "AWSTraceHeader", "DeadLetterQueueSourceArn",
        ]
        let list = names.map { "\"\($0)\"" }.joined(separator: ",")
        #expect(try request(",\"MessageSystemAttributeNames\":[\(list)]").systemAttributes == all)
        #expect(error(#","AttributeNames":["All",1]"#)?.kind == .serialization)
    }

    @Test(arguments: [
        ("All", ["a", "foo", "foo.x", "foobar"]), (".*", ["a", "foo", "foo.x", "foobar"]),
        ("*", ["a", "foo", "foo.x", "foobar"]), ("foo.*", ["foo.x"]), ("foo", ["foo"]), ("nobody", []), ("FOO", []),
    ])
    func `message attributes are chosen by name, prefix or all`(_ name: String, _ chosen: [String]) throws {
        let filter = try request(",\"MessageAttributeNames\":[\"\(name)\"]").attributes
        let sent = ["a", "foo", "foo.x", "foobar"].map { MessageAttribute(name: $0, text: "v") }
        #expect(filter.subset(of: sent).map(\.name) == chosen)
        #expect(!filter.isEmpty)
    }
}

@Suite struct `Receipt handles in requests` {
    private let handle = ReceiptHandle(
        shard: ShardTag(rawValue: 0xABCDEF), sequence: SequenceNumber(rawValue: 1 << 60 + 77), receiveCount: 3,
        incarnation: 5, place: 9, seal: 0xFEDC_BA98_7654_3210)

    @Test func `are read as they were written`() throws {
        let text = "{\"QueueUrl\":\"q.fifo\",\"ReceiptHandle\":\"\(handle.text)\",\"VisibilityTimeout\":0}"
        let delete = try text.parsed(DeleteMessageRequest.init)
        #expect(delete.queue == "q.fifo" && delete.handle == handle && delete.handleText == handle.text)
        let change = try text.parsed(ChangeMessageVisibilityRequest.init)
        #expect(change.handle == handle && change.seconds == 0)
    }

    @Test func `that were altered or made up are refused`() {
        var altered = Array(handle.text.utf8)
        altered[20] = UInt8(ascii: "g")
        let texts = [
            "garbage", String(decoding: altered, as: UTF8.self), handle.text + "0", String(handle.text.dropLast()),
            String(repeating: "f", count: 64), handle.text.uppercased(), String(repeating: "é", count: 32),
        ]
        for text in texts {
            let request = "{\"QueueUrl\":\"q.fifo\",\"ReceiptHandle\":\"\(text)\",\"VisibilityTimeout\":1}"
            let expected = SQSError(
                .receiptHandleIsInvalid,
                "The input receipt handle (\(text.utf8.count) bytes) is not a valid receipt handle.")
            #expect(request.refusal(DeleteMessageRequest.init) == expected)
            #expect(request.refusal(ChangeMessageVisibilityRequest.init) == expected)
        }
    }

    @Test func `that are missing are missed`() {
        #expect("{\"QueueUrl\":\"q\"}".refusal(DeleteMessageRequest.init) == .missing("ReceiptHandle"))
        #expect("{\"ReceiptHandle\":\"q\"}".refusal(DeleteMessageRequest.init) == .missing("QueueUrl"))
        let text = "{\"QueueUrl\":\"q\",\"ReceiptHandle\":\"\(handle.text)\""
        #expect((text + "}").refusal(ChangeMessageVisibilityRequest.init) == .missing("VisibilityTimeout"))
        for seconds in [-1, 43_201] {
            let error = (text + ",\"VisibilityTimeout\":\(seconds)}").refusal(ChangeMessageVisibilityRequest.init)
            #expect(error?.kind == .invalidParameterValue)
        }
    }

    @Test func `fail their own entry of a batch`() throws {
        let text = """
            {"QueueUrl":"q","Entries":[{"Id":"a","ReceiptHandle":"\(handle.text)","VisibilityTimeout":5},
            {"Id":"b","ReceiptHandle":"bad","VisibilityTimeout":5},{"Id":"c"},
            {"Id":"d","ReceiptHandle":"\(handle.text)","VisibilityTimeout":43201}]}
            """
        let delete = try text.parsed(DeleteMessageBatchRequest.init)
        #expect(delete.entries.map(\.id) == ["a", "b", "c", "d"])
        #expect(try delete.entries[0].handle() == handle)
        #expect(failure { () throws(SQSError) in try delete.entries[1].handle() }?.code == "ReceiptHandleIsInvalid")
        #expect(failure { () throws(SQSError) in try delete.entries[2].handle() } == .missing("ReceiptHandle"))
        let change = try text.parsed(ChangeMessageVisibilityBatchRequest.init)
        #expect(try change.entries[0].change().seconds == 5)
        #expect(failure { () throws(SQSError) in try change.entries[1].change() }?.code == "ReceiptHandleIsInvalid")
        #expect(failure { () throws(SQSError) in try change.entries[2].change() } == .missing("VisibilityTimeout"))
        #expect(failure { () throws(SQSError) in try change.entries[3].change() }?.code == "InvalidParameterValue")
    }

    @Test func `make batches that are held to the rules of batches`() {
        func error(_ entries: String) -> SQSError? {
            "{\"QueueUrl\":\"q\",\"Entries\":[\(entries)]}".refusal(DeleteMessageBatchRequest.init)
        }
        #expect(
            error("")?.message == "There should be at least one DeleteMessageBatchRequestEntry in the request.")
        #expect(
            "{\"QueueUrl\":\"q\",\"Entries\":[]}".refusal(ChangeMessageVisibilityBatchRequest.init)?.message
                == "There should be at least one ChangeMessageVisibilityBatchRequestEntry in the request.")
        #expect(error("{\"Id\":\"a\"},{\"Id\":\"a\"}")?.message == "Id of entry 2 repeated.")
        #expect(error("{\"Id\":\"\"}")?.kind == .invalidBatchEntryId)
        #expect(error("{}")?.kind == .invalidBatchEntryId)
        let eleven = (0..<11).map { "{\"Id\":\"\($0)\"}" }.joined(separator: ",")
        #expect(error(eleven)?.message == "Maximum number of entries per request are 10. You have sent 11.")
        #expect("{\"QueueUrl\":\"q\"}".refusal(DeleteMessageBatchRequest.init) == .missing("Entries"))
    }
}
