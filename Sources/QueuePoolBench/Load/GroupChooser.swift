// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc

// Which group the next message belongs to. With two requests of a group outstanding its messages would have no order
// that a checker could hold the server to. Where groups are sent alike, each is sent by one connection only (group g by
// connection g mod C), which costs nothing; a skew is drawn for all connections together (`GroupLines`). It draws in
// constant time from an alias table (Vose, 1991).

/// The generator behind every random choice (Steele, Lea, Flood 2014): one word of state, the same on every machine.
struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// 0..<bound by multiplication: no division, bias below 2^-32 for the bounds used here.
    mutating func next(below bound: Int) -> Int {
        Int(truncatingIfNeeded: next().multipliedFullWidth(by: UInt64(bound)).high)
    }

    /// 0..<1.
    mutating func nextFraction() -> Double { Double(next() >> 11) * 0x1p-53 }
}

/// Draws groups for one connection.
struct GroupChooser: Sendable {
    private let first: Int
    private let step: Int
    private let count: Int
    private let alias: AliasTable?

    /// The groups `connection`, `connection + connections`, ... below `groups`.
    init(groups: Int, connection: Int, connections: Int, skew: GroupSkew) {
        first = connection
        step = connections
        count = (groups - connection + connections - 1) / connections
        switch skew {
        case .uniform:
            alias = nil
        case .zipf(let exponent):
            let weights = (0..<count).map { pow(Double(connection + $0 * connections + 1), -exponent) }
            alias = AliasTable(weights: weights)
        case .hot(let share):
            let rest = (1 - share) / Double(max(1, count - 1))
            alias = AliasTable(weights: (0..<count).map { $0 == 0 ? share : rest })
        }
    }

    func next(_ random: inout SplitMix64) -> Int {
        first + step * (alias?.next(&random) ?? random.next(below: count))
    }
}

/// Draws indices in proportion to weights.
struct AliasTable: Sendable {
    private var keep: [Double]
    private var other: [Int]

    init(weights: [Double]) {
        let mean = weights.reduce(0, +) / Double(max(1, weights.count))
        keep = weights.map { $0 / mean }
        other = Array(weights.indices)
        var small = keep.indices.filter { keep[$0] < 1 }
        var large = keep.indices.filter { keep[$0] >= 1 }
        while let low = small.popLast(), let high = large.last {
            other[low] = high
            keep[high] -= 1 - keep[low]
            if keep[high] < 1 {
                large.removeLast()
                small.append(high)
            }
        }
    }

    func next(_ random: inout SplitMix64) -> Int {
        let index = random.next(below: keep.count)
        return random.nextFraction() < keep[index] ? index : other[index]
    }
}
