// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Which message killed the workers before this one. The queue counts deliveries of everything that a dying worker held, so
// the count alone would take all that was held beside the culprit to the dead-letter queue with it. What was delivered
// more than half as often as is allowed is therefore tried one at a time, and the next only when the one before is
// deleted: a worker that dies then dies of that one, and those before it are gone. The order is by message id, forwards
// and backwards in turns: who comes after the culprit in one worker's life comes before it in the next. So two lives find
// it, however many are suspected. Others go on beside them.
//
// What was delivered more often than is allowed is given up untried, but one message only of those that are there at one
// time: the first in the order of the life before, because those that came before it there are gone. The others have
// their try. Twice as many deliveries as are allowed are the end of each.

extension GroupScheduler {
    /// Time for others that were held by the same worker to come, since the order is among those that are there.
    private static let gatheringMilliseconds: Int64 = 1_000

    func isSuspect(_ line: HeldGroup, _ head: WorkMessage) -> Bool {
        line.head.attempts == 0 && head.receiveCount > limits.maxReceives / 2
    }

    mutating func suspect(_ key: GroupKey, _ now: Timestamp) {
        if suspects.isEmpty {
            suspectsFrom = now + GroupScheduler.gatheringMilliseconds
            hasCulprit = false
        }
        suspects.insert(key)
        change(key) { $0.phase = .suspected }
    }

    mutating func startSuspects(_ now: Timestamp, _ effects: inout [Effect]) {
        guard now >= suspectsFrom else { return }
        while !suspects.isEmpty, delivering < limits.concurrency, !isSuspectUnderWay, let key = nextSuspect(now) {
            suspects.remove(key)
            guard let head = lines[key]?.messages.first else { continue }
            suspectUnderWay = (key, head.id)
            guard isCulprit(key, head) else {
                begin(key, now, &effects)
                continue
            }
            hasCulprit = true
            move(key, "attempts-exhausted", "received-\(head.receiveCount)-times", &effects)
        }
    }

    private func isCulprit(_ key: GroupKey, _ head: WorkMessage) -> Bool {
        guard lines[key]?.head.isUntried == false else { return false }
        return head.receiveCount > (hasCulprit ? 2 : 1) * limits.maxReceives
    }

    private var isSuspectUnderWay: Bool {
        guard let (key, id) = suspectUnderWay, let line = lines[key], line.messages.first?.id == id else {
            return false
        }
        return switch line.phase {
        // Its turn is kept until its target takes it.
        case .delivering, .moving, .deleting, .limited: true
        case .waiting, .suspected, .backingOff, .targetless: false
        }
    }

    private mutating func nextSuspect(_ now: Timestamp) -> GroupKey? {
        var candidates: [(key: GroupKey, id: String, receiveCount: Int)] = []
        for key in suspects {
            guard let line = lines[key], line.phase == .suspected, let head = line.messages.first else {
                suspects.remove(key)
                continue
            }
            guard line.visibleAt > now else {
                suspects.remove(key)
                drop(key)
                continue
            }
            let shard = shards[key.shard]
            if shard.isOurs, !shard.areDeletesFailing { candidates.append((key, head.id, head.receiveCount)) }
        }
        // The culprit was in each life, so that this is one more in each.
        var isForwards = (candidates.map(\.receiveCount).max() ?? 0).isMultiple(of: 2)
        let culprits = candidates.filter { suspect in
            lines[suspect.key]?.head.isUntried == false && suspect.receiveCount > limits.maxReceives
        }
        if !hasCulprit, !culprits.isEmpty {
            candidates = culprits
            isForwards.toggle()
        }
        return (isForwards ? candidates.min { $0.id < $1.id } : candidates.max { $0.id < $1.id })?.key
    }
}
