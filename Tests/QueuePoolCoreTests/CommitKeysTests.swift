// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolTestSupport
import Testing

@testable import QueuePoolCore

@Suite struct `The keys of a commit` {
    /// Few keys are looked through, many stand in a table: both say what a dictionary says.
    @Test(arguments: SplitMix64.seeds(20))
    func `agree with a dictionary (I3)`(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        for count in [0, 1, 2, 11, 12, 13, 14, 63, 64, 65, 300] {
            // Words of which many are equal in the half that names a place.
            let list = (0..<count).map { _ in
                Hash128(high: UInt64(random.below(4)), low: UInt64(random.below(max(1, count / 2))))
            }
            var keys = CommitKeys(list)
            var model: [Hash128: SequenceNumber] = [:]
            for (number, key) in list.enumerated() {
                #expect(keys.current == key && keys.earlier == model[key], "seed \(seed), \(number) of \(count)")
                if model[key] == nil, random.chance(80) {
                    let sequence = SequenceNumber(rawValue: Int64(number) + 1)
                    keys.take(sequence)
                    model[key] = sequence
                }
                keys.advance()
            }
            #expect(keys.current == nil && keys.earlier == nil)
        }
    }
}
