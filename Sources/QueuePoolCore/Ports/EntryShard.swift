// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// The border of a shard that stores each message of a request for itself and answers for each, as Amazon SQS does.

/// What became of one message of a request that was answered.
package enum EntryOutcome: Hashable, Sendable {
    case stored(SendReceipt)
    /// Over a quota; not stored.
    case throttled
    /// Not stored, and worth another try.
    case retryable
    /// Stored or not: the answer does not tell.
    case unknown
    /// Not stored, and never will be.
    case permanent(ShardError)
}

/// Why a request failed as a whole.
package enum RequestFailure: Hashable, Sendable {
    /// Over a quota; nothing was stored.
    case throttled
    /// Nothing was stored, and it is worth another try.
    case retryable
    /// Any of its messages may be stored: the answer was lost, or did not come in time.
    case unknownOutcome
    /// Nothing was stored, and never will be.
    case permanent(ShardError)
}

/// The answer to a request.
package enum EntryAnswers: Hashable, Sendable {
    /// One outcome for each message, in order.
    case entries([EntryOutcome])
    case failed(RequestFailure)
}

/// A shard whose requests are not stored whole.
package protocol EntryShard: Shard {
    /// Sends messages of different groups in one request. A `stored` means that its message is on stable storage (I1).
    /// - Important: the completion is called once, also when no answer comes: then, after the shard's own time limit,
    ///   with `unknownOutcome`. Until that, the message's group and the place of the request stay taken.
    func sendEach(_ messages: [OutgoingMessage], completion: @escaping @Sendable (EntryAnswers) -> Void)
}
