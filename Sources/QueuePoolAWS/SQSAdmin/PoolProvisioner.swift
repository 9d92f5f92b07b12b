// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

// Makes, takes over and compares the queues of a pool. The order is what makes an interruption harmless: the table, the
// dead-letter queue, the shards, and the pool's definition last, so that a pool that servers see is complete. Each step
// looks first and does only what is missing. Blocks; for commands.

/// Why a pool was not made.
package enum ProvisioningError: Error, Hashable, Sendable {
    /// Queues are there and not what they should be; nothing was written to the control store.
    case different([QueueDifference])
    /// A pool of this name is stored, and is something else.
    case poolDiffers(String)
    case noSuchQueue(url: String)
    case service(queue: String, AWSError)
    case store(ControlStoreError)
}

/// What was done.
package struct ProvisioningReport: Hashable, Sendable {
    package var created: [String] = []
    package var taken: [String] = []
    /// Whether the definition was stored now, or was there.
    package var isNewPool = false
}

package struct PoolProvisioner: Sendable {
    let queues: SQSAdministrator
    private let store: any ControlStore
    private let region: String
    /// `nil`: the region's own.
    private let endpoint: String?
    private let clock: any Clock
    /// Writes queue attributes down as the SQS door does.
    private let encode: @Sendable ([String: String]) -> String

    package init(
        queues: SQSAdministrator, store: any ControlStore, region: String, endpoint: String?,
        clock: any Clock, encode: @escaping @Sendable ([String: String]) -> String
    ) {
        self.queues = queues
        self.store = store
        self.region = region
        self.endpoint = endpoint
        self.clock = clock
        self.encode = encode
    }

    // MARK: - Create

    /// - Parameter shards: 1...256
    package func create(
        _ pool: PoolName, shards: Int, quota: Int?, options: PoolQueueOptions
    ) throws(ProvisioningError) -> ProvisioningReport {
        if let stored = try stored(pool) {
            guard stored.backend == .sqs, stored.topology.shards.count == shards else {
                throw .poolDiffers("it is \(stored.backend.rawValue) with \(stored.topology.shards.count) shards")
            }
            try check(quota, of: stored)
        }
        var report = ProvisioningReport()
        let plan = PoolQueuePlan(pool: pool, options: options)
        let deadLetter = try ensure(plan.deadLetterQueue, &report)
        var urls: [String] = []
        for index in 0..<shards {
            let wanted = plan.shard(ShardIndex(index), deadLetterARN: deadLetter.arn ?? "")
            urls.append(try ensure(wanted, &report).url)
        }
        try saveDeadLetterPool(of: pool, plan.deadLetterQueue, deadLetter.url)
        let texts = plan.shard(ShardIndex(0), deadLetterARN: deadLetter.arn ?? "").attributes
        report.isNewPool = try save(pool, urls: urls, texts, quota: quota)
        return report
    }

    /// A quota that is not asked for is left as it is, and one that is stored is never changed silently: servers took
    /// it over when they opened the pool.
    func check(_ quota: Int?, of stored: PoolDefinition) throws(ProvisioningError) {
        guard let quota, quota != stored.quota else { return }
        throw .poolDiffers("its quota is \(stored.quota.map(String.init) ?? "none"), not \(quota)")
    }

    /// The queue, made if it is missing, mended where nothing was set.
    func ensure(
        _ wanted: QueueSpecification, at url: String? = nil, _ report: inout ProvisioningReport
    ) throws(ProvisioningError) -> FoundQueue {
        let known = try aws(wanted.name) { () throws(AWSError) -> String? in
            if let url { return url }
            return try queues.url(ofQueue: wanted.name)
        }
        let found = try queue(wanted.name, at: known)
        guard let found else {
            if let url { throw .noSuchQueue(url: url) }
            return try aws(wanted.name) { () throws(AWSError) in
                let url = try queues.create(wanted)
                report.created.append(wanted.name)
                guard let made = try queues.queue(at: url) else { throw .unknownOutcome(code: "QueueNotYetVisible") }
                return made
            }
        }
        let comparison = QueueComparison(wanted, found)
        guard comparison.conflicts.isEmpty else { throw .different(comparison.conflicts) }
        try aws(wanted.name) { () throws(AWSError) in
            if !comparison.attributesToSet.isEmpty {
                try queues.setAttributes(ofQueueAt: found.url, comparison.attributesToSet)
            }
            if !comparison.tagsToSet.isEmpty { try queues.tag(queueAt: found.url, comparison.tagsToSet) }
        }
        report.taken.append(wanted.name)
        return found
    }

    // MARK: - Verify

    /// What is not as the stored definition says. Empty if all is well.
    /// - Parameter options: what the definition's attributes mean.
    package func verify(
        _ pool: PoolName, options: (String) -> PoolQueueOptions
    ) throws(ProvisioningError) -> [QueueDifference] {
        guard let definition = try stored(pool) else { throw .poolDiffers("it is not in the control store") }
        guard definition.backend == .sqs else { throw .poolDiffers("its shards are \(definition.backend.rawValue)") }
        let plan = PoolQueuePlan(
            pool: pool, options: options(definition.attributes), epoch: definition.topology.epoch)
        var differences: [QueueDifference] = []
        var deadLetterURL: String?
        if let name = PoolName(pool.deadLetterQueueName) { deadLetterURL = try stored(name)?.queueURLs.first }
        let found = try queue(pool.deadLetterQueueName, at: deadLetterURL)
        if deadLetterURL?.hasSuffix("/" + pool.deadLetterQueueName) != false {
            differences += QueueComparison(plan.deadLetterQueue, found).differences
        } else if found == nil {
            differences.append(.missing(queue: pool.deadLetterQueueName))
        }
        for entry in definition.topology.shards {
            guard let address = definition.addresses[entry.index] else {
                differences.append(.missing(queue: entry.name))
                continue
            }
            let shard = try aws(entry.name) { () throws(AWSError) in try queues.queue(at: address.queueURL) }
            let wanted = plan.shard(entry.index, name: address.queueName, deadLetterARN: found?.arn ?? "")
            differences += QueueComparison(wanted, shard).differences
        }
        return differences
    }

    // MARK: - Control store

    func stored(_ pool: PoolName) throws(ProvisioningError) -> PoolDefinition? {
        do throws(ControlStoreError) {
            guard let found = try store.pool(pool) else { return nil }
            guard found.isDeleting else { return found }
            // A server accepted its deletion and ended before it forgot the pool. Its queues are their owner's.
            if found.backend == .sqs { try store.remove(found) }
            return found.backend == .sqs ? nil : found
        } catch { throw .store(error) }
    }

    /// The dead-letter queue is a pool of one shard, so that it can be read and sent to as any other.
    func saveDeadLetterPool(
        of pool: PoolName, _ queue: QueueSpecification, _ url: String
    ) throws(ProvisioningError) {
        guard let name = PoolName(pool.deadLetterQueueName) else { return }
        _ = try save(name, urls: [url], queue.attributes, quota: nil)
    }

    /// - Returns: whether it was stored now.
    func save(
        _ pool: PoolName, urls: [String], _ attributes: [String: String], quota: Int?
    ) throws(ProvisioningError) -> Bool {
        if let stored = try stored(pool) {
            guard stored.queueURLs == urls else { throw .poolDiffers("it is stored with other queues") }
            return false
        }
        let topology: Topology
        do throws(Topology.Invalid) {
            topology = try Topology(pool: pool, shardCount: urls.count)
        } catch { throw .poolDiffers("\(urls.count) shards are not allowed") }
        let addresses = urls.enumerated().map {
            (ShardIndex($0), ShardAddress(endpoint: endpoint, region: region, queueURL: $1))
        }
        let definition = PoolDefinition(
            name: pool, topology: topology, backend: .sqs,
            addresses: Dictionary(addresses) { first, _ in first }, attributes: encode(attributes), quota: quota,
            createdAt: clock.now())
        do throws(ControlStoreError) {
            _ = try store.save(definition)
            return true
        } catch {
            // Another command was as fast: right if it stored the same.
            if case .conflict = error, try stored(pool)?.queueURLs == urls { return false }
            throw .store(error)
        }
    }

    /// What is there under a URL; `nil` if nothing is, or there is no URL.
    private func queue(_ name: String, at url: String?) throws(ProvisioningError) -> FoundQueue? {
        guard let url else { return nil }
        return try aws(name) { () throws(AWSError) in try queues.queue(at: url) }
    }

    func aws<R>(_ queue: String, _ body: () throws(AWSError) -> R) throws(ProvisioningError) -> R {
        do throws(AWSError) { return try body() } catch { throw .service(queue: queue, error) }
    }
}

extension PoolDefinition {
    /// In the order of the shards.
    package var queueURLs: [String] { topology.shards.compactMap { addresses[$0.index]?.queueURL } }
}

extension PoolQueueOptions {
    /// The settings of a queue that is there.
    package init(of queue: FoundQueue) {
        self.init()
        func number(_ name: String) -> Int? { queue.attributes[name].flatMap { Int($0) } }
        visibilityTimeoutSeconds = number("VisibilityTimeout") ?? visibilityTimeoutSeconds
        retentionSeconds = number("MessageRetentionPeriod") ?? retentionSeconds
        isHighThroughput = queue.attributes["FifoThroughputLimit"] == "perMessageGroupId"
        messageBytesMax = number("MaximumMessageSize") ?? messageBytesMax
        maxReceiveCount =
            queue.attributes["RedrivePolicy"].flatMap(RedriveText.init)?.maxReceiveCount ?? maxReceiveCount
    }
}
