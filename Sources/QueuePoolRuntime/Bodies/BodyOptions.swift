// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import Synchronization

/// How a process treats bodies that are too large for a queue.
package struct BodyOptions: Sendable {
    /// Bodies over so many bytes go to the store; `nil`: those that a queue of the server's own has no room for, and
    /// those over `sqsThresholdBytes` of queues of SQS.
    package var thresholdBytes: Int?
    /// The largest body.
    package var limitBytes = 40 << 20
    /// Bytes of the messages of one answer in which bodies stand in place of their pointers; one message is given in any
    /// case.
    package var answerBytesMax = 48 << 20
    /// Where a pool's large bodies go; `nil`: nowhere, it takes none.
    package var store: @Sendable (PoolDefinition) -> (any BodyStore)?
    /// Where a body lies that a message of a pool points to; `nil`: not in a place of ours. A message that was moved points
    /// to where the pool put it in which it was sent. In a file of the server's own the key is the permission: it is
    /// random, and only who received the message saw it.
    package var place: @Sendable (PoolDefinition, BodyPointer) -> (any BodyStore)?
    /// Removes the bodies of a pool that was purged or deleted, as far as they were stored before this time.
    package var removeAll: @Sendable (PoolDefinition, Timestamp) -> Void
    /// Bodies in the server's own file and their bytes; `nil` if it has none.
    package var counts: @Sendable () -> (bodies: Int, bytes: Int64)? = { nil }
    package let counters = BodyCounters()
    /// Called, on any thread, with messages whose bodies are missing.
    package var report: @Sendable (PoolName, [MessageID]) -> Void = { _, _ in }

    /// What the extended clients send to S3 unless they are told otherwise.
    package static let sqsThresholdBytes = 262_144

    package init(
        store: @escaping @Sendable (PoolDefinition) -> (any BodyStore)?,
        place: @escaping @Sendable (PoolDefinition, BodyPointer) -> (any BodyStore)?,
        removeAll: @escaping @Sendable (PoolDefinition, Timestamp) -> Void = { _, _ in }
    ) {
        self.store = store
        self.place = place
        self.removeAll = removeAll
    }
}

/// What became of bodies, for metrics.
package final class BodyCounters: Sendable {
    private let missingCount = Atomic(0)
    private let failedCount = Atomic(0)

    package init() {}

    /// Deliveries that did not take place because the body was not there any more.
    package var missing: Int { missingCount.load(ordering: .relaxed) }
    /// Deliveries that did not take place because the body could not be read.
    package var failed: Int { failedCount.load(ordering: .relaxed) }

    func countMissing() { missingCount.wrappingAdd(1, ordering: .relaxed) }

    func countFailed() { failedCount.wrappingAdd(1, ordering: .relaxed) }
}
