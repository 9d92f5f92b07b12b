// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking
import Testing

@Suite struct LoadCheckerTests {
    /// A checker that was told of `count` acknowledged messages of each group.
    private func checker(groups: Int = 1, acknowledged count: Int) -> LoadChecker {
        var checker = LoadChecker(groups: groups)
        for group in 0..<groups {
            for _ in 0..<count {
                _ = checker.nextSequence(group: group)
                checker.acknowledged()
            }
        }
        return checker
    }

    @Test func `messages that come once and in order hold`() {
        var checker = checker(groups: 3, acknowledged: 5)
        for sequence in 0..<5 as Range<UInt32> {
            for group in [2, 0, 1] {
                checker.delivered(group: group, sequence: sequence, receiveCount: 1)
                checker.deleted(group: group, sequence: sequence)
            }
        }
        let report = checker.finished(drained: true)
        #expect(report.holds)
        #expect(report.delivered == 15)
        #expect(report.lost == 0)
        #expect(checker.outstanding == 0)
    }

    @Test func `a lost message is found, in the middle and at the end`() {
        var checker = checker(acknowledged: 5)
        for sequence in [0, 1, 3] as [UInt32] { checker.delivered(group: 0, sequence: sequence, receiveCount: 1) }
        let report = checker.finished(drained: true)
        #expect(report.lost == 2)
        #expect(!report.holds)
        #expect(checker.outstanding == 2)
    }

    @Test func `nothing is called lost before the pool is drained`() {
        let report = checker(acknowledged: 5).finished(drained: false)
        #expect(report.lost == nil)
        #expect(report.holds)
    }

    @Test func `a doubled message is found`() {
        var checker = checker(acknowledged: 2)
        for sequence in [0, 0, 1] as [UInt32] { checker.delivered(group: 0, sequence: sequence, receiveCount: 1) }
        let report = checker.finished(drained: true)
        #expect(report.duplicated == 1)
        #expect(report.lost == 0)
        #expect(!report.holds)
    }

    @Test func `a redelivery before the delete is counted apart`() {
        var checker = checker(acknowledged: 1)
        checker.delivered(group: 0, sequence: 0, receiveCount: 1)
        checker.delivered(group: 0, sequence: 0, receiveCount: 2)
        let report = checker.finished(drained: true)
        #expect(report.redelivered == 1)
        #expect(report.duplicated == 0)
        #expect(report.holds)
    }

    @Test func `a delivery after the delete is a duplicate whatever the receive count`() {
        var checker = checker(acknowledged: 1)
        checker.delivered(group: 0, sequence: 0, receiveCount: 1)
        checker.deleted(group: 0, sequence: 0)
        checker.delivered(group: 0, sequence: 0, receiveCount: 2)
        #expect(checker.finished(drained: true).duplicated == 1)
    }

    /// A consumer deletes the messages of a group in one request, whose entries are answered each for itself.
    @Test func `a redelivery after the delete of a follower is counted apart, and a delivery after its own is not`() {
        var checker = checker(acknowledged: 3)
        for sequence in 0..<3 as Range<UInt32> { checker.delivered(group: 0, sequence: sequence, receiveCount: 1) }
        // The delete of the first two was refused.
        checker.deleted(group: 0, sequence: 2)
        for sequence in [0, 1] as [UInt32] { checker.delivered(group: 0, sequence: sequence, receiveCount: 2) }
        #expect(checker.finished(drained: true).redelivered == 2)
        #expect(checker.finished(drained: true).holds)
        for sequence in [1, 0] as [UInt32] { checker.deleted(group: 0, sequence: sequence) }
        checker.delivered(group: 0, sequence: 1, receiveCount: 3)
        checker.delivered(group: 0, sequence: 2, receiveCount: 2)
        #expect(checker.finished(drained: true).duplicated == 2)
        #expect(checker.finished(drained: true).redelivered == 2)
    }

