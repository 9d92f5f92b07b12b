// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Where a redrive stands.
public enum MoveStatus: String, Sendable {
    case running = "RUNNING"
    case completed = "COMPLETED"
    case cancelling = "CANCELLING"
    case cancelled = "CANCELLED"
    case failed = "FAILED"
}

/// What can be told about a redrive.
public struct MoveReport: Hashable, Sendable {
    public var status = MoveStatus.running
    /// Messages that are stored where they belong.
    public var moved = 0
    /// Messages that waited in the source when it began.
    public var toMove: Int
    /// Ids and counts only.
    public var failureReason: String?

    /// - Parameter toMove: messages that wait in the source.
    public init(toMove: Int) { self.toMove = toMove }
}
