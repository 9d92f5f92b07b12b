// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import Synchronization

/// The messages that one shard did not take, by reason; for alerts.
package final class RefusalCounts: Sendable {
    private let counts = Mutex<[String: Int]>([:])

    package init() {}

    package func count(_ error: ShardError) { counts.withLock { $0[error.reason, default: 0] += 1 } }

    /// Reasons and counts, ascending by reason.
    package var rows: [(reason: String, count: Int)] {
        counts.withLock { $0.map { (reason: $0.key, count: $0.value) } }.sorted { $0.reason < $1.reason }
    }
}
