// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Receivers that wait, and which of them looks next. Guarantees:
//
// - A receiver waits at most until its deadline; then it looks a last time, and that look answers whatever it finds.
// - A message that becomes visible wakes, at once, the one that has waited longest among those that look at its shard.
// - A wake-up while a receiver looks is not missed: it stays pending until a receiver has looked at that shard since.
// - Each woken shard has one look of its own under way, so a shard that answers late delays those that look at it only.
//
// The first look is made before a receiver is known here: where there is a backlog it is the only one, and costs nothing
// here. A ticket taken before it tells whether a wake-up came between the look and the arrival.

import HeapModule

/// A receiver that waits. Numbers grow in the order in which receivers came.
public struct WaiterID: Hashable, Comparable, Sendable {
    public let number: Int

    public init(_ number: Int) { self.number = number }

    public static func < (a: WaiterID, b: WaiterID) -> Bool { a.number < b.number }
}

/// Decides which waiting receiver looks next. Pure: events and the time in, looks out.
public struct PollLine: Sendable {
    /// The wake-ups before a look.
    public struct Ticket: Hashable, Sendable {
        fileprivate let wakes: UInt64
        /// Messages become visible by themselves as time passes, without a wake-up while nobody waits.
        fileprivate let at: Timestamp
    }

    public enum Event: Sendable {
        /// A receiver's first look found nothing; the ticket was taken before it.
        case arrive(WaiterID, shard: ShardIndex?, deadline: Timestamp, Ticket)
        /// A message of the shard can be received that could not before.
        case woken(ShardIndex)
        /// A message of the shard may become visible by itself, or the shard is worth another look, at this time.
        case visible(ShardIndex, at: Timestamp)
        /// - Parameter isServed: it found something, or has nobody left to answer.
        case lookEnded(WaiterID, isServed: Bool)
        /// The receiver's client is gone.
        case abandoned(WaiterID)
        /// The time of a `wake` has come.
        case timer
        /// Nobody may wait any more.
        case close
    }

    public enum Effect: Hashable, Sendable {
        /// The receiver looks, at one shard that was woken or at all of its own; a last look answers.
        case look(WaiterID, at: ShardIndex?, isLast: Bool)
        /// `timer` is wanted at this time.
        case wake(at: Timestamp)
    }

    private struct Waiter: Sendable {
        let shard: ShardIndex?
        let deadline: Timestamp
        var isLooking = false
        var isLast = false
        var isAbandoned = false
        /// The woken shard on whose account it looks.
        var servedShard: ShardIndex?
    }

    private struct Deadline: Comparable, Sendable {
        let at: Timestamp
        let id: WaiterID

        static func < (a: Deadline, b: Deadline) -> Bool { a.at == b.at ? a.id < b.id : a.at < b.at }
    }

    private var waiters: [WaiterID: Waiter] = [:]
    /// Those that look at all shards, and those of one shard; they may name some that wait no longer.
    private var poolLine = Heap<WaiterID>()
    private var shardLines: [ShardIndex: Heap<WaiterID>] = [:]
    private var deadlines = Heap<Deadline>()
    /// Receivers that may still have to wait, and those of them that are out looking.
    private var waitingCount = 0
    private var lookingCount = 0
    private var wakes: UInt64 = 0
    private var shardWakes: [ShardIndex: UInt64] = [:]
    /// Woken shards at which nobody has looked since, longest first.
    private var pending: [ShardIndex] = []
    private var serving: [ShardIndex: WaiterID] = [:]
    private var visibleAt: [ShardIndex: Timestamp] = [:]
    private var armedAt: Timestamp?
    public private(set) var isClosed = false

    public init() {}

    /// Receivers that wait, those out looking included unless it is their last look.
    public var waiterCount: Int { waitingCount }

    /// Whether the receiver may be asked to look again, or is out looking.
    public func knows(_ id: WaiterID) -> Bool { waiters[id] != nil }

