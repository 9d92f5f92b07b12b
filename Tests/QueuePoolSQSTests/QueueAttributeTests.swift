// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolSQS
import Testing

@Suite struct `Attributes of a queue` {
    private func made(_ attributes: [String: String], name: String = "a.fifo") throws(SQSError) -> QueueAttributeSet {
        try QueueAttributeSet(creating: name, attributes.merging(["FifoQueue": "true"]) { old, _ in old })
    }

    private func error(_ attributes: [String: String], name: String = "a.fifo") -> SQSError? {
        failure { () throws(SQSError) in try made(attributes, name: name) }
    }

    private func arn(_ name: String) -> String { "arn:aws:sqs:us-east-1:000000000000:" + name }

    private let status = QueueStatus(
        arn: "arn:aws:sqs:us-east-1:000000000000:a.fifo", createdAt: 5, modifiedAt: 6, backlog: 1, inFlight: 2,
        delayed: 3)

    @Test func `of a new queue are the defaults`() throws {
        let set = try made([:])
        #expect(set.queueAttributes == QueueAttributes())
        #expect(set == QueueAttributeSet())
        let shown = set.shown(try QueueAttributeNames(["All"]), status: status).map { "\($0.name.rawValue)=\($0.text)" }
        #expect(
            shown == [
                "QueueArn=arn:aws:sqs:us-east-1:000000000000:a.fifo", "ApproximateNumberOfMessages=1",
                "ApproximateNumberOfMessagesNotVisible=2", "ApproximateNumberOfMessagesDelayed=3", "CreatedTimestamp=5",
                "LastModifiedTimestamp=6", "VisibilityTimeout=30", "MaximumMessageSize=1048576",
                "MessageRetentionPeriod=345600", "DelaySeconds=0", "ReceiveMessageWaitTimeSeconds=0", "FifoQueue=true",
                "ContentBasedDeduplication=false", "DeduplicationScope=queue", "FifoThroughputLimit=perQueue",
                "SqsManagedSseEnabled=true",
            ])
    }

    @Test func `only FIFO queues can be made`() {
        for (name, attributes) in [
            ("a", [:]), ("a.fifo", [:]), ("a", ["FifoQueue": "true"]), ("a", ["FifoQueue": "false"]),
            ("a.fifo", ["FifoQueue": "false"]),
        ] as [(String, [String: String])] {
            let error = failure { () throws(SQSError) in try QueueAttributeSet(creating: name, attributes) }
            #expect(error?.kind == .invalidParameterValue, "\(name) \(attributes)")
        }
        let odd = failure { () throws(SQSError) in try QueueAttributeSet(creating: "a.fifo", ["FifoQueue": "yes"]) }
        #expect(odd?.kind == .invalidAttributeValue)
        #expect(
            failure { () throws(SQSError) in try QueueAttributeSet(creating: "a.fifo", ["FifoQueue": "True"]) } == nil)
    }

    @Test(arguments: [
        ("DelaySeconds", 0, 900), ("MaximumMessageSize", 1_024, 1_048_576), ("MessageRetentionPeriod", 60, 1_209_600),
        ("ReceiveMessageWaitTimeSeconds", 0, 20), ("VisibilityTimeout", 0, 43_200),
        ("KmsDataKeyReusePeriodSeconds", 60, 86_400),
    ])
    func `numbers have their ranges`(_ name: String, _ low: Int, _ high: Int) {
        for value in ["\(low)", "\(high)", "0\(low)"] { #expect(error([name: value]) == nil) }
        for value in ["\(low - 1)", "\(high + 1)", "", "x", " 1", "1.0", "99999999999999999999"] {
            #expect(
                error([name: value])
                    == SQSError(
                        .invalidAttributeValue,
                        """
                        Invalid value for the parameter \(name). Reason: Must be a whole number \
                        between \(low) and \(high).
                        """
                    ))
        }
    }

    @Test(arguments: [
        ("ContentBasedDeduplication", "TRUE", true), ("ContentBasedDeduplication", "1", false),
        ("SqsManagedSseEnabled", "false", true), ("SqsManagedSseEnabled", "", false),
        ("DeduplicationScope", "messageGroup", true), ("DeduplicationScope", "group", false),
        ("FifoThroughputLimit", "perQueue", true), ("FifoThroughputLimit", "perMessageGroupId", false),
        ("Policy", "", true), ("Policy", "{\"Version\":\"2012-10-17\"}", true), ("Policy", "[]", false),
        ("Policy", "{", false), ("KmsMasterKeyId", "alias/x", true), ("KmsMasterKeyId", "", true),
    ])
    func `texts have their choices`(_ name: String, _ value: String, _ isAllowed: Bool) {
        #expect(error([name: value])?.kind == (isAllowed ? nil : .invalidAttributeValue))
    }

    @Test(arguments: ["Nonsense", "", "QueueArn", "CreatedTimestamp", "ApproximateNumberOfMessages", "delaySeconds"])
    func `unknown and read-only names are refused`(_ name: String) {
        let shown = QueueAttributeName(rawValue: name)?.rawValue ?? "(\(name.utf8.count) bytes)"
        #expect(error([name: "1"]) == SQSError(.invalidAttributeName, "Unknown Attribute \(shown)."))
    }

    @Test func `high throughput needs the scope of the group`() throws {
        #expect(error(["FifoThroughputLimit": "perMessageGroupId"])?.kind == .invalidAttributeValue)
        var set = try made(["FifoThroughputLimit": "perMessageGroupId", "DeduplicationScope": "messageGroup"])
        #expect(set.queueAttributes.deduplicationScope == .messageGroup)
        let before = set
        #expect(
            failure { () throws(SQSError) in try set.update(["DeduplicationScope": "queue"], queue: "a.fifo") }?.kind
                == .invalidAttributeValue)
        #expect(set == before)
    }

    @Test func `an update is all or nothing`() throws {
        var set = try made([:])
        let error = failure { () throws(SQSError) in
            try set.update(["DelaySeconds": "5", "VisibilityTimeout": "x"], queue: "a.fifo")
        }
        #expect(error?.kind == .invalidAttributeValue)
        #expect(set == QueueAttributeSet())
        try set.update(["DelaySeconds": "005", "VisibilityTimeout": "7", "FifoQueue": "true"], queue: "a.fifo")
        #expect(set.queueAttributes.delaySeconds == 5 && set.queueAttributes.visibilityTimeoutSeconds == 7)
        #expect(
            failure { () throws(SQSError) in try set.update(["FifoQueue": "false"], queue: "a.fifo") }
                == SQSError(
                    .invalidAttributeValue,
                    "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported."))
    }

    @Test func `redrive policies are read and shown in one form`() throws {
        for count in ["3", "\"3\""] {
            let set = try made([
                "RedrivePolicy": "{ \"maxReceiveCount\":\(count), \"deadLetterTargetArn\":\"\(arn("d.fifo"))\"}"
            ])
            #expect(set.queueAttributes.redrive == RedrivePolicy(deadLetterQueue: "d.fifo", maxReceiveCount: 3))
            #expect(set[.redrivePolicy] == "{\"deadLetterTargetArn\":\"\(arn("d.fifo"))\",\"maxReceiveCount\":3}")
        }
        var set = try made(["RedrivePolicy": "{\"maxReceiveCount\":1000,\"deadLetterTargetArn\":\"\(arn("d.fifo"))\"}"])
        try set.update(["RedrivePolicy": ""], queue: "a.fifo")
        #expect(set == QueueAttributeSet())
    }

    @Test(arguments: [
        "x", "[]", "{}", "{\"maxReceiveCount\":3}", "{\"deadLetterTargetArn\":\"arn:aws:sqs:r:1:d.fifo\"}",
        "{\"maxReceiveCount\":0,\"deadLetterTargetArn\":\"arn:aws:sqs:r:1:d.fifo\"}",
        "{\"maxReceiveCount\":1001,\"deadLetterTargetArn\":\"arn:aws:sqs:r:1:d.fifo\"}",
        "{\"maxReceiveCount\":1.5,\"deadLetterTargetArn\":\"arn:aws:sqs:r:1:d.fifo\"}",
        "{\"maxReceiveCount\":\"x\",\"deadLetterTargetArn\":\"arn:aws:sqs:r:1:d.fifo\"}",
        "{\"maxReceiveCount\":3,\"deadLetterTargetArn\":\"arn:aws:sqs:r:1:d\"}",
        "{\"maxReceiveCount\":3,\"deadLetterTargetArn\":\"arn:aws:sqs:r:1:a.fifo\"}",
        "{\"maxReceiveCount\":3,\"deadLetterTargetArn\":\"d.fifo\"}",
        "{\"maxReceiveCount\":3,\"deadLetterTargetArn\":7}",
    ])
    func `redrive policies that cannot be are refused`(_ text: String) {
        let error = error(["RedrivePolicy": text])
        #expect(error?.kind == .invalidParameterValue)
        #expect(
            error?.message.hasPrefix(
                "Value (\(text.utf8.count) \(text.utf8.count == 1 ? "byte" : "bytes")) for parameter RedrivePolicy is invalid. Reason: "
            )
                == true)
    }

    @Test func `redrive allow policies say who may come`() throws {
        func allows(_ text: String) throws -> Bool {
            try made(["RedriveAllowPolicy": text]).redriveAllow.allows(source: "s.fifo")
        }
        #expect(try allows(""))
        #expect(try allows("{\"redrivePermission\":\"allowAll\"}"))
        #expect(try !allows("{\"redrivePermission\":\"denyAll\"}"))
        #expect(try allows("{\"redrivePermission\":\"byQueue\",\"sourceQueueArns\":[\"\(arn("s.fifo"))\"]}"))
        #expect(try !allows("{\"redrivePermission\":\"byQueue\",\"sourceQueueArns\":[\"\(arn("t.fifo"))\"]}"))
        let eleven = Array(repeating: "\"\(arn("t.fifo"))\"", count: 11).joined(separator: ",")
        for text in [
            "x", "{}", "{\"redrivePermission\":\"some\"}", "{\"redrivePermission\":\"byQueue\"}",
            "{\"redrivePermission\":\"byQueue\",\"sourceQueueArns\":[\"x\"]}",
            "{\"redrivePermission\":\"byQueue\",\"sourceQueueArns\":[\(eleven)]}",
            "{\"redrivePermission\":\"denyAll\",\"sourceQueueArns\":[\"\(arn("t.fifo"))\"]}",
        ] {
            #expect(error(["RedriveAllowPolicy": text])?.kind == .invalidParameterValue)
        }
    }

    @Test func `CreateQueue compares only what it names`() throws {
        let existing = try made(["DelaySeconds": "5", "KmsMasterKeyId": "k"])
        func difference(_ attributes: [String: String]) throws -> String? {
            existing.firstDifference(from: try made(attributes), named: attributes.keys)
        }
        #expect(try difference([:]) == nil)
        #expect(try difference(["FifoQueue": "true", "DelaySeconds": "05", "VisibilityTimeout": "30"]) == nil)
        #expect(try difference(["DelaySeconds": "6"]) == "DelaySeconds")
        #expect(
            try difference(["VisibilityTimeout": "31", "ContentBasedDeduplication": "true"])
                == "ContentBasedDeduplication")
        #expect(try difference(["KmsMasterKeyId": "other"]) == "KmsMasterKeyId")
        #expect(
            SQSError.alreadyExists(differingIn: "DelaySeconds").message
                == "A queue already exists with the same name and a different value for attribute DelaySeconds")
    }

    @Test func `encryption settings show as on SQS`() throws {
        let all = try QueueAttributeNames(["All"])
        func shown(_ attributes: [String: String]) throws -> [String: String] {
            let pairs = try made(attributes).shown(all, status: status).map { ($0.name.rawValue, $0.text) }
            return Dictionary(uniqueKeysWithValues: pairs)
        }
        #expect(try shown(["KmsMasterKeyId": "k"])["SqsManagedSseEnabled"] == "false")
        #expect(try shown(["KmsDataKeyReusePeriodSeconds": "300"])["KmsDataKeyReusePeriodSeconds"] == nil)
        #expect(try shown(["KmsDataKeyReusePeriodSeconds": "600"])["KmsDataKeyReusePeriodSeconds"] == "600")
    }

    @Test func `of files of our own promise neither encryption nor policies`() throws {
        var set = try made(["KmsMasterKeyId": "k", "Policy": "{}"])
        set.isEnforced = false
        let shown = set.shown(try QueueAttributeNames(["All"]), status: status).map { "\($0.name.rawValue)=\($0.text)" }
        #expect(shown.contains("SqsManagedSseEnabled=false"))
        #expect(!shown.contains { $0.hasPrefix("Kms") || $0.hasPrefix("Policy") })
        for refused in [["SqsManagedSseEnabled": "TRUE"], ["KmsMasterKeyId": "k"], ["Policy": "{}"]] {
            let error = failure { () throws(SQSError) in try QueueAttributeSet.refuseUnenforced(refused) }
            #expect(error?.kind == .invalidAttributeValue)
        }
        try QueueAttributeSet.refuseUnenforced(["SqsManagedSseEnabled": "false", "KmsMasterKeyId": "", "Policy": ""])
    }

    @Test func `are stored and read back`() throws {
        let set = try made([
            "DelaySeconds": "5", "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId",
            "Policy": "{\"a\":\"\\n\"}", "SqsManagedSseEnabled": "false",
            "RedrivePolicy": "{\"maxReceiveCount\":3,\"deadLetterTargetArn\":\"\(arn("d.fifo"))\"}",
        ])
        #expect(try QueueAttributeSet(encoded: set.encoded()) == set)
        #expect(QueueAttributeSet().encoded() == "{}")
        #expect(try QueueAttributeSet(encoded: "{}") == QueueAttributeSet())
        for text in ["", "x", "{\"DelaySeconds\":\"x\"}", "{\"Nonsense\":\"1\"}"] {
            let error = failure { () throws(SQSError) in try QueueAttributeSet(encoded: text) }
            #expect((error == nil) == text.isEmpty)
        }
    }

    @Test func `names that are asked for are checked`() throws {
        #expect(try QueueAttributeNames([]).contains(.queueArn) == false)
        let names = try QueueAttributeNames(["QueueArn", "Policy"])
        #expect(QueueAttributeSet().shown(names, status: status).map(\.name) == [.queueArn])
        for name in ["", "ApproximateAgeOfOldestMessage", "all"] {
            let error = failure { () throws(SQSError) in try QueueAttributeNames([name]) }
            #expect(error == SQSError(.invalidAttributeName, "Unknown Attribute (\(name.utf8.count) bytes)."))
        }
    }
}

