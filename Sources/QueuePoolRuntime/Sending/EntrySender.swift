// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

/// What stands before a shard and takes messages for it, whatever kind of shard it is.
package protocol EntrySender: AnyObject, Sendable {
    /// Sends messages in order, all or none of them taken in; every completion is called once.
    func send(_ entries: [BatcherEntry<SendTicket>])
    /// Messages that wait for a request.
    var waitingEntries: Int { get }
    /// Takes a token of the quota for a request that will not wait.
    /// - Returns: `nil` if there was one, else the milliseconds until there will be.
    func takeToken() -> Int?
    /// Messages that were told a failure.
    var refusals: RefusalCounts { get }
}

extension ShardSender: EntrySender {}
