// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule
import HeapModule

// What leaves, and when: requests, and tickets at their deadline.

extension RequestSender {
    /// Tells those whose time is over, in the order of acceptance.
    mutating func expire(_ now: Timestamp, _ effects: inout [Effect]) {
        while let id = deadlines.first {
            if let entry = held[id], let ticket = entry.ticket {
                guard deadline(of: entry) <= now else { break }
                let error = entry.earlierFailure ?? lateError(entry)
                entry.noteFailure(error)
                effects.append(.complete(ticket, .failure(error)))
                let isHead =
                    entry.isInFlight && !Mutation.deadlineReleasesFlight.isOn
                    || entry.isInDoubt && !Mutation.deadlineReleasesDoubt.isOn
                if isHead { held[id]?.ticket = nil } else { leaveLine(id, entry) }
            }
            deadlines.removeFirst()
        }
    }

    /// Sends what may leave, and arranges to be woken when more may.
    mutating func dispatch(_ now: Timestamp, _ effects: inout [Effect]) {
        while let first = resting.min, first.until <= now { retries.append(resting.removeMin().group) }
        var wake: Timestamp?
        while requests.count < limits.requestsInFlightMax, let head = nextHead(now, &effects) {
            guard pausedUntil <= now else {
                wake = min(wake ?? pausedUntil, pausedUntil)
                break
            }
            if failures > 0, let sentAt = probe.flatMap({ requests[$0]?.sentAt }) {
                let at = sentAt + limits.probeMilliseconds
                guard at <= now else {
                    wake = min(wake ?? at, at)
                    break
                }
            }
            if held[head]?.isPaid != true, let wait = quota?.take(now: now) ?? nil {
                quotaHeldAt = now
                let at = now + Int64(max(1, wait))
                wake = min(wake ?? at, at)
                break
            }
            let request = gather(now, &effects)
            effects.append(request)
        }
        if let rested = resting.min?.until { wake = min(wake ?? rested, rested) }
        if let wake, wake < sendWakesAt ?? .distantFuture {
            sendWakesAt = wake
            effects.append(.wake(at: wake))
        }
        // A timer of its own: one in a deadline's length, however often the other one runs, unless deadlines come nearer.
        if let first = deadlines.first, let at = held[first].map(deadline), at < deadlineWakesAt ?? .distantFuture {
            deadlineWakesAt = at
            effects.append(.wake(at: at))
        }
    }

    /// The heads of the groups whose turn it is, one each.
    private mutating func gather(_ now: Timestamp, _ effects: inout [Effect]) -> Effect {
        var ids: [Int] = []
        var messages: [OutgoingMessage] = []
        var bytes = 0
        while ids.count < limits.requestEntriesMax, let id = nextHead(now, &effects), let message = held[id]?.message {
            guard ids.isEmpty || bytes + message.byteCount <= limits.requestBytesMax else { break }
            if retries.popFirst() == nil { turns.removeFirst() }
            bytes += message.byteCount
            held[id]?.isInFlight = true
            held[id]?.isPaid = false
            ids.append(id)
            messages.append(message)
            if Mutation.twoOfAGroup.isOn, let next = lines[message.groupHash]?.dropFirst().first,
                let follower = held[next]?.message, ids.count < limits.requestEntriesMax
            {
                ids.append(next)
                messages.append(follower)
            }
        }
        let id = nextRequest
        nextRequest += 1
        entriesInFlight += ids.count
        requests[id] = Request(entries: ids, sentAt: now)
        if failures > 0 { probe = id }
        return .send(id, messages)
    }

    /// The entry that leaves next; on the way, lines that were emptied by deadlines are forgotten, and heads that must not
    /// leave any more are told so.
    private mutating func nextHead(_ now: Timestamp, _ effects: inout [Effect]) -> Int? {
        next: while let group = retries.first ?? turns.first {
            while let id = lines[group]?.first, let entry = held[id] {
                if let until = keepsPlace(entry, now) {
                    if retries.popFirst() == nil { turns.removeFirst() }
                    resting.insert(Resting(until: until, group: group))
                    continue next
                }
                guard mayLeave(id, entry, now, &effects) else {
                    forget(id)
                    lines[group]?.removeFirst()
                    continue
                }
                return id
            }
            lines[group] = nil
            if retries.popFirst() == nil { turns.removeFirst() }
        }
        return nil
    }

    /// When a head is to be looked at again that is in doubt, and not tried any more, and that no sender waits for.
    private func keepsPlace(_ entry: Held, _ now: Timestamp) -> Timestamp? {
        guard entry.ticket == nil, let doubtedAt = entry.doubtedAt, !Mutation.doubtTooShort.isOn,
            now - doubtedAt >= limits.doubtTriesMilliseconds, now - doubtedAt < limits.doubtMilliseconds
        else { return nil }
        return min(now + limits.doubtLookMilliseconds, doubtedAt + limits.doubtMilliseconds)
    }

    private mutating func mayLeave(_ id: Int, _ entry: Held, _ now: Timestamp, _ effects: inout [Effect]) -> Bool {
        if let doubtedAt = entry.doubtedAt {
            // Tried until its outcome is known or no request from before can arrive any more.
            return entry.ticket != nil || now - doubtedAt < (Mutation.doubtTooShort.isOn ? 1 : limits.doubtMilliseconds)
        }
        guard let ticket = entry.ticket else { return false }
        guard let error = entry.earlierFailure else { return true }
        effects.append(.complete(ticket, .failure(error)))
        return false
    }

    /// Takes an entry that is not in flight out of its line, where only a head in flight or in doubt can stand before it:
    /// whatever came earlier had its deadline earlier.
    private mutating func leaveLine(_ id: Int, _ entry: Held) {
        let group = entry.message.groupHash
        if lines[group]?.first != id { lines[group]?.swapAt(0, 1) }
        if lines[group]?.first == id {
            lines[group]?.removeFirst()
        }
        forget(id)
    }

    mutating func forget(_ id: Int) {
        guard let entry = held.removeValue(forKey: id) else { return }
        heldBytes -= entry.message.byteCount
    }

    private func lateError(_ entry: Held) -> ShardError {
        if entry.isInFlight || entry.isInDoubt, !Mutation.lateIsRefused.isOn { return .unknownOutcome }
        let wait = retryAfterMilliseconds
        if failures > 0 && !isOnlyThrottled || entry.failures > 0 && !entry.isThrottled {
            return .unavailable(retryAfterMilliseconds: wait)
        }
        let accepted = entry.deadline + -limits.deadlineMilliseconds
        return failures > 0 || entry.failures > 0 || quotaHeldAt >= accepted
            ? .quotaExceeded(retryAfterMilliseconds: wait) : .overloaded(retryAfterMilliseconds: wait)
    }
}
