// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolSQS
import QueuePoolTestSupport
import Testing

@Suite struct `Requests of the Query protocol` {
    private func json(_ form: String, queue: String? = nil) throws -> String {
        let request = try form.parsed { (bytes) throws(SQSError) in try QueryRequest.read(form: bytes, queue: queue) }
        return "\(request.action.rawValue) \(String(decoding: request.body, as: UTF8.self))"
    }

    private func refusal(_ form: String, queue: String? = nil) -> SQSError? {
        form.refusal { (bytes) throws(SQSError) in try QueryRequest.read(form: bytes, queue: queue) }
    }

    /// The forms are those of AWS's API reference, with the signature's parameters.
    @Test(
        arguments: [
            (
                """
                Action=CreateQueue&QueueName=MyQueue&Attribute.1.Name=VisibilityTimeout&Attribute.1.Value=40\
                &Expires=2020-12-20T22%3A52%3A43PST&Version=2012-11-05&AUTHPARAMS
                """, #"CreateQueue {"QueueName":"MyQueue","Attributes":{"VisibilityTimeout":"40"}}"#
            ),
            (
                """
                Action=SendMessage&MessageBody=This+is+a+test+message&MessageAttribute.1.Name=my_attribute_name_1\
                &MessageAttribute.1.Value.StringValue=my_attribute_value_1&MessageAttribute.1.Value.DataType=String\
                &MessageAttribute.2.Name=b&MessageAttribute.2.Value.BinaryValue=AAE%3D\
                &MessageAttribute.2.Value.DataType=Binary&Version=2012-11-05
                """,
                #"SendMessage {"QueueUrl":"MyQueue","MessageBody":"This is a test message","MessageAttributes":"#
                    + #"{"my_attribute_name_1":{"DataType":"String","StringValue":"my_attribute_value_1"},"#
                    + #""b":{"DataType":"Binary","BinaryValue":"AAE="}}}"#
            ),
            (
                """
                Action=SendMessageBatch&SendMessageBatchRequestEntry.1.Id=test_msg_001\
                &SendMessageBatchRequestEntry.1.MessageBody=test%20message%20body%201\
                &SendMessageBatchRequestEntry.2.Id=test_msg_002\
                &SendMessageBatchRequestEntry.2.MessageBody=test%20message%20body%202\
                &SendMessageBatchRequestEntry.2.DelaySeconds=60\
                &SendMessageBatchRequestEntry.2.MessageAttribute.1.Name=test_attribute_name_1\
                &SendMessageBatchRequestEntry.2.MessageAttribute.1.Value.StringValue=test_attribute_value_1\
                &SendMessageBatchRequestEntry.2.MessageAttribute.1.Value.DataType=String
                """,
                #"SendMessageBatch {"QueueUrl":"MyQueue","Entries":[{"Id":"test_msg_001","#
                    + #""MessageBody":"test message body 1"},{"Id":"test_msg_002","#
                    + #""MessageBody":"test message body 2","DelaySeconds":60,"MessageAttributes":"#
                    + #"{"test_attribute_name_1":{"DataType":"String","StringValue":"test_attribute_value_1"}}}]}"#
            ),
            (
                "Action=ReceiveMessage&MaxNumberOfMessages=5&VisibilityTimeout=15&AttributeName=All&Version=2012-11-05",
                #"ReceiveMessage {"QueueUrl":"MyQueue","AttributeNames":["All"],"VisibilityTimeout":15,"#
                    + #""MaxNumberOfMessages":5}"#
            ),
            (
                "Action=SetQueueAttributes&Attribute.Name=VisibilityTimeout&Attribute.Value=35",
                #"SetQueueAttributes {"QueueUrl":"MyQueue","Attributes":{"VisibilityTimeout":"35"}}"#
            ),
            (
                "Action=TagQueue&Tag.1.Key=QueueType&Tag.1.Value=Production&Tag.2.Key=Owner&Tag.2.Value=",
                #"TagQueue {"QueueUrl":"MyQueue","Tags":{"QueueType":"Production","Owner":""}}"#
            ),
            ("Action=UntagQueue&TagKey.1=a&TagKey.2=b", #"UntagQueue {"QueueUrl":"MyQueue","TagKeys":["a","b"]}"#),
            (
                "Action=AddPermission&Label=l&AWSAccountId.1=1&ActionName.1=*",
                #"AddPermission {"QueueUrl":"MyQueue","Label":"l","AWSAccountIds":["1"],"Actions":["*"]}"#
            ),
        ])
    func `become those of the JSON protocol`(form: String, expected: String) throws {
        // CreateQueue is an action of the endpoint, the others are those of a queue's URL.
        #expect(try json(form, queue: form.contains("CreateQueue") ? nil : "MyQueue") == expected)
    }

    @Test func `may name the queue, which wins over the URL's`() throws {
        let form = "Action=DeleteQueue&QueueUrl=http%3A%2F%2Fh%2F1%2Fa"
        #expect(try json(form, queue: "b") == #"DeleteQueue {"QueueUrl":"http://h/1/a"}"#)
        #expect(try json("Action=DeleteQueue", queue: "b") == #"DeleteQueue {"QueueUrl":"b"}"#)
        #expect(try json("Action=DeleteQueue") == "DeleteQueue {}")
    }

    @Test func `may number members with gaps and in any order`() throws {
        #expect(
            try json("TagKey.30=c&TagKey.2=b&Action=UntagQueue&TagKey.1=a")
                == #"UntagQueue {"TagKeys":["a","b","c"]}"#)
        #expect(
            try json(
                "Action=DeleteMessageBatch&DeleteMessageBatchRequestEntry.9.Id=y&DeleteMessageBatchRequestEntry.3.Id=x")
                == #"DeleteMessageBatch {"Entries":[{"Id":"x"},{"Id":"y"}]}"#)
    }

    @Test func `have batches without entries`() throws {
        for form in ["Action=DeleteMessageBatch", "Action=DeleteMessageBatch&DeleteMessageBatchRequestEntry="] {
            #expect(try json(form) == #"DeleteMessageBatch {"Entries":[]}"#)
        }
        #expect(try json("Action=GetQueueAttributes&AttributeName=") == #"GetQueueAttributes {"AttributeNames":[]}"#)
    }

    @Test func `carry every character`() throws {
        #expect(
            try json("&Action=SendMessage&&MessageBody=%00%26%3D%2b%25%C3%BC\u{FC}%0D%0A%22+.&")
                == "SendMessage {\"MessageBody\":\"\\u0000&=+%üü\\r\\n\\\" .\"}")
    }

