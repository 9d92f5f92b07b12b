// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Logging
import QueuePoolCore

/// Performs the scheduler's effects, each of which ends with the next event.
struct EffectPerformer: Sendable {
    private static let waitSeconds = 20

    let options: WorkerOptions
    let source: WorkerSource
    let targets: [any DeliveryTarget]
    /// Of the targets, for logs.
    let labels: [String]
    /// The shards that are worked on.
    let shards: ShardList
    let desk: WorkerDesk
    /// `nil`: all shards are owned for good.
    let ownership: ShardOwnership?
    let health: ShardHealth
    let metrics: WorkerMetrics
    /// `nil`: nobody is told what becomes of messages.
    let telling: OutcomeTelling?
    let logger: Logger
    let clock: any Clock

    func perform(_ effect: GroupScheduler.Effect) async {
        switch effect {
        case .receive(let shard, let number, let waits):
            await receive(shard, number, waitSeconds: waits ? EffectPerformer.waitSeconds : 0)
        case .deliver(let message, let attempt, let target): await deliver(message, attempt, target)
        case .moveToDeadLetter(let message, let reason): await move(message, reason)
        case .delete(let shard, let messages): await delete(shard, messages)
        case .extend(let shard, let messages): await extend(shard, messages)
        case .release(let shard, let messages): await release(shard, messages)
        case .deletesFail(let shard, true):
            logger.error(
                "Deletes fail: nothing more of this shard is received or delivered until they work again",
                metadata: ["shard": "\(shards.name(shard))"])
        case .deletesFail(let shard, false):
            logger.notice("Deletes work again", metadata: ["shard": "\(shards.name(shard))"])
        case .targetFails(let target, let errorClass?):
            logger.error(
                "Target does not take deliveries: it is probed, and what it was to get waits or goes to the next target",
                metadata: ["target": "\(labels[target])", "error_class": "\(errorClass)"])
        case .targetFails(let target, nil):
            logger.notice("Target takes deliveries again", metadata: ["target": "\(labels[target])"])
        case .targetEnded, .finished, .cancelReceives, .drained: break
        }
    }

    private func receive(_ shard: Int, _ number: Int, waitSeconds: Int) async {
        let name = shards.name(shard)
        let began = clock.now()
        do throws(WorkerQueueError) {
            let messages = try await source.queue.receive(
                from: name, visibilitySeconds: options.visibilitySeconds, waitSeconds: waitSeconds)
            let received = clock.now()
            let mine = messages.map { message in
                var message = message
                message.shard = shard
                message.shardName = name
                if let age = message.millisecondsSinceFirstReceive { message.firstReceivedAt = received + -age }
                return message
            }
            metrics.received(mine.count, from: shard)
            if health.succeeded(shard) { logger.info("Shard answers again", metadata: ["shard": "\(name)"]) }
            // Counted from the answer: the queue's clock began no later, and half the timeout is kept in hand.
            let visibleAt = max(began, received) + Int64(options.visibilitySeconds) * 1_000
            desk.handle {
                $0.received(mine, from: shard, number: number, visibleAt: visibleAt, now: clock.now())
            }
        } catch {
            // A receive that was broken off says nothing of the shard.
            if !Task.isCancelled, health.failed(shard, error) {
                logger.warning(
                    "Shard does not answer",
                    metadata: [
                        "shard": "\(name)", "endpoint": "\(source.label)", "reason": "\(error)",
                    ])
            }
            // A server learns that a client is gone a moment later; what is given back before would go to this receive.
            if Task.isCancelled { await clock.pause(milliseconds: 100) }
            desk.handle { $0.receiveFailed(from: shard, number: number, now: clock.now()) }
        }
    }

    private func deliver(_ message: WorkMessage, _ attempt: Int, _ target: Int) async {
        if let ownership, !ownership.mayDeliver(message.shard) {
            // The process stood still, and the lease may be over: nothing was handed over.
            let now = clock.now()
            return desk.handle {
                $0.drop(shard: message.shard, now: now)
                    + $0.notBegun(message, target: target, now: now)
            }
        }
        metrics.deliveryBegan(target: target, attempt: attempt)
        telling?.begins(message, attempt: attempt, target: labels[target])
        let began = clock.now()
        let outcome = await targets[target].deliverWhole(
            message, attempt: attempt, mayBegin: { [ownership] in ownership?.mayDeliver(message.shard) != false })
        metrics.deliveryEnded(target: target, outcome, after: .milliseconds(clock.now() - began))
        if outcome != .delivered {
            logger.notice(
                "Delivery failed",
                metadata: [
                    "message.id": "\(message.id)", "shard": "\(shards.name(message.shard))", "attempt": "\(attempt)",
                    "group_hash": "\(EffectPerformer.hash(ofGroup: message.group))", "target": "\(labels[target])",
                    "outcome": "\(EffectPerformer.name(outcome))",
                ])
        }
        desk.handle { $0.attempted(message, target: target, outcome, now: clock.now()) }
        telling?.ended(
            message, outcome, attempt: attempt, target: labels[target],
            next: outcome == .delivered ? nil : desk.nextAttempt(at: message))
    }

