// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule
import QueuePoolCore
import QueuePoolTestSupport

// A sender keeps the order of its groups as a careful client does: of a group one request is out at a time, and what
// failed is sent again, with the same ids, before what comes after it.

/// A process that sends.
final class SimulatedSender: @unchecked Sendable {
    /// One try of one message.
    private struct Entry {
        let message: Int
        let group: Int
    }

    let host: Host
    private unowned let world: World
    private let groups: [Int]
    private var lines: [Int: Deque<Int>] = [:]
    private var firstTries: [Int: Timestamp] = [:]
    private var busy: Set<Int> = []
    private var random: SplitMix64
    private var left: Int
    /// Messages that it still sends while nothing is wrong.
    private var calmLeft = 0

    /// - Parameter count: messages that it sends in all.
    init(_ host: Host, _ world: World, groups: [Int], count: Int, seed: UInt64) {
        self.host = host
        self.world = world
        self.groups = groups
        left = count
        random = SplitMix64(seed: seed)
    }

    var isDone: Bool {
        (left == 0 || world.isQuiet) && calmLeft == 0 && busy.isEmpty && lines.values.allSatisfy(\.isEmpty)
    }

    func start() { host.schedule(afterMilliseconds: Int64(random.below(50))) { [self] in go() } }

    /// One request, then a pause.
    private func go() {
        if left > 0, !world.isQuiet {
            // A burst is of one group.
            let isBurst = world.plan.burstMax > 4 && random.chance(40)
            let only = isBurst ? groups[random.below(groups.count)] : nil
            for _ in 0..<min(left, isBurst ? 3 + random.below(world.plan.burstMax) : 1 + random.below(4)) {
                let group = only ?? groups[random.below(groups.count)]
                lines[group, default: []].append(world.newMessage(in: group))
                left -= 1
            }
        }
        send()
        if !isDone { host.schedule(afterMilliseconds: Int64(1 + random.below(400))) { [self] in go() } }
    }

    /// Sends a few messages more, now and then.
    func startCalmly() {
        calmLeft = 6
        host.schedule(afterMilliseconds: Int64(random.below(2_000))) { [self] in goCalmly() }
    }

    private func goCalmly() {
        if calmLeft > 0 {
            let group = groups[random.below(groups.count)]
            for _ in 0..<min(calmLeft, 1 + random.below(2)) {
                lines[group, default: []].append(world.newMessage(in: group))
                calmLeft -= 1
            }
        }
        send()
        if !isDone { host.schedule(afterMilliseconds: Int64(500 + random.below(6_000))) { [self] in goCalmly() } }
    }

    private func send() {
        var entries: [Entry] = []
        for group in groups where !busy.contains(group) && entries.count < 10 {
            guard let line = lines[group], !line.isEmpty else { continue }
            for message in line.prefix(min(1 + random.below(world.plan.burstMax), 10 - entries.count)) {
                entries.append(Entry(message: message, group: group))
            }
        }
        guard !entries.isEmpty else { return }
        // As they lie in a client's own batch: by group, or mixed, each group in its order.
        if random.chance(50) { entries = mixed(entries) }
        busy.formUnion(entries.map(\.group))
        let request = world.began(entries.map { ($0.message, $0.group) })
        for entry in entries where firstTries[entry.message] == nil { firstTries[entry.message] = host.now() }
        let router = world.routers[random.below(world.routers.count)]
        let messages = entries.map { world.record(of: $0.message, group: $0.group) }
        let sent = entries
        world.wire.call(from: host, to: router.host, timeout: world.plan.patienceMilliseconds) { reply in
            router.send(messages, reply)
        } late: { [self] in
            ended(request, sent, Array(repeating: .failure(.unknownOutcome), count: sent.count))
        } done: { [self] results in
            ended(request, sent, results)
        }
    }

    private func mixed(_ entries: [Entry]) -> [Entry] {
        var lines = Dictionary(grouping: entries, by: \.group).mapValues { Deque($0) }
        var rest = entries.map(\.group)
        var mixed: [Entry] = []
        while !rest.isEmpty {
            let group = rest.remove(at: random.below(rest.count))
            if let next = lines[group]?.popFirst() { mixed.append(next) }
        }
        return mixed
    }

    private func ended(_ request: Int, _ entries: [Entry], _ results: [Result<SendReceipt, ShardError>]) {
        for (place, entry) in entries.enumerated() {
            let result = place < results.count ? results[place] : .failure(.unknownOutcome)
            world.answered(request, place, entry.message, result)
            busy.remove(entry.group)
            let age = host.now() - (firstTries[entry.message] ?? host.now())
            let isOver: Bool
            switch result {
            // Beyond five minutes from the first try its id is forgotten.
            case .failure(.refused): isOver = true
            case .failure: isOver = age > world.plan.giveUpMilliseconds
            case .success: isOver = true
            }
            if isOver { lines[entry.group]?.removeAll { $0 == entry.message } }
        }
    }
}