    @Test(
        arguments: [
            ("", .unknownOperation), ("Version=2012-11-05", .unknownOperation),
            ("Action=FooBar", .invalidAction), ("Action=", .invalidAction),
            ("Action=ListQueues&Version=2009-02-01", .invalidParameterValue),
            ("Action=ListQueues&Action=ListQueues", .invalidParameterValue),
            ("Action=ListQueues&MaxResults=1&MaxResults=1", .invalidParameterValue),
            ("Action=ListQueues&MaxResults=ten", .invalidParameterValue),
            ("Action=ListQueues&MaxResults=", .invalidParameterValue),
            ("Action=ListQueues&MaxResults=99999999999999999999", .invalidParameterValue),
            ("Action=ListQueues&a=%", .invalidParameterValue), ("Action=ListQueues&a=%4", .invalidParameterValue),
            ("Action=ListQueues&a=%4g", .invalidParameterValue), ("Action=ListQueues&a=%ff", .invalidParameterValue),
            ("Action=ListQueues&%c3=1", .invalidParameterValue),
            ("Action=UntagQueue&TagKey.0=a", .invalidParameterValue),
            ("Action=UntagQueue&TagKey.01=a", .invalidParameterValue),
            ("Action=UntagQueue&TagKey.10001=a", .invalidParameterValue),
            ("Action=UntagQueue&TagKey.99999999999999999999=a", .invalidParameterValue),
            ("Action=UntagQueue&TagKey.=a", .invalidParameterValue),
            ("Action=UntagQueue&TagKey.1=a&TagKey=b", .invalidParameterValue),
            ("Action=TagQueue&Tag.1.Value=a", .missingParameter),
            ("Action=TagQueue&Tag.1.Key=a", .missingParameter),
            ("Action=TagQueue&Tag.1.Key=a&Tag.1.Value=&Tag.2.Key=a&Tag.2.Value=", .invalidParameterValue),
        ] as [(String, SQSError.Kind)])
    func `are refused`(form: String, kind: SQSError.Kind) {
        #expect(refusal(form)?.kind == kind)
    }

    @Test func `of the endpoint have no place on a queue's URL`() {
        for action in ["CreateQueue", "ListQueues"] {
            #expect(refusal("Action=\(action)", queue: "q")?.kind == .invalidAction)
            #expect(
                refusal("Action=\(action)", queue: "q")?.message
                    == "The action (\(action.utf8.count) bytes) is not valid for this endpoint.")
        }
    }

    @Test func `have a bounded number of parameters`() {
        let pairs = (0..<5_000).map { "p\($0)=" }.joined(separator: "&")
        #expect(refusal(pairs)?.kind == .unknownOperation)
        #expect(refusal(pairs + "&Action=ListQueues")?.kind == .invalidParameterValue)
        #expect(refusal("Action=ListQueues&" + String(repeating: "a.", count: 100_000) + "=1") == nil)
    }

    @Test func `never crash, whatever bytes they are`() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SplitMix64(seed: seed)
        let words = [
            "Action", "ReceiveMessage", "SendMessageBatch", "SendMessageBatchRequestEntry", "MessageAttribute", "Name",
            "Value", "DataType", "1", "2", "AttributeName", ".", ".", "=", "=", "&", "&", "%", "+", "\u{0}", "ü",
        ]
        for _ in 0..<2_000 {
            var form = ["Action=SendMessageBatch&", "Action=ReceiveMessage&", ""].randomElement(using: &random) ?? ""
            for _ in 0..<Int.random(in: 0..<60, using: &random) { form += words.randomElement(using: &random) ?? "" }
            guard let text = try? json(form) else { continue }
            #expect(text.contains("{"), "seed \(seed)")
            let body = String(text.drop { $0 != "{" })
            // Whatever came through is JSON.
            let error = body.refusal { (bytes) throws(SQSError) in try ReceiveMessageRequest(bytes) }
            #expect(error?.kind != .serialization || !text.hasPrefix("Receive"), "seed \(seed): \(form)")
        }
    }
}
