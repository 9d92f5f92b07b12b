// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule
import HeapModule

// What an answer does to its entries, their groups and the pace of the shard.

extension RequestSender {
    mutating func answered(
        _ id: RequestID, _ outcomes: [EntryOutcome], _ now: Timestamp, _ effects: inout [Effect]
    ) {
        guard let request = end(id) else { return }
        answeredAt = now
        var isHealthy = false
        var isThrottled = false
        for (position, entry) in request.entries.enumerated() {
            let place = Mutation.answersSwapped.isOn ? request.entries.count - 1 - position : position
            let outcome = place < outcomes.count ? outcomes[place] : .unknown
            switch outcome {
            case .stored(let receipt):
                isHealthy = true
                tell(entry, .success(receipt), &effects)
                moveOn(entry)
            case .permanent(let error):
                isHealthy = true
                refuse(entry, error, now, &effects)
            case .throttled, .retryable, .unknown:
                if outcome == .throttled { isThrottled = true }
                if outcome == .unknown { doubt(entry, request) }
                tryAgain(entry, now, isThrottled: outcome == .throttled, restsAlone: true, &effects)
            }
        }
        if isThrottled {
            quota?.throttled(sentAt: request.sentAt, now: now)
        } else if isHealthy {
            quota?.succeeded(now: now)
        }
        if isHealthy {
            recover()
        } else {
            pause(request, isThrottled: !outcomes.isEmpty && outcomes.allSatisfy { $0 == .throttled }, now)
        }
    }

    mutating func failed(
        _ id: RequestID, _ failure: RequestFailure, _ now: Timestamp, _ effects: inout [Effect]
    ) {
        guard let request = end(id) else { return }
        if failure == .throttled {
            answeredAt = now
            quota?.throttled(sentAt: request.sentAt, now: now)
        }
        if case .permanent(let error) = failure {
            // The shard answers; whether it likes what it is asked is not a matter of pace.
            answeredAt = now
            recover()
            for entry in request.entries { refuse(entry, error, now, &effects) }
            return
        }
        pause(request, isThrottled: failure == .throttled, now)
        for entry in request.entries {
            if failure == .unknownOutcome { doubt(entry, request) }
            tryAgain(entry, now, isThrottled: failure == .throttled, restsAlone: false, &effects)
        }
    }

    private mutating func end(_ id: RequestID) -> Request? {
        guard let request = requests.removeValue(forKey: id) else { return nil }
        entriesInFlight -= request.entries.count
        if probe == id { probe = nil }
        return request
    }

    private mutating func recover() {
        failures = 0
        isFailingSince = nil
        probe = nil
    }

    /// Failures of requests sent before the last one counted belong to it.
    private mutating func pause(_ request: Request, isThrottled: Bool, _ now: Timestamp) {
        isOnlyThrottled = isThrottled && (failures == 0 || isOnlyThrottled)
        guard failures == 0 || request.sentAt >= failedAt, !Mutation.failingShardIsStormed.isOn else { return }
        if failures == 0 { failingFrom = now }
        failures += 1
        failedAt = now
        let isSilent = answeredAt < request.sentAt && now - request.sentAt >= limits.silentMilliseconds
        let isLasting = failures >= limits.failingRequests && now - failingFrom >= limits.failingMilliseconds
        if isFailingSince == nil, isSilent || isLasting { isFailingSince = now }
        pausedUntil = now + jitter.delay(failures: failures)
    }

    private mutating func doubt(_ id: Int, _ request: Request) {
        if Mutation.doubtIsForgotten.isOn { return }
        if held[id]?.doubtedAt == nil { held[id]?.doubtedAt = request.sentAt }
    }

    /// The head stays the head. One whose ticket was told at its deadline is not worth another request, unless it may be
    /// stored: then the next of its group waits until that is known.
    private mutating func tryAgain(
        _ id: Int, _ now: Timestamp, isThrottled: Bool, restsAlone: Bool, _ effects: inout [Effect]
    ) {
        guard let entry = held[id], entry.ticket != nil || entry.isInDoubt else { return moveOn(id) }
        held[id]?.isInFlight = false
        held[id]?.failures += 1
        held[id]?.isThrottled = isThrottled
        let group = entry.message.groupHash
        if Mutation.followersBeforeRetry.isOn, let head = lines[group]?.popFirst() { lines[group]?.append(head) }
        if restsAlone {
            resting.insert(Resting(until: now + jitter.delay(failures: entry.failures + 1), group: group))
        } else {
            retries.append(group)
        }
    }

    private mutating func refuse(_ id: Int, _ error: ShardError, _ now: Timestamp, _ effects: inout [Effect]) {
        guard held[id]?.isInDoubt == true, !Mutation.refusalEndsDoubt.isOn else {
            tell(id, .failure(error), &effects)
            return moveOn(id)
        }
        // An earlier try may have stored it, or may yet: that it was refused now does not take this back.
        tell(id, .failure(.unknownOutcome), &effects)
        tryAgain(id, now, isThrottled: false, restsAlone: true, &effects)
    }

    private mutating func tell(_ id: Int, _ result: Result<SendReceipt, ShardError>, _ effects: inout [Effect]) {
        guard let entry = held[id], let ticket = entry.ticket else { return }
        held[id]?.ticket = nil
        if case .failure(let error) = result { entry.noteFailure(error) }
        effects.append(.complete(ticket, result))
    }

    /// Takes the head that was in flight out of its line; the next one may have its turn.
    private mutating func moveOn(_ id: Int) {
        guard let group = held[id]?.message.groupHash else { return }
        forget(id)
        if Mutation.twoOfAGroup.isOn { lines[group]?.removeAll { $0 == id } } else { lines[group]?.removeFirst() }
        if lines[group]?.isEmpty == true { lines[group] = nil } else { turns.append(group) }
    }
}
