// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import Synchronization

// The driver of `RequestSender`: lock, decide, unlock, act. Order needs no care outside of the lock, because requests
// that are under way together have no group in common, and a group's next request is decided by the answer to the last.

/// Sends to one shard that answers for each entry.
package final class RequestShardSender: EntrySender {
    package let refusals = RefusalCounts()
    private let shard: any EntryShard
    private let clock: any Clock
    private let state: Mutex<RequestSender<SendTicket>>
    private let budget: WaitingBudget

    /// - Parameter seed: of the random delays after failures; different for each shard and process.
    package init(
        shard: any EntryShard, limits: RequestLimits, quota: AdaptiveQuota.Limits?, clock: any Clock,
        budget: WaitingBudget = WaitingBudget(), seed: UInt64 = .random(in: 0...UInt64.max)
    ) {
        self.shard = shard
        self.clock = clock
        self.budget = budget
        let now = clock.now()
        state = Mutex(
            RequestSender(limits: limits, quota: quota.map { AdaptiveQuota($0, now: now) }, seed: seed))
    }

    package var waitingEntries: Int { state.withLock { $0.waitingEntries } }

    package func takeToken() -> Int? {
        let now = clock.now()
        return state.withLock { $0.takeToken(now: now) }
    }

    package func send(_ entries: [BatcherEntry<SendTicket>]) {
        let cost = WaitingBudget.cost(entries)
        guard budget.take(cost) else {
            let error = ShardError.overloaded(retryAfterMilliseconds: 1_000)
            for entry in entries { entry.noteFailure(error) }
            for entry in entries {
                refusals.count(error)
                entry.ticket.complete(.failure(error))
            }
            return
        }
        handle(.accept(entries), taken: cost)
    }

    /// - Parameter taken: bytes of the budget that were taken ahead.
    private func handle(_ first: Event, taken: Int = 0) {
        var events = [first]
        var taken = taken
        while let event = events.popLast() {
            let now = clock.now()
            let (effects, growth) = state.withLock { sender in
                let before = RequestShardSender.cost(sender)
                return (sender.handle(event, now: now), RequestShardSender.cost(sender) - before)
            }
            // An entry that may be stored is held beyond its answer: what counts is what the machine holds.
            if taken != growth { budget.giveBack(taken - growth) }
            taken = 0
            for effect in effects {
                if let answer = perform(effect) { events.append(answer) }
            }
        }
    }

    private static func cost(_ sender: borrowing RequestSender<SendTicket>) -> Int {
        sender.heldBytes + sender.heldEntries * WaitingBudget.bytesOfMessage
    }

    /// - Returns: the answer, if the shard gave it before the call returned.
    private func perform(_ effect: RequestSender<SendTicket>.Effect) -> Event? {
        switch effect {
        case .complete(let ticket, let result):
            if case .failure(let error) = result { refusals.count(error) }
            ticket.complete(result)
        // Held until it rings: what was taken in is told of, also by a sender that nobody else holds any more.
        case .wake(let time): clock.schedule(at: time) { self.handle(.timer) }
        case .send(let id, let messages):
            let call = Call()
            shard.sendEach(messages) { [self] answers in
                let event: Event =
                    switch answers {
                    case .entries(let outcomes): .answered(id, outcomes)
                    case .failed(let failure): .failed(id, failure)
                    }
                if !call.keeps(event) { handle(event) }
            }
            return call.returned()
        }
        return nil
    }

    private typealias Event = RequestSender<SendTicket>.Event

    /// Tells an answer that comes within the call from a later one: handled within, thousands of waiting requests to a
    /// shard that refuses at once would each take a piece of the stack.
    private final class Call: Sendable {
        private let state = Mutex<(isReturned: Bool, answer: Event?)>((false, nil))

        func keeps(_ answer: Event) -> Bool {
            state.withLock { state in
                if !state.isReturned { state.answer = answer }
                return !state.isReturned
            }
        }

        func returned() -> Event? {
            state.withLock { state in
                state.isReturned = true
                return state.answer
            }
        }
    }
}
