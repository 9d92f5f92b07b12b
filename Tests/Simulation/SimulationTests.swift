// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolChecking
import QueuePoolCore
import QueuePoolTestSupport
import Testing

@Suite struct SimulationTests {
    @Test func `Every promise holds in every world`() {
        let count = ProcessInfo.processInfo.environment["SIM_SEEDS"].flatMap { Int($0) } ?? 20
        let first = ProcessInfo.processInfo.environment["SIM_SEED"].flatMap { UInt64($0) } ?? 1
        for seed in SplitMix64.seeds(count, from: first) {
            var plan = WorldPlan(seed: seed, steps: 1_000)
            let world = World(plan)
            let violations = world.run()
            if count < 30 {
                print(
                    seed, world.time.steps, world.time.now - SimulatedTime.start, world.trace.digest, plan.isRemote,
                    world.accepted.count, world.groups.count)
            }
            if !violations.isEmpty {
                Issue.record("seed \(seed): \(violations.map(\.description).joined(separator: "\n"))\n\(plan)")
                if count < 2 {
                    for l in world.trace.lines { print(l.time - SimulatedTime.start, l.what, l.a, l.b, l.c) }
                }
            }
            plan.faults = []
        }
    }
}
