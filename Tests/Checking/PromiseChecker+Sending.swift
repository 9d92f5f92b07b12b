// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

// What senders do and are told: I2 within a request, I3 among answers, I4.
extension PromiseChecker {
    /// A request is handed to a door.
    /// - Parameters:
    ///   - request: its number; no two have the same.
    ///   - entries: a message has one group for ever.
    package mutating func began(request: Int, entries: [(message: Int, group: Int)], now: Timestamp) {
        guard requests[request] == nil else {
            report(.authenticity, -1, group: -1, now: now, "request \(request) began twice")
            return
        }
        var state = RequestState(entries: [], unanswered: entries.count, began: now, epoch: epoch)
        state.entries.reserveCapacity(entries.count)
        var lastOfGroup = LastOfGroup(entries.count)
        for (number, groupNumber) in entries {
            let group = groupIndex(groupNumber)
            let before = lastOfGroup[group]
            let index: Int
            if let known = indexOfMessage[number] {
                index = known
                if before != index { tried(index, behind: before, now: now) } else { messages[index].openTries += 1 }
            } else {
                index = messages.count
                indexOfMessage[number] = index
                messages.append(
                    MessageState(
                        number: number, group: group, firstBegan: now, firstEpoch: epoch,
                        accepted: groups[group].acceptedCount, predecessor: before))
                counts.began += 1
            }
            lastOfGroup[group] = index
            state.entries.append(.init(message: index))
        }
        if !state.entries.isEmpty { requests[request] = state }
    }

    /// A message that began before is tried in another request, behind another of its group or behind none.
    private mutating func tried(_ index: Int, behind before: Int, now: Timestamp) {
        messages[index].openTries += 1
        if messages[index].predecessor != before { messages[index].predecessor = -1 }
        noteTry(index, now: now)
    }

    /// A try was alive at this time: past the deduplication interval it may store a second copy.
    private mutating func noteTry(_ index: Int, now: Timestamp) {
        if now - messages[index].firstBegan > deduplicationMilliseconds { messages[index].mayHaveCopies = true }
    }

    private mutating func groupIndex(_ number: Int) -> Int {
        if let known = indexOfGroup[number] { return known }
        indexOfGroup[number] = groups.count
        groups.append(GroupState(number: number))
        return groups.count - 1
    }

    // MARK: - Answers -

    /// The sender is told that an entry is stored.
    /// - Parameters:
    ///   - entry: its place in the request, from 0.
    ///   - isDuplicate: whether it is told that an earlier try had stored it.
    package mutating func accepted(
        request: Int, entry: Int, messageID: UInt64, isDuplicate: Bool, shard: Int, now: Timestamp
    ) {
        guard let answered = answer(.accepted, request, entry, now: now) else { return }
        let index = answered.message
        if !messages[index].isAccepted {
            messages[index].isAccepted = true
            counts.accepted += 1
            groups[messages[index].group].waiting.append(.init(message: index, passage: messages[index].passage))
        }
        judgePlacement(index, shard: shard, isDuplicate: isDuplicate, requestEpoch: answered.epoch, now: now)
        judgeCopies(index, id: messageID, isDuplicate: isDuplicate, requestBegan: answered.began, now: now)
        if answered.isLast { judgeFailures(request, now: now) }
    }

    /// The sender is told that an entry failed, or is left without an answer.
    /// - Parameter isUnknown: it may be stored all the same.
    package mutating func refused(request: Int, entry: Int, isUnknown: Bool, now: Timestamp) {
        guard let answered = answer(.refused, request, entry, now: now) else { return }
        if isUnknown { messages[answered.message].isInDoubt = true }
        judgeRefusals(answered.message, now: now)
        if answered.isLast { judgeFailures(request, now: now) }
    }

    /// A message that was refused for good, in every try, and handed all the same.
    mutating func judgeRefusals(_ index: Int, now: Timestamp) {
        let message = messages[index]
        guard refusalsAreFinal, message.handedAs > 0 || message.isFinished, !message.isAccepted, !message.isInDoubt,
            message.openTries == 0
        else { return }
        report(.authenticity, at: index, now: now, "was refused in every try, and handed all the same")
    }

