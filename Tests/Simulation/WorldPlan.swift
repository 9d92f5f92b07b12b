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
        case queueRefusesEntries, queueDelaysSends, queueDamagesMessages
        case workerStops

        /// Whether it is drawn beside the others, so that what these draw stays as it is.
        var isDrawnApart: Bool {
            switch self {
            case .queueRefusesEntries, .queueDelaysSends, .queueDamagesMessages, .workerStops: true
            default: false
            }
        }

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
    /// Entries of one group in a request.
    let burstMax: Int
    /// Whether every sender sends to every group.
    let sharesGroups: Bool
    /// How long a sender waits for an answer, and for how long after its first try it tries a message again.
    let patienceMilliseconds: Int64
    let giveUpMilliseconds: Int64
    /// Faults go on for so long at least.
    let troubleMilliseconds: Int64
    /// Entries of a batch for an embedded shard.
    let batchEntriesMax: Int
    /// Receivers that are no workers.
    let visitorCount: Int
    /// Whether messages are sent when nothing is wrong any more.
    let endsCalmly: Bool
    let delivery: DeliveryPlan

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
        let largeQuota = random.chance(25) ? 20 + random.below(200) : nil
        waitingEntriesMax = random.chance(20) ? 5 + random.below(20) : 20_000
        driftMax = random.chance(50) ? 0 : 200
        var faults = WorldPlan.faults(&random, isRemote: isRemote)
        definition = WorldPlan.definition(shardCount: shardCount)
        burstMax = random.chance(30) ? 5 + random.below(6) : 4
        sharesGroups = random.chance(30)
        patienceMilliseconds = random.chance(25) ? [1_000, 3_000, 8_000][random.below(3)] : 35_000
        giveUpMilliseconds = random.chance(30) ? [0, 2_000, 20_000][random.below(3)] : 200_000
        let isLong = isRemote && random.chance(30)
        troubleMilliseconds = isLong ? 40_000 + Int64(random.below(60_000)) : 0
        batchEntriesMax = random.chance(40) ? 1 + random.below(4) : 256
        let smallQuota = random.chance(12) ? 2 + random.below(4) : nil
        // An extension that a quota refuses again and again comes too late for a short visibility timeout.
        quota = visibilitySeconds >= 15 ? smallQuota ?? largeQuota : largeQuota
        if isRemote, !faults.isEmpty { faults += WorldPlan.sendFaults(&random, isLong: isLong) }
        delivery = DeliveryPlan(seed: seed, visibilitySeconds: visibilitySeconds)
        self.faults = (faults + delivery.faults).sorted { $0.at < $1.at }
        visitorCount = random.chance(40) ? 1 + random.below(3) : 0
        endsCalmly = random.chance(30)
    }

    private static func faults(_ random: inout SplitMix64, isRemote: Bool) -> [Fault] {
        let kinds = Fault.Kind.allCases.filter { !$0.isDrawnApart && (isRemote ? !$0.isOfDisk : !$0.isOfQueue) }
        // One world in eight has none: what fails there fails without anybody's fault.
        let count = random.chance(12) ? 0 : 1 + random.below(10)
        return (0..<count).map { _ in
            Fault(
                kind: kinds[random.below(kinds.count)], at: Int64(random.below(10_000)),
                length: Int64(random.chance(30) ? random.below(60_000) : random.below(5_000)),
                subject: random.below(1_000), strength: 1 + random.below(100))
        }.sorted { $0.at < $1.at }
    }

    /// What makes outcomes of sends unknown, late and final, together and for longer than a send may take.
    private static func sendFaults(_ random: inout SplitMix64, isLong: Bool) -> [Fault] {
        let kinds: [Fault.Kind] = [
            .queueRefusesEntries, .queueDelaysSends, .queueDamagesMessages, .queueLosesAnswers, .queueLosesRequests,
            .queueFailsEntries, .queueIsUnavailable,
        ]
        guard random.chance(50) else { return [] }
        let subject = random.below(1_000)
        return (0..<(1 + random.below(4))).map { _ in
            Fault(
                kind: kinds[random.below(kinds.count)], at: Int64(random.below(isLong ? 30_000 : 8_000)),
                length: Int64(random.below(isLong ? 60_000 : 10_000)), subject: subject,
                strength: 20 + random.below(81))
        }
    }

    var description: String {
        """
        seed \(seed), \(steps) steps, \(isRemote ? "queues of a service" : "embedded shards, \(sealing.rawValue)"): \(shardCount) shards, \
        \(routerCount) routers, \(senderCount) senders, \(workerCount) workers, \(targetCount) targets, \(groupCount) groups, \
        visibility \(visibilitySeconds) s, \(maxAttempts) attempts, concurrency \(concurrency), quota \(quota ?? 0), \
        waiting at most \(waitingEntriesMax), drift \(driftMax), bursts \(burstMax), \(sharesGroups ? "shared groups, " : "")\
        patience \(patienceMilliseconds) ms, given up after \(giveUpMilliseconds) ms, trouble \(troubleMilliseconds) ms, \
        batches of \(batchEntriesMax), \(visitorCount) visitors\(endsCalmly ? ", a calm end" : "")
        \(delivery)
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

    /// The longest that a request or an answer is on its way, milliseconds. Who receives counts a visibility timeout from when
    /// the answer is read and extends it at half; with the time that a router keeps messages, a tick, and both ways there and
    /// back, all must fit in the other half: more is beyond what a worker can bear.
    var longestWay: Int { min(800, visibilitySeconds * 1_000 / 16) }

    /// By the seed alone, so that what other worlds draw stays as it is.
    var sealing: SimulatedSealing {
        guard !isRemote else { return .none }
        return seed % 4 == 0 ? .always : seed % 8 == 2 ? .later : .none
    }

    var attributes: QueueAttributes {
        var attributes = QueueAttributes()
        attributes.visibilityTimeoutSeconds = visibilitySeconds
        return attributes
    }
}
