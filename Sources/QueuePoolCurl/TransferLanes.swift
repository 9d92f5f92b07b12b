// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule

// Which transfers may be under way. Each lane has room of its own, so that what waits long (long polls) takes no place
// from what must not wait (sends, deletes), and a provider that hangs takes none from the queue. Within a lane, first come,
// first served. A transfer's time limit counts from when it was handed in: one that got no room in time fails unsent.

/// What a transfer is for.
package enum CurlLane: Int, CaseIterable, Sendable {
    /// Sends, deletes, changes of visibility, everything that is answered soon.
    case calls
    /// Receives that wait at the far side.
    case polls
    /// Hand-overs to email providers.
    case deliveries
}

/// The transfers of one engine, by lane.
struct TransferLanes<Item> {
    private struct Waiting {
        let id: UInt64
        let item: Item
        let deadline: Int64
    }

    private struct Lane {
        let room: Int
        var running = 0
        var waiting: Deque<Waiting> = []
    }

    private var lanes: [Lane]
    /// A look at all that waits is made no more often than this, in milliseconds.
    private static var scanInterval: Int64 { 100 }
    private var scannedAt = Int64.min

    /// - Parameter room: transfers that may be under way in a lane, at least 1.
    init(room: (CurlLane) -> Int) { lanes = CurlLane.allCases.map { Lane(room: max(1, room($0))) } }

    /// Takes a transfer in. `start` says when it may begin.
    /// - Parameter deadline: milliseconds of the caller's clock.
    mutating func add(_ item: Item, id: UInt64, lane: CurlLane, deadline: Int64) {
        lanes[lane.rawValue].waiting.append(Waiting(id: id, item: item, deadline: deadline))
    }

    /// A transfer that was started is over.
    mutating func end(_ lane: CurlLane) { lanes[lane.rawValue].running -= 1 }

    /// What may begin now, each with the milliseconds that are left to it, and what got no room in time.
    mutating func start(now: Int64) -> (begin: [(item: Item, milliseconds: Int64)], overdue: [Item]) {
        var begin: [(item: Item, milliseconds: Int64)] = []
        var overdue: [Item] = []
        let mustScan = now &- TransferLanes.scanInterval >= scannedAt
        if mustScan { scannedAt = now }
        for place in lanes.indices {
            while lanes[place].running < lanes[place].room, let next = lanes[place].waiting.popFirst() {
                if next.deadline <= now {
                    overdue.append(next.item)
                } else {
                    begin.append((next.item, next.deadline - now))
                    lanes[place].running += 1
                }
            }
            // Time limits differ, so the one in front need not be the first to end.
            guard mustScan, lanes[place].waiting.contains(where: { $0.deadline <= now }) else { continue }
            overdue.append(contentsOf: lanes[place].waiting.lazy.filter { $0.deadline <= now }.map(\.item))
            lanes[place].waiting.removeAll { $0.deadline <= now }
        }
        return (begin, overdue)
    }

    /// Takes out what waits and is not wanted any more.
    mutating func removeWaiting(where isGone: (UInt64) -> Bool) -> [Item] {
        var removed: [Item] = []
        for place in lanes.indices {
            removed.append(contentsOf: lanes[place].waiting.filter { isGone($0.id) }.map(\.item))
            lanes[place].waiting.removeAll { isGone($0.id) }
        }
        return removed
    }
}
