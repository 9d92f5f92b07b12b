// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolSQS
import Testing

@Suite struct `Answers` {
    private let tag = ShardTag(rawValue: 0x0123_4567_89AB_CDE)
    private let sequence = SequenceNumber(rawValue: 1_700_000_000_123 << 20 + 5)

    private func received(
        _ record: MessageRecord, count: Int = 1, remote: RemoteFacts? = nil
    ) -> ReceivedMessage {
        ReceivedMessage(
            handle: ReceiptHandle(shard: tag, sequence: sequence, receiveCount: UInt32(count), place: 7),
            messageID: MessageID(shard: tag, sequence: sequence), receiveCount: count,
            firstReceivedAt: Timestamp(milliseconds: 1_700_000_000_999), storage: [1, 2, 3] + record.bytes, offset: 3,
            length: record.bytes.count, remote: remote)
    }

    private func record(
        body: String = "a\n\"ü\"", attributes: [MessageAttribute] = [], system: [MessageAttribute] = [],
        md5: MD5Digest? = nil, origin: MessageOrigin? = nil
    ) -> MessageRecord {
        Array(body.utf8).withUnsafeBytes {
            MessageRecord(
                group: Array("g\"1".utf8), deduplicationID: Array("d".utf8), body: $0, attributes: attributes,
                systemAttributes: system, bodyMD5: md5, origin: origin)
        }
    }

    private func answer(
        _ messages: [ReceivedMessage], system: SystemAttributeNames = [],
        _ filter: MessageAttributeFilter = MessageAttributeFilter(), arn: String? = nil
    ) -> String {
        var request = ReceiveMessageRequest()
        request.systemAttributes = system
        request.attributes = filter
        return written { SQSAnswer.receiveMessage(messages, for: request, sourceArn: { _ in arn }, to: &$0) }
    }

