// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

public import Logging
import QueuePoolCore
import QueuePoolCurl
public import ServiceLifecycle
import Synchronization

// The scheduler's driver: every event takes the lock, decides and posts its effects; one loop starts a child task for each
// effect, and each task ends with the next event. Told to stop, the worker receives nothing more, lets deliveries under
// way end, gives back the rest and deletes what was delivered, within the grace period.

/// Receives a pool's messages, delivers and deletes them.
public struct Worker: Service {
    private static let waitSeconds = 20

    private let options: WorkerOptions
    private let queue: any WorkerQueue
    private let targets: [any DeliveryTarget]
    private let engine: CurlEngine
    private let logger: Logger
    private let now: @Sendable () -> Timestamp

    /// - Throws: `DeliveryURLError` for a target that is none.
    public init(_ options: WorkerOptions, logger: Logger) throws {
        let engine = CurlEngine()
        self.options = options
        self.engine = engine
        self.logger = logger
        queue = SQSEndpointQueue(engine: engine, endpoint: options.endpoint)
        targets = try options.deliver.map { try DeliveryURL.target($0, engine: engine) }
        let start = ContinuousClock.now
        now = {
            let passed = start.duration(to: .now).components
            return Timestamp(
                milliseconds: 1_000_000 + passed.seconds * 1_000 + passed.attoseconds / 1_000_000_000_000_000)
        }
    }

    public func run() async throws {
        defer { engine.shutdown() }
        let mailbox = EffectMailbox()
        let stopping = Stopping()
        try await withGracefulShutdownHandler {
            guard let shards = await discover(stopping) else { return }
            logger.info(
                "Working",
                metadata: [
                    "pool": "\(options.pool)", "shards": "\(shards.count)",
                    "targets": "\(targets.map(\.kind).joined(separator: ","))",
                ])
            try await work(shards, mailbox, stopping)
        } onGracefulShutdown: {
            stopping.stop()
        }
    }

    /// The names of the shards to work on; asks until somebody answers. `nil` if told to stop meanwhile.
    private func discover(_ stopping: Stopping) async -> [String]? {
        let wanted = options.shards.flatMap(WorkerOptions.shardNumbers)
        var isSilent = false
        while !stopping.isStopping {
            do throws(WorkerQueueError) {
                let names = try await queue.shards(ofPool: options.pool)
                let owned = names.enumerated().filter { wanted?.contains($0.offset) ?? true }.map(\.element)
                if !owned.isEmpty { return owned }
                report("No shard to work on", &isSilent, "the pool has \(names.count) shards")
            } catch { report("Server does not answer", &isSilent, "\(error)") }
            try? await Task.sleep(for: .seconds(1))
        }
        return nil
    }

    /// Logged once for each change of state.
    private func report(_ message: Logger.Message, _ isSilent: inout Bool, _ reason: String) {
        if !isSilent {
            logger.warning(message, metadata: ["pool": "\(options.pool)", "reason": "\(reason)"])
        }
        isSilent = true
    }

