// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolTestSupport

/// What goes wrong, when and for how long. What it strikes is chosen by `subject` among those that a world has.
struct Fault: Hashable, Sendable, CustomStringConvertible {
    enum Kind: String, CaseIterable, Hashable, Sendable {
        case routerCrashes, routerPauses, routerIsCutOff
        case workerCrashes, workerPauses, workerIsCutOff
        case wireLoses
        case targetIsDown, targetHangs, targetRefuses
        case queueThrottles, queueIsUnavailable, queueFailsEntries, queueFails, queueLosesRequests, queueLosesAnswers
        case queueIsSlow
        case powerFails, diskFailsWrite, diskFailsFlush, diskIsFull, diskIsSlow, processEndsInCommit

        /// Whether it strikes a queue of the service, which worlds with embedded shards have not.
        var isOfQueue: Bool { rawValue.hasPrefix("queue") }
        /// Whether it strikes a disk, which worlds on the service have not.
        var isOfDisk: Bool { self == .powerFails || self == .processEndsInCommit || rawValue.hasPrefix("disk") }
    }

    let kind: Kind
    /// Milliseconds from the start of the world.
    let at: Int64
    /// Milliseconds.
    let length: Int64
    let subject: Int
    /// Percent, or another measure of its kind: 1...100.
    let strength: Int

    var description: String { "\(kind.rawValue)(\(subject)) at \(at) ms for \(length) ms, strength \(strength)" }
}

/// All that a world is made from. A seed makes one; a failing one is shrunk by leaving faults out.
struct WorldPlan: Sendable, CustomStringConvertible {
    let seed: UInt64
    /// Events after which faults stop and nothing new is sent.
    let steps: Int
    let isRemote: Bool
    let shardCount: Int
    let routerCount: Int
    let senderCount: Int
    let workerCount: Int
    let targetCount: Int
    let groupCount: Int
    let messagesOfSender: Int
    let visibilitySeconds: Int
    let maxAttempts: Int
    let concurrency: Int
    let quota: Int?
    let waitingEntriesMax: Int
    /// In millionths, by host.
    let driftMax: Int
    var faults: [Fault]
    let definition: PoolDefinition

    init(seed: UInt64, steps: Int) {
        var random = SplitMix64(seed: seed)
        self.seed = seed
        self.steps = steps
        isRemote = random.chance(50)
        shardCount = 1 + random.below(4)
        routerCount = isRemote ? 1 + random.below(2) : 1
        senderCount = 1 + random.below(3)
        workerCount = 1 + random.below(3)
        targetCount = 1 + random.below(2)
        groupCount = 1 + random.below(8)
        messagesOfSender = steps / 16
        visibilitySeconds = [3, 6, 15, 30][random.below(4)]
        maxAttempts = 2 + random.below(4)
        concurrency = [1, 4, 64][random.below(3)]
        quota = random.chance(25) ? 20 + random.below(200) : nil
        waitingEntriesMax = random.chance(20) ? 5 + random.below(20) : 20_000
        driftMax = random.chance(50) ? 0 : 200
        faults = WorldPlan.faults(&random, isRemote: isRemote)
        definition = WorldPlan.definition(shardCount: shardCount)
    }

    private static func faults(_ random: inout SplitMix64, isRemote: Bool) -> [Fault] {
        let kinds = Fault.Kind.allCases.filter { isRemote ? !$0.isOfDisk : !$0.isOfQueue }
        // One world in eight has none: what fails there fails without anybody's fault.
        let count = random.chance(12) ? 0 : 1 + random.below(10)
        return (0..<count).map { _ in
            Fault(
                kind: kinds[random.below(kinds.count)], at: Int64(random.below(10_000)),
                length: Int64(random.chance(30) ? random.below(60_000) : random.below(5_000)),
                subject: random.below(1_000), strength: 1 + random.below(100))
        }.sorted { $0.at < $1.at }
    }

    var description: String {
        """
        seed \(seed), \(steps) steps, \(isRemote ? "queues of a service" : "embedded shards"): \(shardCount) shards, \
        \(routerCount) routers, \(senderCount) senders, \(workerCount) workers, \(targetCount) targets, \(groupCount) groups, \
        visibility \(visibilitySeconds) s, \(maxAttempts) attempts, concurrency \(concurrency), quota \(quota ?? 0), \
        waiting at most \(waitingEntriesMax), drift \(driftMax)
        """ + faults.map { "\n  " + $0.description }.joined()
    }

    // MARK: - The pool

    static let pool = PoolName("world.fifo")

    private static func definition(shardCount: Int) -> PoolDefinition {
        guard let name = pool, let topology = try? Topology(pool: name, shardCount: shardCount) else {
            preconditionFailure("a world's pool has a right name and 1 to 4 shards")
        }
        return PoolDefinition(name: name, topology: topology, attributes: "", createdAt: SimulatedTime.start)
    }

    var attributes: QueueAttributes {
        var attributes = QueueAttributes()
        attributes.visibilityTimeoutSeconds = visibilitySeconds
        return attributes
    }
}
