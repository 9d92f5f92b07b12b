// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// The attributes of a FIFO queue, by their names on the wire.
public enum QueueAttributeName: String, CaseIterable, Hashable, Sendable {
    case queueArn = "QueueArn"
    case approximateNumberOfMessages = "ApproximateNumberOfMessages"
    case approximateNumberOfMessagesNotVisible = "ApproximateNumberOfMessagesNotVisible"
    case approximateNumberOfMessagesDelayed = "ApproximateNumberOfMessagesDelayed"
    case createdTimestamp = "CreatedTimestamp"
    case lastModifiedTimestamp = "LastModifiedTimestamp"
    case visibilityTimeout = "VisibilityTimeout"
    case maximumMessageSize = "MaximumMessageSize"
    case messageRetentionPeriod = "MessageRetentionPeriod"
    case delaySeconds = "DelaySeconds"
    case receiveMessageWaitTimeSeconds = "ReceiveMessageWaitTimeSeconds"
    case policy = "Policy"
    case redrivePolicy = "RedrivePolicy"
    case redriveAllowPolicy = "RedriveAllowPolicy"
    case fifoQueue = "FifoQueue"
    case contentBasedDeduplication = "ContentBasedDeduplication"
    case deduplicationScope = "DeduplicationScope"
    case fifoThroughputLimit = "FifoThroughputLimit"
    case kmsMasterKeyId = "KmsMasterKeyId"
    case kmsDataKeyReusePeriodSeconds = "KmsDataKeyReusePeriodSeconds"
    case sqsManagedSseEnabled = "SqsManagedSseEnabled"

    public var isReadOnly: Bool {
        switch self {
        case .queueArn, .approximateNumberOfMessages, .approximateNumberOfMessagesNotVisible,
            .approximateNumberOfMessagesDelayed, .createdTimestamp, .lastModifiedTimestamp:
            true
        default: false
        }
    }

    /// Allowed numbers; `nil` if the attribute is none.
    var range: ClosedRange<Int>? {
        switch self {
        case .delaySeconds: 0...900
        case .maximumMessageSize: 1_024...1_048_576
        case .messageRetentionPeriod: 60...1_209_600
        case .receiveMessageWaitTimeSeconds: 0...20
        case .visibilityTimeout: 0...43_200
        case .kmsDataKeyReusePeriodSeconds: 60...86_400
        default: nil
        }
    }

    /// What a queue has that nobody set it on; `nil`: nothing.
    var initialText: String? {
        switch self {
        case .delaySeconds, .receiveMessageWaitTimeSeconds: "0"
        case .maximumMessageSize: "1048576"
        case .messageRetentionPeriod: "345600"
        case .visibilityTimeout: "30"
        case .kmsDataKeyReusePeriodSeconds: "300"
        case .fifoQueue: "true"
        case .contentBasedDeduplication: "false"
        case .deduplicationScope: "queue"
        case .fifoThroughputLimit: "perQueue"
        default: nil
        }
    }
}

/// Which attributes a GetQueueAttributes asks for.
public struct QueueAttributeNames: Hashable, Sendable {
    public var isAll = false
    public var names: Set<QueueAttributeName> = []

    /// - Throws: `invalidAttributeName` for a name that no queue attribute has.
    public init(_ texts: [String]) throws(SQSError) {
        for text in texts {
            if text == "All" {
                isAll = true
            } else if let name = QueueAttributeName(rawValue: text) {
                names.insert(name)
            } else {
                throw .unknownAttribute(text)
            }
        }
    }

    public func contains(_ name: QueueAttributeName) -> Bool { isAll || names.contains(name) }
}

/// What GetQueueAttributes shows that nobody set.
public struct QueueStatus: Hashable, Sendable {
    public var arn: String
    /// Seconds since 1970.
    public var createdAt: Int64
    /// Seconds since 1970.
    public var modifiedAt: Int64
    public var backlog: Int
    public var inFlight: Int
    public var delayed: Int

    public init(arn: String, createdAt: Int64, modifiedAt: Int64, backlog: Int, inFlight: Int, delayed: Int) {
        self.arn = arn
        self.createdAt = createdAt
        self.modifiedAt = modifiedAt
        self.backlog = backlog
        self.inFlight = inFlight
        self.delayed = delayed
    }
}