    private func work(_ shards: [String], _ mailbox: EffectMailbox, _ stopping: Stopping) async throws {
        var limits = SchedulerLimits()
        limits.concurrency = options.concurrency
        limits.visibilityMilliseconds = Int64(options.visibilitySeconds) * 1_000
        limits.maxAttempts = options.maxAttempts
        let desk = WorkerDesk(
            GroupScheduler(shardCount: shards.count, limits: limits, seed: .random(in: .min ... .max)), mailbox)
        let health = ShardHealth(count: shards.count)
        let receives = ReceiveTasks()
        await withDiscardingTaskGroup { releases in
            await withDiscardingTaskGroup { group in
                group.addTask {
                    while !Task.isCancelled {
                        desk.handle { $0.tick(now: now()) }
                        if stopping.takeStop() {
                            let deadline = now() + Int64(options.graceSeconds) * 1_000
                            desk.handle { $0.stop(deadline: deadline, now: now()) }
                        }
                        try? await Task.sleep(for: .milliseconds(100))
                    }
                }
                loop: while true {
                    for effect in await mailbox.next() {
                        if case .finished = effect { break loop }
                        if case .cancelReceives = effect {
                            receives.cancel()
                            continue
                        }
                        // What is given back must arrive: it is waited for, and not cancelled at the end.
                        if case .release = effect {
                            releases.addTask { await perform(effect, shards, health, desk, receives) }
                        } else {
                            group.addTask { await perform(effect, shards, health, desk, receives) }
                        }
                    }
                }
                // Long polls that are still out would hold the stop up by their length.
                group.cancelAll()
            }
        }
        let totals = desk.totals
        logger.info(
            "Worker stopped",
            metadata: [
                "pool": "\(options.pool)", "delivered": "\(totals.delivered)", "lost": "\(totals.lost)",
                "dead_lettered": "\(totals.deadLettered)", "failed_deletes": "\(totals.failedDeletes)",
                "undeleted": "\(totals.undeleted)",
            ])
        if totals.undeleted > 0 { throw UndeletedMessages(count: totals.undeleted) }
    }

    // MARK: - Effects

    private func perform(
        _ effect: GroupScheduler.Effect, _ shards: [String], _ health: ShardHealth, _ desk: WorkerDesk,
        _ receives: ReceiveTasks
    ) async {
        switch effect {
        case .receive(let shard):
            await receives.run { await receive(shard, shards[shard], health, desk) }
        case .deliver(let message, let attempt):
            let outcome = await deliver(message, attempt)
            if outcome != .delivered {
                logger.notice(
                    "Delivery failed",
                    metadata: [
                        "message.id": "\(message.id)", "shard": "\(shards[message.shard])", "attempt": "\(attempt)",
                        "outcome": "\(Worker.name(outcome))",
                    ])
            }
            desk.handle { $0.attempted(message, outcome, now: now()) }
        case .moveToDeadLetter(let message, let reason): await move(message, reason, shards, desk)
        case .delete(let shard, let messages): await delete(shard, shards[shard], messages, desk)
        case .extend(let shard, let messages): await extend(shard, shards[shard], messages, desk)
        case .release(let shard, let messages):
            await release(messages, shards[shard])
        case .deletesFail(let shard, true):
            logger.error(
                "Deletes fail: nothing more of this shard is received or delivered until they work again",
                metadata: ["shard": "\(shards[shard])"])
        case .deletesFail(let shard, false):
            logger.notice("Deletes work again", metadata: ["shard": "\(shards[shard])"])
        case .finished, .cancelReceives: break
        }
    }

    private func receive(_ shard: Int, _ name: String, _ health: ShardHealth, _ desk: WorkerDesk) async {
        let began = now()
        do throws(WorkerQueueError) {
            let messages = try await queue.receive(
                from: name, visibilitySeconds: options.visibilitySeconds, waitSeconds: Worker.waitSeconds
            ).map { message in
                var message = message
                message.shard = shard
                message.shardName = name
                return message
            }
            if health.succeeded(shard) { logger.info("Shard answers again", metadata: ["shard": "\(name)"]) }
            // Counted from the answer: the queue's clock began no later, and half the timeout is kept in hand.
            let visibleAt = max(began, now()) + Int64(options.visibilitySeconds) * 1_000
            desk.handle { $0.received(messages, from: shard, visibleAt: visibleAt, now: now()) }
        } catch {
            let isNew = health.failed(shard)
            if isNew, !Task.isCancelled {
                logger.warning("Shard does not answer", metadata: ["shard": "\(name)", "reason": "\(error)"])
            }
            // A server learns that a client is gone a moment later; what is given back before would go to this receive.
            if Task.isCancelled { await Task { try? await Task.sleep(for: .milliseconds(100)) }.value }
            desk.handle { $0.receiveFailed(from: shard, now: now()) }
        }
    }

