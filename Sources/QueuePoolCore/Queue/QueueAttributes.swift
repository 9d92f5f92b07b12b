// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Where messages go that were received too often.
package struct RedrivePolicy: Hashable, Sendable {
    /// Name of the dead-letter queue.
    package var deadLetterQueue: String
    /// Deliveries after which the next one moves the message instead; 1...1000.
    package var maxReceiveCount: Int

    package init(deadLetterQueue: String, maxReceiveCount: Int) {
        self.deadLetterQueue = deadLetterQueue
        self.maxReceiveCount = maxReceiveCount
    }
}

/// Over what a deduplication id must be unique.
package enum DeduplicationScope: String, Hashable, Sendable {
    case queue
    case messageGroup
}

/// The settable attributes of a FIFO queue that change how it treats messages. Ranges: SQS API reference, CreateQueue.
package struct QueueAttributes: Hashable, Sendable {
    /// 0...900
    package var delaySeconds = 0
    /// 1,024...1,048,576
    package var maximumMessageSize = QueueLimits.messageBytesMax
    /// 60...1,209,600
    package var retentionSeconds = Defaults.retentionSeconds
    /// 0...20
    package var receiveWaitSeconds = 0
    /// 0...43,200
    package var visibilityTimeoutSeconds = Defaults.visibilitySeconds
    package var contentBasedDeduplication = false
    package var deduplicationScope = DeduplicationScope.queue
    package var redrive: RedrivePolicy?

    package init() {}
}
