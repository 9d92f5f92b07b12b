// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// A message that a worker holds.
public struct WorkMessage: Sendable {
    public var id: String
    public var handle: String
    public var group: String
    public var body: [UInt8]
    public var attributes: [MessageAttribute]
    /// Place in the worker's list of shards.
    public var shard: Int
    /// The shard's queue, e.g. `emails-0003.fifo`.
    public var shardName = ""
    /// Deliveries by the queue so far, this one included.
    public var receiveCount: Int
    /// How long before this receive the queue delivered it for the first time, by the clocks of both; `nil`: not known.
    public var millisecondsSinceFirstReceive: Int64?
    /// When the queue delivered it for the first time, in the worker's clock; `nil`: now.
    public var firstReceivedAt: Timestamp?
    /// Recipients that are still to get it, by their places in the email's list; `nil`: all.
    public var recipients: [Int]?
    /// Where the body lies; `nil`: in the queue.
    public var storedBody: StoredBody?
    /// What the queue says of how it was sent, where a target wants to know.
    public var sending: SendingFacts?

    public init(
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

    /// Of body and attributes; what holding it costs, roughly. A stored body counts as a whole: it is read while the
    /// message is delivered.
    public var byteCount: Int {
        attributes.reduce(max(body.count, storedBody?.byteCount ?? 0)) { $0 + $1.byteCount }
    }
}

/// How a message was sent. An object, because a message is copied often and few targets want it.
public final class SendingFacts: Sendable {
    /// By the queue's clock.
    public let sentAt: Timestamp
    /// Decimal digits.
    public let sequence: String
    public let deduplicationID: String

    public init(sentAt: Timestamp, sequence: String, deduplicationID: String) {
        self.sentAt = sentAt
        self.sequence = sequence
        self.deduplicationID = deduplicationID
    }
}

/// A body that lies in a body store. An object, because a message is copied often and few have one.
public final class StoredBody: Sendable {
    public let pointer: BodyPointer
    /// As its sender said.
    public let byteCount: Int
    /// Where it lies.
    public let store: any BodyStore
    /// Whether the message has it too; else the message has its pointer.
    public let isHere: Bool

    public init(_ pointer: BodyPointer, byteCount: Int, in store: any BodyStore, isHere: Bool = false) {
        self.isHere = isHere
        self.pointer = pointer
        self.byteCount = byteCount
        self.store = store
    }
}

/// What became of one attempt to deliver a message to one target. An `errorClass` names the kind of failure in a few
/// ASCII characters without spaces, e.g. `timeout`, `http-503`, `smtp-550`; it goes to logs and to the dead-letter queue.
public enum DeliveryOutcome: Hashable, Sendable {
    case delivered
    /// The target answered that it will not take the message now: another try may succeed, and spends an attempt.
    case failed(errorClass: String, retryAfterMilliseconds: Int64? = nil)
    /// The target answered that it will never take this message: no try there or at another target will help.
    case refused(errorClass: String)
    /// The target could not be reached or does not take anything from us (no connection, TLS, credentials). Nothing of the
    /// message was handed over: that says nothing about the message, and spends none of its attempts.
    case unavailable(errorClass: String)
    /// The message was handed over, wholly or in part, and no answer came: it may have arrived. It is tried again at the
    /// same target under the same idempotency key, and at no other.
    case unknown(errorClass: String)
    /// We broke it off, because the worker stops or its shard is another's: that says nothing of target or message.
    case cancelled
    /// The message could not be made whole, so that no target was asked: its body lies elsewhere and could not be read.
    /// That says nothing of the target. If it is lasting (there is no such body), it spends an attempt; else (nobody
    /// answers there) it spends none.
    case incomplete(errorClass: String, isLasting: Bool)
    /// The target is gone for good (a closed pipe): the worker ends.
    case ended(errorClass: String)
    /// A mail that some of its recipients got, or were refused for good, and others did not.
    case partial(PartialDelivery)
}

/// What became of a mail's recipients when it is not the same for all. Numbers are places in the email's list of recipients
/// (`EmailMessage.recipients`), from 0; those in neither list got the mail.
public struct PartialDelivery: Hashable, Sendable {
    /// Refused for good.
    public var refused: [Int]
    /// Refused for now, to be tried again.
    public var deferred: [Int]
    /// Of the first refused recipient, or else of the first deferred one.
    public var errorClass: String

    public init(refused: [Int], deferred: [Int], errorClass: String) {
        self.refused = refused
        self.deferred = deferred
        self.errorClass = errorClass
    }
}

/// Why a message goes to the dead-letter queue.
public struct DeadLetterReason: Hashable, Sendable {
    /// `attempts-exhausted`, `body-missing`, `permanent-failure` or `recipients-refused`
    public var reason: String
    public var errorClass: String
    public var attempts: Int

    public init(reason: String, errorClass: String, attempts: Int) {
        self.reason = reason
        self.errorClass = errorClass
        self.attempts = attempts
    }
}

extension MessageAttribute {
    /// What it counts in a message's size, in bytes: name, type and value.
    public var byteCount: Int { name.utf8.count + dataType.utf8.count + value.count }
}
