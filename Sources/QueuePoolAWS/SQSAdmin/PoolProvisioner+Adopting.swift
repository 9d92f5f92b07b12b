// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

// Takes over queues that somebody made, most of them with the service's own defaults. All are looked at before any is
// changed, so that a refusal leaves every one as it was. What the pool can live with stays: how a queue is encrypted,
// and how large its messages may be. What it can't live with is changed, and told first: with `DeduplicationScope` `queue`,
// equal ids of two groups that share a shard would swallow each other.

/// Something about a queue that is taken over which its owner should know.
package enum AdoptionNote: Hashable, Sendable, CustomStringConvertible {
    case changes(queue: String, name: String, from: String, to: String)
    /// The pool's messages are no larger than this queue's.
    case limits(queue: String, bytes: Int)
    case keepsKey(queue: String)

    package var description: String {
        switch self {
        case .changes(let queue, let name, let from, let to): "\(queue): \(name) is set to '\(to)', was '\(from)'"
        case .limits(let queue, let bytes):
            "\(queue): MaximumMessageSize is '\(bytes)': the pool's messages have at most \(bytes) bytes"
        case .keepsKey(let queue):
            "\(queue): is encrypted with a key of KMS, which stays; who sends needs kms:GenerateDataKey and kms:Decrypt"
                + ", who receives kms:Decrypt"
        }
    }
}

/// What follows from the queues as they are. Calls nothing.
struct Adoption {
    let queues: [FoundQueue]
    let options: PoolQueueOptions

    /// - Parameter queues: at least one.
    init(_ queues: [FoundQueue]) {
        self.queues = queues
        var options = queues.first.map { PoolQueueOptions(of: $0) } ?? PoolQueueOptions()
        // Queues of one pool are alike: where one gets its quota by group, all do.
        options.isHighThroughput = queues.contains {
            Adoption.scope($0) != "messageGroup" || PoolQueueOptions(of: $0).isHighThroughput
        }
        options.messageBytesMax = queues.map { PoolQueueOptions(of: $0).messageBytesMax }.min() ?? 0
        self.options = options
    }

    private static func scope(_ queue: FoundQueue) -> String { queue.attributes["DeduplicationScope"] ?? "queue" }

    /// Attributes of a queue that are set to what the pool needs.
    func changes(of queue: FoundQueue) -> [String: String] {
        var changes: [String: String] = [:]
        if Adoption.scope(queue) != "messageGroup" { changes["DeduplicationScope"] = "messageGroup" }
        if options.isHighThroughput, queue.attributes["FifoThroughputLimit"] != "perMessageGroupId" {
            changes["FifoThroughputLimit"] = "perMessageGroupId"
        }
        return changes
    }

    var notes: [AdoptionNote] {
        queues.flatMap { queue -> [AdoptionNote] in
            var notes = changes(of: queue).sorted { $0.key < $1.key }.map { name, value in
                AdoptionNote.changes(
                    queue: queue.name, name: name, from: queue.attributes[name] ?? "not set", to: value)
            }
            let bytes = PoolQueueOptions(of: queue).messageBytesMax
            if bytes == options.messageBytesMax, bytes < QueueLimits.messageBytesMax {
                notes.append(.limits(queue: queue.name, bytes: bytes))
            }
            if queue.attributes["KmsMasterKeyId"].map({ !$0.isEmpty }) == true {
                notes.append(.keepsKey(queue: queue.name))
            }
            return notes
        }
    }

    /// The queue as it is after its changes.
    func changed(_ queue: FoundQueue) -> FoundQueue {
        FoundQueue(
            url: queue.url, attributes: queue.attributes.merging(changes(of: queue)) { $1 }, tags: queue.tags)
    }
}

extension FoundQueue {
    /// The last part of its URL.
    var name: String { url.split(separator: "/").last.map(String.init) ?? url }
}

extension PoolProvisioner {
    /// Takes FIFO queues that are there, in the order of the URLs. The first one's settings are the pool's; the others
    /// must have the same, but for those that `AdoptionNote` tells of.
    /// - Parameters:
    ///   - urls: 1...256, no URL twice in a place.
    ///   - tell: called with all notes, before any queue is changed.
    package func adopt(
        _ pool: PoolName, urls: [String], quota: Int?, places: ShardPlaces, bodies: BodyPlan? = nil,
        tell: ([AdoptionNote]) -> Void
    ) throws(ProvisioningError) -> ProvisioningReport {
        var at = urls.indices.map { places[$0] }
        if let stored = try stored(pool) {
            guard stored.backend == .sqs, stored.queueAddresses.map(\.queueURL).sorted() == urls.sorted() else {
                throw .poolDiffers("it is \(stored.backend.rawValue) with other queues")
            }
            try check(quota, of: stored)
            try check(bodies, of: stored)
            at = try agreed(places, with: stored)
        }
        try lookAround(pool, at)
        var found: [(queue: FoundQueue, place: ShardPlace)] = []
        for (url, place) in zip(urls, at) {
            guard let queue = try queue(url, at: url, in: place) else { throw .noSuchQueue(url: url) }
            found.append((queue, place))
        }
        let adoption = Adoption(found.map(\.queue))
        let plan = PoolQueuePlan(pool: pool, options: adoption.options)
        var report = ProvisioningReport()
        var deadLetter = try deadLetterQueues(named: found)
        let conflicts = found.enumerated().flatMap { index, one in
            // A policy of a queue that is not made yet: only one that names another is a conflict.
            let wanted = plan.shard(
                ShardIndex(index), name: one.queue.name, deadLetterARN: deadLetter[one.place] ?? "")
            return QueueComparison(wanted, adoption.changed(one.queue)).conflicts
        }
        if !conflicts.isEmpty { throw .different(conflicts) }
        if let bodies { try prepare(bodies, retentionSeconds: adoption.options.retentionSeconds) }
        tell(adoption.notes)
        for place in at where deadLetter[place] == nil {
            let made = try ensure(plan.deadLetterQueue, in: place, &report)
            deadLetter.add(made.url, made.arn ?? "", in: place)
        }
        for (index, one) in found.enumerated() {
            let changes = adoption.changes(of: one.queue)
            if !changes.isEmpty {
                try aws(one.queue.name, in: one.place) { queues throws(AWSError) in
                    try queues.setAttributes(ofQueueAt: one.queue.url, changes)
                }
            }
            let wanted = plan.shard(
                ShardIndex(index), name: one.queue.name, deadLetterARN: deadLetter[one.place] ?? "")
            _ = try ensure(wanted, at: one.queue.url, in: one.place, &report)
        }
        try saveDeadLetterPool(of: pool, plan.deadLetterQueue, deadLetter.addresses(at), bodies)
        let texts = plan.shard(ShardIndex(0), deadLetterARN: at.first.flatMap { deadLetter[$0] } ?? "").attributes
        report.isNewPool = try save(pool, found.map { $1.address($0.url) }, texts, quota: quota, bodies)
        return report
    }

    /// The dead-letter queues that the first queue of each place names.
    private func deadLetterQueues(
        named found: [(queue: FoundQueue, place: ShardPlace)]
    ) throws(ProvisioningError) -> DeadLetterQueues {
        var queues = DeadLetterQueues()
        var seen: Set<ShardPlace> = []
        for one in found where seen.insert(one.place).inserted {
            guard let redrive = one.queue.attributes["RedrivePolicy"].flatMap(RedriveText.init) else { continue }
            guard let url = try url(ofQueue: redrive.queueName, in: one.place) else {
                throw .noSuchQueue(url: redrive.queueName)
            }
            queues.add(url, redrive.arn, in: one.place)
        }
        return queues
    }
}
