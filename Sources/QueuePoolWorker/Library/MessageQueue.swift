// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// A queue of your own, as a worker needs it: FIFO shards that hide what they gave out until its visibility timeout ends,
/// and that give out nothing more of a message group while one of its messages is hidden.
///
/// There is no store of leases for it: each worker works on all shards, or on those that ``Worker/Options/shards`` names.
/// Two workers may share a shard as long as the queue keeps groups apart as said above.
///
/// Any error that is thrown means that the request may be tried again. Of errors the name of the type is logged, and never
/// their text. Each call should end within a bounded time; ``receive(from:visibilitySeconds:waitSeconds:)`` also
/// when its task is cancelled.
public protocol MessageQueue: Sendable {
    /// The names of the shards, in an order that stays the same. Asked once at the start, and again while it throws or
    /// there are none.
    func shards() async throws -> [String]

    /// Gives out up to ten messages, in the order of each group, and waits up to `waitSeconds` for the first.
    ///
    /// What is given out to a cancelled task may be lost until its visibility timeout ends.
    func receive(from shard: String, visibilitySeconds: Int, waitSeconds: Int) async throws -> [QueuedMessage]

    /// Deletes messages that were delivered, or are in the dead-letter queue.
    /// - Returns: one outcome for each handle, in their order.
    func delete(_ handles: [String], from shard: String) async throws -> [QueueOutcome]

    /// Begins the visibility timeout anew, with so many seconds from now. With 0 seconds the messages are given back, and
    /// can be given out again at once; then the handles are in an order such that the last message of a group comes first.
    /// - Returns: one outcome for each handle, in their order.
    func changeVisibility(_ handles: [String], seconds: Int, in shard: String) async throws -> [QueueOutcome]

    /// Stores a message that is given up. Returning means that it is on stable storage: then it is deleted from its shard.
    func sendToDeadLetters(_ letter: DeadLetter) async throws
}

/// A message as a ``MessageQueue`` gives it out.
public struct QueuedMessage: Sendable {
    /// The same at each delivery of the message.
    public var id: String
    /// Names this delivery of it, to delete it or to change its visibility.
    public var handle: String
    /// Its message group.
    public var group: String
    /// Its body.
    public var body: [UInt8]
    /// Its attributes by name, ten at most.
    public var attributes: [String: Message.Attribute]
    /// How often it was given out so far, this time included.
    public var receiveCount: Int
    /// How long ago it was given out for the first time; `nil`: not known, and taken as now.
    public var timeSinceFirstReceive: Duration?

    /// A message that was just taken from the queue.
    public init(
        id: String, handle: String, group: String, body: [UInt8], attributes: [String: Message.Attribute] = [:],
        receiveCount: Int = 1, timeSinceFirstReceive: Duration? = nil
    ) {
        self.id = id
        self.handle = handle
        self.group = group
        self.body = body
        self.attributes = attributes
        self.receiveCount = receiveCount
        self.timeSinceFirstReceive = timeSinceFirstReceive
    }
}

/// What became of one handle.
public enum QueueOutcome: Hashable, Sendable {
    /// As asked.
    case done
    /// The message is not hidden for this handle any more: its visibility timeout had ended, or it is gone.
    case lost
    /// Nothing is known; the same request may succeed later.
    case failed
}

/// A message that is given up.
public struct DeadLetter: Sendable {
    /// The message's id.
    public let id: String
    /// Its message group.
    public let group: String
    /// Its body.
    public let body: [UInt8]
    /// Its attributes, and why it was given up: `queuepool.reason`, `queuepool.error-class`, `queuepool.attempts`,
    /// `queuepool.failed-at` and `queuepool.pool`, or all of them in `queuepool.dead-letter` where ten in all would be exceeded.
    public let attributes: [String: Message.Attribute]
    /// The same each time that the message is given up: under it the dead-letter queue can tell a repeated send.
    public let deduplicationID: String
    /// The shard that it comes from.
    public let shard: String
}
