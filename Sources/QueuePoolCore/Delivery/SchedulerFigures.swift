// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// What the scheduler knows at one moment, for metrics.
public struct SchedulerFigures: Hashable, Sendable {
    /// Messages by shard.
    public var heldMessages: [Int]
    public var heldBytes: Int
    /// Groups that wait for the next attempt at their first message.
    public var retryingGroups: Int
    public var lapsed: Int
    public var undeleted: Int
    public var targets: [TargetFigures]
}

/// What the scheduler knows of one target.
public struct TargetFigures: Hashable, Sendable {
    /// The breaker's state.
    public enum State: CaseIterable, Hashable, Sendable {
        case closed, open
        /// A probe is out.
        case halfOpen
    }

    public var state: State
    /// How often it was closed and opened.
    public var opened: Int
    /// Messages that had to wait because as many deliveries were under way as may be.
    public var limitedByConcurrency: Int
    /// Messages that had to wait because as many deliveries had begun as may in their time.
    public var limitedByRate: Int
    /// Groups that wait for either now.
    public var waitingGroups: Int
}

extension GroupScheduler {
    public var figures: SchedulerFigures {
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