    @Test func `a first delivery again is a duplicate, though its delete was refused and a follower's taken`() {
        var checker = checker(acknowledged: 2)
        for sequence in [0, 1] as [UInt32] { checker.delivered(group: 0, sequence: sequence, receiveCount: 1) }
        checker.deleted(group: 0, sequence: 1)
        checker.delivered(group: 0, sequence: 0, receiveCount: 1)
        #expect(checker.finished(drained: true).duplicated == 1)
    }

    @Test func `a reordered message is found and not called lost`() {
        var checker = checker(acknowledged: 3)
        for sequence in [0, 2, 1] as [UInt32] { checker.delivered(group: 0, sequence: sequence, receiveCount: 1) }
        let report = checker.finished(drained: true)
        #expect(report.reordered == 1)
        #expect(report.lost == 0)
        #expect(!report.holds)
    }

    @Test func `a refused message may be missing`() {
        var checker = checker(acknowledged: 1)
        let refused = checker.nextSequence(group: 0)
        checker.refused(group: 0, sequence: refused)
        _ = checker.nextSequence(group: 0)
        checker.acknowledged()
        checker.delivered(group: 0, sequence: 0, receiveCount: 1)
        checker.delivered(group: 0, sequence: 2, receiveCount: 1)
        let report = checker.finished(drained: true)
        #expect(report.holds)
        #expect(report.lost == 0)
        #expect(report.refused == 1)
    }

    @Test func `a refusal may be told after the delivery of a follower`() {
        var checker = LoadChecker(groups: 1)
        let (first, second) = (checker.nextSequence(group: 0), checker.nextSequence(group: 0))
        checker.delivered(group: 0, sequence: second, receiveCount: 1)
        checker.refused(group: 0, sequence: first)
        checker.acknowledged()
        #expect(checker.finished(drained: true).holds)
        #expect(checker.outstanding == 0)
    }

    @Test(arguments: [true, false])
    func `a send without an answer may be stored or not`(stored: Bool) {
        var checker = LoadChecker(groups: 1)
        checker.outcomeUnknown(group: 0, sequence: checker.nextSequence(group: 0))
        if stored { checker.delivered(group: 0, sequence: 0, receiveCount: 1) }
        let report = checker.finished(drained: true)
        #expect(report.holds)
        #expect(report.delivered == (stored ? 1 : 0))
        #expect(checker.outstanding == 0)
    }

    @Test func `a send without an answer may not come after its follower`() {
        var checker = LoadChecker(groups: 1)
        checker.outcomeUnknown(group: 0, sequence: checker.nextSequence(group: 0))
        _ = checker.nextSequence(group: 0)
        checker.acknowledged()
        checker.delivered(group: 0, sequence: 1, receiveCount: 1)
        checker.delivered(group: 0, sequence: 0, receiveCount: 1)
        #expect(checker.finished(drained: true).reordered == 1)
    }

    @Test func `a sequence that nobody sent is corrupted`() {
        var checker = checker(acknowledged: 1)
        checker.delivered(group: 0, sequence: 7, receiveCount: 1)
        checker.delivered(group: 9, sequence: 0, receiveCount: 1)
        #expect(checker.finished(drained: false).corrupted == 2)
    }

    /// Every order of four messages of one group, each delivered once: only the sorted one holds.
    @Test func `every order but one breaks the check`() {
        var holding = 0
        for order in permutations([0, 1, 2, 3]) {
            var checker = checker(acknowledged: 4)
            for sequence in order { checker.delivered(group: 0, sequence: sequence, receiveCount: 1) }
            let report = checker.finished(drained: true)
            #expect(report.lost == 0)
            #expect(report.delivered == 4)
            if report.holds { holding += 1 }
        }
        #expect(holding == 1)
    }

    private func permutations(_ items: [UInt32]) -> [[UInt32]] {
        guard items.count > 1 else { return [items] }
        return items.indices.flatMap { index in
            var rest = items
            let first = rest.remove(at: index)
            return permutations(rest).map { [first] + $0 }
        }
    }
}
