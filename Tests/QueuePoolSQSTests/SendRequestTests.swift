// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolJSON
import QueuePoolSQS
import QueuePoolTestSupport
import Testing

@Suite struct `SendMessage` {
    @Test func `reads every member and passes over others`() throws {
        let request = try #"""
        {"Unknown":{"a":[1,2,{"b":null}]},"QueueUrl":"https://sqs.eu-west-1.amazonaws.com/123/emails.fifo",
        "MessageBody":"line\n\u00fc","MessageGroupId":"g1","MessageDeduplicationId":"d1","DelaySeconds":0,
        "MessageAttributes":{"n":{"DataType":"Number.int","StringValue":"7"},
        "b":{"BinaryValue":"AAH/","DataType":"Binary"},"s":{"StringValue":"x","DataType":"String","Other":1}},
        "MessageSystemAttributes":{"AWSTraceHeader":{"DataType":"String","StringValue":"Root=1"}}}
        """#.parsed(SendMessageRequest.init)
        #expect(request.queue == "emails.fifo")
        #expect(request.entry.body.text == "line\nü")
        #expect(request.entry.groupID?.text == "g1" && request.entry.deduplicationID?.text == "d1")
        #expect(request.entry.delaySeconds == 0)
        #expect(
            request.entry.attributes == [
                MessageAttribute(name: "n", text: "7", dataType: "Number.int"),
                MessageAttribute(name: "b", dataType: "Binary", value: [0, 1, 255]),
                MessageAttribute(name: "s", text: "x"),
            ])
        #expect(request.entry.systemAttributes == [MessageAttribute(name: "AWSTraceHeader", text: "Root=1")])
    }

    @Test(arguments: [
        ("http://127.0.0.1:9324/000000000000/a.fifo", "a.fifo"), ("https://queue.amazonaws.com/1/a.fifo", "a.fifo"),
        ("a.fifo", "a.fifo"), ("http:\\/\\/h\\/1\\/a.fifo", "a.fifo"), ("", ""), ("http://h/1/", ""),
    ])
    func `a queue is named by the last part of its URL`(_ url: String, _ name: String) throws {
        #expect(try "{\"QueueUrl\":\"\(url)\"}".parsed(SendMessageRequest.init).queue == name)
        #expect(QueueReference.name(inURL: url.replacing("\\/", with: "/")) == name)
    }

    @Test(arguments: [
        ("", SQSError.Kind.missingParameter, "QueueUrl"), ("{}", .missingParameter, "QueueUrl"),
        ("{\"QueueUrl\":null}", .missingParameter, "QueueUrl"), ("[]", .serialization, "object"),
        ("{", .serialization, "unexpectedEnd"), ("{}x", .serialization, "trailingData"),
        ("{\"QueueUrl\":1}", .serialization, "QueueUrl must be a string"),
        ("{\"MessageBody\":[\"secret\"]}", .serialization, "MessageBody must be a string"),
        ("{\"MessageBody\":\"\\ud800\"}", .serialization, "loneSurrogate"),
        ("{\"DelaySeconds\":\"1\"}", .serialization, "DelaySeconds must be a whole number"),
        ("{\"DelaySeconds\":1.5}", .serialization, "DelaySeconds must be a whole number"),
        ("{\"DelaySeconds\":99999999999999999999}", .serialization, "DelaySeconds must be a whole number"),
        ("{\"MessageAttributes\":[]}", .serialization, "MessageAttributes must be an object"),
        ("{\"MessageAttributes\":{\"a\":1}}", .serialization, "MessageAttributes must be an object"),
        ("{\"MessageAttributes\":{\"a\":{\"DataType\":1}}}", .serialization, "DataType must be a string"),
        ("{\"MessageAttributes\":{\"a\":{\"BinaryValue\":\"a\"}}}", .serialization, "BinaryValue must be base64"),
        ("{\"X\":truth}", .serialization, "unexpectedByte"),
    ])
    func `a wrong type or a missing member is named`(_ text: String, _ kind: SQSError.Kind, _ part: String) {
        let error = text.refusal(SendMessageRequest.init)
        #expect(error?.kind == kind)
        #expect(error?.message.contains(part) == true, "\(error?.message ?? "none")")
        #expect(error?.message.contains("secret") == false)
    }

    @Test func `deep nesting and millions of attributes are refused without harm`() {
        let deep = "{\"x\":" + String(repeating: "[", count: 100_000)
        #expect(deep.refusal(SendMessageRequest.init)?.kind == .serialization)
        let many = (0..<5_000).map { "\"a\($0)\":{\"DataType\":\"String\",\"StringValue\":\"x\"}" }.joined(
            separator: ",")
        let text =
            """
            {\"QueueUrl\":\"q\",\"MessageBody\":\"b\",\"MessageGroupId\":\"g\",\
            \"MessageDeduplicationId\":\"d\",\"MessageAttributes\":{\(many)}}
            """
        let request = try? text.parsed(SendMessageRequest.init)
        #expect(request?.entry.attributes.count == 11)
        #expect(
            request.flatMap { refusal(of: $0.entry) }
                == SQSError(
                    .invalidParameterValue, "Number of message attributes [5000] exceeds the allowed maximum [10]."))
    }

    @Test func `random bytes in place of a request never trap`() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SplitMix64(seed: seed)
        print("seed \(seed)")
        let sound = Array(
            """
            {\"QueueUrl\":\"http://h/1/q.fifo\",\"Entries\":[{\"Id\":\"a\",\"MessageBody\":\"b\\n\",\
            \"ReceiptHandle\":\"h\",\"MessageAttributes\":{\"n\":{\"DataType\":\"Binary\",\
            \"BinaryValue\":\"AA==\"}}}],\"MaxNumberOfMessages\":10,\
            \"Attributes\":{\"RedrivePolicy\":\"{}\"}}
            """
            .utf8)
        for _ in 0..<5_000 {
            var bytes = sound
            for _ in 0..<Int.random(in: 1..<4, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            let text = String(decoding: bytes, as: UTF8.self)
            _ = text.refusal(SendMessageRequest.init)
            _ = text.refusal(SendMessageBatchRequest.init)
            _ = text.refusal(ReceiveMessageRequest.init)
            _ = text.refusal(DeleteMessageBatchRequest.init)
            _ = text.refusal(SetQueueAttributesRequest.init)
        }
    }
}

@Suite struct `SendMessageBatch` {
    private func batch(_ entries: [String]) -> String {
        "{\"QueueUrl\":\"q.fifo\",\"Entries\":[\(entries.joined(separator: ","))]}"
    }

    private func entry(_ id: String, body: String = "b", group: String? = "g", deduplicationID: String? = "d") -> String
    {
        var text = "{\"Id\":\"\(id)\",\"MessageBody\":\"\(body)\""
        if let group { text += ",\"MessageGroupId\":\"\(group)\"" }
        if let deduplicationID { text += ",\"MessageDeduplicationId\":\"\(deduplicationID)\"" }
        return text + "}"
    }

    private func checked(_ text: String, contentBased: Bool = false) -> SQSError? {
        var attributes = QueueAttributes()
        attributes.contentBasedDeduplication = contentBased
        return failure { () throws(SQSError) in try text.parsed(SendMessageBatchRequest.init).check(attributes) }
    }

    @Test func `a sound batch passes`() throws {
        #expect(checked(batch((0..<10).map { entry("id-\($0)_A") })) == nil)
        let request = try batch([entry("a", body: "1"), entry("b", body: "2")]).parsed(SendMessageBatchRequest.init)
        #expect(request.queue == "q.fifo" && request.entries.map(\.id) == ["a", "b"])
        #expect(request.entries.map(\.body.text) == ["1", "2"])
    }

    @Test func `whole-batch faults have their texts`() {
        #expect(
            checked("{\"QueueUrl\":\"q\"}")
                == SQSError(.missingParameter, "The request must contain the parameter Entries."))
        #expect(
            checked(batch([]))
                == SQSError(
                    .emptyBatchRequest, "There should be at least one SendMessageBatchRequestEntry in the request."))
        #expect(
            checked(batch((0..<20).map { entry("\($0)") }))
                == SQSError(
                    .tooManyEntriesInBatchRequest, "Maximum number of entries per request are 10. You have sent 20."))
        for id in ["", "a b", "ü", "a.b", String(repeating: "x", count: 81)] {
            #expect(checked(batch([entry(id)]))?.kind == .invalidBatchEntryId)
        }
        #expect(checked(batch([entry(String(repeating: "x", count: 80))])) == nil)
        #expect(
            checked(batch([entry("id_1"), entry("id_2"), entry("id_2"), entry("id_1")]))
                == SQSError(.batchEntryIdsNotDistinct, "Id of entry 3 repeated."))
        let half = String(repeating: "x", count: 524_288)
        #expect(checked(batch([entry("a", body: half), entry("b", body: half)])) == nil)
        #expect(
            checked(batch([entry("a", body: half), entry("b", body: half + "x")]))
                == SQSError(
                    .batchRequestTooLong,
                    "Batch requests cannot be longer than 1048576 bytes. You have sent 1048577 bytes."))
        #expect(
            checked(batch([entry("a"), entry("b", group: nil)]))
                == SQSError(.invalidParameterValue, "The request must contain the parameter MessageGroupId."))
        #expect(
            checked(batch([entry("a"), entry("b", deduplicationID: nil)]))
                == SQSError(
                    .invalidParameterValue,
                    """
                    The queue should either have ContentBasedDeduplication enabled or \
                    MessageDeduplicationId provided explicitly
                    """
                ))
        #expect(checked(batch([entry("b", deduplicationID: nil)]), contentBased: true) == nil)
    }

    @Test func `of several faults the first in order is told`() {
        let long = String(repeating: "x", count: 600_000)
        // Each text has the fault that it is told for and every later one.
        let bare = entry("a", body: long, group: nil, deduplicationID: nil)
        let spoilt = entry("a b", body: long, group: nil, deduplicationID: nil)
        #expect(checked(batch([spoilt] + (0..<10).map { _ in bare }))?.kind == .tooManyEntriesInBatchRequest)
        #expect(checked(batch([bare, bare, spoilt]))?.kind == .invalidBatchEntryId)
        #expect(checked(batch([bare, bare]))?.kind == .batchEntryIdsNotDistinct)
        let other = entry("b", body: long, group: nil, deduplicationID: nil)
        #expect(checked(batch([bare, other]))?.kind == .batchRequestTooLong)
        #expect(
            checked(batch([entry("a", group: nil, deduplicationID: nil)]))?.message.contains("MessageGroupId") == true)
    }

    @Test func `a batch of a million entries keeps ten`() throws {
        let text = "{\"QueueUrl\":\"q\",\"Entries\":[" + String(repeating: "{},", count: 200_000) + "{}]}"
        let request = try text.parsed(SendMessageBatchRequest.init)
        #expect(request.entries.count == 10 && request.entriesCount == 200_001)
    }

    @Test func `bodies with and without escapes keep their bytes and their MD5s side by side`() throws {
        let lengths = [1, 0, 55, 56, 63, 64, 119, 120, 31, 300]
        let plain = lengths.map { String(repeating: "0123456789abcdéfg漢", count: 1 + $0 / 16).utf8.prefix($0) }
        // Which entries are escaped differs, so that each place is once a piece of the request and once decoded.
        for escaped in [0, 0b11_1111_1111, 0b01_0101_0101, 0b10_1010_1010, 0b11_1100_0000, 0b00_0000_0001] {
            let contents = plain.enumerated().map { place, bytes in
                String(decoding: bytes, as: UTF8.self) + (escaped >> place & 1 == 1 ? "\t\"漢\u{10000}" : "")
            }
            let request = try batch(
                contents.enumerated().map { place, content in
                    entry("\(place)", body: jsonEscaped(content), group: "g\\u00\(30 + place % 10)")
                }
            ).parsed(SendMessageBatchRequest.init)
            for (place, entry) in request.entries.enumerated() {
                let isEscaped = if case .decoded = entry.body { true } else { false }
                #expect(isEscaped == (escaped >> place & 1 == 1), "entry \(place)")
            }
            let expected = contents.map { text in Array(text.utf8).withUnsafeBytes { MD5Digest(of: $0) } }
            #expect(request.withBodies { $0.map { Array($0) } } == contents.map { Array($0.utf8) })
            #expect(request.bodyMD5s == expected && request.withBodies { MD5Lanes.sideBySide($0) } == expected)
            try checkPrepared(request, contents, expected)
        }
    }

    /// The records of a batch whose MD5s were computed together.
    private func checkPrepared(
        _ request: SendMessageBatchRequest, _ contents: [String], _ digests: [MD5Digest]
    ) throws {
        for (place, entry) in request.entries.enumerated() where !contents[place].isEmpty {
            let prepared = try prepare(
                entry, attributes: QueueAttributes(), isBatch: true, bodyMD5: request.bodyMD5s[place])
            #expect(prepared.bodyMD5 == digests[place])
            prepared.message.record.withView { view in
                #expect(Array(view.body) == Array(contents[place].utf8) && view.bodyMD5 == digests[place])
                #expect(String(decoding: view.group, as: UTF8.self) == "g\(place)")
            }
        }
    }

    private func jsonEscaped(_ text: String) -> String {
        text.replacing("\"", with: "\\\"").replacing("\t", with: "\\t").replacing("\u{10000}", with: "\\ud800\\udc00")
    }
}
