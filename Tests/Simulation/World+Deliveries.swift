// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking
import QueuePoolCore
import QueuePoolTestSupport

// What happens at the workers' end by the plan of deliveries.

extension World {
    /// Ahead only when the process will not start again: ids are forgotten when a second start follows a jump ahead within
    /// five minutes, which shards do not promise to survive.
    func clockJump() -> Int64 {
        let most = plan.delivery.jumpMilliseconds
        guard most > 0 else { return 0 }
        return Int64(deliveryRandom.below(Int(isQuiet ? 2 * most : most))) - most
    }

    /// Milliseconds that a delivery lasts longer.
    func delayOfDelivery() -> Int64 {
        guard plan.delivery.slowPart > 0, deliveryRandom.chance(plan.delivery.slowPart) else { return 0 }
        return Int64(deliveryRandom.below(plan.visibilitySeconds * 2_500))
    }

    // MARK: - Dead letters

    /// Stores a message in the dead-letter queue, which fails at times, and so does the way to it.
    func moveToDeadLetter(
        _ message: WorkMessage, from worker: SimulatedWorker, _ done: @escaping @Sendable (Bool) -> Void
    ) {
        givenUp.insert(World.number(message))
        let router = routers[random.below(routers.count)]
        wire.call(from: worker.host, to: router.host, timeout: 10_000) { [self] reply in
            let number = World.number(message)
            // One that is there already is so for good, told or not.
            guard router.pool != nil, finished.contains(number) || !areDeadLettersHeld else { return reply(false) }
            let fails = !isQuiet && deliveryRandom.chance(plan.delivery.deadLetterFailures)
            guard !fails || deliveryRandom.chance(50) else { return reply(false) }
            note("dead", number, worker.host.number)
            rules.buried(number)
            finish(number) { checker.deadLettered(message: $0, now: time.now) }
            reply(!fails)
        } late: {
            done(false)
        } done: { (isStored: Bool) in
            done(isStored)
        }
    }

    /// Groups of which no message is given up do not wait for those of which one is.
    private var areDeadLettersHeld: Bool {
        guard isQuiet, plan.delivery.holdsDeadLetters else { return false }
        let held = Set(givenUp.filter { open.contains($0) }.map { groups[$0] })
        return open.contains { !held.contains(groups[$0]) }
    }

    // MARK: - Handles

    /// A queue gave messages out.
    func gave(_ messages: [ReceivedMessage]) {
        for message in messages {
            let number = message.withView { Int(String(decoding: $0.body, as: UTF8.self)) ?? -1 }
            let id = message.messageID.description
            numberOfID[id] = number
            let former = rules.gave(id, message.handle.text, number, now: time.now) { life, since in
                // With shorter timeouts a slow answer takes too much of them.
                guard since > calmAt, since > openedAt, plan.visibilitySeconds >= 15 else { return false }
                let host = workers.first { $0.host.number == life.worker }?.host
                return host?.isAlive == true && host?.life == life.life
            }
            guard let former, deliveryRandom.chance(plan.delivery.lateDeletes) else { continue }
            let delay = Int64(deliveryRandom.below(200))
            time.schedule(after: delay) { [self] in deleteLate(id, former, number) }
        }
    }

    /// Somebody asks for the deletion of what a server has given out before it ended.
    func deleteWithOldHandles() {
        guard plan.delivery.lateDeletes > 0 else { return }
        let byID = rules.latest.sorted { $0.key < $1.key }
        for (id, handle) in byID where receivedAt[handle] != nil && deliveryRandom.chance(20) {
            guard let number = numberOfID[id], open.contains(number), !rules.mayBeGone(id) else { continue }
            deleteLate(id, handle, number)
        }
    }

    /// Asks for a deletion with a handle that is not good any more.
    private func deleteLate(_ id: String, _ text: String, _ number: Int) {
        guard let handle = ReceiptHandle(Array(text.utf8)), groups.indices.contains(number) else { return }
        let router = routers[deliveryRandom.below(routers.count)]
        guard router.host.isAlive, router.pool != nil else { return }
        let shard = plan.definition.topology.slots[Slot(groupHash: XXHash64.hash("g\(groups[number])"))].number
        router.delete([handle], from: shard) { [self] outcomes in
            guard case .deleted = outcomes.first, !rules.mayBeGone(id), open.contains(number) else { return }
            rules.deletedLate(id, number, now: time.now)
        }
    }

    func extensionAnswered(
        _ messages: [WorkMessage], _ results: [Result<VisibilityDecision, ShardError>], until: Timestamp?
    ) {
        for (message, result) in zip(messages, results) {
            if case .success(.changed) = result {
                rules.extended(message.handle, until: until)
            } else {
                rules.extended(message.handle, until: nil)
            }
        }
    }
}
