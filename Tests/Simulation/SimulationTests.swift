// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolChecking
import QueuePoolCore
import QueuePoolTestSupport
import Testing

// `SIM_SEED=N` replays one world; with `SIM_SEEDS=K` it is the first of K. `SIM_STEPS=N` makes them longer.

@Suite struct SimulationTests {
    private static func number(_ name: String) -> Int? {
        ProcessInfo.processInfo.environment[name].flatMap { Int($0) }
    }

    @Test func `Every promise holds in every world`() async {
        let steps = SimulationTests.number("SIM_STEPS") ?? SimulationTests.stepsDefault
        let single = SimulationTests.number("SIM_SEED")
        let count = SimulationTests.number("SIM_SEEDS") ?? (single == nil ? SimulationTests.seedCountDefault : 1)
        let seeds = SplitMix64.seeds(count, from: UInt64(single ?? 1)).filter {
            single != nil || steps != SimulationTests.stepsDefault || !SimulationTests.openSeeds.contains($0)
        }
        let failing = await SimulationTests.failing(seeds, steps: steps)
        for failure in failing.prefix(3) { Issue.record("\(failure.report())") }
        #expect(failing.isEmpty)
    }

    private static let stepsDefault = 1_000

    /// Worlds that break a promise and are not mended yet; each fails when it is named by `SIM_SEED`. 5244: a queue that is
    /// slow gives a message out that its receiver has extended; not understood.
    private static let openSeeds: Set<UInt64> = [5_244]

    /// Debug builds are many times slower.
    private static var seedCountDefault: Int {
        #if DEBUG
            300
        #else
            10_000
        #endif
    }

    /// Two worlds at a time, each on one thread.
    private static func failing(_ seeds: [UInt64], steps: Int) async -> [FailingWorld] {
        let lanes = 2
        return await withTaskGroup { group in
            for lane in 0..<lanes {
                group.addTask {
                    var failing: [FailingWorld] = []
                    for seed in seeds where Int(seed % UInt64(lanes)) == lane {
                        let plan = WorldPlan(seed: seed, steps: steps)
                        let violations = World(plan).run()
                        if !violations.isEmpty { failing.append(FailingWorld(plan: plan, violations: violations)) }
                        if failing.count > 20 { break }
                        // Other tests want the thread too.
                        await Task.yield()
                    }
                    return failing
                }
            }
            return await group.reduce(into: []) { $0 += $1 }.sorted { $0.plan.seed < $1.plan.seed }
        }
    }
}

/// A world in which a promise broke.
struct FailingWorld: Sendable, CustomStringConvertible {
    let plan: WorldPlan
    let violations: [Violation]

    var description: String { "seed \(plan.seed)" }

    /// What broke, the fewest faults with which it still breaks, and the end of what happened.
    func report() -> String {
        var least = plan
        least.faults = shrink(
            plan.faults,
            fails: { faults in
                var plan = plan
                plan.faults = faults
                return World(plan).run().contains { $0.promise == violations[0].promise }
            }, budget: 200)
        let world = World(least)
        let broken = world.run()
        return """
            \(violations.prefix(5).map(\.description).joined(separator: "\n"))
            \(plan)
            The same with fewer faults: \(broken.first?.description ?? "nothing")
            \(least)
            \(broken.first.map { world.story(of: $0.message, until: $0.time, last: 150) } ?? "")
            Replay: SIM_SEED=\(plan.seed) SIM_STEPS=\(plan.steps)
            """
    }
}
