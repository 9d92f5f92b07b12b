// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolTestSupport

/// A world of shards, messages and receivers around a `PollLine`, in which looks take their time. It notes what it sees
/// that must not be.
struct PollLineStage {
    private struct Receiver {
        let shard: ShardIndex?
        let deadline: Timestamp
        var isGone = false
        /// Arrived, and not out looking.
        var isQueued = false
    }

    private struct Look {
        let id: WaiterID
        let at: ShardIndex?
        let isLast: Bool
        /// For first looks.
        var ticket: PollLine.Ticket?
        /// What it found; `nil` as long as it has not reached the shards.
        var found: Bool?
    }

    private(set) var line = PollLine()
    private(set) var faults: [String] = []
    private var random: SplitMix64
    private var now = Timestamp(milliseconds: 1_000_000)
    private var messages = [Int](repeating: 0, count: 3)
    private var hidden: [(shard: Int, at: Timestamp)] = []
    private var receivers: [WaiterID: Receiver] = [:]
    private var looks: [Look] = []
    private var timers: [Timestamp] = []
    private var nextID = 0
    private var isClosed = false

    init(seed: UInt64) { random = SplitMix64(seed: seed) }

    var waitingCount: Int { receivers.count }

    mutating func act() {
        switch random.below(10) {
        case 0, 1: arrive()
        case 2, 3: send()
        case 4:
            let shard = random.below(messages.count)
            hidden.append((shard, now + Int64(random.below(3_000))))
            reportVisible(ShardIndex(shard))
        case 5:
            let ids = receivers.keys.sorted()
            guard !ids.isEmpty else { return }
            let id = ids[random.below(ids.count)]
            receivers[id]?.isGone = true
            take(.abandoned(id))
        case 6: passTime(random.below(1_500))
        default: if !looks.isEmpty { advance(random.below(looks.count)) }
        }
    }

    mutating func close() {
        isClosed = true
        take(.close)
    }

    /// Lets every look come to its end, and checks what must hold when nothing is under way.
    mutating func settle() {
        while !looks.isEmpty { advance(random.below(looks.count)) }
        for (id, receiver) in receivers {
            if receiver.deadline <= now { faults.append("\(id.number) waits past its deadline") }
            if receiver.isGone { faults.append("\(id.number) is gone and still waits") }
            if isClosed { faults.append("\(id.number) waits in a closed line") }
            let watched = receiver.shard.map { [$0.number] } ?? Array(messages.indices)
            if watched.contains(where: { messages[$0] > 0 }) { faults.append("\(id.number) missed a message") }
        }
    }

    mutating func passTime(_ milliseconds: Int) {
        let end = now + Int64(milliseconds)
        while let next = timers.min(), next <= end {
            timers.removeAll { $0 == next }
            now = max(now, next)
            reveal()
            take(.timer)
        }
        now = end
        reveal()
    }

    // MARK: - What happens

    private mutating func arrive() {
        guard !isClosed else { return }
        let shard = random.chance(50) ? nil : ShardIndex(random.below(messages.count))
        let id = WaiterID(nextID)
        nextID += 1
        receivers[id] = Receiver(shard: shard, deadline: now + Int64(random.below(20_000)))
        looks.append(Look(id: id, at: nil, isLast: false, ticket: line.ticket(of: shard, now: now)))
    }

    private mutating func send() {
        let shard = random.below(messages.count)
        messages[shard] += 1 + random.below(3)
        take(.woken(ShardIndex(shard)))
    }

    /// Messages become visible by themselves, without a word.
    private mutating func reveal() {
        for (shard, at) in hidden where at <= now { messages[shard] += 1 }
        hidden.removeAll { $0.at <= now }
    }

    private mutating func reportVisible(_ shard: ShardIndex) {
        let next = hidden.filter { $0.shard == shard.number }.map(\.at).min()
        if let next { take(.visible(shard, at: next)) }
    }

    /// A look goes one step on: it reaches the shards, or it ends.
    private mutating func advance(_ place: Int) {
        let look = looks[place]
        guard let receiver = receivers[look.id] else {
            looks.remove(at: place)
            return
        }
        guard let found = look.found else {
            let watched = (look.at ?? receiver.shard).map { [$0.number] } ?? Array(messages.indices)
            looks[place].found = receiver.isGone
            if !receiver.isGone, let shard = watched.first(where: { messages[$0] > 0 }) {
                messages[shard] -= 1
                looks[place].found = true
            }
            return
        }
        looks.remove(at: place)
        if found || look.isLast { receivers[look.id] = nil }
        if let ticket = look.ticket {
            guard !found else { return }
            receivers[look.id]?.isQueued = true
            take(.arrive(look.id, shard: receiver.shard, deadline: receiver.deadline, ticket))
            if receivers[look.id]?.isGone == true { take(.abandoned(look.id)) }
        } else {
            if !found, !look.isLast { receivers[look.id]?.isQueued = true }
            take(.lookEnded(look.id, isServed: found))
        }
        if !found, !look.isLast { for shard in messages.indices { reportVisible(ShardIndex(shard)) } }
    }

    private mutating func take(_ event: PollLine.Event) {
        for effect in line.handle(event, now: now) {
            switch effect {
            case .wake(let at): timers.append(at)
            case .look(let id, let at, let isLast):
                if receivers[id]?.isQueued != true { faults.append("\(id.number) is out twice") }
                if let at {
                    let first = receivers.filter { $0.value.isQueued && ($0.value.shard ?? at) == at }.keys.min()
                    if first != id { faults.append("\(id.number) overtook \(first?.number ?? -1)") }
                }
                receivers[id]?.isQueued = false
                looks.append(Look(id: id, at: at, isLast: isLast))
            }
        }
    }
}
