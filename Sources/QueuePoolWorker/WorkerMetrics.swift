// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Synchronization

// What operators watch of a worker. Counters are counted where the thing happens; what the scheduler knows already (held
// messages, targets that are down) is read from it when somebody asks. Labels are pool, shard, target, outcome and reason
// only: their number is bounded, and no group, id, address or credential can become one (I6).

/// What one worker did and does, in figures. Any thread may count and read.
package final class WorkerMetrics: Sendable {
    /// What may become of a delivery.
    enum Outcome: Int, CaseIterable, Sendable {
        case delivered, failed, refused, unavailable, unknown, partial, cancelled, incomplete, ended

        /// The label's value.
        var text: String { "\(self)" }
    }

    /// Counters of one target.
    struct Target: Sendable {
        let label: String
        /// By the raw values of `Outcome`.
        var outcomes = [Int](repeating: 0, count: Outcome.allCases.count)
        var retries = 0
        var underWay = 0
        var handlerSeconds = SecondsHistogram()
        /// It ended, and with it the worker.
        var isGone = false
    }

    /// Counters of one shard.
    struct Shard: Sendable {
        let name: String
        var received = 0
        var deleted = 0
    }

    /// All that is counted here.
    struct Counts: Sendable {
        var targets: [Target]
        /// Empty until the worker knows its shards.
        var shards: [Shard] = []
        /// Stored dead letters by reason. The known ones are there from the start, so that an alert sees the first one as a
        /// rise.
        var deadLetters = ["attempts-exhausted": 0, "body-missing": 0, "permanent-failure": 0, "recipients-refused": 0]
    }

    private struct State: Sendable {
        var counts: Counts
        /// What is asked for the rest, once the worker works.
        var work: (desk: WorkerDesk, health: ShardHealth, ownership: ShardOwnership?)?
    }

    let pool: String
    private let state: Mutex<State>

    /// - Parameter targets: their labels in fallback order, without credentials.
    init(pool: String, targets: [String]) {
        self.pool = pool
        state = Mutex(State(counts: Counts(targets: WorkerMetrics.distinct(targets).map { Target(label: $0) })))
    }

    /// The worker works on these shards.
    /// - Parameter ownership: `nil` if it owns them for good.
    func begin(shards: [String], desk: WorkerDesk, health: ShardHealth, ownership: ShardOwnership? = nil) {
        state.withLock { state in
            state.counts.shards = shards.map { Shard(name: $0) }
            state.work = (desk, health, ownership)
        }
    }

    /// The worker knows more shards.
    /// - Parameter shards: all that it knows, those of before first.
    func grow(to shards: [String]) {
        change { counts in counts.shards += shards.dropFirst(counts.shards.count).map { Shard(name: $0) } }
    }

    // MARK: - Counting

    func received(_ count: Int, from shard: Int) { change { $0.shards[shard].received += count } }

    func deleted(_ count: Int, from shard: Int) { change { $0.shards[shard].deleted += count } }

    func deliveryBegan(target: Int, attempt: Int) {
        change { counts in
            counts.targets[target].underWay += 1
            if attempt > 1 { counts.targets[target].retries += 1 }
        }
    }

    func deliveryEnded(target: Int, _ outcome: DeliveryOutcome, after duration: Duration) {
        let kind = Outcome(outcome)
        change { counts in
            counts.targets[target].underWay -= 1
            counts.targets[target].outcomes[kind.rawValue] += 1
            counts.targets[target].handlerSeconds.add(duration)
            if kind == .ended { counts.targets[target].isGone = true }
        }
    }

    /// The dead-letter queue stored a message.
    func deadLettered(reason: String) { change { $0.deadLetters[reason, default: 0] += 1 } }

    private func change(_ body: (inout Counts) -> Void) { state.withLock { body(&$0.counts) } }

    // MARK: - Reading

    /// The figures of one moment.
    struct Snapshot: Sendable {
        let pool: String
        let counts: Counts
        /// `nil` until the worker knows its shards.
        let scheduler: SchedulerFigures?
        /// By shard.
        let isShardUp: [Bool]
        /// `nil` for a worker without leases.
        let leases: LeaseFigures?
        let isStandBy: Bool

        func isTargetUp(_ target: Int) -> Bool {
            !counts.targets[target].isGone && (scheduler?.targets[target].state ?? .closed) == .closed
        }
    }

    func snapshot() -> Snapshot {
        let (counts, work) = state.withLock { ($0.counts, $0.work) }
        // Outside of the lock: the scheduler has its own, under which nobody counts.
        return Snapshot(
            pool: pool, counts: counts, scheduler: work?.desk.figures,
            isShardUp: counts.shards.indices.map { work?.health.isUp($0) ?? true },
            leases: work?.ownership?.figures, isStandBy: work?.ownership?.isStandBy ?? false)
    }

    /// The figures that fit in a line.
    package struct Summary: Hashable, Sendable {
        package var delivered = 0
        /// Groups that wait for the next attempt at their first message.
        package var retrying = 0
        package var held = 0
        package var underWay = 0
        package var deadLetters = 0
        /// Labels of targets that do not take deliveries.
        package var down: [String] = []

        package init() {}
    }

    /// The figures of now that fit in a line.
    package func summary() -> Summary {
        let now = snapshot()
        var summary = Summary()
        for (index, target) in now.counts.targets.enumerated() {
            summary.delivered += target.outcomes[Outcome.delivered.rawValue]
            summary.underWay += target.underWay
            if !now.isTargetUp(index) { summary.down.append(target.label) }
        }
        summary.retrying = now.scheduler?.retryingGroups ?? 0
        summary.held = now.scheduler?.heldMessages.reduce(0, +) ?? 0
        summary.deadLetters = now.counts.deadLetters.values.reduce(0, +)
        return summary
    }

    /// Labels leave out what may be secret, so two targets may have the same: the second is told apart by its number.
    private static func distinct(_ labels: [String]) -> [String] {
        var seen: [String: Int] = [:]
        return labels.map { label in
            seen[label, default: 0] += 1
            let number = seen[label] ?? 1
            return number == 1 ? label : "\(label)#\(number)"
        }
    }
}

extension WorkerMetrics.Outcome {
    init(_ outcome: DeliveryOutcome) {
        self =
            switch outcome {
            case .delivered: .delivered
            case .failed: .failed
            case .refused: .refused
            case .unavailable: .unavailable
            case .unknown: .unknown
            case .partial: .partial
            case .cancelled: .cancelled
            case .incomplete: .incomplete
            case .ended: .ended
            }
    }
}

/// Durations by their length, as Prometheus' histograms count them.
struct SecondsHistogram: Sendable {
    /// Seconds, rising; what is longer than the last has a place of its own.
    static let bounds = [
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600,
    ]

    /// How many were at most as long as each bound and longer than the one before.
    private(set) var counts = [Int](repeating: 0, count: bounds.count + 1)
    private(set) var sum = 0.0

    mutating func add(_ duration: Duration) {
        let seconds = duration / .seconds(1)
        counts[SecondsHistogram.bounds.firstIndex { seconds <= $0 } ?? SecondsHistogram.bounds.count] += 1
        sum += seconds
    }
}