    /// Takes an answer in; `nil` if nobody waits for it, which is reported.
    private mutating func answer(
        _ answer: RequestState.Answer, _ request: Int, _ entry: Int, now: Timestamp
    ) -> (message: Int, began: Timestamp, epoch: Int, isLast: Bool)? {
        // Found once and changed in place: a copy out of the dictionary would copy the entries at every answer.
        guard let place = requests.index(forKey: request),
            requests.values[place].entries.indices.contains(entry),
            case .none = requests.values[place].entries[entry].answer
        else {
            report(.authenticity, -1, group: -1, now: now, "entry \(entry) of request \(request) had no open answer")
            return nil
        }
        requests.values[place].entries[entry].answer = answer
        requests.values[place].unanswered -= 1
        let index = requests.values[place].entries[entry].message
        messages[index].openTries -= 1
        noteTry(index, now: now)
        return (
            index, requests.values[place].began, requests.values[place].epoch, requests.values[place].unanswered == 0
        )
    }

    /// The request is completely answered: behind an entry that failed, all of its group must have failed (I2).
    private mutating func judgeFailures(_ request: Int, now: Timestamp) {
        guard let state = requests.removeValue(forKey: request) else { return }
        completions += 1
        for entry in state.entries {
            let group = messages[entry.message].group
            if entry.answer == .refused {
                groups[group].failedIn = completions
            } else if groups[group].failedIn == completions {
                report(
                    .order, at: entry.message, now: now,
                    "was accepted though an earlier entry of its group in the request failed")
            }
        }
    }

    private mutating func judgePlacement(
        _ index: Int, shard: Int, isDuplicate: Bool, requestEpoch: Int, now: Timestamp
    ) {
        // A request that saw the change may have been stored before it, and what a duplicate names may lie there.
        guard requestEpoch == epoch, !isDuplicate || messages[index].firstEpoch == epoch else { return }
        let group = messages[index].group
        if groups[group].shardEpoch != epoch {
            groups[group].shardEpoch = epoch
            groups[group].shard = shard
        } else if groups[group].shard != shard {
            let other = groups[group].shard
            report(
                .placement, at: index, now: now,
                "was stored on shard \(shard), and its group on shard \(other) in the same epoch")
        }
    }

    private mutating func judgeCopies(
        _ index: Int, id: UInt64, isDuplicate: Bool, requestBegan: Timestamp, now: Timestamp
    ) {
        // What a duplicate names was stored at some time since the message first began.
        let from = isDuplicate ? messages[index].firstBegan : requestBegan
        let isApart =
            now - messages[index].storedFrom > deduplicationMilliseconds
            || messages[index].storedTo - from > deduplicationMilliseconds
        // After a redrive an answer may name the id from before it or the one after it.
        let hasOneID = messages[index].passage == 0
        if let told = messages[index].toldID, told != id, !isApart, hasOneID {
            report(
                .noDuplicate, at: index, now: now,
                "was accepted under the ids \(told) and \(id) within the deduplication interval")
        } else if !isDuplicate, messages[index].isStoredAnew, !isApart {
            report(.noDuplicate, at: index, now: now, "was accepted twice as new within the deduplication interval")
        }
        if let handed = messages[index].handedID, handed != id, !messages[index].mayHaveCopies, hasOneID {
            report(.noDuplicate, at: index, now: now, "was accepted under the id \(id) and handed as \(handed)")
        }
        if messages[index].toldID != id {
            messages[index].toldID = id
            messages[index].storedFrom = from
            messages[index].storedTo = now
        } else if !isDuplicate {
            messages[index].storedFrom = from
        }
        if !isDuplicate { messages[index].isStoredAnew = true }
    }
}

/// The latest entry of each group in a request, without a dictionary for the few entries that most requests have.
private struct LastOfGroup {
    private var few: [(group: Int, index: Int)] = []
    private var many: [Int: Int] = [:]
    private let isFew: Bool

    init(_ entries: Int) { isFew = entries <= 16 }

    subscript(group: Int) -> Int {
        get {
            if isFew { return few.last { $0.group == group }?.index ?? -1 }
            return many[group] ?? -1
        }
        set {
            if isFew { few.append((group, newValue)) } else { many[group] = newValue }
        }
    }
}
