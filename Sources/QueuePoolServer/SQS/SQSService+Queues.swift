// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import QueuePoolSQS
import Synchronization

extension SQSService {
    /// The tag with which CreateQueue asks for several shards.
    static let shardsTag = "queuepool:shards"

    func createQueue(_ body: UnsafeRawBufferPointer, _ access: SQSAccess, _ reply: @escaping Reply) throws(SQSError) {
        let request = try CreateQueueRequest(body)
        var attributes = try QueueAttributeSet(creating: request.name, request.attributes)
        guard let name = PoolName(request.name) else { throw .invalidQueueName }
        try access.check(request.name, in: registry, isNew: true)
        let shards = try shardCount(request)
        try SQSService.settleScope(&attributes, request.attributes, shards, request.name)
        let settled = attributes
        SQSService.blocking(reply) { [self] () throws(SQSError) in
            try checkRedrive(settled, of: request.name, access)
            if let target = registry.target(request.name) {
                return try existing(target, settled, request)
            }
            try QueueAttributeSet.refuseUnenforced(request.attributes)
            try make(name, shards, settled, request.tags)
            return SQSService.answer { SQSAnswer.queueURL(naming.url(request.name), to: &$0) }
        }
    }

    private func shardCount(_ request: CreateQueueRequest) throws(SQSError) -> Int {
        guard let text = request.tags[SQSService.shardsTag] else { return defaultShards }
        guard let count = Int(text), (1...Topology.shardsMax).contains(count) else {
            throw SQSError(
                .invalidParameterValue,
                "The tag \(SQSService.shardsTag) must be a whole number between 1 and \(Topology.shardsMax).")
        }
        return count
    }

    /// A pool of several shards remembers deduplication ids by message group: there is no one place that sees them all.
    static func settleScope(
        _ attributes: inout QueueAttributeSet, _ named: [String: String], _ shards: Int, _ queue: String
    ) throws(SQSError) {
        guard shards > 1 else { return }
        if named[QueueAttributeName.deduplicationScope.rawValue] == "queue" { throw scopeRefused(shards) }
        try attributes.update([QueueAttributeName.deduplicationScope.rawValue: "messageGroup"], queue: queue)
    }

    private static func scopeRefused(_ shards: Int) -> SQSError {
        .invalidAttribute(
            "DeduplicationScope", "A pool of \(shards) shards has messageGroup; queue needs a pool of one shard.")
    }

    /// Blocks.
    private func checkRedrive(
        _ attributes: QueueAttributeSet, of queue: String, _ access: SQSAccess
    ) throws(SQSError) {
        guard let redrive = attributes.redrive else { return }
        // What is refused here would be put there.
        try access.check(redrive.deadLetterQueue, in: registry)
        let circle: [String]?
        do throws(RegistryError) {
            circle = try registry.redriveCircle(of: queue, to: redrive.deadLetterQueue)
        } catch { throw SQSError(error) }
        if let circle {
            throw .invalid(
                "RedrivePolicy", redrive.deadLetterQueue,
                "Messages would move in a circle of \(circle.count - 1) queues.")
        }
        guard let target = registry.target(redrive.deadLetterQueue), target.shard == nil else {
            throw .invalid(
                "RedrivePolicy", redrive.deadLetterQueue, "Dead letter target does not exist.")
        }
        let allow = (try? QueueAttributeSet(encoded: target.pool.snapshot.definition.attributes))?.redriveAllow
        guard allow?.allows(source: queue) ?? true else {
            throw .invalid(
                "RedrivePolicy", redrive.deadLetterQueue, "The dead-letter queue does not allow this queue as a source."
            )
        }
    }

    private func existing(
        _ target: QueueTarget, _ requested: QueueAttributeSet, _ request: CreateQueueRequest
    ) throws(SQSError) -> Answer {
        let snapshot = target.pool.snapshot
        var current = try QueueAttributeSet(encoded: snapshot.definition.attributes)
        current.isEnforced = snapshot.definition.backend != .embedded
        var requested = requested
        requested.isEnforced = current.isEnforced
        if !current.isEnforced { try QueueAttributeSet.refuseUnenforced(request.attributes) }
        if let name = current.firstDifference(from: requested, named: request.attributes.keys) {
            throw .alreadyExists(differingIn: name)
        }
        if let text = request.tags[SQSService.shardsTag], Int(text) != snapshot.shards.count {
            throw SQSError(
                .queueNameExists,
                "A pool already exists with the same name and \(snapshot.shards.count) shards.")
        }
        return SQSService.answer { SQSAnswer.queueURL(naming.url(request.name), to: &$0) }
    }

