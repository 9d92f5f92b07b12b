// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolTestSupport

// The worker's driver as the program has it (`EffectPerformer`): each effect of the scheduler ends with its event.

/// A process that receives, delivers and deletes, with the real scheduler.
final class SimulatedWorker: @unchecked Sendable {
    static let waitSeconds = 20
    private static let tickMilliseconds: Int64 = 250
    private static let timeoutMilliseconds: Int64 = 10_000

    let host: Host
    private unowned let world: World
    private var scheduler: GroupScheduler
    private var random: SplitMix64

    init(_ host: Host, _ world: World, seed: UInt64) {
        self.host = host
        self.world = world
        random = SplitMix64(seed: seed)
        scheduler = SimulatedWorker.scheduler(world, seed: 0)
    }

    private static func scheduler(_ world: World, seed: UInt64) -> GroupScheduler {
        var limits = SchedulerLimits()
        limits.visibilityMilliseconds = Int64(world.plan.visibilitySeconds) * 1_000
        limits.maxAttempts = world.plan.maxAttempts
        limits.concurrency = world.plan.concurrency
        return GroupScheduler(
            shardCount: world.plan.shardCount, targetCount: world.plan.targetCount, limits: limits, seed: seed)
    }

    func start() {
        scheduler = SimulatedWorker.scheduler(world, seed: random.next())
        tick()
    }

    func crash() { host.crash() }

    private func tick() {
        handle { $0.tick(now: $1) }
        host.schedule(afterMilliseconds: SimulatedWorker.tickMilliseconds) { [self] in tick() }
    }

    private func handle(_ event: (inout GroupScheduler, Timestamp) -> [GroupScheduler.Effect]) {
        for effect in event(&scheduler, host.now()) { perform(effect) }
    }

    private func perform(_ effect: GroupScheduler.Effect) {
        switch effect {
        case .receive(let shard): receive(shard)
        case .deliver(let message, _, let target):
            world.targets[target].deliver(message, from: self) { [self] outcome in
                handle { $0.attempted(message, target: target, outcome, now: $1) }
            }
        case .moveToDeadLetter(let message, _): move(message)
        case .delete(let shard, let messages): delete(shard, messages)
        case .extend(let shard, let messages): change(shard, messages, world.plan.visibilitySeconds, isExtension: true)
        case .release(let shard, let messages): change(shard, messages, 0, isExtension: false)
        case .deletesFail, .targetFails, .targetEnded, .cancelReceives, .finished: break
        }
    }

    private func router() -> SimulatedRouter { world.routers[random.below(world.routers.count)] }

    private func receive(_ shard: Int) {
        let router = router()
        let visibility = world.plan.visibilitySeconds
        let timeout = Int64(SimulatedWorker.waitSeconds) * 1_000 + SimulatedWorker.timeoutMilliseconds
        world.wire.call(from: host, to: router.host, timeout: timeout) { reply in
            router.receive(
                from: shard, limit: 10, visibilitySeconds: visibility, waitSeconds: SimulatedWorker.waitSeconds, reply)
        } late: { [self] in
            handle { $0.receiveFailed(from: shard, now: $1) }
        } done: { [self] (answer: Result<[ReceivedMessage], ShardError>) in
            switch answer {
            case .failure: handle { $0.receiveFailed(from: shard, now: $1) }
            case .success(let messages):
                let mine = messages.map { SimulatedWorker.message($0, shard) }
                world.note("received", mine, of: self)
                handle {
                    $0.received(mine, from: shard, visibleAt: $1 + Int64(visibility) * 1_000, now: $1)
                }
            }
        }
    }

    private static func message(_ received: ReceivedMessage, _ shard: Int) -> WorkMessage {
        received.withView { view in
            WorkMessage(
                id: received.messageID.description, handle: received.handle.text,
                group: String(decoding: view.group, as: UTF8.self), body: Array(view.body), shard: shard,
                receiveCount: received.receiveCount)
        }
    }

    private func move(_ message: WorkMessage) {
        world.moveToDeadLetter(message, from: self) { [self] isStored in
            handle { $0.moved(message, isStored: isStored, now: $1) }
        }
    }

    private static func handles(_ messages: [WorkMessage]) -> [ReceiptHandle] {
        messages.compactMap { ReceiptHandle(Array($0.handle.utf8)) }
    }

    private func delete(_ shard: Int, _ messages: [WorkMessage]) {
        let router = router()
        let handles = SimulatedWorker.handles(messages)
        world.wire.call(from: host, to: router.host, timeout: SimulatedWorker.timeoutMilliseconds) { [world] reply in
            world.deleteAsked(messages)
            router.delete(handles, from: shard) { outcomes in
                world.deleteAnswered(messages, outcomes)
                reply(outcomes)
            }
        } late: { [self] in
            handle { $0.deleted(shard: shard, lost: [], failed: messages, isRequestLost: true, now: $1) }
        } done: { [self] (outcomes: [DeleteOutcome]) in
            var lost: [WorkMessage] = []
            var failed: [WorkMessage] = []
            for (message, outcome) in zip(messages, outcomes) {
                switch outcome {
                case .deleted: break
                case .expired, .notOurs: lost.append(message)
                case .failed: failed.append(message)
                }
            }
            let (gone, again) = (lost, failed)
            host.schedule(afterMilliseconds: failed.isEmpty ? 0 : 200) { [self] in
                handle { $0.deleted(shard: shard, lost: gone, failed: again, now: $1) }
            }
        }
    }

    private func change(_ shard: Int, _ messages: [WorkMessage], _ seconds: Int, isExtension: Bool) {
        let router = router()
        let began = host.now()
        let changes = SimulatedWorker.handles(messages).map { (handle: $0, seconds: seconds) }
        world.note(isExtension ? "extends" : "releases", messages, of: self)
        world.wire.call(from: host, to: router.host, timeout: SimulatedWorker.timeoutMilliseconds) { reply in
            router.changeVisibility(changes, in: shard, reply)
        } late: { [self] in
            if isExtension { handle { $0.extensionFailed(shard: shard, messages, now: $1) } }
        } done: { [self] (results: [Result<VisibilityDecision, ShardError>]) in
            guard isExtension else { return }
            world.note("extended", messages, of: self)
            var lost: [WorkMessage] = []
            var failed: Set<String> = []
            for (message, result) in zip(messages, results) {
                switch result {
                case .success(.changed): break
                case .success(.failed), .failure: failed.insert(message.group)
                case .success: lost.append(message)
                }
            }
            let gone = lost
            let unanswered = failed.subtracting(lost.map(\.group))
            let visibleAt = began + Int64(seconds) * 1_000
            handle { scheduler, now in
                scheduler.extensionFailed(
                    shard: shard, messages.filter { unanswered.contains($0.group) }, now: now)
                    + scheduler.extended(
                        shard: shard, messages.filter { !unanswered.contains($0.group) }, lost: gone,
                        visibleAt: visibleAt, now: now)
            }
        }
    }
}
