// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolTestSupport
import Testing

@testable import QueuePoolCore

/// A worker alone at queues whose answers are late by more than a visibility timeout now and then, whose shards come and go.
private final class RandomWorker {
    static let groups = 50
    private enum Answer {
        /// A receive reached the queue, which answers later.
        case taken(shard: Int, number: Int, [WorkMessage])
        case event((inout GroupScheduler, Timestamp) -> [GroupScheduler.Effect])
        case reaches(GroupScheduler.Effect)
    }

    private static let visibility: Int64 = 3_000
    private static let receivesMax = 3
    private static let deletesMax = 3

    private var scheduler: GroupScheduler
    private var queues: [SchedulerQueueModel]
    private var random: SplitMix64
    private var now = Timestamp(milliseconds: 1_000_000)
    private var coming: [(at: Timestamp, Answer)] = []
    private var broken: Set<Int> = []
    private var out: [Int: (shard: Int, waits: Bool)] = [:]
    /// Delete requests under way by shard.
    private var deletes: [Int: [[WorkMessage]]] = [:]
    /// Until when shards that are drained may have something under way.
    private var deadlines: [Int: Timestamp] = [:]
    private var begun: Set<String> = []
    private var isOurs: [Bool]
    private var isCalm = false
    /// What must not have happened.
    private(set) var faults: Set<String> = []
    /// Most receives that were out at one shard.
    private(set) var mostReceives = 0
    /// Most delete requests that were under way at one shard.
    private(set) var mostDeletes = 0
    private(set) var deliveries = 0

    init(seed: UInt64) {
        random = SplitMix64(seed: seed)
        var limits = SchedulerLimits()
        limits.concurrency = 120
        limits.maxAttempts = 3
        limits.visibilityMilliseconds = RandomWorker.visibility
        limits.receivesMax = RandomWorker.receivesMax
        limits.deletesMax = RandomWorker.deletesMax
        scheduler = GroupScheduler(shardCount: 2, limits: limits, seed: seed)
        queues = (0..<3).map {
            SchedulerQueueModel(
                shard: $0, groups: RandomWorker.groups, messages: 4, visibilityMilliseconds: RandomWorker.visibility)
        }
        isOurs = [true, true, false]
        scheduler.grow(shardCount: 3)
    }

    var isDone: Bool { queues.allSatisfy(\.isEmpty) }

    func run() {
        for step in 0..<4_000 where !isDone {
            isCalm = step > 1_200
            now = now + 50
            if step % 4 == 0 { handle { $0.tick(now: $1) } }
            if !isCalm, random.chance(3) { changeOwning() }
            if isCalm { for shard in queues.indices where !isOurs[shard] { begin(shard) } }
            while let place = coming.firstIndex(where: { $0.at <= now }) { come(coming.remove(at: place).1) }
        }
    }

    private func begin(_ shard: Int) {
        isOurs[shard] = true
        deadlines[shard] = nil
        handle { $0.begin(shard: shard, now: $1) }
    }

    private func changeOwning() {
        let shard = random.below(queues.count)
        switch (isOurs[shard], random.chance(50)) {
        case (false, _): begin(shard)
        case (true, true):
            isOurs[shard] = false
            handle { $0.drop(shard: shard, now: $1) }
        case (true, false):
            let grace = Int64(random.below(1_000))
            deadlines[shard] = min(deadlines[shard] ?? .distantFuture, now + grace)
            handle { $0.drain(shard: shard, deadline: $1 + grace, now: $1) }
        }
    }

    private func handle(_ event: (inout GroupScheduler, Timestamp) -> [GroupScheduler.Effect]) {
        for effect in event(&scheduler, now) { perform(effect) }
    }

    /// Some ways are longer than a visibility timeout.
    private func later(_ answer: Answer) {
        let isSlow = !isCalm && random.chance(8)
        coming.append((now + Int64(random.below(isSlow ? 5_000 : 300)), answer))
    }

    private func perform(_ effect: GroupScheduler.Effect) {
        switch effect {
        case .receive(let shard, let number, let waits):
            if !isOurs[shard] { faults.insert("receives of shard \(shard)") }
            if waits, out.values.contains(where: { $0.shard == shard && $0.waits }) { faults.insert("two wait") }
            out[number] = (shard, waits)
            mostReceives = max(mostReceives, out.values.count { $0.shard == shard })
            later(.reaches(effect))
        case .deliver(let message, _, let target): deliver(message, target)
        case .delete(let shard, let messages):
            begin(messages, of: shard)
            later(.reaches(effect))
        case .extend, .release, .moveToDeadLetter: later(.reaches(effect))
        case .cancelReceives(let shard):
            for (number, receive) in out where shard == nil || receive.shard == shard {
                guard broken.insert(number).inserted else { continue }
                later(
                    .event { [self] scheduler, now in
                        out[number] = nil
                        return scheduler.receiveFailed(from: receive.shard, number: number, now: now)
                    })
            }
        case .drained(let shard):
            if !(deletes[shard] ?? []).isEmpty, deadlines[shard].map({ now < $0 }) ?? true {
                faults.insert("drained with deletes under way")
            }
            isOurs[shard] = false
        case .deletesFail, .targetFails, .targetEnded, .finished: break
        }
    }