    private func make(
        _ name: PoolName, _ shards: Int, _ attributes: QueueAttributeSet, _ tags: [String: String]
    ) throws(SQSError) {
        do throws(RegistryError) {
            _ = try registry.create(name, shards: shards, attributes: attributes.encoded(), tags: tags)
        } catch { throw SQSError(error) }
    }

    func deleteQueue(_ body: UnsafeRawBufferPointer, _ access: SQSAccess, _ reply: @escaping Reply) throws(SQSError) {
        let pool = try pool(try QueueRequest(body).queue, access)
        SQSService.blocking(reply) { [registry] () throws(SQSError) in
            do throws(RegistryError) { try registry.remove(pool) } catch { throw SQSError(error) }
            return SQSService.answer { SQSAnswer.empty(to: &$0) }
        }
    }

    // MARK: - Names

    func getQueueUrl(_ body: UnsafeRawBufferPointer, _ access: SQSAccess, _ reply: Reply) throws(SQSError) {
        let name = try GetQueueUrlRequest(body).name
        _ = try target(name, access)
        reply(SQSService.answer { SQSAnswer.queueURL(naming.url(name), to: &$0) })
    }

    func listQueues(_ body: UnsafeRawBufferPointer, _ access: SQSAccess, _ reply: Reply) throws(SQSError) {
        let request = try ListQueuesRequest(body)
        let names = registry.pools.filter(access.caller.knows).flatMap { pool in
            let snapshot = pool.snapshot
            return [pool.name.text] + (snapshot.isSingle ? [] : snapshot.shards.map(\.name))
        }
        let found = names.filter { $0.hasPrefix(request.prefix) }.sorted()
        let (page, token) = SQSService.page(found, request.max, after: request.nextToken)
        reply(
            SQSService.answer { SQSAnswer.listQueues(urls: page.map(naming.url), nextToken: token, to: &$0) })
    }

    func listDeadLetterSourceQueues(_ body: UnsafeRawBufferPointer, _ access: SQSAccess, _ reply: Reply)
        throws(SQSError)
    {
        let request = try ListDeadLetterSourceQueuesRequest(body)
        let name = try pool(request.queue, access).name.text
        let sources = registry.pools.filter(access.caller.knows).filter {
            $0.attributes.redrive?.deadLetterQueue == name
        }.map(\.name.text)
        let (page, token) = SQSService.page(sources, request.max, after: request.nextToken)
        reply(
            SQSService.answer {
                SQSAnswer.listDeadLetterSourceQueues(urls: page.map(naming.url), nextToken: token, to: &$0)
            })
    }

    /// The names after a token, which is the last name of the page before.
    private static func page(_ names: [String], _ max: Int?, after token: String?) -> ([String], String?) {
        let rest = names.filter { name in token.map { name > $0 } ?? true }
        guard let max, rest.count > max else { return (rest, nil) }
        return (Array(rest.prefix(max)), rest[max - 1])
    }

    // MARK: - Attributes and tags

    func getQueueAttributes(_ body: UnsafeRawBufferPointer, _ access: SQSAccess, _ reply: Reply) throws(SQSError) {
        let request = try GetQueueAttributesRequest(body)
        let target = try target(request.queue, access)
        let snapshot = target.pool.snapshot
        var attributes = try QueueAttributeSet(encoded: snapshot.definition.attributes)
        attributes.isEnforced = snapshot.definition.backend != .embedded
        let counts = (target.shard.map { [$0] } ?? snapshot.shards).map { $0.shard.counts() }
        let status = QueueStatus(
            arn: naming.arn(request.queue), createdAt: snapshot.definition.createdAt.milliseconds / 1_000,
            modifiedAt: snapshot.definition.modifiedAt.milliseconds / 1_000,
            backlog: counts.reduce(0) { $0 + $1.backlog }, inFlight: counts.reduce(0) { $0 + $1.inFlight },
            delayed: counts.reduce(0) { $0 + $1.delayed })
        reply(
            SQSService.answer {
                SQSAnswer.queueAttributes(attributes.shown(request.names, status: status), to: &$0)
            })
    }

    func setQueueAttributes(_ body: UnsafeRawBufferPointer, _ access: SQSAccess, _ reply: @escaping Reply)
        throws(SQSError)
    {
        let request = try SetQueueAttributesRequest(body)
        let pool = try pool(request.queue, access)
        change(pool, reply) { [self] definition throws(SQSError) in
            var attributes = try QueueAttributeSet(encoded: definition.attributes)
            try attributes.update(request.attributes, queue: request.queue)
            if definition.backend == .embedded { try QueueAttributeSet.refuseUnenforced(request.attributes) }
            let shards = definition.topology.shards.count
            if shards > 1, attributes[.deduplicationScope] == "queue" { throw SQSService.scopeRefused(shards) }
            try checkRedrive(attributes, of: request.queue, access)
            definition.attributes = attributes.encoded()
        }
    }

