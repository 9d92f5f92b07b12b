// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolTestSupport
import Testing

@Suite("Random lives of a simulated disk")
struct DiskModelTests {
    @Test func `lose nothing that was acknowledged, keep order, store no id twice, bring nothing back`() {
        var (acknowledged, duplicates, deleted, failures, torn) = (0, 0, 0, 0, 0)
        for seed in SplitMix64.seeds(200) {
            let walk = DiskWalk(seed: seed)
            for _ in 0..<400 { walk.step() }
            walk.drain()
            let faults = walk.faults.prefix(5)
            #expect(faults.isEmpty, "seed \(seed)")
            for model in walk.models {
                acknowledged += model.acknowledgedCount
                duplicates += model.duplicateCount
                deleted += model.deletedCount
            }
            failures += walk.bench.disk.failures
            torn += walk.bench.disk.torn
        }
        // All of it happened, and often.
        #expect(acknowledged > 5_000, "\(acknowledged)")
        #expect(duplicates > 300, "\(duplicates)")
        #expect(deleted > 5_000, "\(deleted)")
        #expect(failures > 200, "\(failures)")
        #expect(torn > 20, "\(torn)")
    }

    @Test func `are the same when their seed is`() {
        for seed in SplitMix64.seeds(20) {
            let traces = (0..<2).map { _ in
                let walk = DiskWalk(seed: seed)
                for _ in 0..<400 { walk.step() }
                walk.drain()
                return walk.trace
            }
            #expect(traces[0] == traces[1], "seed \(seed)")
            #expect(traces[0].count > 50)
        }
    }
}
