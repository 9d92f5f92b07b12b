// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// What the scheduler knows at one moment, for metrics.
package struct SchedulerFigures: Hashable, Sendable {
    /// Messages by shard.
    package var heldMessages: [Int]
    package var heldBytes: Int
    /// Groups that wait for the next attempt at their first message.
    package var retryingGroups: Int
    package var lapsed: Int
    package var undeleted: Int
    /// By target: whether anything but probes begins there.
    package var isTargetUp: [Bool]
}

extension GroupScheduler {
    package var figures: SchedulerFigures {
        SchedulerFigures(
            heldMessages: shards.map(\.held), heldBytes: heldBytes,
            retryingGroups: lines.values.count { if case .backingOff = $0.phase { true } else { false } },
            lapsed: lapsedCount, undeleted: undeletedCount, isTargetUp: breakers.map { $0.state == .closed })
    }
}
