// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolTestSupport

// Receivers that are no workers: they ask the whole pool, for few messages or many, with visibility timeouts of their own.
// Some leave before they are answered, some take messages and forget them.

/// A process that receives now and then.
final class SimulatedVisitor: @unchecked Sendable {
    private static let timeoutMilliseconds: Int64 = 10_000

    let host: Host
    private unowned let world: World
    private var random: SplitMix64
    /// Receives that it still makes while nothing is wrong.
    private var calmLeft = 8

    init(_ host: Host, _ world: World, seed: UInt64) {
        self.host = host
        self.world = world
        random = SplitMix64(seed: seed)
    }

    func start() { host.schedule(afterMilliseconds: Int64(random.below(500))) { [self] in receive() } }

    private func comeAgain() { host.schedule(afterMilliseconds: Int64(random.below(2_000))) { [self] in receive() } }

    private func receive() {
        if world.isCalm {
            guard calmLeft > 0 else { return }
            calmLeft -= 1
        } else if world.isQuiet {
            return
        }
        let router = world.routers[random.below(world.routers.count)]
        let (limit, seconds) = (1 + random.below(10), [15, 30, 60][random.below(3)])
        let wait = [0, 5, 20][random.below(3)]
        let shard = random.chance(70) ? nil : random.below(world.plan.shardCount)
        let poll = SimulatedRouter.Poll(of: shard)
        if random.chance(25) {
            host.schedule(afterMilliseconds: Int64(random.below(wait * 1_000 + 1))) { [self] in
                guard !poll.isOver else { return }
                poll.isOver = true
                world.wire.send(from: host, to: router.host) { router.abandon(poll) }
                comeAgain()
            }
        }
        world.wire.call(
            from: host, to: router.host, timeout: Int64(wait) * 1_000 + SimulatedVisitor.timeoutMilliseconds
        ) { reply in
            router.receive(
                from: shard, limit: limit, visibilitySeconds: seconds, waitSeconds: wait, poll: poll, reply)
        } late: { [self] in
            if !poll.isOver { comeAgain() }
            poll.isOver = true
        } done: { [self] (answer: Result<[ReceivedMessage], ShardError>) in
            guard !poll.isOver else { return }
            poll.isOver = true
            let messages = ((try? answer.get()) ?? []).map(SimulatedVisitor.message)
            guard !messages.isEmpty, !random.chance(30) else { return comeAgain() }
            work(on: messages[...], until: host.now() + Int64(seconds) * 500)
        }
    }

    private static func message(_ received: ReceivedMessage) -> WorkMessage {
        received.withView { view in
            WorkMessage(
                id: received.messageID.description, handle: received.handle.text,
                group: String(decoding: view.group, as: UTF8.self), body: Array(view.body), shard: 0,
                receiveCount: received.receiveCount)
        }
    }

    /// One after the other; what it does not delete for certain ends its work.
    private func work(on messages: ArraySlice<WorkMessage>, until end: Timestamp) {
        guard let message = messages.first, host.now() < end, let handle = ReceiptHandle(Array(message.handle.utf8))
        else {
            return comeAgain()
        }
        world.handed(message, by: host)
        // It delivers to nobody: what it has is taken.
        world.rules.took(World.number(message))
        host.schedule(afterMilliseconds: Int64(1 + random.below(300))) { [self] in
            let router = world.routers[random.below(world.routers.count)]
            world.wire.call(from: host, to: router.host, timeout: SimulatedVisitor.timeoutMilliseconds) {
                [world] reply in
                world.deleteAsked([message])
                router.delete([handle], from: nil) { outcomes in
                    world.deleteAnswered([message], outcomes)
                    reply(outcomes)
                }
            } late: { [self] in
                comeAgain()
            } done: { [self] (outcomes: [DeleteOutcome]) in
                guard case .deleted? = outcomes.first else { return comeAgain() }
                work(on: messages.dropFirst(), until: end)
            }
        }
    }
}
