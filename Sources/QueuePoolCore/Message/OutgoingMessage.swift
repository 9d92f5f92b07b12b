// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// A message on its way into a shard.
public struct OutgoingMessage: Sendable {
    public let record: MessageRecord
    /// XXH64 of the group id: names the slot, and the group within a shard.
    ///
    /// Two groups with one hash share their place in line; each keeps its order, and neither can tell.
    public let groupHash: UInt64

    public init(record: MessageRecord, groupHash: UInt64) {
        self.record = record
        self.groupHash = groupHash
    }

    public var byteCount: Int { record.bytes.count }

    /// Whether a queue takes the other for the same message: group and deduplication id are the same.
    public func hasSameDeduplicationID(as other: OutgoingMessage) -> Bool {
        record.withView { mine in
            other.record.withView { theirs in
                mine.deduplicationID.elementsEqual(theirs.deduplicationID) && mine.group.elementsEqual(theirs.group)
            }
        }
    }
}

/// What became of a message that was accepted.
public struct SendReceipt: Hashable, Sendable {
    public let messageID: MessageID
    public let sequence: SequenceNumber
    /// The deduplication id was accepted before, within five minutes: nothing was stored again.
    public let isDuplicate: Bool
    /// The sequence number as a remote queue gave it; SQS's are larger than ours.
    public let remoteSequence: RemoteText?

    public init(
        messageID: MessageID, sequence: SequenceNumber, isDuplicate: Bool, remoteSequence: RemoteText? = nil
    ) {
        self.remoteSequence = remoteSequence
        self.messageID = messageID
        self.sequence = sequence
        self.isDuplicate = isDuplicate
    }
}

/// A shard and its quota, as senders and receivers are told of it.
public struct ShardQuota: Hashable, Sendable {
    public let shard: String
    /// Of each action; `nil` if nobody here knows: a remote queue keeps to one of its service's.
    public let requestsPerSecond: Int?

    public init(shard: String, requestsPerSecond: Int?) {
        self.shard = shard
        self.requestsPerSecond = requestsPerSecond
    }
}

/// Why a shard did not do what it was asked.
public enum ShardError: Error, Hashable, Sendable {
    /// Over the quota; worth another try after so many milliseconds.
    /// - Parameter of: the shard whose quota it is; `nil` until it comes to who knows that.
    case quotaExceeded(retryAfterMilliseconds: Int, of: ShardQuota? = nil)
    /// No room in a bounded queue; worth another try after so many milliseconds.
    case overloaded(retryAfterMilliseconds: Int)
    /// The disk is full or the file cannot be written; nothing was stored.
    case storageFull
    /// The file failed in another way; `code` is SQLite's extended result code. Nothing was acknowledged.
    case storageFailed(code: Int32)
    /// The shard is closing.
    case closed
    /// The shard did not do it before the send's deadline, and answered so; nothing was stored.
    case unavailable(retryAfterMilliseconds: Int)
    /// The answer is missing: stored or not. The same deduplication id makes another try safe for five minutes.
    case unknownOutcome
    /// The shard will never do it; `code` is its error code, which holds nothing of the message.
    case refused(code: String)
    /// An error injected for a test.
    case injected
    /// The entry was wrong and never went to a shard; `code` is what the door calls it.
    case invalid(code: String)
    /// An earlier entry of the same group in the same request failed, for this reason. This one was not sent.
    indirect case earlierEntryFailed(ShardError)

    /// The code of `storageFailed` when the file was moved or removed: SQLITE_READONLY_DBMOVED.
    public static let codeOfMovedFile: Int32 = 1_032

    /// Whether the same request with the same deduplication id may succeed later.
    public var isRetryable: Bool {
        switch self {
        case .refused, .invalid: false
        default: true
        }
    }

    /// A word for metrics, the same as the kind of the problem over REST.
    public var reason: String {
        switch self {
        case .quotaExceeded: "quota-exceeded"
        case .overloaded: "overloaded"
        case .storageFull: "storage-full"
        case .storageFailed(ShardError.codeOfMovedFile): "storage-moved"
        case .storageFailed: "storage-failed"
        case .closed: "closing"
        case .unavailable: "unavailable"
        case .unknownOutcome: "unknown-outcome"
        case .refused: "refused"
        case .injected: "injected-error"
        case .invalid: "invalid"
        case .earlierEntryFailed: "earlier-entry-failed"
        }
    }

    /// The same, and whose quota it is if it tells of one and does not say.
    public func named(_ quota: ShardQuota) -> ShardError {
        switch self {
        case .quotaExceeded(let milliseconds, nil): .quotaExceeded(retryAfterMilliseconds: milliseconds, of: quota)
        case .earlierEntryFailed(let error): .earlierEntryFailed(error.named(quota))
        default: self
        }
    }

    /// The failure that began it, for an entry that failed because of an earlier one.
    public var root: ShardError {
        if case .earlierEntryFailed(let error) = self { error.root } else { self }
    }
}
