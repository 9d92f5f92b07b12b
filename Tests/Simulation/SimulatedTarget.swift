// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolTestSupport

/// How a target treats what it is given now; parts in percent.
struct TargetMood: Hashable, Sendable {
    /// Nobody listens.
    var isDown = false
    /// Answers that it will not take it now.
    var refusesNow = 0
    /// Never answers; it may have taken the message all the same.
    var hangs = 0
    /// Milliseconds a delivery takes at most.
    var slowness = 60

    static let good = TargetMood()
}

/// Where messages are delivered to.
final class SimulatedTarget: @unchecked Sendable {
    static let patienceMilliseconds: Int64 = 10_000

    private unowned let world: World
    private var random: SplitMix64
    var mood = TargetMood.good

    init(_ world: World, seed: UInt64) {
        self.world = world
        random = SplitMix64(seed: seed)
    }

    /// - Parameter reply: called on the worker's host.
    func deliver(
        _ message: WorkMessage, from worker: SimulatedWorker, _ reply: @escaping @Sendable (DeliveryOutcome) -> Void
    ) {
        let host = worker.host
        guard !mood.isDown else {
            return host.schedule(afterMilliseconds: 5) { reply(.unavailable(errorClass: "unreachable")) }
        }
        guard !random.chance(mood.hangs) else {
            if random.chance(50) {
                world.rules.took(World.number(message))
                world.handed(message, by: worker)
            }
            return host.schedule(afterMilliseconds: SimulatedTarget.patienceMilliseconds) {
                reply(.unknown(errorClass: "timeout"))
            }
        }
        world.handed(message, by: worker)
        let outcome = outcome(World.number(message))
        if outcome == .delivered { world.rules.took(World.number(message)) }
        let length = Int64(1 + random.below(mood.slowness)) + world.delayOfDelivery()
        host.schedule(afterMilliseconds: length) { reply(outcome) }
    }

    private func outcome(_ message: Int) -> DeliveryOutcome {
        guard !world.plan.delivery.isPoison(message) else {
            return world.plan.delivery.isPoisonPermanent ? .refused(errorClass: "never") : .failed(errorClass: "poison")
        }
        return random.chance(mood.refusesNow) ? .failed(errorClass: "busy") : .delivered
    }
}
