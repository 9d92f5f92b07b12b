// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking
import QueuePoolCore

// After a world is drained, and has rested for a while, nothing is wrong any more. Then a few messages more are sent, and
// each must come to somebody who waits at its shard, soon: a receiver's own deadline, at which everybody looks, is later.

/// Who has what while nothing is wrong.
struct CalmWatch {
    /// Until when a receiver has a message at the longest.
    var heldUntil: [Int: Timestamp] = [:]
    var messageOfHandle: [String: Int] = [:]
    /// Since when a group's oldest message may be received and nobody has it.
    var unservedSince: [Int: Timestamp] = [:]
}

extension World {
    /// After which old long polls are over, pauses after failures too, and what was received before is visible again.
    private static let restMilliseconds: Int64 = 65_000
    private static let calmMilliseconds: Int64 = 600_000
    private static let tickMilliseconds: Int64 = 500
    /// A router may keep what a poll brought for five seconds; the rest is for the ways, some of which are slow.
    private static let patienceMilliseconds: Int64 = 12_000

    /// Runs on, with a few messages more.
    func runCalmly() {
        advance(to: time.now + World.restMilliseconds) { false }
        isCalm = true
        for sender in senders { sender.startCalmly() }
        for visitor in visitors { visitor.start() }
        tick()
        advance(to: time.now + World.calmMilliseconds) { [self] in isDone }
        isCalm = false
    }

    private func tick() {
        guard isCalm else { return }
        let held = Set(open.filter { calm.heldUntil[$0, default: .distantPast] > time.now }.map { groups[$0] })
        for group in Set(open.map { groups[$0] }).sorted() {
            if held.contains(group) {
                calm.unservedSince[group] = nil
            } else {
                let since = calm.unservedSince[group] ?? time.now
                calm.unservedSince[group] = since
                judge(group, since)
            }
        }
        time.schedule(after: World.tickMilliseconds) { [self] in tick() }
    }

    private func judge(_ group: Int, _ since: Timestamp) {
        let shard = plan.definition.topology.slots[Slot(groupHash: XXHash64.hash("g\(group)"))].number
        let limit = time.now + -World.patienceMilliseconds
        guard since <= limit, routers.contains(where: { $0.hasPoll(of: shard, since: limit) }) else { return }
        let message = open.filter { groups[$0] == group }.min() ?? -1
        checker.broke(
            .liveness, message: message, now: time.now,
            "could be received for \(time.now - since) ms, and somebody waited for it all the while")
        calm.unservedSince[group] = nil
    }

    /// A receiver got messages, for so many seconds.
    func calmlyReceived(_ messages: [ReceivedMessage], seconds: Int) {
        for message in messages {
            let number = World.number(message)
            guard groups.indices.contains(number) else { continue }
            calm.heldUntil[number] = time.now + Int64(seconds) * 1_000
            calm.messageOfHandle[message.handle.text] = number
            calm.unservedSince[groups[number]] = nil
            guard seconds >= 15, let queues = service?.queues,
                let until = queues.lazy.compactMap({ $0.invisibleUntil(number) }).first
            else { continue }
            // What was kept for longer than a second has its timeout set anew; the rest is for the ways.
            let left = until - time.now
            if left < Int64(seconds) * 1_000 - 8_000 {
                checker.broke(
                    .order, message: number, now: time.now,
                    "was received for \(seconds) s, and others may receive it after \(left) ms")
            }
        }
    }

    func calmlyChanged(_ handle: ReceiptHandle, seconds: Int) {
        guard let number = calm.messageOfHandle[handle.text] else { return }
        calm.heldUntil[number] = time.now + Int64(seconds) * 1_000
    }
}
