// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import Logging
package import QueuePoolCore
import QueuePoolCurl
import QueuePoolRuntime
public import ServiceLifecycle
import Synchronization

// The scheduler's driver: every event takes the lock, decides and posts its effects; one loop starts a child task for each
// effect, and each task ends with the next event. Told to stop, the worker receives nothing more, lets deliveries under
// way end, gives back the rest and deletes what was delivered, within the grace period. A task that is cancelled stops too,
// at once: everything runs in a task of its own, which the cancellation reaches as a wish to stop.

/// Receives a pool's messages, delivers and deletes them.
public struct Worker: Service {
    private static let tickMilliseconds: Int64 = 100
    /// Receives, and deletes, of one shard at a time: with answers after 30 ms they reach the 300 requests a second of a
    /// queue of SQS.
    private static let requestsMax = 10
    /// What is given back must arrive; but a queue that does not answer holds a cancelled worker up no longer than this.
    private static let releaseMilliseconds: Int64 = 3_000

    /// What it did and does.
    package let metrics: WorkerMetrics
    private let options: WorkerOptions
    private let source: WorkerSource
    private let targets: [any DeliveryTarget]
    private let targetLimits: [TargetLimits]
    /// Of the targets, for logs.
    private let labels: [String]
    /// The target of the program that uses this as a library, whose deliveries are cancelled with their shard's lease.
    private let handler: HandlerTarget?
    /// `nil` if nothing of it goes over the network that we know of.
    private let engine: CurlEngine?
    private let logger: Logger
    private let clock: any Clock

    /// - Parameters:
    ///   - source: where messages come from; `nil`: the server of the options.
    ///   - clock: of every wait and timeout of the worker's own.
    ///   - signer: of requests to services of AWS.
    /// - Throws: `DeliveryURLError` for a target that is none.
    package init(
        _ options: WorkerOptions, source: WorkerSource? = nil, logger: Logger, clock: any Clock,
        signer: RequestSigner? = nil
    ) throws {
        let engine = CurlEngine(deliveriesMax: options.concurrency, now: { clock.now().milliseconds })
        self.options = options
        self.engine = engine
        self.logger = logger
        self.source =
            source
            ?? WorkerSource(
                endpoint: options.endpoint, engine: engine, clock: clock, targets: options.deliver,
                tls: options.tls)
        targets = try options.deliver.map { url in
            try DeliveryURL.target(
                url, engine: engine, concurrency: options.concurrency, clock: clock, signer: signer)
        }
        targetLimits = try options.deliver.map(DeliveryURL.limits)
        labels = options.deliver.map(DeliveryURL.label)
        handler = nil
        metrics = WorkerMetrics(pool: options.pool, targets: labels)
        self.clock = clock
    }

    /// A worker whose one target is `handler`.
    init(
        _ options: WorkerOptions, source: WorkerSource, handler: HandlerTarget, engine: CurlEngine?, logger: Logger,
        clock: any Clock
    ) {
        self.options = options
        self.source = source
        targets = [handler]
        targetLimits = []
        labels = ["handler:"]
        self.handler = handler
        self.engine = engine
        self.logger = logger
        metrics = WorkerMetrics(pool: options.pool, targets: labels)
        self.clock = clock
    }

    /// Works until it is told to stop, or cannot go on; once for each worker.
    ///
    /// In a `ServiceGroup`, a graceful shutdown lets deliveries under way end within the grace period and gives back the
    /// rest. When its task is cancelled the worker gives back what it holds, and ends.
    /// - Throws: `WorkerFailure`
    public func run() async throws {
        defer {
            engine?.shutdown()
            source.leaseEngine?.shutdown()
        }
        let stopping = Stopping()
        try await withTaskCancellationHandler {
            try await withGracefulShutdownHandler {
                try await Task { try await work(stopping) }.value
            } onGracefulShutdown: {
                stopping.ask(.gracefully)
            }
        } onCancel: {
            stopping.ask(.atOnce)
        }
    }

