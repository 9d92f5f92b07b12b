// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

// What happens to messages at workers and in the queue: I2 among hands, I3 among copies, and in the end I1 and I7.
extension PromiseChecker {
    /// A worker began to hand a message to a target.
    /// - Parameter messageID: under which id the queue gave it out.
    package mutating func handed(message: Int, messageID: UInt64, worker: Int, now: Timestamp) {
        guard let index = find(message, "was handed", now: now) else { return }
        let isCopy = judgeID(index, messageID, now: now)
        let group = messages[index].group
        let isFirst = messages[index].handedAs == 0
        if isFirst {
            judgeOvertaking(index, now: now)
            groups[group].handed += 1
            messages[index].handedAs = groups[group].handed
            counts.handed += 1
            if !messages[index].isAccepted, !messages[index].isInDoubt, messages[index].openTries == 0 {
                counts.handedThoughRefused += 1
            }
            judgeRefusals(index, now: now)
        } else {
            counts.handedAgain += 1
            if isCopy { beganAnew(index) } else { judgeRepetition(index, worker: worker, now: now) }
        }
        let current = groups[group].current
        if current >= 0, current != index {
            let other = messages[current].number
            report(.order, at: index, now: now, "was handed while message \(other) was unfinished")
        }
        groups[group].current = index
        messages[index].worker = worker
        messages[index].life = life(of: worker)
    }

    /// A delete was acknowledged to the worker.
    package mutating func deleted(message: Int, now: Timestamp) {
        guard let index = find(message, "was deleted", now: now) else { return }
        if messages[index].handedAs == 0, !messages[index].isFinished {
            report(.nothingLost, at: index, now: now, "was deleted and never handed")
        }
        messages[index].isDeleted = true
        finished(index)
    }

    /// The queue removed a message at a worker's wish, but the worker may never hear of it. It need not be told of a
    /// delete that was acknowledged.
    package mutating func removed(message: Int, now: Timestamp) { deleted(message: message, now: now) }

    /// A message is stored in the dead-letter queue, with its reason.
    package mutating func deadLettered(message: Int, now: Timestamp) {
        guard let index = find(message, "was dead-lettered", now: now) else { return }
        messages[index].isDead = true
        finished(index)
    }

    /// A message came to the end of its retention.
    package mutating func expired(message: Int, now: Timestamp) {
        guard let index = find(message, "expired", now: now) else { return }
        messages[index].isExpired = true
        finished(index)
    }

    /// A dead-lettered message is in its queue again, behind all that its group had accepted.
    package mutating func redriven(message: Int, now: Timestamp) {
        guard let index = find(message, "was redriven", now: now) else { return }
        let group = messages[index].group
        // What stands before it now was accepted; its first passage through the queue is over, under its first id.
        advance(group)
        messages[index].passage += 1
        messages[index].accepted = groups[group].acceptedCount
        messages[index].predecessor = -1
        messages[index].handedID = nil
        messages[index].handedAs = 0
        messages[index].worker = -1
        messages[index].isDeleted = false
        messages[index].isDead = false
        messages[index].isOvertaken = false
        messages[index].isAccepted = true
        groups[group].waiting.append(.init(message: index, passage: messages[index].passage))
    }

    /// A message's visibility ran out or was given up: whoever worked on it has it no more.
    package mutating func lapsed(message: Int) {
        if let index = indexOfMessage[message] { messages[index].worker = -1 }
    }

    /// A worker crashed or stopped: it holds nothing any more. Its number may be used again.
    package mutating func workerEnded(_ worker: Int) { lives[worker, default: 0] += 1 }

