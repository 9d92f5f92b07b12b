// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
package import QueuePoolCore

/// What a shard's writer is asked to do; each is answered once, after its commit.
enum ShardOperation: Sendable {
    /// The messages are asked for when the commit begins.
    case send(@Sendable () -> [OutgoingMessage], @Sendable (Result<[SendReceipt], ShardError>) -> Void)
    case delete([ReceiptHandle], @Sendable ([DeleteOutcome]) -> Void)
    /// Fetch the bodies of what a receive handed out.
    case load(ReceiveDecision, @Sendable (Result<[ReceivedMessage], ShardError>) -> Void)
    /// Delete what was moved to the dead-letter queue, or let go of what could not be.
    case finishMove([ReceiptHandle], isStored: Bool)
    case purge(@Sendable (Result<Int, ShardError>) -> Void)
}

/// The writer's inbox.
struct ShardInbox {
    var operations: [ShardOperation] = []
    /// The writer waits, or is about to, and must be woken.
    var isIdle = false
    var isClosed = false
}

/// How many shards flush at one time. Those that wait gather more meanwhile, so that under load commits are fewer and
/// larger; with little load nobody waits. Files flushed side by side share the disk's latency up to a few of them, and
/// beyond that only cost processor time.
package final class CommitGate: Sendable {
    private let semaphore: DispatchSemaphore

    package init(width: Int) { semaphore = DispatchSemaphore(value: max(1, width)) }

    func enter() { semaphore.wait() }
    func leave() { semaphore.signal() }
}

/// How a shard's file is used.
package struct EmbeddedShardOptions: Sendable {
    /// Bytes of message bodies kept in memory for receivers, beside the index.
    package var cacheBytesMax = 16 << 20
    /// Lets only so many shards commit at one time; `nil`: all of them.
    package var gate: CommitGate?
    /// A wall clock that never steps back.
    package var now: @Sendable () -> Timestamp
    package var random: @Sendable () -> UInt64

    package init(
        now: @escaping @Sendable () -> Timestamp,
        random: @escaping @Sendable () -> UInt64 = { UInt64.random(in: .min ... .max) }
    ) {
        self.now = now
        self.random = random
    }
}