    private func move(_ message: WorkMessage, _ reason: DeadLetterReason) async {
        let isStored: Bool
        do throws(WorkerQueueError) {
            try await source.queue.send(
                message, attributes: DeadLetterAttributes.attributes(message, reason, pool: options.pool),
                deduplicationID: DeadLetterMark.deduplicationID(message: message.id, pool: options.pool),
                to: DeadLetterAttributes.queue(ofPool: options.pool))
            isStored = true
            metrics.deadLettered(reason: reason.reason)
            telling?.dead(message, reason)
        } catch { isStored = false }
        logger.warning(
            isStored
                ? "Message moved to the dead-letter queue"
                : "The dead-letter queue does not take a message: it stays in its shard and is tried again",
            metadata: [
                "message.id": "\(message.id)", "shard": "\(shards.name(message.shard))",
                "group_hash": "\(EffectPerformer.hash(ofGroup: message.group))", "reason": "\(reason.reason)",
                "error_class": "\(reason.errorClass)", "attempts": "\(reason.attempts)", "stored": "\(isStored)",
            ])
        desk.handle { $0.moved(message, isStored: isStored, now: clock.now()) }
    }

    private func delete(_ shard: Int, _ messages: [WorkMessage]) async {
        do throws(WorkerQueueError) {
            let (lost, failed) = try await source.queue.delete(messages, from: shards.name(shard))
            metrics.deleted(messages.count - lost.count - failed.count, from: shard)
            for message in lost {
                logger.notice(
                    "Deleted too late: the message comes again, and is deleted then",
                    metadata: ["message.id": "\(message.id)", "shard": "\(shards.name(shard))"])
            }
            if !failed.isEmpty { await clock.sleep(milliseconds: 200) }
            desk.handle { $0.deleted(shard: shard, of: messages, lost: lost, failed: failed, now: clock.now()) }
        } catch {
            await clock.sleep(milliseconds: 500)
            desk.handle {
                $0.deleted(
                    shard: shard, of: messages, lost: [], failed: messages, isRequestLost: true, now: clock.now())
            }
        }
    }

    private func release(_ shard: Int, _ messages: [WorkMessage]) async {
        for batch in EffectPerformer.batches(messages) {
            do throws(WorkerQueueError) {
                let (lost, failed) = try await source.queue.changeVisibility(batch, seconds: 0, in: shards.name(shard))
                if !lost.isEmpty {
                    logger.notice(
                        "Messages were not held any more",
                        metadata: ["shard": "\(shards.name(shard))", "count": "\(lost.count)"])
                }
                if !failed.isEmpty { throw .refused(code: "entries failed: \(failed.count)") }
            } catch {
                logger.warning(
                    "Messages could not be given back: they come again when their visibility timeout ends",
                    metadata: ["shard": "\(shards.name(shard))", "count": "\(batch.count)", "reason": "\(error)"])
            }
        }
    }

    private func extend(_ shard: Int, _ messages: [WorkMessage]) async {
        let began = clock.now()
        var lost: [WorkMessage] = []
        var failed: [WorkMessage] = []
        for batch in EffectPerformer.batches(messages) {
            do throws(WorkerQueueError) {
                let answer = try await source.queue.changeVisibility(
                    batch, seconds: options.visibilitySeconds, in: shards.name(shard))
                lost += answer.lost
                failed += answer.failed
            } catch { failed += batch }
        }
        // A group is kept whole or not at all. Of what failed nothing was said: it counts as held until its time is over.
        let gone = lost
        let unanswered = Set(failed.map(\.group)).subtracting(lost.map(\.group))
        let visibleAt = began + Int64(options.visibilitySeconds) * 1_000
        desk.handle { scheduler in
            let answered = messages.filter { !unanswered.contains($0.group) }
            return scheduler.extensionFailed(
                shard: shard, messages.filter { unanswered.contains($0.group) }, now: clock.now())
                + scheduler.extended(shard: shard, answered, lost: gone, visibleAt: visibleAt, now: clock.now())
        }
    }

    private static func batches(_ messages: [WorkMessage]) -> [[WorkMessage]] {
        stride(from: 0, to: messages.count, by: QueueLimits.batchEntriesMax).map {
            Array(messages[$0..<min($0 + QueueLimits.batchEntriesMax, messages.count)])
        }
    }

    /// Tells groups apart in a log without naming them: a group is often an address.
    private static func hash(ofGroup group: String) -> String {
        let text = String(XXHash64.hash(group), radix: 16)
        return String(repeating: "0", count: 16 - text.count) + text
    }

    private static func name(_ outcome: DeliveryOutcome) -> String {
        switch outcome {
        case .delivered: "delivered"
        case .failed(let errorClass, _): "failed " + errorClass
        case .refused(let errorClass): "refused " + errorClass
        case .unavailable(let errorClass): "unavailable " + errorClass
        case .unknown(let errorClass): "unknown " + errorClass
        case .cancelled: "cancelled"
        case .incomplete(let errorClass, _): "incomplete " + errorClass
        case .ended(let errorClass): "ended " + errorClass
        case .partial(let partial):
            "partial \(partial.errorClass) refused=\(partial.refused.count) deferred=\(partial.deferred.count)"
        }
    }
}
