// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import Synchronization

// The driver of what decides before a shard (`SenderMachine`): lock, decide, unlock, act. Order needs no care outside of
// the lock: a shard that stores whole batches has one under way, and batches that are under way together at the other
// kind have no group in common.

/// What stands before a shard and takes messages for it, whatever kind of shard it is.
package final class ShardSender: Sendable {
    private struct State {
        var machine: any SenderMachine

        /// What its messages take of the budget.
        var cost: Int { machine.heldBytes + machine.heldEntries * WaitingBudget.bytesOfMessage }
    }

    /// Messages that were told a failure.
    package let refusals = RefusalCounts()
    private let shard: any Shard
    private let clock: any Clock
    private let state: Mutex<State>
    private let budget: WaitingBudget
    private let quota: ShardQuota

    /// - Parameters:
    ///   - limits: of a request; one to a shard that answers for each entry has bounds of its own.
    ///   - quota: requests a second; `nil` is no limit. A remote queue begins with it, and follows what it throttles.
    ///   - seed: of the random delays after failures; different for each shard and process.
    package init(
        shard: any Shard, limits: BatcherLimits, quota: Int?, clock: any Clock,
        budget: WaitingBudget = WaitingBudget(), seed: UInt64 = .random(in: 0...UInt64.max)
    ) {
        self.shard = shard
        self.clock = clock
        self.budget = budget
        self.quota = ShardQuota(shard: shard.name, requestsPerSecond: quota)
        state = Mutex(State(machine: ShardSender.machine(shard.traits, limits, quota, clock.now(), seed)))
    }

    private static func machine(
        _ traits: ShardTraits, _ limits: BatcherLimits, _ quota: Int?, _ now: Timestamp, _ seed: UInt64
    ) -> any SenderMachine {
        guard !traits.storesWholeBatches else {
            return Batcher<SendTicket>(limits: limits, quota: quota.map { TokenBucket(rate: $0, now: now) })
        }
        var held = RequestLimits()
        held.heldEntriesMax = limits.waitingEntriesMax
        held.heldBytesMax = limits.waitingBytesMax
        return RequestSender<SendTicket>(
            limits: held, quota: AdaptiveQuota(.ofQueue(startingAt: quota), now: now), seed: seed)
    }

    /// Messages that wait for a request.
    package var waitingEntries: Int { state.withLock { $0.machine.waitingEntries } }

    /// Takes a token of the quota for a request that will not wait.
    /// - Returns: `nil` if there was one, else the milliseconds until there will be.
    package func takeToken() -> Int? {
        let now = clock.now()
        return state.withLock { $0.machine.takeToken(now: now) }
    }

    /// Sends messages in order, all or none of them taken in; every completion is called once.
    package func send(_ entries: [BatcherEntry<SendTicket>]) {
        let cost = WaitingBudget.cost(entries)
        guard budget.take(cost) else {
            let error = ShardError.overloaded(retryAfterMilliseconds: 1_000)
            for entry in entries { entry.noteFailure(error) }
            for entry in entries { tell(entry.ticket, .failure(error)) }
            return
        }
        handle(.accept(entries), taken: cost)
    }

    /// - Parameter taken: bytes of the budget that were taken ahead.
    private func handle(_ event: SenderEvent<SendTicket>, taken: Int = 0) {
        let now = clock.now()
        let (effects, growth) = state.withLock { state in
            let before = state.cost
            return (state.machine.handle(event, now: now), state.cost - before)
        }
        // An entry that may be stored is held beyond its answer: what counts is what the machine holds.
        if taken != growth { budget.giveBack(taken - growth) }
        perform(effects)
    }

    private func pull(_ id: RequestID) -> [OutgoingMessage] {
        let now = clock.now()
        let (pulled, growth) = state.withLock { state in
            let before = state.cost
            return (state.machine.pull(id, now: now), state.cost - before)
        }
        if growth != 0 { budget.giveBack(-growth) }
        perform(pulled.effects)
        return pulled.messages
    }

    private func perform(_ effects: [SenderEffect<SendTicket>]) {
        for effect in effects {
            switch effect {
            case .announce(let id): submit(id, ShardBatch { [self] in pull(id) })
            case .send(let id, let messages): submit(id, ShardBatch(messages))
            case .complete(let ticket, let result): tell(ticket, result)
            case .settle(let entries, let answers):
                for position in entries.indices { tell(entries[position].ticket, answers.result(at: position)) }
            // Held until it rings: what was taken in is told of, also by a sender that nobody else holds any more.
            case .wake(let time): clock.schedule(at: time) { self.handle(.timer) }
            }
        }
    }

    private func submit(_ id: RequestID, _ batch: ShardBatch) {
        shard.submit(batch) { [self] in handle(.answered(id, $0)) }
    }

    private func tell(_ ticket: SendTicket, _ result: Result<SendReceipt, ShardError>) {
        guard case .failure(let error) = result else { return ticket.complete(result) }
        refusals.count(error)
        ticket.complete(.failure(error.named(quota)))
    }
}
