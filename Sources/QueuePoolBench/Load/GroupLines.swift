// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Groups of a skewed load. Any connection may send any group, so that a group's share is what was asked for and not
// what one connection manages; and a group is in one request at a time, for otherwise its messages would have no order
// to check. A message that is drawn for a group under way waits in the group's line and goes out with the next request
// that may take it. Lines are short in all: when they are full a connection waits, so that a group that is as fast as it
// can be slows the whole load down, as it would slow a sender who keeps order, instead of losing its share in silence.

/// Draws groups for all connections.
struct GroupLines {
    /// Groups of the request that `take` found, in their order.
    private(set) var taken: [Int] = []
    /// Connections that found no full request.
    private(set) var parked: [Int] = []
    private let chooser: GroupChooser
    /// The connection, counted from 1, whose request has the group; 0 for none.
    private var holder: [UInt16]
    private var waiting: [Int32]
    /// Groups with a line and without a request.
    private var ready: [Int] = []
    private var total = 0
    private let limit: Int

    init(_ options: BenchOptions) {
        chooser = GroupChooser(groups: options.groups, connection: 0, connections: 1, skew: options.skew)
        holder = Array(repeating: 0, count: options.groups)
        waiting = Array(repeating: 0, count: options.groups)
        limit = options.senderCount + options.batchSize
    }

    /// Finds the groups of a request; each is then the connection's until `release`.
    /// - Returns: false when groups under way leave too few.
    mutating func take(_ count: Int, connection: Int, _ random: inout SplitMix64) -> Bool {
        taken.removeAll(keepingCapacity: true)
        let own = UInt16(truncatingIfNeeded: connection + 1)
        while taken.count < count, let group = ready.popLast() {
            let number = min(Int(waiting[group]), count - taken.count)
            waiting[group] -= Int32(number)
            total -= number
            holder[group] = own
            taken.append(contentsOf: repeatElement(group, count: number))
        }
        while taken.count < count, total < limit {
            let group = chooser.next(&random)
            if holder[group] == 0 { holder[group] = own }
            if holder[group] == own {
                taken.append(group)
            } else {
                waiting[group] += 1
                total += 1
            }
        }
        if taken.count == count { return true }
        for group in taken {
            waiting[group] += 1
            total += 1
        }
        for group in taken { free(group, own) }
        return false
    }

    /// The connection's request is over.
    mutating func release(_ entries: [Connection.Entry], connection: Int) {
        let own = UInt16(truncatingIfNeeded: connection + 1)
        for entry in entries { free(entry.group, own) }
    }

    mutating func park(_ connection: Int) { parked.append(connection) }

    /// A connection that may try again.
    mutating func unpark() -> Int? { parked.popLast() }

    mutating func unparkAll() { parked.removeAll(keepingCapacity: true) }

    private mutating func free(_ group: Int, _ own: UInt16) {
        guard holder[group] == own else { return }
        holder[group] = 0
        if waiting[group] > 0 { ready.append(group) }
    }
}
