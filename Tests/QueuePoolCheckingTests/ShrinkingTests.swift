// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking
import QueuePoolTestSupport
import Testing

@Suite struct ShrinkingTests {
    @Test func `one cause among many is all that is left`() {
        var calls = 0
        let left = shrink(
            Array(0..<1_000),
            fails: {
                calls += 1
                return $0.contains(617)
            }, budget: 1_000)
        #expect(left == [617])
        #expect(calls < 60)
    }

    @Test func `causes that need each other are left together, in their order`() {
        let left = shrink(
            Array(0..<100), fails: { $0.contains(3) && $0.contains(50) && $0.contains(97) }, budget: 1_000)
        #expect(left == [3, 50, 97])
    }

    @Test func `what does not fail is left as it is`() {
        var calls = 0
        let left = shrink(
            [1, 2, 3],
            fails: { _ in
                calls += 1
                return false
            }, budget: 100)
        #expect(left == [1, 2, 3])
        #expect(calls == 1)
    }

    @Test func `what fails without a cause is left with none`() {
        #expect(shrink([1, 2, 3], fails: { _ in true }, budget: 100) == [])
        #expect(shrink([Int](), fails: { _ in true }, budget: 100) == [])
    }

    @Test(arguments: 0..<40)
    func `the budget is kept, and what is left fails`(budget: Int) {
        var calls = 0
        func fails(_ items: [Int]) -> Bool { items.contains(5) && items.contains(28) }
        let left = shrink(
            Array(0..<32),
            fails: {
                calls += 1
                return fails($0)
            }, budget: budget)
        #expect(calls <= budget)
        #expect(fails(left))
    }

    @Test(arguments: SplitMix64.seeds(50))
    func `what is left can lose no item without passing`(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let count = 1 + random.below(60)
        // Not monotonic: some items hide the failure when they are there without another.
        let causes = Set((0..<1 + random.below(6)).map { _ in random.below(count) })
        let hider = random.below(count)
        let healer = random.below(count)
        func fails(_ items: [Int]) -> Bool {
            causes.isSubset(of: items) && (!items.contains(hider) || items.contains(healer) || causes.contains(hider))
        }
        let all = Array(0..<count)
        #expect(fails(all))
        let left = shrink(all, fails: fails, budget: 100_000)
        #expect(fails(left))
        for place in left.indices {
            var fewer = left
            fewer.remove(at: place)
            #expect(!fails(fewer))
        }
    }
}