    /// All faults have stopped and all is drained: what is missing now is lost.
    /// - Parameter stillQueued: messages that the queue, or the worker that has them, still holds.
    package mutating func finish(now: Timestamp, stillQueued: Set<Int> = []) {
        for index in messages.indices where !messages[index].isFinished {
            let isHanded = messages[index].handedAs > 0
            guard isHanded || messages[index].isAccepted else { continue }
            if stillQueued.contains(messages[index].number) {
                let since = now - (faultsStoppedAt ?? messages[index].firstBegan)
                let what = isHanded ? "was handed" : "was accepted"
                let lacks = isHanded ? "finished" : "handed"
                let mark = faultsStoppedAt == nil ? "it began" : "the faults stopped"
                report(
                    .liveness, at: index, now: now,
                    "\(what) and is still queued, not \(lacks), \(since) ms after \(mark)")
            } else if isHanded {
                report(
                    .nothingLost, at: index, now: now,
                    "was handed and neither deleted nor dead-lettered nor expired, and the queue does not have it")
            } else {
                report(
                    .durable, at: index, now: now, "was accepted and never handed, and the queue does not have it")
            }
        }
    }

    // MARK: - Rules -

    private mutating func find(_ message: Int, _ what: StaticString, now: Timestamp) -> Int? {
        if let index = indexOfMessage[message] { return index }
        report(.authenticity, message, group: -1, now: now, "\(what) and nobody had sent it")
        return nil
    }

    private func life(of worker: Int) -> Int { lives[worker] ?? 0 }

    /// Whether the id tells of a second copy that may exist; one that may not is reported (I3).
    private mutating func judgeID(_ index: Int, _ id: UInt64, now: Timestamp) -> Bool {
        let isHanded = messages[index].handedID != nil
        // A redrive may give a new id, which no sender was told.
        let known = isHanded || messages[index].passage > 0 ? messages[index].handedID : messages[index].toldID
        messages[index].handedID = id
        guard let known, known != id else { return false }
        if messages[index].mayHaveCopies { return isHanded }
        let text: StaticString = isHanded ? "was handed as" : "was accepted under the id"
        report(.noDuplicate, at: index, now: now, "\(text) \(known) and handed as \(id)")
        return false
    }

    /// A second copy is handed: what is known of the first one does not bind it.
    private mutating func beganAnew(_ index: Int) {
        let group = messages[index].group
        groups[group].handed += 1
        messages[index].handedAs = groups[group].handed
        messages[index].isDeleted = false
        messages[index].isDead = false
        messages[index].isExpired = false
    }

    /// Handed again: not after its delete (I3), nor after a later message, nor while another worker has it (I2).
    private mutating func judgeRepetition(_ index: Int, worker: Int, now: Timestamp) {
        if messages[index].isDeleted {
            report(.noDuplicate, at: index, now: now, "was handed after its delete was acknowledged")
        } else if messages[index].handedAs < groups[messages[index].group].handed {
            report(.order, at: index, now: now, "was handed again after a later message of its group")
        }
        let holder = messages[index].worker
        if holder >= 0, holder != worker, messages[index].life == life(of: holder) {
            report(.order, at: index, now: now, "was handed by worker \(worker) while worker \(holder) held it")
        }
    }

    /// At a message's first hand, all that comes before it was handed or finished (I2).
    private mutating func judgeOvertaking(_ index: Int, now: Timestamp) {
        let group = messages[index].group
        let predecessor = messages[index].predecessor
        if predecessor >= 0, !isPassed(.init(message: predecessor, passage: 0)) {
            messages[predecessor].isOvertaken = true
            let other = messages[predecessor].number
            report(
                .order, at: index, now: now,
                "was handed before message \(other), which stood before it in every request")
        }
        advance(group)
        while groups[group].passed < messages[index].accepted, let first = groups[group].waiting.first {
            messages[first.message].isOvertaken = true
            let other = messages[first.message].number
            report(
                .order, at: index, now: now, "was handed before message \(other), which was accepted before it began")
            advance(group)
        }
    }

    /// Whether a message that comes after that passage may be handed.
    private func isPassed(_ waiting: GroupState.Waiting) -> Bool {
        messages[waiting.message].passage != waiting.passage || messages[waiting.message].isPassed
    }

    /// Moves the group's cursor to the first accepted message that others must still wait for.
    private mutating func advance(_ group: Int) {
        while let first = groups[group].waiting.first, isPassed(first) {
            groups[group].waiting.removeFirst()
            groups[group].passed += 1
        }
    }

    /// Nobody works on the message any more.
    private mutating func finished(_ index: Int) {
        messages[index].worker = -1
        let group = messages[index].group
        if groups[group].current == index { groups[group].current = -1 }
    }
}
