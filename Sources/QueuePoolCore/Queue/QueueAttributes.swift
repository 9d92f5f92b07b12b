// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Where messages go that were received too often.
public struct RedrivePolicy: Hashable, Sendable {
    /// Name of the dead-letter queue.
    public var deadLetterQueue: String
    /// Deliveries after which the next one moves the message instead; 1...1000.
    public var maxReceiveCount: Int

    public init(deadLetterQueue: String, maxReceiveCount: Int) {
        self.deadLetterQueue = deadLetterQueue
        self.maxReceiveCount = maxReceiveCount
    }
}

/// Over what a deduplication id must be unique.
public enum DeduplicationScope: String, Hashable, Sendable {
    case queue
    case messageGroup
}

/// The settable attributes of a FIFO queue that change how it treats messages. Ranges: SQS API reference, CreateQueue.
public struct QueueAttributes: Hashable, Sendable {
    /// 0...900
    public var delaySeconds = 0
    /// 1,024...1,048,576
    public var maximumMessageSize = QueueLimits.messageBytesMax
    /// 60...1,209,600
    public var retentionSeconds = Defaults.retentionSeconds
    /// 0...20
    public var receiveWaitSeconds = 0
    /// 0...43,200
    public var visibilityTimeoutSeconds = Defaults.visibilitySeconds
    public var contentBasedDeduplication = false
    public var deduplicationScope = DeduplicationScope.queue
    public var redrive: RedrivePolicy?

    public init() {}
}
