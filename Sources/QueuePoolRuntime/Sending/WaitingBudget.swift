// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import Synchronization

/// The memory that messages take while they wait for any shard of the process. Each shard has bounds of its own; a thousand
/// shards at their bounds would fill any machine. One addition for each request that comes to a shard and one for each
/// that is answered: the messages of a batch are counted together.
package final class WaitingBudget: Sendable {
    /// What a waiting message takes beside its record: its place in line, and whom to answer.
    package static let bytesOfMessage = 512

    /// In bytes.
    package let limit: Int
    private let taken = Atomic(0)

    package init(limit: Int = Defaults.waitingBudgetBytes) { self.limit = limit }

    /// Bytes taken now.
    package var bytes: Int { taken.load(ordering: .relaxed) }

    /// What messages take.
    package static func cost(_ entries: [BatcherEntry<SendTicket>]) -> Int {
        var bytes = entries.count * bytesOfMessage
        for place in entries.indices { bytes += entries[place].message.byteCount }
        return bytes
    }

    /// Takes bytes, all or none of them.
    /// - Returns: whether there were as many.
    func take(_ bytes: Int) -> Bool {
        if taken.wrappingAdd(bytes, ordering: .relaxed).newValue <= limit { return true }
        giveBack(bytes)
        return false
    }

    func giveBack(_ bytes: Int) { taken.wrappingSubtract(bytes, ordering: .relaxed) }
}
