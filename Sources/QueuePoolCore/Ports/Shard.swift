// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// The border under which a shard is SQLite in this process or a queue of Amazon's. Nothing above knows which. Calls
// never block and never suspend: they complete by callback, because one commit or one HTTP answer completes many
// callers at once and a task each would cost more than the storage does. What is known at once is returned, and the
// callback is not called; otherwise it is called exactly once, on any thread, and never within the call. So a caller
// goes on in the loop that made the call, and no answer runs under it.

/// One message as a receiver gets it.
public struct ReceivedMessage: Sendable {
    public let handle: ReceiptHandle
    public let messageID: MessageID
    /// Deliveries so far, this one included; goes on counting in a dead-letter queue.
    public let receiveCount: Int
    public let firstReceivedAt: Timestamp
    /// The bytes that hold the record, shared with other messages of the same commit.
    public let storage: [UInt8]
    public let offset: Int
    public let length: Int
    /// What only a remote queue knows of the message; `nil` for shards of our own.
    public let remote: RemoteFacts?
    /// Where the body lies that stands here in place of its pointer; whoever deletes the message removes it there too.
    public let pointer: BodyPointer?

    public init(
        handle: ReceiptHandle, messageID: MessageID, receiveCount: Int, firstReceivedAt: Timestamp,
        storage: [UInt8], offset: Int, length: Int, remote: RemoteFacts? = nil, pointer: BodyPointer? = nil
    ) {
        self.remote = remote
        self.pointer = pointer
        self.handle = handle
        self.messageID = messageID
        self.receiveCount = receiveCount
        self.firstReceivedAt = firstReceivedAt
        self.storage = storage
        self.offset = offset
        self.length = length
    }

    /// Whether the record is whole, with every field of it inside; what was read from a disk may not be.
    public var isSound: Bool {
        guard offset >= 0, length >= 0, length <= storage.count - offset else { return false }
        return storage.withUnsafeBytes {
            RecordView.length(of: UnsafeRawBufferPointer(rebasing: $0[offset..<(offset + length)])) != nil
        }
    }

    /// Reads the record's fields in place.
    /// - Important: of a record that is sound.
    public func withView<R>(_ read: (RecordView) throws -> R) rethrows -> R {
        try storage.withUnsafeBytes {
            try read(RecordView(UnsafeRawBufferPointer(rebasing: $0[offset..<(offset + length)])))
        }
    }
}

/// What a remote queue says of a message, and a shard of our own computes.
public final class RemoteFacts: Sendable {
    public let sentAt: Timestamp
    /// Up to 128 bits, in decimal digits.
    public let sequence: String
    public let senderID: String
    /// The ARN of the queue whose redrive policy moved the message to this dead-letter queue; `nil` if the service does
    /// not say.
    public let sourceARN: String?

    public init(sentAt: Timestamp, sequence: String, senderID: String, sourceARN: String? = nil) {
        self.sourceARN = sourceARN
        self.sentAt = sentAt
        self.sequence = sequence
        self.senderID = senderID
    }
}

/// What a receive gets.
public typealias ReceiveAnswer = Result<[ReceivedMessage], ShardError>

/// A receive from one shard, which never waits.
public struct ReceiveCommand: Sendable {
    /// 1...10
    public var limit: Int
    /// `nil`: the queue's own.
    public var visibilitySeconds: Int?
    public var attemptID: String?
    public var patience = Patience.look

    /// What a shard far away may do for a receive; shards of our own look, and nothing else.
    public enum Patience: Hashable, Sendable {
        /// One look.
        case look
        /// The caller waits so many seconds to be woken by `onReady` if nothing is at hand.
        case wait(seconds: Int)
        /// What is at hand already; nothing is asked for.
        case atHand
    }

    public init(limit: Int, visibilitySeconds: Int? = nil, attemptID: String? = nil) {
        self.limit = limit
        self.visibilitySeconds = visibilitySeconds
        self.attemptID = attemptID
    }
}

/// The answer to a delete of one receipt handle.
public enum DeleteOutcome: Sendable {
    case deleted
    case expired
    case notOurs
    case failed(ShardError)
}

/// What a shard holds, for people and metrics. `nil` is what the shard does not know; it is never shown as 0.
public struct ShardCounts: Hashable, Sendable {
    /// Undeleted messages that are neither in flight nor delayed.
    public var backlog = 0
    public var inFlight = 0
    public var delayed = 0
    /// Age of the oldest undeleted message; 0 if there is none.
    public var oldestAgeMilliseconds: Int64? = 0
    /// Deduplication ids in memory.
    public var deduplicationEntries = 0
    // Since the shard was opened.
    public var sent = 0
    public var received = 0
    public var deleted = 0
    public var duplicates: Int? = 0
    public var expired: Int? = 0
    public var movedToDeadLetter: Int? = 0
    /// Deliveries whose digest was wrong; `nil` for shards between which and us nothing can change a message.
    public var damaged: Int?
    public var commits = 0
    /// Requests to the service; `nil` for shards of our own.
    public var requests: QueueRequestCounts?

