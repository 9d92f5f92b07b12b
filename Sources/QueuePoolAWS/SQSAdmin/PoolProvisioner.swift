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
    case service(queue: String, place: ShardPlace, AWSError)
    /// Bodies cannot lie where they were to.
    case bodies(String)
    case bucket(String, AWSError)
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
    /// Queues as the administrator of a place sees them.
    package typealias Administrators = @Sendable (ShardPlace) throws(AWSError) -> SQSAdministrator

    private let administrators: Administrators
    let store: any ControlStore
    private let clock: any Clock
    /// Writes queue attributes down as the SQS door does.
    private let encode: @Sendable ([String: String]) -> String

    /// - Parameter administrators: throws if a place cannot be reached by any address.
    package init(
        store: any ControlStore, clock: any Clock, encode: @escaping @Sendable ([String: String]) -> String,
        administrators: @escaping Administrators
    ) {
        self.administrators = administrators
        self.store = store
        self.clock = clock
        self.encode = encode
    }

    // MARK: - Create

    /// - Parameters:
    ///   - shards: 1...256
    ///   - bodies: `nil`: nothing is said of large bodies.
    package func create(
        _ pool: PoolName, shards: Int, quota: Int?, options: PoolQueueOptions, places: ShardPlaces,
        bodies: BodyPlan? = nil
    ) throws(ProvisioningError) -> ProvisioningReport {
        var at = (0..<shards).map { places[$0] }
        if let stored = try stored(pool) {
            guard stored.backend == .sqs, stored.topology.shards.count == shards else {
                throw .poolDiffers("it is \(stored.backend.rawValue) with \(stored.topology.shards.count) shards")
            }
            try check(quota, of: stored)
            try check(bodies, of: stored)
            at = try agreed(places, with: stored)
        }
        try lookAround(pool, at)
        if let bodies { try prepare(bodies, retentionSeconds: options.retentionSeconds) }
        var report = ProvisioningReport()
        let plan = PoolQueuePlan(pool: pool, options: options)
        var deadLetter = DeadLetterQueues()
        for place in at where deadLetter[place] == nil {
            let found = try ensure(plan.deadLetterQueue, in: place, &report)
            deadLetter.add(found.url, found.arn ?? "", in: place)
        }
        var addresses: [ShardAddress] = []
        for (index, place) in at.enumerated() {
            let wanted = plan.shard(ShardIndex(index), deadLetterARN: deadLetter[place] ?? "")
            addresses.append(place.address(try ensure(wanted, in: place, &report).url))
        }
        try saveDeadLetterPool(of: pool, plan.deadLetterQueue, deadLetter.addresses(at), bodies)
        let texts = plan.shard(ShardIndex(0), deadLetterARN: at.first.flatMap { deadLetter[$0] } ?? "").attributes
        report.isNewPool = try save(pool, addresses, texts, quota: quota, bodies)
        return report
    }

    /// The places of a stored pool's shards.
    func agreed(_ places: ShardPlaces, with stored: PoolDefinition) throws(ProvisioningError) -> [ShardPlace] {
        let there = stored.queueAddresses.map(ShardPlace.init)
        guard let agreed = places.agreed(with: there) else {
            let texts = Set(there.map(\.description)).sorted()
            throw .poolDiffers("its shards are in " + texts.joined(separator: "; "))
        }
        return agreed
    }

    /// A place that cannot be reached, or a role that nobody may take on, shows before anything is made in another.
    func lookAround(_ pool: PoolName, _ places: [ShardPlace]) throws(ProvisioningError) {
        guard Set(places).count > 1 else { return }
        var seen: Set<ShardPlace> = []
        for place in places where seen.insert(place).inserted {
            _ = try url(ofQueue: pool.deadLetterQueueName, in: place)
        }
    }

    /// A quota that is not asked for is left as it is, and one that is stored is never changed silently: servers took
    /// it over when they opened the pool.
    func check(_ quota: Int?, of stored: PoolDefinition) throws(ProvisioningError) {
        guard let quota, quota != stored.quota else { return }
        throw .poolDiffers("its quota is \(stored.quota.map(String.init) ?? "none"), not \(quota)")
    }

    /// The queue, made if it is missing, mended where nothing was set.
    func ensure(
        _ wanted: QueueSpecification, at url: String? = nil, in place: ShardPlace,
        _ report: inout ProvisioningReport
    ) throws(ProvisioningError) -> FoundQueue {
        let known: String?
        if let url { known = url } else { known = try self.url(ofQueue: wanted.name, in: place) }
        let found = try queue(wanted.name, at: known, in: place)
        guard let found else {
            if let url { throw .noSuchQueue(url: url) }
            return try aws(wanted.name, in: place) { queues throws(AWSError) in
                let url = try queues.create(wanted)
                report.created.append(wanted.name)
                guard let made = try queues.queue(at: url) else { throw .unknownOutcome(code: "QueueNotYetVisible") }
                return made
            }
        }
        let comparison = QueueComparison(wanted, found)
        guard comparison.conflicts.isEmpty else { throw .different(comparison.conflicts) }
        try aws(wanted.name, in: place) { queues throws(AWSError) in
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
        var deadLetter = DeadLetterQueues()
        for address in try deadLetterAddresses(of: pool, definition) {
            let name = address.queueURL.isEmpty ? pool.deadLetterQueueName : address.queueName
            let place = ShardPlace(address)
            let found = try queue(name, at: address.queueURL.isEmpty ? nil : address.queueURL, in: place)
            if name == pool.deadLetterQueueName {
                differences += QueueComparison(plan.deadLetterQueue, found).differences
            } else if found == nil {
                differences.append(.missing(queue: name))
            }
            deadLetter.add(address.queueURL, found?.arn ?? "", in: place)
        }
        for entry in definition.topology.shards {
            guard let address = definition.addresses[entry.index] else {
                differences.append(.missing(queue: entry.name))
                continue
            }
            let place = ShardPlace(address)
            if deadLetter[place] == nil {
                // Another role of the same account sees the same dead-letter queue.
                let url = try url(ofQueue: pool.deadLetterQueueName, in: place)
                let found = try queue(pool.deadLetterQueueName, at: url, in: place)
                if found == nil { differences.append(.missing(queue: "\(pool.deadLetterQueueName) in \(place)")) }
                deadLetter.add(url ?? "", found?.arn ?? "", in: place)
            }
            let shard = try queue(entry.name, at: address.queueURL, in: place)
            let wanted = plan.shard(entry.index, name: address.queueName, deadLetterARN: deadLetter[place] ?? "")
            differences += QueueComparison(wanted, shard).differences
        }
        return differences
    }

    /// Where the dead-letter queues are. One that nobody stored has no URL.
    private func deadLetterAddresses(
        of pool: PoolName, _ definition: PoolDefinition
    ) throws(ProvisioningError) -> [ShardAddress] {
        if let name = PoolName(pool.deadLetterQueueName), let stored = try stored(name) { return stored.queueAddresses }
        return definition.queueAddresses.prefix(1).map { ShardPlace($0).address("") }
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

    /// The dead-letter queue is a pool, a shard for each place, so that it can be read and sent to as any other.
    func saveDeadLetterPool(
        of pool: PoolName, _ queue: QueueSpecification, _ addresses: [ShardAddress], _ bodies: BodyPlan?
    ) throws(ProvisioningError) {
        guard let name = PoolName(pool.deadLetterQueueName) else { return }
        _ = try save(name, addresses, queue.attributes, quota: nil, bodies)
    }

    /// - Returns: whether it was stored now.
    func save(
        _ pool: PoolName, _ queues: [ShardAddress], _ attributes: [String: String], quota: Int?, _ bodies: BodyPlan?
    ) throws(ProvisioningError) -> Bool {
        if let stored = try stored(pool) {
            guard stored.queueAddresses == queues else { throw .poolDiffers("\(pool) is stored with other queues") }
            try remember(bodies, of: pool)
            return false
        }
        let topology: Topology
        do throws(Topology.Invalid) {
            topology = try Topology(pool: pool, shardCount: queues.count)
        } catch { throw .poolDiffers("\(queues.count) shards are not allowed") }
        let addresses = queues.enumerated().map { (ShardIndex($0), $1) }
        var definition = PoolDefinition(
            name: pool, topology: topology, backend: .sqs,
            addresses: Dictionary(addresses) { first, _ in first }, attributes: encode(attributes), quota: quota,
            createdAt: clock.now())
        definition.bodies = bodies.map { .s3($0.place) }
        do throws(ControlStoreError) {
            _ = try store.save(definition)
            return true
        } catch {
            // Another command was as fast: right if it stored the same.
            if case .conflict = error, try stored(pool)?.queueAddresses == queues { return false }
            throw .store(error)
        }
    }

    /// What is there under a URL; `nil` if nothing is, or there is no URL.
    func queue(
        _ name: String, at url: String?, in place: ShardPlace
    ) throws(ProvisioningError) -> FoundQueue? {
        guard let url else { return nil }
        return try aws(name, in: place) { queues throws(AWSError) in try queues.queue(at: url) }
    }

    /// `nil` if there is no queue of that name in the place.
    func url(ofQueue name: String, in place: ShardPlace) throws(ProvisioningError) -> String? {
        try aws(name, in: place) { queues throws(AWSError) in try queues.url(ofQueue: name) }
    }

    func aws<R>(
        _ queue: String, in place: ShardPlace, _ body: (SQSAdministrator) throws(AWSError) -> R
    ) throws(ProvisioningError) -> R {
        do throws(AWSError) { return try body(try administrators(place)) } catch {
            throw .service(queue: queue, place: place, error)
        }
    }
}

extension PoolDefinition {
    /// In the order of the shards.
    package var queueAddresses: [ShardAddress] { topology.shards.compactMap { addresses[$0.index] } }
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