    private func work(_ stopping: Stopping) async throws {
        guard let found = try await discover(stopping) else { return }
        logger.info(
            "Working",
            metadata: [
                "pool": "\(options.pool)", "shards": "\(found.count)", "targets": "\(labels.joined(separator: ","))",
            ])
        let leases = options.tuning.shards == nil ? source.leases : nil
        let shards = ShardList(found)
        var limits = SchedulerLimits()
        limits.concurrency = options.concurrency
        limits.visibilityMilliseconds = Int64(options.visibilitySeconds) * 1_000
        limits.receivesMax = Worker.requestsMax
        limits.deletesMax = Worker.requestsMax
        limits.maxAttempts = options.budget.maxAttempts
        limits.maxReceives = options.budget.maxReceives
        limits.retryMilliseconds = Int64(options.budget.retrySeconds) * 1_000
        let mailbox = EffectMailbox()
        let desk = WorkerDesk(
            GroupScheduler(
                shardCount: shards.count, ownsAll: leases == nil, targetCount: targets.count,
                targetLimits: targetLimits, limits: limits, seed: .random(in: .min ... .max)), mailbox)
        let ownership = leases.flatMap { store in
            PoolName(options.pool).flatMap { pool in
                ShardOwnership(
                    pool: pool, shards: shards, store: store, desk: desk, logger: logger, clock: clock,
                    left: { [clock] in desk.handle { $0.stop(deadline: clock.now(), now: clock.now()) } })
            }
        }
        let health = ShardHealth(count: shards.count)
        metrics.begin(shards: found.map(\.name), desk: desk, health: health, ownership: ownership)
        let telling = telling()
        let performer = EffectPerformer(
            options: options, source: source, targets: targets, labels: labels, shards: shards, desk: desk,
            ownership: ownership, health: health, metrics: metrics, telling: telling, logger: logger, clock: clock)
        ownership?.start()
        let endedTarget = await perform(mailbox, performer, desk, stopping)
        ownership?.stop()
        await source.settle(milliseconds: Worker.releaseMilliseconds, clock)
        await telling?.tracker.finish(deadline: clock.now() + Worker.releaseMilliseconds)
        try report(desk.totals, endedTarget)
    }

    /// `nil` if nobody is told what becomes of messages.
    private func telling() -> OutcomeTelling? {
        guard options.isTracking, let outcomes = source.outcomes else { return nil }
        return OutcomeTelling(clock: clock) { [pool = options.pool] in await outcomes($0, pool) }
    }

    /// Performs effects until the scheduler has finished.
    /// - Returns: the target whose end made the worker stop, if one did, and why.
    private func perform(
        _ mailbox: EffectMailbox, _ performer: EffectPerformer, _ desk: WorkerDesk, _ stopping: Stopping
    ) async -> (target: Int, errorClass: String)? {
        let receives = ReceiveTasks()
        var endedTarget: (target: Int, errorClass: String)?
        // Beside the group, which would wait for all of it although everything was given back.
        var patience: Task<Void, Never>?
        // The latest of each shard.
        var givenBack: [Int: Task<Void, Never>] = [:]
        await withDiscardingTaskGroup { releases in
            await withDiscardingTaskGroup { group in
                group.addTask { await tick(desk, performer.ownership, stopping) }
                if let following = following(performer) { group.addTask { await following.run() } }
                loop: while true {
                    for effect in await mailbox.next() {
                        switch effect {
                        case .finished: break loop
                        case .drained(let shard): performer.ownership?.drained(shard)
                        case .cancelReceives(let shard): receives.cancel(shard: shard)
                        case .targetEnded(let target, let errorClass):
                            if endedTarget == nil { endedTarget = (target, errorClass) }
                            stopping.ask(.gracefully)
                        case .receive(let shard, let number, _):
                            receives.note(number, shard: shard)
                            group.addTask { await receives.run(number) { await performer.perform(effect) } }
                        // What is given back must arrive: it is waited for, and not cancelled at the end.
                        // One after another for a shard: what follows in a group is given back before its head.
                        case .release(let shard, _):
                            let before = givenBack[shard]
                            let release = Task {
                                await before?.value
                                await performer.perform(effect)
                            }
                            givenBack[shard] = release
                            releases.addTask { await release.value }
                        default: group.addTask { await performer.perform(effect) }
                        }
                    }
                }
                // Long polls that are still out would hold the stop up by their length.
                group.cancelAll()
            }
            if stopping.wish == .atOnce {
                patience = Task {
                    await clock.sleep(milliseconds: Worker.releaseMilliseconds)
                    engine?.shutdown()
                }
            }
        }
        patience?.cancel()
        return endedTarget
    }