    private func begin(_ messages: [WorkMessage], of shard: Int) {
        let others = deletes[shard] ?? []
        if !others.isEmpty {
            if messages.count < QueueLimits.batchEntriesMax { faults.insert("a part beside other deletes") }
            if others.count >= RandomWorker.deletesMax { faults.insert("too many deletes") }
            if !Set(others.joined().map(\.group)).isDisjoint(with: messages.map(\.group)) {
                faults.insert("two deletes of a group")
            }
        }
        deletes[shard, default: []].append(messages)
        mostDeletes = max(mostDeletes, others.count + 1)
    }

    private func deliver(_ message: WorkMessage, _ target: Int) {
        if !isOurs[message.shard] { faults.insert("delivers \(message.id) of shard \(message.shard)") }
        if !queues[message.shard].isNext(message) { faults.insert("delivers \(message.id), which is not the next") }
        if !begun.insert(message.id).inserted { faults.insert("delivers \(message.id) twice at one time") }
        deliveries += 1
        let outcome: DeliveryOutcome? =
            switch isCalm ? 9 : random.below(10) {
            case 0: nil
            case 1: .failed(errorClass: "timeout")
            case 2: .refused(errorClass: "exit-65")
            case 3: .unavailable(errorClass: "away")
            default: .delivered
            }
        later(
            .event { [self] scheduler, now in
                begun.remove(message.id)
                guard let outcome else { return scheduler.notBegun(message, target: target, now: now) }
                return scheduler.attempted(message, target: target, outcome, now: now)
            })
    }

    private func come(_ answer: Answer) {
        switch answer {
        case .event(let event): handle(event)
        case .taken(let shard, let number, let messages):
            guard !broken.contains(number) else { return }
            out[number] = nil
            handle { scheduler, now in
                scheduler.received(
                    messages, from: shard, number: number, visibleAt: now + RandomWorker.visibility, now: now)
            }
        case .reaches(let effect): reach(effect)
        }
    }

    private func reach(_ effect: GroupScheduler.Effect) {
        switch effect {
        case .receive(let shard, let number, let waits):
            guard !broken.contains(number) else { return }
            let messages = queues[shard].receive(now)
            if messages.isEmpty, waits, random.chance(95) { return later(.reaches(effect)) }
            later(.taken(shard: shard, number: number, messages))
        case .delete(let shard, let messages):
            let isAnswerLost = !isCalm && random.chance(5)
            let failed = isCalm ? [] : messages.filter { _ in random.chance(5) }
            let reached = messages.filter { message in !failed.contains { $0.handle == message.handle } }
            let lost = isAnswerLost && random.chance(50) ? [] : queues[shard].delete(reached, now)
            later(
                .event { [self] scheduler, now in
                    deletes[shard]?.removeAll { $0.first?.handle == messages.first?.handle }
                    return scheduler.deleted(
                        shard: shard, of: messages, lost: isAnswerLost ? [] : lost,
                        failed: isAnswerLost ? messages : failed, isRequestLost: isAnswerLost, now: now)
                })
        case .extend(let shard, let messages):
            let lost = queues[shard].change(messages, to: RandomWorker.visibility, now)
            let until = now + RandomWorker.visibility
            later(.event { $0.extended(shard: shard, messages, lost: lost, visibleAt: until, now: $1) })
        case .release(let shard, let messages):
            for message in messages { _ = queues[shard].change([message], to: 0, now) }
        case .moveToDeadLetter(let message, _):
            let isStored = isCalm || random.chance(70)
            later(.event { $0.moved(message, isStored: isStored, now: $1) })
        default: break
        }
    }
}

@Suite struct `A worker whose shards come and go, with several receives and deletes` {
    @Test(arguments: SplitMix64.seeds(40))
    func `begins nothing out of turn, twice, or of a shard that is not its own, and ends`(seed: UInt64) {
        let worker = RandomWorker(seed: seed)
        worker.run()
        #expect(worker.faults == [], "seed \(seed)")
        #expect(worker.isDone, "seed \(seed)")
        #expect(worker.mostDeletes == 3, "seed \(seed)")
        #expect(worker.mostReceives > 1 && worker.deliveries >= 3 * RandomWorker.groups * 4 / 2, "seed \(seed)")
    }
}