@Suite struct `Requests that administer queues` {
    @Test func `CreateQueue reads names, attributes and tags`() throws {
        let request = try #"{"QueueName":"a.fifo","Attributes":{"FifoQueue":"true"},"tags":{"k":"v"}}"#
            .parsed(CreateQueueRequest.init)
        #expect(request.name == "a.fifo" && request.attributes == ["FifoQueue": "true"] && request.tags == ["k": "v"])
        for name in ["a b", "a.b", ".fifo", "é.fifo", String(repeating: "x", count: 76) + ".fifo"] {
            let error = "{\"QueueName\":\"\(name)\"}".refusal(CreateQueueRequest.init)
            #expect(
                error
                    == SQSError(
                        .invalidParameterValue,
                        "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"))
        }
        #expect("{\"QueueName\":\"\(String(repeating: "x", count: 75)).fifo\"}".refusal(CreateQueueRequest.init) == nil)
        #expect("{}".refusal(CreateQueueRequest.init) == .missing("QueueName"))
        #expect(#"{"QueueName":""}"#.refusal(CreateQueueRequest.init) == .invalidQueueName)
        #expect(#"{"QueueName":""}"#.refusal(GetQueueUrlRequest.init) == .invalidQueueName)
        #expect(#"{"QueueName":"a","Attributes":{"x":1}}"#.refusal(CreateQueueRequest.init)?.kind == .serialization)
        let tags = (0..<51).map { "\"k\($0)\":\"v\"" }.joined(separator: ",")
        #expect(
            "{\"QueueName\":\"a.fifo\",\"tags\":{\(tags)}}".refusal(CreateQueueRequest.init)?.message
                == "Too many tags added for the queue.")
    }

    @Test func `the others read their members`() throws {
        #expect(try #"{"QueueUrl":"h/q"}"#.parsed(QueueRequest.init).queue == "q")
        #expect("{}".refusal(QueueRequest.init) == .missing("QueueUrl"))
        #expect(try #"{"QueueName":"n"}"#.parsed(GetQueueUrlRequest.init).name == "n")
        let list = try #"{"QueueNamePrefix":"p","MaxResults":1000,"NextToken":"t"}"#.parsed(ListQueuesRequest.init)
        #expect(list.prefix == "p" && list.max == 1_000 && list.nextToken == "t")
        #expect(#"{"MaxResults":1001}"#.refusal(ListQueuesRequest.init)?.kind == .invalidParameterValue)
        #expect(try #"{"QueueUrl":"q"}"#.parsed(ListDeadLetterSourceQueuesRequest.init).queue == "q")
        let get = try #"{"QueueUrl":"q","AttributeNames":["All"]}"#.parsed(GetQueueAttributesRequest.init)
        #expect(get.names.isAll)
        #expect(#"{"QueueUrl":"q"}"#.refusal(SetQueueAttributesRequest.init) == .missing("Attributes"))
        let tag = try #"{"QueueUrl":"q","Tags":{"a":"1"}}"#.parsed(TagQueueRequest.init)
        #expect(try tag.applied(to: ["a": "0", "b": "2"]) == ["a": "1", "b": "2"])
        let full = Dictionary(uniqueKeysWithValues: (0..<50).map { ("k\($0)", "v") })
        #expect(
            failure { () throws(SQSError) in try tag.applied(to: full) }?.message
                == "Too many tags added for the queue.")
        #expect(try #"{"QueueUrl":"q","TagKeys":["a"]}"#.parsed(UntagQueueRequest.init).keys == ["a"])
        let move = try #"{"SourceArn":"s","MaxNumberOfMessagesPerSecond":500}"#.parsed(StartMessageMoveTaskRequest.init)
        #expect(move.sourceArn == "s" && move.destinationArn == nil && move.maxPerSecond == 500)
        #expect(try #"{"SourceArn":"s"}"#.parsed(ListMessageMoveTasksRequest.init).max == 1)
        #expect("{}".refusal(CancelMessageMoveTaskRequest.init) == .missing("TaskHandle"))
        let add = try #"{"QueueUrl":"q","Label":"l","AWSAccountIds":["1"],"Actions":["*"]}"#.parsed(
            AddPermissionRequest.init)
        #expect(add.label == "l" && add.accounts == ["1"] && add.actions == ["*"])
        #expect(try #"{"QueueUrl":"q","Label":"l"}"#.parsed(RemovePermissionRequest.init).label == "l")
    }
}