    /// One attempt: the targets in turn until one takes the message.
    private func deliver(_ message: WorkMessage, _ attempt: Int) async -> DeliveryOutcome {
        var last = DeliveryOutcome.refused(errorClass: "no-target")
        var canRetry: DeliveryOutcome?
        for target in targets {
            last = DeliveryOutcome.settled(await target.deliver(message, attempt: attempt))
            switch last {
            case .delivered: return last
            case .failed: canRetry = canRetry ?? last
            default: continue
            }
        }
        // A target that may work later outweighs one that never will.
        return canRetry ?? last
    }

    private func move(
        _ message: WorkMessage, _ reason: DeadLetterReason, _ shards: [String], _ desk: WorkerDesk
    ) async {
        let isStored: Bool
        do throws(WorkerQueueError) {
            try await queue.send(
                message, attributes: DeadLetterAttributes.attributes(message, reason, pool: options.pool),
                to: DeadLetterAttributes.queue(ofPool: options.pool))
            isStored = true
        } catch { isStored = false }
        logger.warning(
            "Message moved to the dead-letter queue",
            metadata: [
                "message.id": "\(message.id)", "shard": "\(shards[message.shard])", "reason": "\(reason.reason)",
                "error_class": "\(reason.errorClass)", "attempts": "\(reason.attempts)", "stored": "\(isStored)",
            ])
        desk.handle { $0.moved(message, isStored: isStored, now: now()) }
    }

    private func delete(_ shard: Int, _ name: String, _ messages: [WorkMessage], _ desk: WorkerDesk) async {
        do throws(WorkerQueueError) {
            let (lost, failed) = try await queue.delete(messages, from: name)
            for message in lost {
                logger.warning(
                    "Delivered too late: the message will come again",
                    metadata: ["message.id": "\(message.id)", "shard": "\(name)"])
            }
            if !failed.isEmpty { try? await Task.sleep(for: .milliseconds(200)) }
            desk.handle { $0.deleted(shard: shard, lost: lost, failed: failed, now: now()) }
        } catch {
            try? await Task.sleep(for: .milliseconds(500))
            desk.handle { $0.deleted(shard: shard, lost: [], failed: messages, now: now()) }
        }
    }

    private func release(_ messages: [WorkMessage], _ name: String) async {
        for batch in Worker.batches(messages) {
            do throws(WorkerQueueError) {
                let (lost, failed) = try await queue.changeVisibility(batch, seconds: 0, in: name)
                if !lost.isEmpty {
                    logger.notice(
                        "Messages were not held any more", metadata: ["shard": "\(name)", "count": "\(lost.count)"])
                }
                if !failed.isEmpty { throw .refused(code: "entries failed: \(failed.count)") }
            } catch {
                logger.warning(
                    "Messages could not be given back: they come again when their visibility timeout ends",
                    metadata: ["shard": "\(name)", "count": "\(batch.count)", "reason": "\(error)"])
            }
        }
    }

    private func extend(_ shard: Int, _ name: String, _ messages: [WorkMessage], _ desk: WorkerDesk) async {
        let began = now()
        var lost: [WorkMessage] = []
        for batch in Worker.batches(messages) {
            do throws(WorkerQueueError) {
                let answer = try await queue.changeVisibility(batch, seconds: options.visibilitySeconds, in: name)
                lost += answer.lost
                guard answer.failed.isEmpty || !answer.lost.isEmpty else {
                    return desk.handle { $0.extensionFailed(shard: shard, messages) }
                }
            } catch {
                // Nothing was said about them: they count as held until their time is over.
                return desk.handle { $0.extensionFailed(shard: shard, messages) }
            }
        }
        let gone = lost
        let visibleAt = began + Int64(options.visibilitySeconds) * 1_000
        desk.handle { $0.extended(shard: shard, messages, lost: gone, visibleAt: visibleAt, now: now()) }
    }

