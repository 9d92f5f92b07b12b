// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import Synchronization

// The batcher's driver: lock, decide, unlock, act. When something may leave, the shard is told, and the request is
// formed at the moment at which the shard can store it; its answer, on the thread that brings it, is what tells the
// shard of the next one.

/// Sends to one shard through its batcher.
package final class ShardSender: Sendable {
    private struct State {
        var batcher: Batcher<SendTicket>
        var wakesAt: Timestamp?
        /// The shard was told that a request may leave and has not asked for it yet.
        var isAnnounced = false
    }

    /// What is to be done outside the lock.
    private enum Act {
        case announce
        case schedule(Timestamp)
        case nothing
    }

    /// A request from the moment at which the shard asks for it.
    private final class Pulled: Sendable {
        let request = Mutex<Batcher<SendTicket>.Request>([])
    }

    package let refusals = RefusalCounts()
    private let shard: any Shard
    private let clock: any Clock
    private let state: Mutex<State>
    private let budget: WaitingBudget

    package init(
        shard: any Shard, limits: BatcherLimits, quota: TokenBucket?, clock: any Clock,
        budget: WaitingBudget = WaitingBudget()
    ) {
        self.shard = shard
        self.clock = clock
        self.budget = budget
        state = Mutex(State(batcher: Batcher(limits: limits, quota: quota)))
    }

    /// Messages that wait for a request.
    package var waitingEntries: Int { state.withLock { $0.batcher.waitingEntries } }

    /// Takes a token of the quota for a request that will not wait.
    /// - Returns: `nil` if there was one, else the milliseconds until there will be.
    package func takeToken() -> Int? {
        let now = clock.now()
        return state.withLock { $0.batcher.takeToken(now: now) }
    }

    /// Sends messages in order, all or none of them taken in; every completion is called once.
    package func send(_ entries: [BatcherEntry<SendTicket>]) {
        let cost = WaitingBudget.cost(entries)
        guard budget.take(cost) else { return fail(entries, .overloaded(retryAfterMilliseconds: 1_000)) }
        let now = clock.now()
        let (isAccepted, next) = state.withLock { state in
            guard state.batcher.accept(entries) else { return (false, Act.nothing) }
            return (true, decide(&state, now))
        }
        guard isAccepted else {
            budget.giveBack(cost)
            return fail(entries, .overloaded(retryAfterMilliseconds: 1_000))
        }
        act(next)
    }

    private func decide(_ state: inout State, _ now: Timestamp) -> Act {
        if state.isAnnounced { return .nothing }
        switch state.batcher.readiness(now: now) {
        case .idle: return .nothing
        case .ready:
            state.isAnnounced = true
            return .announce
        case .wait(let until):
            // One timer at a time: an earlier one will decide again.
            if let wakesAt = state.wakesAt, wakesAt <= until { return .nothing }
            state.wakesAt = until
            return .schedule(until)
        }
    }

    private func act(_ act: Act) {
        switch act {
        case .nothing: break
        case .schedule(let time): clock.schedule(at: time) { [weak self] in self?.wake() }
        case .announce:
            let pulled = Pulled()
            shard.sendWhenReady({ [self] in pull(into: pulled) }, completion: { [self] in finish(pulled, $0) })
        }
    }

    private func pull(into pulled: Pulled) -> [OutgoingMessage] {
        let now = clock.now()
        let (request, refused, next) = state.withLock { state in
            state.isAnnounced = false
            guard case .send(let request, let refused) = state.batcher.next(now: now) else {
                return (Batcher<SendTicket>.Request(), [Batcher<SendTicket>.Refusal](), Act.nothing)
            }
            // A request of nothing but refusals leaves the way free for the next.
            return (request, refused, decide(&state, now))
        }
        pulled.request.withLock { $0 = request }
        act(next)
        if !refused.isEmpty { budget.giveBack(WaitingBudget.cost(refused.map(\.entry))) }
        for refusal in refused { tell(refusal.entry, refusal.error) }
        return request.map(\.message)
    }

    private func wake() {
        let now = clock.now()
        act(
            state.withLock { state in
                state.wakesAt = nil
                return decide(&state, now)
            })
    }

    private func finish(_ pulled: Pulled, _ result: Result<[SendReceipt], ShardError>) {
        let request = pulled.request.withLock { $0 }
        if !request.isEmpty { budget.giveBack(WaitingBudget.cost(request)) }
        // Before the next request may leave: it must not take what follows a failed entry.
        if case .failure(let error) = result { for entry in request { entry.noteFailure(error) } }
        let now = clock.now()
        act(
            state.withLock { state in
                if !request.isEmpty { state.batcher.finished(request) }
                return decide(&state, now)
            })
        switch result {
        case .success(let receipts):
            for (entry, receipt) in zip(request, receipts) { entry.ticket.complete(.success(receipt)) }
        case .failure(let error):
            for entry in request { tell(entry, error) }
        }
    }

    private func fail(_ entries: [BatcherEntry<SendTicket>], _ error: ShardError) {
        for entry in entries { entry.noteFailure(error) }
        for entry in entries { tell(entry, error) }
    }

    private func tell(_ entry: BatcherEntry<SendTicket>, _ error: ShardError) {
        refusals.count(error)
        entry.ticket.complete(.failure(error))
    }
}
