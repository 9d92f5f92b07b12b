// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// The batcher as a machine. A request is announced to the shard when one may leave and formed when the shard asks for it,
// so that what comes in between goes with it; its answer is what announces the next one.

extension Batcher {
    public typealias Event = SenderEvent<Ticket>
    public typealias Effect = SenderEffect<Ticket>

    public mutating func handle(_ event: Event, now: Timestamp) -> [Effect] {
        var effects: [Effect] = []
        expire(now, &effects)
        switch event {
        case .accept(let entries):
            if accept(entries, now: now) { announce(now, &effects) } else { refuse(entries, &effects) }
        case .answered(let id, let answers): answered(id, answers, now, &effects)
        case .timer:
            wakesAt = nil
            announce(now, &effects)
        }
        return effects
    }

    public mutating func pull(
        _ id: RequestID, now: Timestamp
    ) -> (messages: [OutgoingMessage], effects: [Effect]) {
        guard announced == id else { return ([], []) }
        announced = nil
        var effects: [Effect] = []
        expire(now, &effects)
        guard case .send(let request, let refused) = next(now: now) else { return ([], effects) }
        if !request.isEmpty { underWay = (id, request) }
        // A request of nothing but refusals leaves the way free for the next.
        announce(now, &effects)
        for refusal in refused where !Mutation.refusalIsNotTold.isOn {
            effects.append(.complete(refusal.entry.ticket, .failure(refusal.error)))
        }
        return (request.map(\.message), effects)
    }

    // No timer of its own: while something waits, an answer is on its way or the quota's timer is set.
    private mutating func expire(_ now: Timestamp, _ effects: inout [Effect]) {
        if Mutation.batchDeadlineIgnored.isOn { return }
        for (entry, error) in expire(now: now) {
            entry.noteFailure(error)
            effects.append(.complete(entry.ticket, .failure(error)))
        }
    }

    private mutating func announce(_ now: Timestamp, _ effects: inout [Effect]) {
        guard announced == nil else { return }
        switch readiness(now: now) {
        case .idle: break
        case .ready:
            announced = nextRequest
            effects.append(.announce(nextRequest))
            nextRequest += 1
        case .wait(let until):
            // One timer at a time: an earlier one will decide again.
            if let wakesAt, wakesAt <= until { return }
            wakesAt = until
            effects.append(.wake(at: until))
        }
    }

    private func refuse(_ entries: Request, _ effects: inout [Effect]) {
        let error = ShardError.overloaded(retryAfterMilliseconds: 1_000)
        for entry in entries {
            entry.noteFailure(error)
            effects.append(.complete(entry.ticket, .failure(error)))
        }
    }

    /// The answer to a request that was empty when it was asked for finds none under way, and lets the next one leave.
    private mutating func answered(
        _ id: RequestID, _ answers: EntryAnswers, _ now: Timestamp, _ effects: inout [Effect]
    ) {
        guard let (number, request) = underWay, number == id else { return announce(now, &effects) }
        underWay = nil
        finished(request)
        // Before the next request may leave: it must not take what follows a failed entry.
        for position in request.indices where !answers.isStored(at: position) {
            if case .failure(let error) = answers.result(at: position) { request[position].noteFailure(error) }
        }
        effects.reserveCapacity(2)
        announce(now, &effects)
        effects.append(.settle(request, answers))
    }
}
