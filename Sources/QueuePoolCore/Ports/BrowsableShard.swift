// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// What people need of a shard, and receivers do not. A queue of Amazon's cannot do it: there, looking is receiving.

/// A message that nobody received by its being read.
public struct BrowsedMessage: Sendable {
    /// Its handle was given to nobody, and deletes nothing.
    public let message: ReceivedMessage
    /// A receiver has it now.
    public let isInFlight: Bool

    public init(message: ReceivedMessage, isInFlight: Bool) {
        self.message = message
        self.isInFlight = isInFlight
    }
}

/// A part of a walk over a shard.
public struct BrowsedPage: Sendable {
    public var messages: [BrowsedMessage] = []
    /// Messages between these whose bytes are damaged.
    public var unreadable = 0
    /// The number of the last one that was met, readable or not: the walk goes on behind it. `nil` if none was met.
    public var through: SequenceNumber?
    /// Nothing comes behind these.
    public var isLast = true

    public init() {}
}

/// What became of messages that were asked for by their numbers.
public struct Claims: Sendable {
    /// In the order of their numbers.
    public var messages: [ReceivedMessage] = []
    /// Asked for, and not there any more.
    public var gone = 0
    /// Asked for, and a receiver has it, or one of its group that was asked for before it.
    public var held = 0
    /// Asked for, and its bytes are damaged: it stays, and those of its group that were asked for after it are held.
    public var unreadable = 0
    /// Hashes of groups of which one was held or could not be read, for the next call.
    public var heldGroups: Set<UInt64> = []

    public init() {}
}

/// A shard that can be read without receiving. Calls are answered once, on any thread, never within the call.
public protocol BrowsableShard: Shard {
    /// Undeleted messages in the order of their numbers; this counts as no receive, and hides nothing. One that cannot be
    /// read is counted, and no reason to read no others.
    /// - Parameters:
    ///   - start: those behind this number; `nil`: all.
    ///   - limit: a page may have fewer, because they are large.
    func browse(
        after start: SequenceNumber?, limit: Int,
        completion: @escaping @Sendable (Result<BrowsedPage, ShardError>) -> Void
    )

    /// Receives messages by their numbers, ascending, wherever in their groups they stand.
    /// - Parameter heldGroups: what the last call answered.
    func claim(
        _ sequences: [SequenceNumber], seconds: Int, heldGroups: Set<UInt64>,
        completion: @escaping @Sendable (Result<Claims, ShardError>) -> Void
    )
}

extension BrowsableShard {
    /// For who waits for the answer.
    public func browse(after start: SequenceNumber?, limit: Int) async -> Result<BrowsedPage, ShardError> {
        await withCheckedContinuation { continuation in
            browse(after: start, limit: limit) { continuation.resume(returning: $0) }
        }
    }

    /// For who waits for the answer.
    public func claim(
        _ sequences: [SequenceNumber], seconds: Int, heldGroups: Set<UInt64> = []
    ) async -> Result<Claims, ShardError> {
        await withCheckedContinuation { continuation in
            claim(sequences, seconds: seconds, heldGroups: heldGroups) { continuation.resume(returning: $0) }
        }
    }
}