    func listQueueTags(_ body: UnsafeRawBufferPointer, _ access: SQSAccess, _ reply: Reply) throws(SQSError) {
        let tags = try pool(try QueueRequest(body).queue, access).snapshot.definition.tags
        reply(SQSService.answer { SQSAnswer.tags(tags, to: &$0) })
    }

    func tagQueue(_ body: UnsafeRawBufferPointer, _ access: SQSAccess, _ reply: @escaping Reply) throws(SQSError) {
        let request = try TagQueueRequest(body)
        let pool = try pool(request.queue, access)
        change(pool, reply) { definition throws(SQSError) in
            definition.tags = try request.applied(to: definition.tags)
        }
    }

    func untagQueue(_ body: UnsafeRawBufferPointer, _ access: SQSAccess, _ reply: @escaping Reply) throws(SQSError) {
        let request = try UntagQueueRequest(body)
        let pool = try pool(request.queue, access)
        change(pool, reply) { definition throws(SQSError) in
            for key in request.keys { definition.tags[key] = nil }
        }
    }

    /// - Parameter change: made to what is stored, and again if another server was first: a change that were computed
    ///   from this server's snapshot would undo the other one's.
    private func change(
        _ pool: Pool, _ reply: @escaping Reply,
        _ change: @escaping @Sendable (inout PoolDefinition) throws(SQSError) -> Void
    ) {
        SQSService.blocking(reply) { [registry] () throws(SQSError) in
            do throws(RegistryError) { try registry.update(pool, change) } catch { throw SQSError(error) }
            return SQSService.answer { SQSAnswer.empty(to: &$0) }
        }
    }

    // MARK: - Purge

    func purgeQueue(_ body: UnsafeRawBufferPointer, _ access: SQSAccess, _ reply: @escaping Reply) throws(SQSError) {
        let queue = try QueueRequest(body).queue
        let target = try target(queue, access)
        let now = registry.clock.now()
        let isTooSoon = purges.withLock { purges in
            if let last = purges[queue], now - last < 60_000 { return true }
            purges = purges.filter { now - $0.value < 60_000 }
            purges[queue] = now
            return false
        }
        if isTooSoon { throw .purgeInProgress }
        registry.purge(target.pool, target.shard) { result in
            switch result {
            case .success: reply(SQSService.answer { SQSAnswer.empty(to: &$0) })
            case .failure(let error): reply(SQSService.answer(SQSError(error)))
            }
        }
    }
}

extension SQSError {
    init(_ error: RegistryError) {
        switch error {
        case .nameTaken:
            self.init(.queueNameExists, "The name is taken by a queue or a shard of a pool.")
        case .noSuchPool: self = .noSuchQueue
        case .shardCount(let count):
            self.init(
                .invalidParameterValue, "A pool has 1 to \(Topology.shardsMax) shards; \(count) were asked for.")
        case .tooManyPools(_, let left):
            self.init(.overLimit, "The server has as many queues as it may: \(left) more are allowed.")
        case .tooManyShards(let asked, let left):
            self.init(
                .overLimit,
                "The server has as many shards as it may: \(asked) were asked for, \(left) more are allowed.")
        case .nameTooLong(let allowed):
            self.init(
                .invalidParameterValue,
                "The name of a pool of several shards has at most \(allowed) characters, so that its shards have names."
            )
        case .store(.failed(let code)):
            self.init(.serviceUnavailable, "The control store failed with code \(code): nothing was changed.")
        case .store(.damaged):
            self.init(.internalFailure, "What the control store has of the queue cannot be read.")
        case .store(.conflict):
            self.init(.serviceUnavailable, "The queue was changed by another server at the same moment: try again.")
        case .store: self.init(.serviceUnavailable, "The control store failed: nothing was changed.")
        case .shard(let name, let reason): self.init(.internalFailure, "Shard \(name): \(reason).")
        case .closed: self.init(.serviceUnavailable, "The server is stopping.")
        case .isDeadLetterQueue(let sources):
            self.init(
                .unsupportedOperation,
                "The queue is the dead-letter queue of \(sources.joined(separator: ", ")): change their RedrivePolicy first."
            )
        case .foreign: self.init(.internalFailure, "The queue is served by another server.")
        case .refused(let reason): self = reason as? SQSError ?? SQSError(.internalFailure, "The change was refused.")
        }
    }
}
