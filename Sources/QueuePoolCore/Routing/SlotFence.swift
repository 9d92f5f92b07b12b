// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// A slot moves in three steps: nobody sends on it any more, what was under way is answered, and the topology changes. This
// is the first of them, as a value; whoever keeps it reads it under the lock under which it counts what is under way.

/// Slots on which nothing is sent now.
public struct SlotFence: Hashable, Sendable {
    private var slots: Set<Slot> = []

    public init() {}

    public var isEmpty: Bool { slots.isEmpty }
    public var count: Int { slots.count }

    /// Whether nothing may be sent on a slot. While there is no fence at all, which is nearly always, one comparison.
    public func holds(_ slot: Slot) -> Bool { !slots.isEmpty && slots.contains(slot) }

    /// Ends sends on these slots. A slot is fenced or not, however often.
    public mutating func fence(_ some: some Sequence<Slot>) { slots.formUnion(some) }

    /// Sends on these slots go on.
    public mutating func unfence(_ some: some Sequence<Slot>) { slots.subtract(some) }

    /// Whether all of these slots are fenced and nothing is under way on them: it stays so until `unfence`.
    public func isQuiet(_ some: some Sequence<Slot>, _ traffic: SlotTraffic) -> Bool {
        some.allSatisfy { slots.contains($0) && traffic.underWay($0) == 0 }
    }
}