    /// Taken before a first look.
    public func ticket(of shard: ShardIndex?, now: Timestamp) -> Ticket {
        Ticket(wakes: shard.map { shardWakes[$0, default: 0] } ?? wakes, at: now)
    }

    public mutating func handle(_ event: Event, now: Timestamp) -> [Effect] {
        var effects: [Effect] = []
        switch event {
        case .arrive(let id, let shard, let deadline, let ticket): arrive(id, shard, deadline, ticket, now, &effects)
        case .woken(let shard): wake(shard, now, &effects)
        case .visible(let shard, let at):
            if waitingCount > 0 { visibleAt[shard] = min(at, visibleAt[shard] ?? at) }
        case .lookEnded(let id, let isServed): lookEnded(id, isServed, now, &effects)
        case .abandoned(let id): abandon(id, now, &effects)
        case .timer: ring(now, &effects)
        case .close: close(now, &effects)
        }
        arm(&effects)
        return effects
    }

    // MARK: - Events

    private mutating func arrive(
        _ id: WaiterID, _ shard: ShardIndex?, _ deadline: Timestamp, _ ticket: Ticket, _ now: Timestamp,
        _ effects: inout [Effect]
    ) {
        assert(waiters[id] == nil, "each receiver arrives once")
        waiters[id] = Waiter(shard: shard, deadline: deadline)
        waitingCount += 1
        if isClosed || deadline <= now {
            look(id, at: nil, now, &effects)
        } else {
            deadlines.insert(Deadline(at: deadline, id: id))
            if ticket == self.ticket(of: shard, now: now) {
                enqueue(id, shard)
                // A wake-up may be pending since before the ticket, for somebody who has left meanwhile.
                servePending(now, &effects)
            } else {
                look(id, at: nil, now, &effects)
            }
        }
        tidy()
    }

    private mutating func wake(_ shard: ShardIndex, _ now: Timestamp, _ effects: inout [Effect]) {
        wakes &+= 1
        shardWakes[shard, default: 0] &+= 1
        guard waitingCount > 0, !Mutation.wakeUpIsLost.isOn else { return }
        if !pending.contains(shard) { pending.append(shard) }
        serve(shard, now, &effects)
    }

    private mutating func lookEnded(_ id: WaiterID, _ isServed: Bool, _ now: Timestamp, _ effects: inout [Effect]) {
        guard var waiter = waiters[id], waiter.isLooking else { return }
        let shard = waiter.servedShard
        if let shard, serving[shard] == id {
            serving[shard] = nil
            // There may be more for the next in line.
            if isServed, !pending.contains(shard) { pending.insert(shard, at: 0) }
        }
        waiter.isLooking = false
        waiter.servedShard = nil
        if !waiter.isLast { lookingCount -= 1 }
        if isServed || waiter.isLast {
            waiters[id] = nil
            if !waiter.isLast { waitingCount -= 1 }
        } else {
            waiters[id] = waiter
            if isClosed || waiter.isAbandoned || waiter.deadline <= now {
                look(id, at: nil, now, &effects)
            } else {
                // It keeps its place, for it has waited longest.
                enqueue(id, waiter.shard)
            }
        }
        servePending(now, &effects)
        tidy()
    }

    private mutating func abandon(_ id: WaiterID, _ now: Timestamp, _ effects: inout [Effect]) {
        guard let waiter = waiters[id], !waiter.isLast else { return }
        waiters[id]?.isAbandoned = true
        // One that is out looking is let go when it comes back.
        if !waiter.isLooking { look(id, at: nil, now, &effects) }
        tidy()
    }

    private mutating func ring(_ now: Timestamp, _ effects: inout [Effect]) {
        if let at = armedAt, at <= now { armedAt = nil }
        while let first = deadlines.min, first.at <= now {
            deadlines.removeMin()
            if let waiter = waiters[first.id], !waiter.isLooking { look(first.id, at: nil, now, &effects) }
        }
        for (shard, at) in visibleAt where at <= now {
            visibleAt[shard] = nil
            if Mutation.visibleMessageWakesNobody.isOn { continue }
            wake(shard, now, &effects)
        }
    }