    private static func batches(_ messages: [WorkMessage]) -> [[WorkMessage]] {
        stride(from: 0, to: messages.count, by: QueueLimits.batchEntriesMax).map {
            Array(messages[$0..<min($0 + QueueLimits.batchEntriesMax, messages.count)])
        }
    }

    private static func name(_ outcome: DeliveryOutcome) -> String {
        switch outcome {
        case .delivered: "delivered"
        case .failed(let errorClass, _): "failed " + errorClass
        case .refused(let errorClass): "refused " + errorClass
        case .unavailable(let errorClass): "unavailable " + errorClass
        case .unknown(let errorClass): "unknown " + errorClass
        case .ended(let errorClass): "ended " + errorClass
        case .partial(let partial): "partial " + partial.errorClass
        }
    }
}

/// The worker ended with messages that were delivered and could not be deleted: they will be delivered again.
public struct UndeletedMessages: Error, CustomStringConvertible {
    public let count: Int
    public var description: String {
        "\(count) delivered messages could not be deleted; they will be delivered again"
    }
}

/// The scheduler behind its lock, and where its effects go.
private final class WorkerDesk: Sendable {
    private let scheduler: Mutex<GroupScheduler>
    private let mailbox: EffectMailbox

    init(_ scheduler: GroupScheduler, _ mailbox: EffectMailbox) {
        self.scheduler = Mutex(scheduler)
        self.mailbox = mailbox
    }

    func handle(_ event: (inout GroupScheduler) -> [GroupScheduler.Effect]) {
        // Posted under the lock, so that effects are read in the order in which they were decided.
        scheduler.withLock { mailbox.post(event(&$0)) }
    }

    var totals: (delivered: Int, lost: Int, deadLettered: Int, failedDeletes: Int, undeleted: Int) {
        scheduler.withLock {
            ($0.deliveredCount, $0.lostCount, $0.deadLetterCount, $0.failedDeleteCount, $0.undeletedCount)
        }
    }
}

/// The receives that are out, so that they can be broken off before anything is given back: a long poll would take it
/// again. They are tasks of their own, one a request and always waited for, because they end earlier than their siblings.
private final class ReceiveTasks: Sendable {
    private struct State {
        var isCancelled = false
        var next = 0
        var tasks: [Int: Task<Void, Never>] = [:]
    }

    private let state = Mutex(State())

    func run(_ body: @escaping @Sendable () async -> Void) async {
        let task = Task { await body() }
        let number = state.withLock { state in
            state.next += 1
            state.tasks[state.next] = task
            if state.isCancelled { task.cancel() }
            return state.next
        }
        await task.value
        state.withLock { $0.tasks[number] = nil }
    }

    func cancel() {
        let tasks = state.withLock { state in
            state.isCancelled = true
            return Array(state.tasks.values)
        }
        for task in tasks { task.cancel() }
    }
}

/// Whether the worker was told to stop.
private final class Stopping: Sendable {
    private let state = Mutex((isStopping: false, isTaken: false))

    func stop() { state.withLock { $0.isStopping = true } }
    var isStopping: Bool { state.withLock { $0.isStopping } }

    /// - Returns: `true` once, when told to stop.
    func takeStop() -> Bool {
        state.withLock { state in
            guard state.isStopping, !state.isTaken else { return false }
            state.isTaken = true
            return true
        }
    }
}

/// Which shards answer, so that a change is logged once.
private final class ShardHealth: Sendable {
    private let isFailing: Mutex<[Bool]>

    init(count: Int) { isFailing = Mutex(Array(repeating: false, count: count)) }

    /// - Returns: whether it failed before.
    func succeeded(_ shard: Int) -> Bool { set(shard, false) }
    /// - Returns: whether it answered before.
    func failed(_ shard: Int) -> Bool { set(shard, true) }

    private func set(_ shard: Int, _ value: Bool) -> Bool {
        isFailing.withLock { isFailing in
            defer { isFailing[shard] = value }
            return isFailing[shard] != value
        }
    }
}
