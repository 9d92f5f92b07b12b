// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Synchronization

// A slot can only move to another shard when nothing is on its way to the old one any more. Counted by slot and not by
// group, because slots are what moves; without a lock, because every message passes here twice.

/// How many messages of each slot were handed to a shard and not answered yet.
public final class SlotTraffic: Sendable {
    private let counts: InlineArray<16_384, Atomic<Int32>>

    public init() {
        precondition(Slot.count == 16_384, "the counters have one place for each slot")
        counts = InlineArray { _ in Atomic(0) }
    }

    /// Messages of a slot go to its shard; before they are handed over.
    public func began(_ slot: Slot, count: Int = 1) {
        counts[slot.index].wrappingAdd(Int32(truncatingIfNeeded: count), ordering: .relaxed)
    }

    /// A message of a slot is answered.
    /// - Returns: whether it was the last one under way.
    @discardableResult
    public func ended(_ slot: Slot) -> Bool {
        // Whoever sees the last one end must also see what it did.
        let left = counts[slot.index].wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue
        assert(left >= 0, "a message was answered twice")
        return left == 0
    }

    /// Messages of a slot under way, at least 0.
    public func underWay(_ slot: Slot) -> Int { Int(counts[slot.index].load(ordering: .acquiring)) }

    /// Messages of all slots under way.
    public var total: Int { (0..<Slot.count).reduce(0) { $0 + underWay(Slot(index: $1)) } }
}