    private mutating func close(_ now: Timestamp, _ effects: inout [Effect]) {
        isClosed = true
        for (id, waiter) in waiters.sorted(by: { $0.key < $1.key }) where !waiter.isLooking {
            look(id, at: nil, now, &effects)
        }
        poolLine = []
        shardLines = [:]
        deadlines = []
        visibleAt = [:]
    }

    // MARK: - The line

    private mutating func servePending(_ now: Timestamp, _ effects: inout [Effect]) {
        // Serving takes a shard out of the list.
        for shard in pending { serve(shard, now, &effects) }
    }

    /// Sends the first in line to a shard with a pending wake-up, unless somebody is there already.
    private mutating func serve(_ shard: ShardIndex, _ now: Timestamp, _ effects: inout [Effect]) {
        guard serving[shard] == nil else { return }
        guard let id = popFirst(for: shard) else {
            // Those out looking may have looked before the wake-up. If there are none, whoever comes looks by itself.
            if lookingCount == 0 { pending.removeAll { $0 == shard } }
            return
        }
        pending.removeAll { $0 == shard }
        serving[shard] = id
        look(id, at: shard, now, &effects)
    }

    private mutating func look(
        _ id: WaiterID, at shard: ShardIndex?, _ now: Timestamp, _ effects: inout [Effect]
    ) {
        guard var waiter = waiters[id] else { return }
        waiter.isLooking = true
        waiter.isLast = isClosed || waiter.isAbandoned || waiter.deadline <= now
        waiter.servedShard = shard
        waiters[id] = waiter
        if waiter.isLast { waitingCount -= 1 } else { lookingCount += 1 }
        effects.append(.look(id, at: waiter.isLast ? nil : shard, isLast: waiter.isLast))
    }

    private mutating func enqueue(_ id: WaiterID, _ shard: ShardIndex?) {
        if let shard { shardLines[shard, default: []].insert(id) } else { poolLine.insert(id) }
    }

    private mutating func popFirst(for shard: ShardIndex) -> WaiterID? {
        dropGone(&poolLine)
        if shardLines[shard] != nil { dropGone(&shardLines[shard, default: []]) }
        let (first, other) = (poolLine.min, shardLines[shard]?.min)
        guard let other else { return poolLine.popMin() }
        if let first, first < other { return poolLine.popMin() }
        return shardLines[shard]?.popMin()
    }

    private func waits(_ id: WaiterID) -> Bool { waiters[id].map { !$0.isLooking } ?? false }

    private func dropGone(_ line: inout Heap<WaiterID>) {
        while let first = line.min, !waits(first) { line.removeMin() }
    }

    // MARK: - Time and space

    private mutating func arm(_ effects: inout [Effect]) {
        guard waitingCount > 0, !isClosed else { return visibleAt.removeAll() }
        while let first = deadlines.min, waiters[first.id].map({ $0.isLast }) ?? true { deadlines.removeMin() }
        guard let next = [deadlines.min?.at, visibleAt.values.min()].compactMap(\.self).min() else { return }
        if let armedAt, armedAt <= next { return }
        armedAt = next
        effects.append(.wake(at: next))
    }

    /// Rebuilds what names more receivers that are gone than such that wait.
    private mutating func tidy() {
        let bound = 2 * waiters.count + 64
        if deadlines.count > bound { deadlines = Heap(deadlines.unordered.filter { waiters[$0.id] != nil }) }
        if poolLine.count > bound { poolLine = Heap(poolLine.unordered.filter(waits)) }
        for (shard, line) in shardLines where line.count > bound {
            shardLines[shard] = Heap(line.unordered.filter(waits))
        }
    }
}
