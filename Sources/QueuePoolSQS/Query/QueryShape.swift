// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// The protocol's parameters by action, and what they are called in the JSON protocol. Source: service model
// sqs/2012-11-05 as it was while the Query protocol was the only one.

/// What a parameter holds.
enum QueryShape: Sendable {
    case text
    case integer
    case texts
    /// Pairs of a key, under the name given, and a `Value`.
    case map(key: StaticString)
    /// Pairs of a `Name` and a `Value` that has a `DataType` and a text or base64.
    case messageAttributes
    /// A batch's entries, which the request always has, be it none.
    case entries([QueryField])
}

/// A parameter.
struct QueryField: Sendable {
    /// The first part of its name in a form.
    let name: StaticString
    /// Its member in JSON.
    let member: StaticString
    let shape: QueryShape

    init(_ name: StaticString, _ shape: QueryShape = .text, member: StaticString? = nil) {
        self.name = name
        self.member = member ?? name
        self.shape = shape
    }
}

extension SQSAction {
    /// The parameters beside `Action`, `Version` and those of signatures. All others are passed over.
    var queryFields: [QueryField] { SQSAction.fields[self] ?? [] }

    /// Whether the action is one of the whole endpoint: it has no place on a queue's own URL.
    var isOfEndpoint: Bool { self == .createQueue || self == .listQueues }

    private static let fields = Dictionary(uniqueKeysWithValues: allCases.map { ($0, $0.makeFields()) })

    private func makeFields() -> [QueryField] {
        let queue = QueryField("QueueUrl")
        let attributes = QueryField("Attribute", .map(key: "Name"), member: "Attributes")
        let attributeNames = QueryField("AttributeName", .texts, member: "AttributeNames")
        let handle = QueryField("ReceiptHandle")
        let visibility = QueryField("VisibilityTimeout", .integer)
        let page = [QueryField("MaxResults", .integer), QueryField("NextToken")]
        switch self {
        case .sendMessage: return [queue] + SQSAction.messageFields
        case .sendMessageBatch: return [queue, entries([QueryField("Id")] + SQSAction.messageFields)]
        case .receiveMessage:
            return [
                queue, attributeNames, visibility,
                QueryField("MessageSystemAttributeName", .texts, member: "MessageSystemAttributeNames"),
                QueryField("MessageAttributeName", .texts, member: "MessageAttributeNames"),
                QueryField("MaxNumberOfMessages", .integer), QueryField("WaitTimeSeconds", .integer),
                QueryField("ReceiveRequestAttemptId"),
            ]
        case .deleteMessage: return [queue, handle]
        case .deleteMessageBatch: return [queue, entries([QueryField("Id"), handle])]
        case .changeMessageVisibility: return [queue, handle, visibility]
        case .changeMessageVisibilityBatch: return [queue, entries([QueryField("Id"), handle, visibility])]
        case .createQueue:
            return [QueryField("QueueName"), attributes, QueryField("Tag", .map(key: "Key"), member: "tags")]
        case .getQueueUrl: return [QueryField("QueueName"), QueryField("QueueOwnerAWSAccountId")]
        case .listQueues: return [QueryField("QueueNamePrefix")] + page
        case .getQueueAttributes: return [queue, attributeNames]
        case .setQueueAttributes: return [queue, attributes]
        case .deleteQueue, .purgeQueue, .listQueueTags: return [queue]
        case .tagQueue: return [queue, QueryField("Tag", .map(key: "Key"), member: "Tags")]
        case .untagQueue: return [queue, QueryField("TagKey", .texts, member: "TagKeys")]
        case .listDeadLetterSourceQueues: return [queue] + page
        case .startMessageMoveTask:
            return [
                QueryField("SourceArn"), QueryField("DestinationArn"),
                QueryField("MaxNumberOfMessagesPerSecond", .integer),
            ]
        case .listMessageMoveTasks: return [QueryField("SourceArn"), QueryField("MaxResults", .integer)]
        case .cancelMessageMoveTask: return [QueryField("TaskHandle")]
        case .addPermission:
            return [
                queue, QueryField("Label"), QueryField("AWSAccountId", .texts, member: "AWSAccountIds"),
                QueryField("ActionName", .texts, member: "Actions"),
            ]
        case .removePermission: return [queue, QueryField("Label")]
        }
    }

    private func entries(_ fields: [QueryField]) -> QueryField {
        switch self {
        case .sendMessageBatch: QueryField("SendMessageBatchRequestEntry", .entries(fields), member: "Entries")
        case .deleteMessageBatch: QueryField("DeleteMessageBatchRequestEntry", .entries(fields), member: "Entries")
        default: QueryField("ChangeMessageVisibilityBatchRequestEntry", .entries(fields), member: "Entries")
        }
    }

    private static let messageFields = [
        QueryField("MessageBody"), QueryField("MessageGroupId"), QueryField("MessageDeduplicationId"),
        QueryField("DelaySeconds", .integer),
        QueryField("MessageAttribute", .messageAttributes, member: "MessageAttributes"),
        QueryField("MessageSystemAttribute", .messageAttributes, member: "MessageSystemAttributes"),
    ]
}
