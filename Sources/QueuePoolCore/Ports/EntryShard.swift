// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// The border of a shard that stores each message of a request for itself and answers for each, as Amazon SQS does.

/// A shard whose requests are not stored whole.
package protocol EntryShard: Shard {
    /// Sends messages of different groups in one request. A `stored` means that its message is on stable storage (I1).
    /// - Important: the completion is called once, also when no answer comes: then, after the shard's own time limit,
    ///   with `unknownOutcome`. Until that, the message's group and the place of the request stay taken.
    func sendEach(_ messages: [OutgoingMessage], completion: @escaping @Sendable (EntryAnswers) -> Void)
}
