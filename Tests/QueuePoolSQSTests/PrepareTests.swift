// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolSQS
import Testing

@Suite struct `Preparing a send` {
    @Test func `makes the record and the digests`() throws {
        let entry = soundEntry(
            body: "hello", group: "group-1", deduplicationID: "dedup-1",
            attributes: [
                MessageAttribute(name: "k", text: "x")
            ])
        let prepared = try prepare(entry, attributes: QueueAttributes(), isBatch: false, traceHeader: "Root=1-2")
        #expect(prepared.bodyMD5.hex == "5d41402abc4b2a76b9719d911017c592")
        #expect(prepared.attributesMD5?.hex == "a45daa70926828a2f0a1db3418e6feb4")
        #expect(prepared.systemAttributesMD5 == nil)
        #expect(prepared.message.groupHash == XXHash64.hash("group-1"))
        prepared.message.record.withView { view in
            #expect(Array(view.body) == Array("hello".utf8) && Array(view.group) == Array("group-1".utf8))
            #expect(Array(view.deduplicationID) == Array("dedup-1".utf8) && view.bodyMD5 == prepared.bodyMD5)
            #expect(view.attributes == entry.attributes && view.origin == nil)
            #expect(view.systemAttributes == [MessageAttribute(name: "AWSTraceHeader", text: "Root=1-2")])
        }
    }

