// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Testing

@Suite struct `A fence around slots` {
    private let slots = [3, 5, 8].map { Slot(index: $0) }

    @Test func `holds what it was told to, until it is told otherwise`() {
        var fence = SlotFence()
        #expect(fence.isEmpty && !fence.holds(slots[0]))
        fence.fence(slots)
        fence.fence(slots.prefix(1))
        #expect(slots.allSatisfy(fence.holds) && fence.count == 3 && !fence.holds(Slot(index: 4)))
        fence.unfence(slots.prefix(2))
        #expect(!fence.holds(slots[0]) && fence.holds(slots[2]))
        fence.unfence(slots)
        #expect(fence.isEmpty && fence == SlotFence())
    }

    @Test func `is quiet when all is fenced and nothing is under way`() {
        let traffic = SlotTraffic()
        var fence = SlotFence()
        #expect(!fence.isQuiet(slots, traffic), "what is not fenced may be sent on at any moment")
        traffic.began(slots[1])
        traffic.began(Slot(index: 4))
        fence.fence(slots)
        #expect(!fence.isQuiet(slots, traffic) && fence.isQuiet([slots[0]], traffic))
        traffic.ended(slots[1])
        #expect(fence.isQuiet(slots, traffic), "another slot's messages concern nobody")
        #expect(!fence.isQuiet(slots + [Slot(index: 4)], traffic))
    }
}
