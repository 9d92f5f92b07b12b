// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule

// Which transfers may be under way. Each lane has room of its own, so that what waits long (long polls) takes no place
// from what must not wait (sends, deletes), and a provider that hangs takes none from the queue. A transfer's time limit
// counts from when it was handed in: one that got no room in time fails unsent.
//
// In a lane, transfers may name a party that they are for, a queue of many. Those of one party go first come, first
// served; parties that wait take turns; and each may have a quarter as many under way as are still free. So a queue that
// answers nothing holds a fifth of a lane at the most, eight of them a twelfth each, and room is left for the others, who
// do not wait for them (I5). A fixed share for each would be too small for a single busy queue, or too large where many
// are dead. (The rule is that of switches with a shared buffer: Choudhury and Hahne, "Dynamic Queue Length Thresholds for
// Shared-Memory Packet Switches", 1998.)

/// What a transfer is for.
package enum CurlLane: Int, CaseIterable, Sendable {
    /// Sends, deletes, changes of visibility, everything that is answered soon.
    case calls
    /// Receives that wait at the far side.
    case polls
    /// Hand-overs to email providers.
    case deliveries
}

/// Whom a transfer is for, where a lane serves many.
package typealias TransferParty = UInt64

/// The transfers of one engine, by lane.
struct TransferLanes<Item> {
    private struct Waiting {
        let id: UInt64
        let item: Item
        let deadline: Int64
    }

    private struct Party {
        var running = 0
        var waiting: Deque<Waiting> = []
    }

    private struct Lane {
        let room: Int
        var running = 0
        /// Those with transfers that wait or are under way; `nil` is everybody who names none, and has no bound.
        var parties: [TransferParty?: Party] = [:]
        /// Parties with transfers that wait, each once.
        var turns: Deque<TransferParty?> = []

        /// Takes out what may begin, and what came to its turn too late.
        mutating func start(now: Int64) -> [Waiting] {
            var started: [Waiting] = []
            var passed: [TransferParty?] = []
            while running < room, let party = turns.popFirst() {
                guard mayStart(party) else {
                    passed.append(party)
                    continue
                }
                guard let next = parties[party]?.waiting.popFirst() else { continue }
                started.append(next)
                if next.deadline > now {
                    running += 1
                    parties[party]?.running += 1
                }
                if parties[party]?.waiting.isEmpty == false { turns.append(party) } else { forgetIfIdle(party) }
            }
            turns.prepend(contentsOf: passed)
            return started
        }

        private func mayStart(_ party: TransferParty?) -> Bool {
            party == nil || 4 * (parties[party]?.running ?? 0) < room - running
        }

        mutating func remove(where isGone: (Waiting) -> Bool) -> [Item] {
            var removed: [Item] = []
            for party in Array(turns) where parties[party]?.waiting.contains(where: isGone) == true {
                removed.append(contentsOf: parties[party]?.waiting.lazy.filter(isGone).map(\.item) ?? [])
                parties[party]?.waiting.removeAll(where: isGone)
            }
            guard !removed.isEmpty else { return [] }
            turns.removeAll { parties[$0]?.waiting.isEmpty != false }
            parties = parties.filter { $0.value.running > 0 || !$0.value.waiting.isEmpty }
            return removed
        }

        mutating func forgetIfIdle(_ party: TransferParty?) {
            if let left = parties[party], left.running <= 0, left.waiting.isEmpty { parties[party] = nil }
        }
    }

    private var lanes: [Lane]
    /// A look at all that waits is made no more often than this, in milliseconds.
    private static var scanInterval: Int64 { 100 }
    private var scannedAt = Int64.min

    /// - Parameter room: transfers that may be under way in a lane, at least 1.
    init(room: (CurlLane) -> Int) { lanes = CurlLane.allCases.map { Lane(room: max(1, room($0))) } }

    /// Takes a transfer in. `start` says when it may begin.
    /// - Parameter deadline: milliseconds of the caller's clock.
    mutating func add(_ item: Item, id: UInt64, lane: CurlLane, party: TransferParty? = nil, deadline: Int64) {
        let isFirst = lanes[lane.rawValue].parties[party, default: Party()].waiting.isEmpty
        lanes[lane.rawValue].parties[party, default: Party()].waiting.append(
            Waiting(id: id, item: item, deadline: deadline))
        if isFirst { lanes[lane.rawValue].turns.append(party) }
    }

    /// A transfer that was started is over.
    mutating func end(_ lane: CurlLane, party: TransferParty? = nil) {
        lanes[lane.rawValue].running -= 1
        lanes[lane.rawValue].parties[party]?.running -= 1
        lanes[lane.rawValue].forgetIfIdle(party)
    }

    /// What may begin now, each with the milliseconds that are left to it, and what got no room in time.
    mutating func start(now: Int64) -> (begin: [(item: Item, milliseconds: Int64)], overdue: [Item]) {
        var begin: [(item: Item, milliseconds: Int64)] = []
        var overdue: [Item] = []
        let mustScan = now &- TransferLanes.scanInterval >= scannedAt
        if mustScan { scannedAt = now }
        for place in lanes.indices {
            for next in lanes[place].start(now: now) {
                if next.deadline <= now {
                    overdue.append(next.item)
                } else {
                    begin.append((next.item, next.deadline - now))
                }
            }
            // Time limits differ, so the one in front need not be the first to end.
            if mustScan { overdue.append(contentsOf: lanes[place].remove { $0.deadline <= now }) }
        }
        return (begin, overdue)
    }

    /// Takes out what waits and is not wanted any more.
    mutating func removeWaiting(where isGone: (UInt64) -> Bool) -> [Item] {
        var removed: [Item] = []
        for place in lanes.indices { removed.append(contentsOf: lanes[place].remove { isGone($0.id) }) }
        return removed
    }
}