    @Test func `identifiers are written as Core writes them`() {
        let id = MessageID(high: 0x0123_4567_89AB_CDEF, low: 0xFEDC_BA98_7654_3210)
        let digest = MD5Digest(low: 0x8899_AABB_CCDD_EEFF, high: 0x0011_2233_4455_6677)
        let text = written {
            let answer = SendAnswer(messageID: id, sequence: sequence, bodyMD5: digest)
            SQSAnswer.sendMessage(answer, to: &$0)
        }
        #expect(
            text == "{\"MessageId\":\"\(id.description)\",\"MD5OfMessageBody\":\"ffeeddccbbaa99887766554433221100\","
                + "\"SequenceNumber\":\"\(sequence.text)\"}")
        #expect(id.description == "01234567-89ab-cdef-fedc-ba9876543210" && sequence.text.count == 20)
    }

    @Test func `SendMessageBatch leaves empty lists out`() {
        let digest = MD5Digest(low: 0, high: 0)
        let zeros = String(repeating: "0", count: 32)
        let id = MessageID(high: 1, low: 2)
        let success = SendAnswer(
            messageID: id, sequence: SequenceNumber(rawValue: 7), bodyMD5: digest, attributesMD5: digest,
            systemAttributesMD5: digest)
        let failed = BatchFailure(id: "b", error: .missing("MessageBody"))
        let one =
            """
            {\"Id\":\"a\",\"MessageId\":\"\(id)\",\"MD5OfMessageBody\":\"\(zeros)\",\
            \"MD5OfMessageAttributes\":\"\(zeros)\",
            """
            + "\"MD5OfMessageSystemAttributes\":\"\(zeros)\",\"SequenceNumber\":\"00000000000000000007\"}"
        let other =
            "{\"Id\":\"b\",\"SenderFault\":true,\"Code\":\"MissingParameter\","
            + "\"Message\":\"The request must contain the parameter MessageBody.\"}"
        func text(_ successes: [(String, SendAnswer)], _ failures: [BatchFailure]) -> String {
            written {
                SQSAnswer.sendMessageBatch(
                    successes: successes.map { (id: $0.0, answer: $0.1) }, failures: failures, to: &$0)
            }
        }
        #expect(text([("a", success)], []) == "{\"Successful\":[\(one)]}")
        #expect(text([], [failed]) == "{\"Failed\":[\(other)]}")
        #expect(
            text([("a", success), ("a", success)], [failed]) == "{\"Successful\":[\(one),\(one)],\"Failed\":[\(other)]}"
        )
        #expect(text([], []) == "{}")
    }

    @Test func `batches of handles name what was done`() {
        let failed = BatchFailure(id: "c", error: .invalidHandle("x"))
        #expect(
            written { SQSAnswer.handleBatch(successes: ["a", "b"], failures: [failed], to: &$0) }
                == """
                {\"Successful\":[{\"Id\":\"a\"},{\"Id\":\"b\"}],\"Failed\":[{\"Id\":\"c\",\
                \"SenderFault\":true,\"Code\":\"ReceiptHandleIsInvalid\",\"Message\":\"The \
                input receipt handle (1 byte) is not a valid receipt handle.\"}]}
                """
        )
        #expect(written { SQSAnswer.empty(to: &$0) } == "{}")
    }

    @Test func `an empty receive has no list`() { #expect(answer([]) == "{}") }

    @Test func `a message shows id, handle, digest and body, and no more unless asked`() {
        let sent = record(
            attributes: [MessageAttribute(name: "k", text: "x")],
            system: [MessageAttribute(name: "AWSTraceHeader", text: "R")])
        let message = received(sent)
        let plain =
            "{\"MessageId\":\"\(message.messageID)\",\"ReceiptHandle\":\"\(message.handle.text)\","
            + "\"MD5OfBody\":\"\(md5("a\n\"ü\""))\",\"Body\":\"a\\n\\\"ü\\\"\"}"
        #expect(answer([message]) == "{\"Messages\":[\(plain)]}")
        #expect(answer([message, message]) == "{\"Messages\":[\(plain),\(plain)]}")
        // What the record carries is what is shown.
        let stored = received(record(md5: MD5Digest(low: 0, high: 0)))
        #expect(answer([stored]).contains("\"MD5OfBody\":\"\(String(repeating: "0", count: 32))\""))
    }

    @Test func `all system attributes`() {
        let sent = record(system: [MessageAttribute(name: "AWSTraceHeader", text: "Root=1")])
        let text = answer([received(sent, count: 2)], system: .all, arn: "arn:x")
        let expected =
            "\"Attributes\":{\"SenderId\":\"000000000000\",\"SentTimestamp\":\"1700000000123\","
            + "\"ApproximateReceiveCount\":\"2\",\"ApproximateFirstReceiveTimestamp\":\"1700000000999\","
            + "\"SequenceNumber\":\"\(sequence.text)\",\"MessageDeduplicationId\":\"d\",\"MessageGroupId\":\"g\\\"1\","
            + "\"AWSTraceHeader\":\"Root=1\"}}]}"
        #expect(text.hasSuffix(expected), "\(text)")
    }

    @Test func `system attributes that nobody has are left out`() {
        let message = received(record())
        for names in [
            SystemAttributeNames.traceHeader, .deadLetterQueueSourceArn, [.traceHeader, .deadLetterQueueSourceArn],
        ] {
            #expect(!answer([message], system: names, arn: "arn:x").contains("Attributes"))
        }
        #expect(answer([message], system: .senderID).hasSuffix("\"Attributes\":{\"SenderId\":\"000000000000\"}}]}"))
    }

    @Test func `a message in a dead-letter queue keeps its id and counts on`() {
        let first = MessageID(high: 11, low: 22)
        let moved = received(record(origin: MessageOrigin(messageID: first, receiveCount: 3)), count: 1)
        let text = answer([moved], system: [.approximateReceiveCount, .deadLetterQueueSourceArn], arn: "arn:source")
        #expect(text.hasPrefix("{\"Messages\":[{\"MessageId\":\"\(first)\","))
        #expect(
            text.hasSuffix(
                "\"Attributes\":{\"ApproximateReceiveCount\":\"4\",\"DeadLetterQueueSourceArn\":\"arn:source\"}}]}"))
    }

    @Test func `a dead letter of a remote queue says where it came from if that queue does`() {
        func shown(_ sourceARN: String?) -> String {
            let facts = RemoteFacts(
                sentAt: Timestamp(milliseconds: 1), sequence: "1", senderID: "s", sourceARN: sourceARN)
            return answer([received(record(), remote: facts)], system: .deadLetterQueueSourceArn, arn: "arn:pool")
        }
        #expect(shown("arn:queue").hasSuffix("\"Attributes\":{\"DeadLetterQueueSourceArn\":\"arn:pool\"}}]}"))
        #expect(!shown(nil).contains("Attributes"))
    }

    @Test func `message attributes are the subset asked for, with its own digest`() {
        let message = received(
            record(attributes: [
                MessageAttribute(name: "k", text: "x"),
                MessageAttribute(name: "b", dataType: "Binary.png", value: [255, 0]),
                MessageAttribute(name: "foo.n", text: "1", dataType: "Number"),
            ]))
        let one = answer([message], MessageAttributeFilter(names: ["k", "nobody"]))
        #expect(
            one.hasSuffix(
                """
                \"MD5OfMessageAttributes\":\"a45daa70926828a2f0a1db3418e6feb4\",\
                \"MessageAttributes\":{\"k\":{\"StringValue\":\"x\",\"DataType\":\"String\"}}}]}
                """
            ))
        let binary = answer([message], MessageAttributeFilter(names: ["b"]))
        #expect(binary.contains("\"MessageAttributes\":{\"b\":{\"BinaryValue\":\"/wA=\",\"DataType\":\"Binary.png\"}}"))
        let prefixed = answer([message], MessageAttributeFilter(prefixes: ["foo."]))
        #expect(prefixed.contains("\"MessageAttributes\":{\"foo.n\":{\"StringValue\":\"1\",\"DataType\":\"Number\"}}"))
        #expect(!answer([message], MessageAttributeFilter(names: ["nobody"])).contains("MessageAttributes"))
        let all = answer([message], MessageAttributeFilter(isAll: true))
        #expect(all.contains("\"k\":") && all.contains("\"b\":") && all.contains("\"foo.n\":"))
    }

    @Test func `binary values survive base64 at every length`() throws {
        for count in 1..<70 {
            let value = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ count) }
            let attributes = [MessageAttribute(name: "b", dataType: "Binary", value: value)]
            let shown = answer([received(record(attributes: attributes))], MessageAttributeFilter(isAll: true))
            guard let start = shown.firstRange(of: "\"BinaryValue\":\""),
                let end = shown[start.upperBound...].firstIndex(of: "\"")
            else {
                Issue.record("no value")
                return
            }
            let text = shown[start.upperBound..<end]
            let request = try """
            {\"QueueUrl\":\"q\",\"MessageAttributes\":{\"b\":{\"DataType\":\"Binary\",\
            \"BinaryValue\":\"\(text)\"}}}
            """
            .parsed(SendMessageRequest.init)
            #expect(request.entry.attributes == attributes)
        }
    }

    @Test func `administration`() {
        #expect(written { SQSAnswer.queueURL("http://h/0/q", to: &$0) } == "{\"QueueUrl\":\"http://h/0/q\"}")
        #expect(written { SQSAnswer.listQueues(urls: [], nextToken: nil, to: &$0) } == "{}")
        #expect(
            written { SQSAnswer.listQueues(urls: ["a", "b"], nextToken: "t", to: &$0) }
                == "{\"QueueUrls\":[\"a\",\"b\"],\"NextToken\":\"t\"}")
        #expect(
            written { SQSAnswer.listDeadLetterSourceQueues(urls: [], nextToken: nil, to: &$0) } == "{\"queueUrls\":[]}")
        #expect(written { SQSAnswer.queueAttributes([], to: &$0) } == "{}")
        #expect(
            written { SQSAnswer.queueAttributes([(.delaySeconds, "0"), (.policy, "{\"a\":1}")], to: &$0) }
                == "{\"Attributes\":{\"DelaySeconds\":\"0\",\"Policy\":\"{\\\"a\\\":1}\"}}")
        #expect(written { SQSAnswer.tags([:], to: &$0) } == "{}")
        #expect(written { SQSAnswer.tags(["b": "2", "a": "1"], to: &$0) } == "{\"Tags\":{\"a\":\"1\",\"b\":\"2\"}}")
        #expect(written { SQSAnswer.taskHandle("h", to: &$0) } == "{\"TaskHandle\":\"h\"}")
        #expect(written { SQSAnswer.movedMessages(3, to: &$0) } == "{\"ApproximateNumberOfMessagesMoved\":3}")
        let running = MoveTaskState(
            handle: "h", status: .running, sourceArn: "s", destinationArn: "d", maxPerSecond: 5, moved: 1, toMove: 2,
            startedAtMilliseconds: 9)
        var failed = MoveTaskState(handle: "h", status: .failed, sourceArn: "s", moved: 0, startedAtMilliseconds: 8)
        failed.failureReason = "AWS.SimpleQueueService.NonExistentQueue"
        #expect(
            written { SQSAnswer.moveTasks([running, failed], to: &$0) }
                == """
                {\"Results\":[{\"TaskHandle\":\"h\",\"Status\":\"RUNNING\",\"SourceArn\":\"s\",\
                \"DestinationArn\":\"d\",\"MaxNumberOfMessagesPerSecond\":5,\
                \"ApproximateNumberOfMessagesMoved\":1,\"ApproximateNumberOfMessagesToMove\":2,\
                \"StartedTimestamp\":9},{\"Status\":\"FAILED\",\"SourceArn\":\"s\",\
                \"ApproximateNumberOfMessagesMoved\":0,\
                \"FailureReason\":\"AWS.SimpleQueueService.NonExistentQueue\",\
                \"StartedTimestamp\":8}]}
                """
        )
        #expect(written { SQSAnswer.moveTasks([], to: &$0) } == "{}")
    }

    private func md5(_ text: String) -> String { Array(text.utf8).withUnsafeBytes { MD5Digest(of: $0).hex } }
}
