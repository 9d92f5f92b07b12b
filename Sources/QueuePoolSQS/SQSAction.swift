// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// The operations of the SQS protocol.
public enum SQSAction: String, CaseIterable, Hashable, Sendable {
    case sendMessage = "SendMessage"
    case receiveMessage = "ReceiveMessage"
    case deleteMessage = "DeleteMessage"
    case sendMessageBatch = "SendMessageBatch"
    case deleteMessageBatch = "DeleteMessageBatch"
    case changeMessageVisibility = "ChangeMessageVisibility"
    case changeMessageVisibilityBatch = "ChangeMessageVisibilityBatch"
    case createQueue = "CreateQueue"
    case deleteQueue = "DeleteQueue"
    case getQueueUrl = "GetQueueUrl"
    case listQueues = "ListQueues"
    case getQueueAttributes = "GetQueueAttributes"
    case setQueueAttributes = "SetQueueAttributes"
    case purgeQueue = "PurgeQueue"
    case tagQueue = "TagQueue"
    case untagQueue = "UntagQueue"
    case listQueueTags = "ListQueueTags"
    case listDeadLetterSourceQueues = "ListDeadLetterSourceQueues"
    case startMessageMoveTask = "StartMessageMoveTask"
    case listMessageMoveTasks = "ListMessageMoveTasks"
    case cancelMessageMoveTask = "CancelMessageMoveTask"
    case addPermission = "AddPermission"
    case removePermission = "RemovePermission"

    /// Reads the header `X-Amz-Target`: `AmazonSQS.` and the operation.
    /// - Returns: `nil` if it names no operation of SQS.
    public init?(target: String) {
        guard let action = SQSAction.byTarget[target] else { return nil }
        self = action
    }

    public var target: String { SQSAction.targetPrefix + rawValue }

    public static let contentType = "application/x-amz-json-1.0"
    private static let targetPrefix = "AmazonSQS."
    private static let byTarget = Dictionary(uniqueKeysWithValues: allCases.map { ($0.target, $0) })
}

/// Which queue a request means.
public enum QueueReference {
    /// The queue's name in a `QueueUrl`: the last part of its path, whatever the host and the account; a bare name too.
    public static func name(inURL url: String) -> String {
        guard let slash = url.utf8.lastIndex(of: UInt8(ascii: "/")) else { return url }
        return String(url[url.utf8.index(after: slash)...])
    }

    /// The queue's name in an ARN, its last part; `nil` if the text is no ARN of an SQS queue.
    public static func name(inARN arn: String) -> String? {
        let parts = arn.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 6, parts[0] == "arn", parts[2] == "sqs", !parts[5].isEmpty else { return nil }
        return String(parts[5])
    }
}