    public init() {}
}

/// One physical FIFO queue.
public protocol Shard: AnyObject, Sendable {
    var name: String { get }
    var tag: ShardTag { get }
    /// What kind of shard it is; constant.
    var traits: ShardTraits { get }

    /// Stores a batch, in order. `stored` means that its message is on stable storage (I1).
    /// - Important: the completion is called once, on any thread, and never within this call; also when no answer comes:
    ///   then, after the shard's own time limit, with `unknownOutcome`. Until that, the batch's place stays taken.
    func submit(_ batch: ShardBatch, completion: @escaping @Sendable (EntryAnswers) -> Void)

    /// - Returns: what is known at once; `nil` if the completion is called, later.
    func receive(
        _ command: ReceiveCommand, completion: @escaping @Sendable (ReceiveAnswer) -> Void
    ) -> ReceiveAnswer?

    /// One outcome for each handle, in order; later, never within this call.
    func delete(_ handles: [ReceiptHandle], completion: @escaping @Sendable ([DeleteOutcome]) -> Void)

    /// - Parameter changes: handles with seconds, 0...43,200.
    /// - Returns: one decision for each, in order, if they are known at once; `nil` if the completion is called, later.
    func changeVisibility(
        _ changes: [(handle: ReceiptHandle, seconds: Int)],
        completion: @escaping @Sendable ([VisibilityDecision]) -> Void
    ) -> [VisibilityDecision]?

    /// Removes every message and the deduplication memory.
    /// - Parameter completion: the number of messages removed; called later, never within this call.
    func purge(completion: @escaping @Sendable (Result<Int, ShardError>) -> Void)

    func setAttributes(_ attributes: QueueAttributes)
    /// What the shard may be asked, requests a second and action; `nil` if nobody said. A shard of our own does nothing
    /// with it: those before it hold senders and receivers to it.
    func setQuota(_ requestsPerSecond: Int?)
    func counts() -> ShardCounts

    /// When a message may next become visible by itself; `nil` if none will.
    func nextVisibleAt() -> Timestamp?
    /// Called, on any thread, when a message can be received that could not before.
    func onReady(_ notify: @escaping @Sendable () -> Void)

    /// Called, on any thread, with what operators should read in the log.
    func onEvent(_ report: @escaping @Sendable (ShardEvent) -> Void)
    /// Sets where messages go that were received too often; without it they are held back.
    func setDeadLetterSink(_ sink: DeadLetterSink?)
    /// Finishes what was accepted and closes. Blocks until that is done.
    func close()
}

/// What happened to a shard that is worth a line in the log. Ids and counts only.
public enum ShardEvent: Hashable, Sendable {
    /// Commits fail, and failed not before; nothing of them was acknowledged.
    case commitsFail(ShardError)
    case commitsSucceedAgain
    case movedToDeadLetter([MessageID])
    /// The dead-letter queue did not take them; they are visible again.
    case deadLetterFailed([MessageID])
    /// They were in the shard for longer than it keeps messages.
    case expired([MessageID])
    /// A message was received that its digest does not fit. It was not handed on, and is told of once.
    case damaged(MessageID)
}

extension Shard {
    /// A receive for who waits for its answer.
    public func receive(_ command: ReceiveCommand) async -> ReceiveAnswer {
        await withCheckedContinuation { continuation in
            let known = receive(command) { continuation.resume(returning: $0) }
            if let known { continuation.resume(returning: known) }
        }
    }

    /// A change of visibility for who waits for its answer.
    public func changeVisibility(_ changes: [(handle: ReceiptHandle, seconds: Int)]) async -> [VisibilityDecision] {
        await withCheckedContinuation { continuation in
            let known = changeVisibility(changes) { continuation.resume(returning: $0) }
            if let known { continuation.resume(returning: known) }
        }
    }

    public func onEvent(_ report: @escaping @Sendable (ShardEvent) -> Void) {}

    public func setQuota(_ requestsPerSecond: Int?) {}
}

/// Where a shard sends messages that were received too often; it may be called on any thread, and answers for each
/// message, in order.
public typealias DeadLetterSink =
    @Sendable (
        _ messages: [OutgoingMessage], _ completion: @escaping @Sendable ([Result<SendReceipt, ShardError>]) -> Void
    ) -> Void