    @Test func `content-based ids are the SHA-256 of the body, and an explicit one wins`() throws {
        var attributes = QueueAttributes()
        attributes.contentBasedDeduplication = true
        let byContent = try prepare(
            soundEntry(body: "abc", deduplicationID: nil), attributes: attributes, isBatch: true)
        byContent.message.record.withView {
            #expect(
                String(decoding: $0.deduplicationID, as: UTF8.self)
                    == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        }
        let explicit = try prepare(soundEntry(deduplicationID: "mine"), attributes: attributes, isBatch: true)
        explicit.message.record.withView { #expect(Array($0.deduplicationID) == Array("mine".utf8)) }
    }

    @Test func `digests of attributes are those recorded from AWS`() {
        func hex(_ attributes: [MessageAttribute]) -> String? { MD5Digest(of: attributes)?.hex }
        #expect(hex([MessageAttribute(name: "k", text: "x")]) == "a45daa70926828a2f0a1db3418e6feb4")
        #expect(
            hex([
                MessageAttribute(name: "Help.Me", text: "Me"), MessageAttribute(name: "Hello", text: "There"),
                MessageAttribute(name: "General", text: "Kenobi"),
            ]) == "4c360f3fdafd970e05fae2f149d997f5")
        let binary = Array("traceparent\u{1e}00-774062d6c37081a5a0b9b5b88e30627c-2d2482211f6489da-01".utf8)
        #expect(
            hex([MessageAttribute(name: "attr1", dataType: "Binary", value: binary)])
                == "8cbe4db156db8a94db8b801b7addb984")
        let trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
        #expect(hex([MessageAttribute(name: "AWSTraceHeader", text: trace)]) == "5ae4d5d7636402d80f4eb6d213245a88")
        #expect(hex([]) == nil)
    }

    @Test(
        arguments: [
            (
                { @Sendable () in soundEntry(body: "") },
                SQSError(.missingParameter, "The request must contain the parameter MessageBody.")
            ),
            ({ @Sendable () in soundEntry(body: "\u{1}") }, SQSError(.invalidMessageContents, "*")),
            (
                { @Sendable () in soundEntry(group: nil) },
                SQSError(.missingParameter, "The request must contain the parameter MessageGroupId.")
            ),
            (
                { @Sendable () in soundEntry(deduplicationID: nil) },
                SQSError(
                    .invalidParameterValue,
                    """
                    The queue should either have ContentBasedDeduplication enabled or \
                    MessageDeduplicationId provided explicitly
                    """
                )
            ),
            (
                { @Sendable () in soundEntry(group: "a b") },
                SQSError(
                    .invalidParameterValue,
                    """
                    Value (3 bytes) for parameter MessageGroupId is invalid. Reason: MessageGroupId can only \
                    include alphanumeric and punctuation characters. 1 to 128 in length.
                    """
                )
            ),
            (
                { @Sendable () in soundEntry(deduplicationID: "") },
                SQSError(
                    .invalidParameterValue,
                    """
                    Value (0 bytes) for parameter MessageDeduplicationId is invalid. Reason: \
                    MessageDeduplicationId can only include alphanumeric and punctuation characters. 1 \
                    to 128 in length.
                    """
                )
            ),
            ({ @Sendable () in soundEntry(group: "") }, SQSError(.invalidParameterValue, "*")),
            ({ @Sendable () in soundEntry(group: "ü") }, SQSError(.invalidParameterValue, "*")),
            (
                { @Sendable () in soundEntry(group: String(repeating: "x", count: 129)) },
                SQSError(.invalidParameterValue, "*")
            ),
            (
                { @Sendable () in soundEntry(deduplicationID: String(repeating: "x", count: 129)) },
                SQSError(.invalidParameterValue, "*")
            ),
        ])
    func `bad input has its code and text`(_ entry: @Sendable () -> SendEntry, _ expected: SQSError) {
        let error = refusal(of: entry())
        #expect(error?.kind == expected.kind)
        if expected.message != "*" { #expect(error?.message == expected.message) }
    }

    @Test func `every printable ASCII character may stand in an id`() {
        let all = String(decoding: (UInt8(0x21)...0x7E), as: UTF8.self)
        #expect(refusal(of: soundEntry(group: all, deduplicationID: all)) == nil)
        #expect(refusal(of: soundEntry(group: String(repeating: "x", count: 128))) == nil)
    }

    @Test func `delays are for the queue to say`() {
        func error(_ seconds: Int) -> String? {
            var entry = soundEntry()
            entry.delaySeconds = seconds
            return refusal(of: entry)?.message
        }
        #expect(error(0) == nil)
        #expect(
            error(2)
                == """
                Value 2 for parameter DelaySeconds is invalid. Reason: The request include \
                parameter that is not valid for this queue type.
                """
        )
        #expect(
            error(1_800)
                == "Value 1800 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900.")
        #expect(error(-1)?.contains("DelaySeconds must be >= 0") == true)
    }

    @Test func `size is body and attributes, with a text of its own in a batch`() {
        var attributes = QueueAttributes()
        attributes.maximumMessageSize = 1_024
        let named = [MessageAttribute(name: "name", text: "value")]
        let room = 1_024 - "name".utf8.count - "String".utf8.count - "value".utf8.count
        #expect(
            refusal(of: soundEntry(body: String(repeating: "x", count: room), attributes: named), attributes) == nil)
        let long = soundEntry(body: String(repeating: "x", count: room + 1), attributes: named)
        #expect(
            refusal(of: long, attributes)
                == SQSError(
                    .invalidParameterValue,
                    "One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes."))
        #expect(
            refusal(of: long, attributes, isBatch: true)
                == SQSError(
                    .invalidParameterValue,
                    "One or more parameters cannot be validated. Reason: Message must be shorter than 1024 bytes."))
        #expect(refusal(of: soundEntry(body: String(repeating: "x", count: 1_048_576))) == nil)
        #expect(refusal(of: soundEntry(body: String(repeating: "x", count: 1_048_577)))?.kind == .invalidParameterValue)
    }

    @Test func `bodies hold the characters of XML, at every alignment`() {
        let good = [
            "\t\n\r ", "\u{7f}", "\u{d7ff}", "\u{e000}", "\u{fffd}", "\u{feff}", "\u{10000}", "\u{10ffff}", "\u{1fffe}",
        ]
        let bad = ["\u{0}", "\u{8}", "\u{b}", "\u{c}", "\u{e}", "\u{1f}", "\u{fffe}", "\u{ffff}"]
        for padding in 0..<17 {
            let (before, after) = (String(repeating: "a", count: padding), String(repeating: "b", count: 16 - padding))
            for text in good { #expect(refusal(of: soundEntry(body: before + text + after)) == nil) }
            for text in bad {
                #expect(refusal(of: soundEntry(body: before + text + after))?.kind == .invalidMessageContents)
                #expect(refusal(of: soundEntry(body: before + text))?.kind == .invalidMessageContents)
            }
        }
    }
}

@Suite struct `Message attributes` {
    private func error(name: String = "n", type: String = "String", _ value: String = "v") -> SQSError? {
        refusal(of: soundEntry(attributes: [MessageAttribute(name: name, text: value, dataType: type)]))
    }

