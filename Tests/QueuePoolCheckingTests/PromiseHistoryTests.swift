// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking
import QueuePoolCore
import QueuePoolTestSupport
import Testing

/// Random histories of a small model of a pool that keeps every promise, and of the same pool with one fault in it.
@Suite struct PromiseHistoryTests {
    @Test(arguments: SplitMix64.seeds(200))
    func `a pool that keeps its promises breaks none`(seed: UInt64) {
        var pool = ModelPool(seed: seed, fault: nil)
        pool.run(steps: 1_500)
        #expect(pool.checker.violations.map(\.description) == [])
        #expect(pool.checker.counts.handed > 50)
        #expect(pool.checker.counts.handedAgain > 0)
        #expect(pool.checker.counts.accepted > 50)
    }

    @Test(arguments: ModelPool.Fault.allCases)
    func `a pool with one fault is found out by the promise that it breaks`(fault: ModelPool.Fault) {
        var struck = 0
        for seed in SplitMix64.seeds(20) {
            var pool = ModelPool(seed: seed, fault: fault)
            pool.run(steps: 1_500)
            // Some faults need an occasion that a short history may not offer.
            guard pool.faults > 0 else { continue }
            struck += 1
            let found = pool.checker.broken
            #expect(found[fault.breaks, default: 0] > 0, "seed \(seed): \(found)")
        }
        #expect(struck > 10)
    }

    @Test func `two runs of one seed find the same`() {
        func run() -> [Violation] {
            var pool = ModelPool(seed: 5, fault: .forgetsAccepted)
            pool.run(steps: 1_500)
            return pool.checker.violations
        }
        let first = run()
        #expect(!first.isEmpty)
        #expect(first == run())
    }
}
