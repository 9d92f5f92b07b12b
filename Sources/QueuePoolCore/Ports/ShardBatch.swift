// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// What goes over the border of a shard when something is to be stored, and what comes back.

/// What those who stand before a shard must know of its kind.
public struct ShardTraits: Hashable, Sendable {
    /// A batch is stored whole or not at all; if not, each entry is answered for itself, and at most one message of a
    /// group goes into a batch.
    public var storesWholeBatches: Bool
    /// The batch is formed when the shard is about to store it: the later, the larger.
    public var pullsLate: Bool
    /// Waiting for messages is done at the shard, by long polls, and a look costs a request.
    public var pollsRemotely: Bool

    public init(storesWholeBatches: Bool = true, pullsLate: Bool = false, pollsRemotely: Bool = false) {
        self.storesWholeBatches = storesWholeBatches
        self.pullsLate = pullsLate
        self.pollsRemotely = pollsRemotely
    }
}

/// What is to be stored: asked for once, when the shard is about to store it.
public struct ShardBatch: Sendable {
    /// The messages, in order; none if there is nothing to store any more.
    public let pull: @Sendable () -> [OutgoingMessage]

    /// A batch that is formed late.
    public init(pull: @escaping @Sendable () -> [OutgoingMessage]) { self.pull = pull }

    /// A batch that is formed already.
    public init(_ messages: [OutgoingMessage]) { pull = { messages } }
}

/// What became of one message of a batch that was answered.
public enum EntryOutcome: Hashable, Sendable {
    case stored(SendReceipt)
    /// Over a quota; not stored.
    case throttled
    /// Not stored, and worth another try.
    case retryable
    /// Stored or not: the answer does not tell.
    case unknown
    /// Not stored, and never will be.
    case permanent(ShardError)

    /// What its sender is told if it is not tried again.
    public var result: Result<SendReceipt, ShardError> {
        switch self {
        case .stored(let receipt): .success(receipt)
        case .throttled: .failure(RequestFailure.throttled.error)
        case .retryable: .failure(RequestFailure.retryable.error)
        case .unknown: .failure(RequestFailure.unknownOutcome.error)
        case .permanent(let error): .failure(error)
        }
    }
}

/// Why a batch failed as a whole.
public enum RequestFailure: Hashable, Sendable {
    /// Over a quota; nothing was stored.
    case throttled
    /// Nothing was stored, and it is worth another try.
    case retryable
    /// Any of its messages may be stored: the answer was lost, or did not come in time.
    case unknownOutcome
    /// Nothing was stored, and never will be.
    case permanent(ShardError)

    /// What its senders are told if it is not tried again.
    public var error: ShardError {
        switch self {
        case .throttled: .quotaExceeded(retryAfterMilliseconds: 1_000)
        case .retryable: .unavailable(retryAfterMilliseconds: 1_000)
        case .unknownOutcome: .unknownOutcome
        case .permanent(let error): error
        }
    }
}

/// The answer to a batch.
public enum EntryAnswers: Hashable, Sendable {
    /// One outcome for each message, in order. A shard that stores whole batches stored them all.
    case entries([EntryOutcome])
    case failed(RequestFailure)

    /// Whether the message at a place of the batch is stored.
    func isStored(at position: Int) -> Bool {
        guard case .entries(let outcomes) = self, position < outcomes.count, case .stored = outcomes[position] else {
            return false
        }
        return true
    }

    /// What became of the message at a place of the batch; what an answer does not mention is unknown.
    public func result(at position: Int) -> Result<SendReceipt, ShardError> {
        switch self {
        case .entries(let outcomes): position < outcomes.count ? outcomes[position].result : EntryOutcome.unknown.result
        case .failed(let failure): .failure(failure.error)
        }
    }
}