    @Test(arguments: ["n", "a-b_c.D9", "été", "awsx", "my.AWS.name", String(repeating: "x", count: 256)])
    func `names that are allowed`(_ name: String) { #expect(error(name: name) == nil) }

    @Test(arguments: [
        "", ".a", "a.", "a..b", "AWS.a", "aws.a", "Amazon.a", "AMAZON.x", "a b", "a!", "a\"", "a(", "a?", "a/b", "a\n",
        String(repeating: "x", count: 257),
    ])
    func `names that are not`(_ name: String) { #expect(error(name: name)?.kind == .invalidParameterValue) }

    @Test(arguments: ["String", "String.x", "Number.int", "String." + String(repeating: "x", count: 249)])
    func `types that are allowed`(_ type: String) { #expect(error(type: type, "1") == nil) }

    @Test(arguments: ["string", "Text", "Strings", "", "Boolean", "String." + String(repeating: "x", count: 250)])
    func `types that are not`(_ type: String) { #expect(error(type: type)?.kind == .invalidParameterValue) }

    @Test func `texts are those of SQS`() {
        #expect(
            error(type: "Text")?.message
                == """
                The message attribute 1 (1 byte) has an invalid message attribute type, the set of \
                supported type prefixes is Binary, Number, and String.
                """
        )
        #expect(
            error("")?.message == "Message (user) attribute 1 (1 byte) must contain a non-empty value of type 'String'."
        )
        #expect(error("\u{1}secret")?.kind == .invalidParameterValue)
        #expect(error("\u{1}secret")?.message.contains("secret") == false)
        let eleven = (0..<11).map { MessageAttribute(name: "n\($0)", text: "v") }
        #expect(
            refusal(of: soundEntry(attributes: eleven))?.message
                == "Number of message attributes [11] exceeds the allowed maximum [10].")
        #expect(refusal(of: soundEntry(attributes: Array(eleven.dropLast()))) == nil)
    }

    @Test func `a value must be of its type`() throws {
        func entry(_ attribute: String) throws -> SendEntry {
            try """
            {\"QueueUrl\":\"q\",\"MessageBody\":\"b\",\"MessageGroupId\":\"g\",\
            \"MessageDeduplicationId\":\"d\",\"MessageAttributes\":{\"n\":\(attribute)}}
            """
            .parsed(SendMessageRequest.init).entry
        }
        #expect(refusal(of: try entry("{\"DataType\":\"Binary\",\"BinaryValue\":\"/w==\"}")) == nil)
        #expect(
            refusal(of: try entry("{\"DataType\":\"Binary\",\"StringValue\":\"x\"}"))?.message
                == "Message (user) attribute 1 (1 byte) must contain a non-empty value of type 'Binary'.")
        #expect(
            refusal(of: try entry("{\"DataType\":\"String\",\"BinaryValue\":\"/w==\"}"))?.message
                == "Message (user) attribute 1 (1 byte) must contain a non-empty value of type 'String'.")
        #expect(refusal(of: try entry("{\"StringValue\":\"x\"}"))?.kind == .invalidParameterValue)
        #expect(refusal(of: try entry("null"))?.kind == .invalidParameterValue)
    }

    @Test(arguments: [
        "0", "-0", "+1", "1", "007", "-12.50", ".5", "5.", "1e126", "1E-128", "0.00e5",
        "12345678901234567890123456789012345678",
        "1234567890123456789012345678901234567800000", "0e99999", "1.5e+3",
    ])
    func `numbers that are allowed`(_ text: String) { #expect(error(type: "Number", text) == nil) }

    @Test(arguments: [
        "x", "1x", " 1", "1 ", "--1", "1e", "1e+", "e5", ".", "-", "1.2.3", "1e127", "1e-129", "0x1", "1_000", "NaN",
        "١",
        "123456789012345678901234567890123456789", "1e99999999999999999999",
    ])
    func `numbers that are not`(_ text: String) {
        let found = error(type: "Number", text)
        #expect(found?.message == "Can't cast the value of message (user) attribute 1 (1 byte) to a number.")
    }

    @Test func `a trace header that cannot be an attribute costs the trace, not the message`() throws {
        for header in ["", "\u{1}", String(repeating: "x", count: 2_049)] {
            let prepared = try prepare(soundEntry(), attributes: QueueAttributes(), isBatch: false, traceHeader: header)
            prepared.message.record.withView { #expect($0.systemAttributes.isEmpty) }
        }
    }

    @Test func `only the trace header is a system attribute`() {
        var entry = soundEntry()
        entry.systemAttributes = [MessageAttribute(name: "AWSTraceHeader", text: "Root=1")]
        #expect(refusal(of: entry) == nil)
        entry.systemAttributes = [MessageAttribute(name: "AWSTraceHeader", text: String(repeating: "x", count: 2_049))]
        #expect(refusal(of: entry)?.kind == .invalidParameterValue)
        entry.systemAttributes = [MessageAttribute(name: "Other", text: "Root=1")]
        #expect(refusal(of: entry)?.kind == .invalidParameterValue)
        entry.systemAttributes = [MessageAttribute(name: "AWSTraceHeader", text: "1", dataType: "Number")]
        #expect(refusal(of: entry)?.kind == .invalidParameterValue)
    }
}
