// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

/// A message that a worker holds.
package struct WorkMessage: Sendable {
    package var id: String
    package var handle: String
    package var group: String
    package var body: [UInt8]
    package var attributes: [MessageAttribute]
    /// Place in the worker's list of shards.
    package var shard: Int
    /// The shard's queue, e.g. `emails-0003.fifo`.
    package var shardName = ""
    /// Deliveries by the queue so far, this one included.
    package var receiveCount: Int

    package init(
        id: String, handle: String, group: String, body: [UInt8] = [], attributes: [MessageAttribute] = [],
        shard: Int = 0, receiveCount: Int = 1
    ) {
        self.id = id
        self.handle = handle
        self.group = group
        self.body = body
        self.attributes = attributes
        self.shard = shard
        self.receiveCount = receiveCount
    }
}

/// What became of one attempt to deliver.
package enum DeliveryOutcome: Hashable, Sendable {
    case delivered
    /// Worth another try; `errorClass` says which kind of failure, e.g. `timeout`, `http-503`.
    case failed(errorClass: String, retryAfterMilliseconds: Int64? = nil)
    /// No try will help.
    case refused(errorClass: String)
}

/// Why a message goes to the dead-letter queue.
package struct DeadLetterReason: Hashable, Sendable {
    /// `attempts-exhausted` or `permanent-failure`
    package var reason: String
    package var errorClass: String
    package var attempts: Int
}