    /// `nil` for a worker whose shards were named.
    private func following(_ performer: EffectPerformer) -> ShardFollowing? {
        performer.ownership.map { ownership in
            ShardFollowing(
                pool: options.pool, queue: source.queue, shards: performer.shards, ownership: ownership,
                desk: performer.desk, health: performer.health, metrics: metrics, logger: logger, clock: clock)
        }
    }

    private func tick(_ desk: WorkerDesk, _ ownership: ShardOwnership?, _ stopping: Stopping) async {
        while !Task.isCancelled {
            desk.handle { $0.tick(now: clock.now()) }
            if let ownership { handler?.cancel { !ownership.mayDeliver($0) } }
            if let wish = stopping.take() {
                let grace = wish == .atOnce ? 0 : Int64(options.graceSeconds) * 1_000
                let deadline = clock.now() + grace
                // Shards that are owned by lease are drained and given up first; the desk stops when that is done.
                ownership?.leave(deadline: deadline)
                if ownership == nil || wish == .atOnce {
                    desk.handle { $0.stop(deadline: deadline, now: clock.now()) }
                }
            }
            await clock.sleep(milliseconds: Worker.tickMilliseconds)
        }
    }

    private func report(_ totals: WorkerTotals, _ endedTarget: (target: Int, errorClass: String)?) throws {
        logger.info(
            "Worker stopped",
            metadata: [
                "pool": "\(options.pool)", "delivered": "\(totals.delivered)", "lapsed": "\(totals.lapsed)",
                "dead_lettered": "\(totals.deadLettered)", "failed_deletes": "\(totals.failedDeletes)",
                "undeleted": "\(totals.undeleted)",
            ])
        if totals.undeleted > 0 { throw WorkerFailure.undeleted(count: totals.undeleted) }
        if let endedTarget {
            throw WorkerFailure.targetEnded(
                target: labels[endedTarget.target], errorClass: endedTarget.errorClass)
        }
    }

    // MARK: - Start

    /// The shards to work on; asks until somebody answers. `nil` if told to stop meanwhile.
    private func discover(_ stopping: Stopping) async throws -> [WorkerShard]? {
        var reported: Logger.Level?
        var unknown = 0
        while stopping.wish == .none {
            do {
                let found = try select(of: try await source.queue.shards(ofPool: options.pool))
                // Shards that were named need no lease, and the same right.
                if try await source.isKeepingLeases?(options.pool) == false, options.tuning.shards == nil {
                    throw WorkerQueueError.notServed
                }
                return found
            } catch let refusal as AccessRefusal {
                try end(refusal, &unknown)
            } catch let error as WorkerQueueError {
                switch error {
                case .noPool: throw WorkerFailure.noPool(options.pool, endpoint: source.label)
                case .notServed: throw WorkerFailure.noLeases(endpoint: source.label)
                case .notAdmitted(let refusal):
                    try end(refusal, &unknown)
                case .unreachable, .refused, .untrusted: break
                }
                // What is not trusted stays so until somebody changes something.
                let level = error.isUntrusted ? Logger.Level.error : .warning
                if reported != level {
                    logger.log(
                        level: level,
                        error.isUntrusted
                            ? "The pool's server is not trusted; asking again every second"
                            : "The pool's server does not answer as it should; asking again every second",
                        metadata: [
                            "pool": "\(options.pool)", "endpoint": "\(source.label)",
                            "reason": "\(error)",
                        ])
                }
                reported = level
            }
            // In the worker's own task, which is not cancelled.
            await clock.sleep(milliseconds: 500)
        }
        return nil
    }

    /// Nobody lets the worker in before somebody changes something. But a new key is known to a server only when it has
    /// looked at its store again, so with a token it is asked three times.
    private func end(_ refusal: AccessRefusal, _ unknown: inout Int) throws {
        unknown += 1
        if refusal == .unknownCaller, options.tls?.token != nil, unknown < 3 { return }
        throw WorkerFailure(refusal, endpoint: source.label)
    }

    private func select(of shards: [WorkerShard]) throws -> [WorkerShard] {
        guard let wanted = options.tuning.shards else { return shards }
        let missing = wanted.filter { $0 >= shards.count }.sorted()
        guard missing.isEmpty else {
            throw WorkerFailure.noShards(missing, pool: options.pool, count: shards.count)
        }
        return shards.enumerated().filter { wanted.contains($0.offset) }.map(\.element)
    }
}
