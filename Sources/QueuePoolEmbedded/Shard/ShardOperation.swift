// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

/// What a shard's writer is asked to do; each is answered once, after its commit.
enum ShardOperation: Sendable {
    /// The messages are asked for when the commit begins.
    case send(ShardBatch, @Sendable (EntryAnswers) -> Void)
    case delete([ReceiptHandle], @Sendable ([DeleteOutcome]) -> Void)
    /// Fetch the bodies of what a receive handed out, and move what it found spent.
    case load(ReceiveDecision, ReceiveCommand, @Sendable (ReceiveAnswer) -> Void)
    /// Delete what was moved to the dead-letter queue, or let go of what could not be.
    case finishMove([(handle: ReceiptHandle, isStored: Bool)])
    /// Delete what a receive found to be older than the retention period.
    case expire([ReceiptHandle])
    case purge(@Sendable (Result<Int, ShardError>) -> Void)
    /// Read messages for people; nothing about them changes.
    case browse(after: SequenceNumber?, limit: Int, @Sendable (Result<BrowsedPage, ShardError>) -> Void)
    /// Hand out the messages of these numbers, wherever in their groups they stand.
    case claim([SequenceNumber], seconds: Int, heldGroups: Set<UInt64>, @Sendable (Result<Claims, ShardError>) -> Void)
}

/// The writer's inbox.
struct ShardInbox {
    var operations: [ShardOperation] = []
    /// The shard stands in its store's line, or is having its turn.
    var isScheduled = false
    var isClosed = false
}

/// How shards are kept.
package struct EmbeddedShardOptions: Sendable {
    /// Bytes of message bodies kept in memory for receivers, beside the index.
    package var cacheBytesMax = Defaults.shardCacheBytes
    /// What all shards of the process may keep together.
    package var memory = ShardMemory()
    /// Files that share the shards of a new data directory.
    package var storeCount = storeCountDefault
    /// One on small machines: the fewer there are, the more senders share a flush, which costs processors more than what it
    /// flushes.
    package static let storeCountDefault = max(1, SystemThread.processorCount / 4)
    /// What gives stores their turns to write; shared by all shards of a process.
    let pool: any CommitLine
    /// How the logs of stores are opened; as files of SQLite's if `nil`.
    var openLog: LogOpening?
    /// The time of shards: sequence numbers, timeouts and retention run on it.
    package let clock: any Clock
    package var random: @Sendable () -> UInt64
    /// The name of a registered SQLite VFS to keep the files with; the default one if `nil`.
    package var vfs: String?
    /// Called, on any thread, when stores stop taking sends and when they take them again. Must not wait.
    package var report: @Sendable (StorageEvent) -> Void = { _ in }

    /// - Parameter pool: gives the turns; one of its own if `nil`.
    package init(
        pool: CommitPool? = nil, clock: any Clock,
        random: @escaping @Sendable () -> UInt64 = { UInt64.random(in: .min ... .max) }
    ) {
        self.init(line: pool ?? CommitPool(clock: clock), clock: clock, random: random)
    }

    /// The same with turns that something else than threads gives.
    init(line: any CommitLine, clock: any Clock, random: @escaping @Sendable () -> UInt64) {
        pool = line
        self.clock = clock
        self.random = random
    }
}
