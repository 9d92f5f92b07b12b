// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Where a redrive stands.
package enum MoveStatus: String, Sendable {
    case running = "RUNNING"
    case completed = "COMPLETED"
    case cancelling = "CANCELLING"
    case cancelled = "CANCELLED"
    case failed = "FAILED"
}

/// What can be told about a redrive.
package struct MoveReport: Hashable, Sendable {
    package var status = MoveStatus.running
    /// Messages that are stored where they belong.
    package var moved = 0
    /// Messages that waited in the source when it began.
    package var toMove: Int
    /// Ids and counts only.
    package var failureReason: String?

    /// - Parameter toMove: messages that wait in the source.
    package init(toMove: Int) { self.toMove = toMove }
}
