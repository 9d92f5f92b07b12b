// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolSQS
import Testing

@Suite struct `Answers of the Query protocol` {
    private let namespace = "xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\""

    private func xml(_ action: SQSAction, _ json: String) -> String? {
        QueryAnswer.xml(action, json: Array(json.utf8), requestID: "id").map { String(decoding: $0, as: UTF8.self) }
    }

    /// - Parameter inner: what is between the root and the metadata.
    private func document(_ action: SQSAction, _ inner: String) -> String {
        let name = action.rawValue
        return
            "<?xml version=\"1.0\"?><\(name)Response \(namespace)>\(inner)<ResponseMetadata><RequestId>id</RequestId>"
            + "</ResponseMetadata></\(name)Response>"
    }

    @Test(
        arguments: [
            (
                .sendMessage, #"{"MessageId":"m","MD5OfMessageBody":"d","SequenceNumber":"00018850418883000000"}"#,
                "<SendMessageResult><MessageId>m</MessageId><MD5OfMessageBody>d</MD5OfMessageBody>"
                    + "<SequenceNumber>00018850418883000000</SequenceNumber></SendMessageResult>"
            ),
            (.receiveMessage, "{}", "<ReceiveMessageResult/>"),
            (.listQueues, "{}", "<ListQueuesResult/>"),
            (.deleteMessage, "{}", ""),
            (.purgeQueue, "{}", ""),
            (
                .receiveMessage,
                #"{"Messages":[{"MessageId":"m","Body":"a\rb","Attributes":{"SenderId":"1","SentTimestamp":"2"},"#
                    + #""MessageAttributes":{"n":{"StringValue":"v","DataType":"String"}}},{"Body":"c"}]}"#,
                "<ReceiveMessageResult><Message><MessageId>m</MessageId><Body>a&#xD;b</Body>"
                    + "<Attribute><Name>SenderId</Name><Value>1</Value></Attribute>"
                    + "<Attribute><Name>SentTimestamp</Name><Value>2</Value></Attribute>"
                    + "<MessageAttribute><Name>n</Name><Value><StringValue>v</StringValue>"
                    + "<DataType>String</DataType></Value></MessageAttribute></Message>"
                    + "<Message><Body>c</Body></Message></ReceiveMessageResult>"
            ),
            (
                .deleteMessageBatch,
                #"{"Successful":[{"Id":"a"}],"Failed":[{"Id":"b","SenderFault":true,"Code":"c","Message":"<"}]}"#,
                "<DeleteMessageBatchResult><DeleteMessageBatchResultEntry><Id>a</Id></DeleteMessageBatchResultEntry>"
                    + "<BatchResultErrorEntry><Id>b</Id><SenderFault>true</SenderFault><Code>c</Code>"
                    + "<Message>&lt;</Message></BatchResultErrorEntry></DeleteMessageBatchResult>"
            ),
            (
                .sendMessageBatch, #"{"Successful":[{"Id":"a","MessageId":"m"}]}"#,
                "<SendMessageBatchResult><SendMessageBatchResultEntry><Id>a</Id><MessageId>m</MessageId>"
                    + "</SendMessageBatchResultEntry></SendMessageBatchResult>"
            ),
            (
                .listDeadLetterSourceQueues, #"{"queueUrls":["a&b","c"],"NextToken":"t"}"#,
                "<ListDeadLetterSourceQueuesResult><QueueUrl>a&amp;b</QueueUrl><QueueUrl>c</QueueUrl>"
                    + "<NextToken>t</NextToken></ListDeadLetterSourceQueuesResult>"
            ),
            (
                .listQueueTags, #"{"Tags":{"k":"v"}}"#,
                "<ListQueueTagsResult><Tag><Key>k</Key><Value>v</Value></Tag></ListQueueTagsResult>"
            ),
            (
                .listMessageMoveTasks, #"{"Results":[{"Status":"RUNNING","ApproximateNumberOfMessagesMoved":-7}]}"#,
                "<ListMessageMoveTasksResult><ListMessageMoveTasksResultEntry><Status>RUNNING</Status>"
                    + "<ApproximateNumberOfMessagesMoved>-7</ApproximateNumberOfMessagesMoved>"
                    + "</ListMessageMoveTasksResultEntry></ListMessageMoveTasksResult>"
            ),
        ] as [(SQSAction, String, String)])
    func `are those of the JSON protocol in XML`(action: SQSAction, json: String, inner: String) {
        #expect(xml(action, json) == document(action, inner))
    }

    @Test func `escape what XML does not carry as it is`() {
        let body = "\\t\\n\\r <&>\\\"' ü\u{D7FF}\u{E000}\u{FFFD}\u{10000} \\u0001\u{FFFE}\u{FFFF}|"
        #expect(
            xml(.sendMessage, "{\"A\":\"\(body)\"}")
                == document(
                    .sendMessage,
                    "<SendMessageResult><A>\t\n&#xD; &lt;&amp;&gt;&quot;' ü\u{D7FF}\u{E000}\u{FFFD}\u{10000} "
                        + "\u{FFFD}\u{FFFD}\u{FFFD}|</A></SendMessageResult>"))
    }

    @Test func `are none where there is no JSON object`() {
        for json in ["", "[]", "{", "{}x", #"{"Messages":{}}"#] { #expect(xml(.receiveMessage, json) == nil) }
    }

    @Test func `that are errors have the legacy code and whose fault it is`() {
        func text(_ error: SQSError) -> String {
            String(decoding: QueryAnswer.error(error, requestID: "id").body, as: UTF8.self)
        }
        #expect(
            text(.noSuchQueue)
                == "<?xml version=\"1.0\"?><ErrorResponse \(namespace)><Error><Type>Sender</Type>"
                + "<Code>AWS.SimpleQueueService.NonExistentQueue</Code>"
                + "<Message>The specified queue does not exist for this wsdl version.</Message><Detail/></Error>"
                + "<RequestId>id</RequestId></ErrorResponse>")
        #expect(text(SQSError(.internalFailure, "")).contains("<Type>Receiver</Type><Code>InternalFailure</Code>"))
        #expect(text(SQSError(.serialization, "")).contains("<Code>InvalidParameterValue</Code>"))
        let unknown = QueryAnswer.error(SQSError(.unknownOperation, ""), requestID: "id")
        #expect(unknown.status == 404)
        #expect(unknown.body == Array("<UnknownOperationException/>\n".utf8))
    }

    @Test(arguments: SQSError.Kind.allCases)
    func `keep an error that the JSON protocol has written`(kind: SQSError.Kind) {
        let error = SQSError(kind, "\"why\" ü")
        #expect(QueryAnswer.error(json: error.body(), header: error.queryErrorHeader) == error)
    }
}
