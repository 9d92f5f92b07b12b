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
    ///   - urls: 1...256, no URL twice.
    ///   - tell: called with all notes, before any queue is changed.
    package func adopt(
        _ pool: PoolName, urls: [String], quota: Int?, tell: ([AdoptionNote]) -> Void
    ) throws(ProvisioningError) -> ProvisioningReport {
        if let stored = try stored(pool) {
            guard stored.backend == .sqs, Set(stored.queueURLs) == Set(urls) else {
                throw .poolDiffers("it is \(stored.backend.rawValue) with other queues")
            }
            try check(quota, of: stored)
        }
        var found: [FoundQueue] = []
        for url in urls {
            let queue = try aws(url) { () throws(AWSError) in try queues.queue(at: url) }
            guard let queue else { throw .noSuchQueue(url: url) }
            found.append(queue)
        }
        let adoption = Adoption(found)
        let plan = PoolQueuePlan(pool: pool, options: adoption.options)
        var report = ProvisioningReport()
        let deadLetter = try deadLetterQueue(of: found, plan, &report) { arn throws(ProvisioningError) in
            let conflicts = found.enumerated().flatMap { index, queue in
                let wanted = plan.shard(ShardIndex(index), name: queue.name, deadLetterARN: arn)
                return QueueComparison(wanted, adoption.changed(queue)).conflicts
            }
            if !conflicts.isEmpty { throw .different(conflicts) }
            tell(adoption.notes)
        }
        for (index, queue) in found.enumerated() {
            let changes = adoption.changes(of: queue)
            if !changes.isEmpty {
                try aws(queue.name) { () throws(AWSError) in
                    try queues.setAttributes(ofQueueAt: queue.url, changes)
                }
            }
            let wanted = plan.shard(ShardIndex(index), name: queue.name, deadLetterARN: deadLetter.arn)
            _ = try ensure(wanted, at: queue.url, &report)
        }
        try saveDeadLetterPool(of: pool, plan.deadLetterQueue, deadLetter.url)
        let texts = plan.shard(ShardIndex(0), deadLetterARN: deadLetter.arn).attributes
        report.isNewPool = try save(pool, urls: urls, texts, quota: quota)
        return report
    }

    /// The dead-letter queue that the first queue names, or one that is made.
    /// - Parameter check: called with its ARN, empty where there is none yet, before anything is made.
    private func deadLetterQueue(
        of found: [FoundQueue], _ plan: PoolQueuePlan, _ report: inout ProvisioningReport,
        _ check: (_ arn: String) throws(ProvisioningError) -> Void
    ) throws(ProvisioningError) -> (url: String, arn: String) {
        if let redrive = found.first?.attributes["RedrivePolicy"].flatMap(RedriveText.init) {
            let url = try aws(redrive.queueName) { () throws(AWSError) in
                try queues.url(ofQueue: redrive.queueName)
            }
            guard let url else { throw .noSuchQueue(url: redrive.queueName) }
            try check(redrive.arn)
            return (url, redrive.arn)
        }
        try check("")
        let made = try ensure(plan.deadLetterQueue, &report)
        return (made.url, made.arn ?? "")
    }
}
