// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking
import QueuePoolCore
import QueuePoolTestSupport
import Testing

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
    /// Receives that are out, so that they can be broken off, by numbers of this host: answers outlive a process, whose
    /// scheduler counts anew.
    private var receives: [Int: (shard: Int, number: Int)] = [:]
    private var receiveCount = 0
    private var ended: (@Sendable () -> Void)?
    /// Of what follows, so that a seed's world is otherwise the same without it.
    private var owningRandom: SplitMix64
    /// Percent of the ticks at which a shard is given away, or taken again.
    private var owningChanges = 0
    /// Percent of the deliveries that do not begin, as by a worker whose lease is over.
    private var notBegun = 0
    /// Shards that are being given away or were.
    private var away: Set<Int> = []
    /// Those of which nothing may begin.
    private var closed: Set<Int> = []

    private var life: WorkerRules.Life { WorkerRules.Life(worker: host.number, life: host.life) }

    init(_ host: Host, _ world: World, seed: UInt64) {
        self.host = host
        self.world = world
        random = SplitMix64(seed: seed)
        owningRandom = SplitMix64(seed: seed ^ 0x0817)
        scheduler = SimulatedWorker.scheduler(world, seed: 0)
    }

    private static func scheduler(_ world: World, seed: UInt64, receivesMax: Int = 1) -> GroupScheduler {
        var limits = SchedulerLimits()
        limits.visibilityMilliseconds = Int64(world.plan.visibilitySeconds) * 1_000
        limits.maxAttempts = world.plan.maxAttempts
        limits.concurrency = world.plan.concurrency
        limits.receivesMax = receivesMax
        return GroupScheduler(
            shardCount: world.plan.shardCount, targetCount: world.plan.targetCount, limits: limits, seed: seed)
    }

    func start() {
        let several = owningRandom.chance(50) ? 1 + owningRandom.below(6) : 1
        scheduler = SimulatedWorker.scheduler(world, seed: random.next(), receivesMax: several)
        receives = [:]
        ended = nil
        away = []
        closed = []
        owningChanges = owningRandom.chance(40) ? 1 + owningRandom.below(8) : 0
        notBegun = owningRandom.chance(30) ? 1 + owningRandom.below(20) : 0
        tick()
    }

    func crash() { host.crash() }

    /// Has it stop as on SIGTERM: what is under way may end, and what is held is given back.
    /// - Parameter ended: called when the process has ended.
    func stop(graceMilliseconds: Int64, _ ended: @escaping @Sendable () -> Void) {
        let life = host.life
        // In an event of its own: a process that stands still hears of it later.
        host.schedule(afterMilliseconds: 0) { [self] in
            guard self.ended == nil, host.life == life else { return }
            self.ended = ended
            handle { $0.stop(deadline: $1 + graceMilliseconds, now: $1) }
        }
    }

    private func exit() {
        guard let ended else { return }
        crash()
        world.checker.workerEnded(host.number)
        ended()
    }

    /// A server learns a moment later that a client is gone; what the poll brings until then nobody gets.
    private func cancelReceives(_ shard: Int?) {
        let open = receives.filter { shard == nil || $0.value.shard == shard }.sorted { $0.key < $1.key }
        for (key, (shard, number)) in open {
            receives[key] = nil
            host.schedule(afterMilliseconds: 100) { [self] in
                handle { $0.receiveFailed(from: shard, number: number, now: $1) }
            }
        }
    }

    private func tick() {
        handle { $0.tick(now: $1) }
        changeOwning()
        host.schedule(afterMilliseconds: SimulatedWorker.tickMilliseconds) { [self] in tick() }
    }

    /// Shards go and come, in the ways in which a lease ends; after the faults all are there again.
    private func changeOwning() {
        guard !world.isQuiet else {
            for shard in away.sorted() { begin(shard) }
            return
        }
        guard owningRandom.chance(owningChanges) else { return }
        let shard = owningRandom.below(world.plan.shardCount)
        guard away.insert(shard).inserted else { return begin(shard) }
        if owningRandom.chance(50) {
            let grace = Int64(owningRandom.below(5_000))
            handle { $0.drain(shard: shard, deadline: $1 + grace, now: $1) }
        } else {
            closed.insert(shard)
            handle { $0.drop(shard: shard, now: $1) }
        }
    }

    private func begin(_ shard: Int) {
        away.remove(shard)
        closed.remove(shard)
        handle { $0.begin(shard: shard, now: $1) }
    }

    /// Nothing begins at a shard that was given away.
    private func judgeBeginning(_ shard: Int) {
        if closed.contains(shard) { Issue.record("worker \(host.number) begins something at shard \(shard)") }
    }

    private func handle(_ event: (inout GroupScheduler, Timestamp) -> [GroupScheduler.Effect]) {
        for effect in event(&scheduler, host.now()) { perform(effect) }
    }

    private func perform(_ effect: GroupScheduler.Effect) {
        switch effect {
        case .receive(let shard, let number, let waits):
            judgeBeginning(shard)
            receive(shard, number, waits ? SimulatedWorker.waitSeconds : 0)
        case .deliver(let message, _, let target):
            judgeBeginning(message.shard)
            deliver(message, target)
        case .moveToDeadLetter(let message, let reason):
            let attempts = world.plan.maxAttempts
            world.rules.buries(message, World.number(message), reason, attempts: attempts, now: world.time.now)
            move(message)
        case .delete(let shard, let messages):
            guard world.deliveryRandom.chance(world.isQuiet ? 0 : world.plan.delivery.pausesBeforeDelete) else {
                return delete(shard, messages)
            }
            host.schedule(afterMilliseconds: 1) { [self] in delete(shard, messages) }
            host.pause(milliseconds: Int64(world.plan.visibilitySeconds) * 1_500)
        case .extend(let shard, let messages): change(shard, messages, world.plan.visibilitySeconds, isExtension: true)
        case .release(let shard, let messages):
            let numbers = messages.map(World.number)
            world.rules.releases(messages, by: life, numbers: numbers, now: world.time.now)
            change(shard, messages, 0, isExtension: false)
        case .cancelReceives(let shard): cancelReceives(shard)
        case .drained(let shard): closed.insert(shard)
        case .finished: exit()
        case .deletesFail, .targetFails, .targetEnded: break
        }
    }

    private func deliver(_ message: WorkMessage, _ target: Int) {
        guard !owningRandom.chance(world.isQuiet ? 0 : notBegun) else {
            return host.schedule(afterMilliseconds: 0) { [self] in
                handle { $0.notBegun(message, target: target, now: $1) }
            }
        }
        let number = World.number(message)
        world.rules.begins(message, number, at: target, by: life, now: world.time.now)
        world.targets[target].deliver(message, from: self) { [self] outcome in
            world.note("ended", [message], of: self)
            world.rules.ended(message, number, at: target, outcome, by: life, now: world.time.now)
            handle { $0.attempted(message, target: target, outcome, now: $1) }
        }
    }

    private func router() -> SimulatedRouter { world.routers[random.below(world.routers.count)] }

    private func receive(_ shard: Int, _ number: Int, _ waitSeconds: Int) {
        let router = router()
        let visibility = world.plan.visibilitySeconds
        let timeout = Int64(waitSeconds) * 1_000 + SimulatedWorker.timeoutMilliseconds
        receiveCount += 1
        let key = receiveCount
        receives[key] = (shard, number)
        world.wire.call(from: host, to: router.host, timeout: timeout) { reply in
            router.receive(
                from: shard, limit: 10, visibilitySeconds: visibility, waitSeconds: waitSeconds, reply)
        } late: { [self] in
            guard receives.removeValue(forKey: key) != nil else { return }
            handle { $0.receiveFailed(from: shard, number: number, now: $1) }
        } done: { [self] (answer: Result<[ReceivedMessage], ShardError>) in
            guard receives.removeValue(forKey: key) != nil else { return }
            switch answer {
            case .failure: handle { $0.receiveFailed(from: shard, number: number, now: $1) }
            case .success(let messages):
                let mine = messages.map { SimulatedWorker.message($0, shard) }
                world.note("received", mine, of: self)
                world.rules.received(mine, by: life, now: world.time.now)
                handle {
                    $0.received(
                        mine, from: shard, number: number, visibleAt: $1 + Int64(visibility) * 1_000, now: $1)
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
        let asked = host.life
        world.moveToDeadLetter(message, from: self) { [self] isStored in
            guard host.life == asked else { return }
            handle { $0.moved(message, isStored: isStored, now: $1) }
        }
    }

    private static func handles(_ messages: [WorkMessage]) -> [ReceiptHandle] {
        messages.compactMap { ReceiptHandle(Array($0.handle.utf8)) }
    }

    private func delete(_ shard: Int, _ messages: [WorkMessage]) {
        let router = router()
        let handles = SimulatedWorker.handles(messages)
        world.note("deletes", messages, of: self)
        let asked = host.life
        world.wire.call(from: host, to: router.host, timeout: SimulatedWorker.timeoutMilliseconds) { [world] reply in
            world.deleteAsked(messages)
            router.delete(handles, from: shard) { outcomes in
                world.deleteAnswered(messages, outcomes)
                reply(outcomes)
            }
            guard world.deliveryRandom.chance(world.plan.delivery.twinDeletes) else { return }
            router.delete(handles, from: shard) { outcomes in world.deleteAnswered(messages, outcomes) }
        } late: { [self] in
            handle { $0.deleted(shard: shard, lost: [], failed: messages, isRequestLost: true, now: $1) }
        } done: { [self] (outcomes: [DeleteOutcome]) in
            // The connections of a process end with it: its next life hears nothing of what this one asked.
            guard host.life == asked else { return }
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
            world.note("lost", lost, of: self)
            world.note("undeleted", failed, of: self)
            world.rules.lost(lost, by: life)
            host.schedule(afterMilliseconds: failed.isEmpty ? 0 : 200) { [self] in
                handle { $0.deleted(shard: shard, lost: gone, failed: again, now: $1) }
            }
        }
    }

    private func change(_ shard: Int, _ messages: [WorkMessage], _ seconds: Int, isExtension: Bool) {
        let router = router()
        let began = host.now()
        let asked = host.life
        let changes = SimulatedWorker.handles(messages).map { (handle: $0, seconds: seconds) }
        if isExtension { world.rules.asksExtension(messages.map(\.handle)) }
        world.note(isExtension ? "extends" : "releases", messages, of: self)
        world.wire.call(from: host, to: router.host, timeout: SimulatedWorker.timeoutMilliseconds) { [world] reply in
            let until = isExtension ? world.time.now + Int64(seconds) * 1_000 : nil
            router.changeVisibility(changes, in: shard) { results in
                if isExtension { world.extensionAnswered(messages, results, until: until) }
                reply(results)
            }
        } late: { [self] in
            if isExtension { handle { $0.extensionFailed(shard: shard, messages, now: $1) } }
        } done: { [self] (results: [Result<VisibilityDecision, ShardError>]) in
            guard isExtension, host.life == asked else { return }
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
            world.rules.lost(lost, by: life)
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
