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
    package var targets: [TargetFigures]
}

/// What the scheduler knows of one target.
package struct TargetFigures: Hashable, Sendable {
    /// The breaker's state.
    package enum State: CaseIterable, Hashable, Sendable {
        case closed, open
        /// A probe is out.
        case halfOpen
    }

    package var state: State
    /// How often it was closed and opened.
    package var opened: Int
    /// Messages that had to wait because as many deliveries were under way as may be.
    package var limitedByConcurrency: Int
    /// Messages that had to wait because as many deliveries had begun as may in their time.
    package var limitedByRate: Int
    /// Groups that wait for either now.
    package var waitingGroups: Int
}

extension GroupScheduler {
    package var figures: SchedulerFigures {
        var retrying = 0
        var waiting = [Int](repeating: 0, count: gates.count)
        for line in lines.values {
            switch line.phase {
            case .backingOff: retrying += 1
            case .limited(let target, _): waiting[target] += 1
            default: break
            }
        }
        return SchedulerFigures(
            heldMessages: shards.map(\.held), heldBytes: heldBytes, retryingGroups: retrying, lapsed: lapsedCount,
            undeleted: undeletedCount,
            targets: breakers.indices.map { target in
                TargetFigures(
                    state: breakers[target].figure, opened: breakers[target].openedCount,
                    limitedByConcurrency: gates[target].limitedByConcurrency,
                    limitedByRate: gates[target].limitedByRate, waitingGroups: waiting[target])
            })
    }
}

extension TargetBreaker {
    fileprivate var figure: TargetFigures.State {
        switch state {
        case .closed: .closed
        case .open: .open
        case .probing: .halfOpen
        }
    }
}
