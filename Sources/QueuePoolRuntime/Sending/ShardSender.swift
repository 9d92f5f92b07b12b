// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import Synchronization

/// Called once with what became of one message.
package typealias SendCompletion = @Sendable (Result<SendReceipt, ShardError>) -> Void

// The batcher's driver: lock, decide, unlock, act. One request is under way at a time (or as many as the limits say);
// its answer is what sends the next one, on the thread that brought the answer.

/// Sends to one shard through its batcher.
package final class ShardSender: Sendable {
    private struct State {
        var batcher: Batcher<SendCompletion>
        var wakesAt: Timestamp?
        var isClosed = false
    }

    private let shard: any Shard
    private let clock: any RuntimeClock
    private let state: Mutex<State>

    package init(shard: any Shard, limits: BatcherLimits, quota: TokenBucket?, clock: any RuntimeClock) {
        self.shard = shard
        self.clock = clock
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
    package func send(_ entries: [BatcherEntry<SendCompletion>]) {
        let now = clock.now()
        let (isAccepted, step) = state.withLock { state in
            guard state.batcher.accept(entries) else { return (false, Batcher<SendCompletion>.Step.idle) }
            return (true, decide(&state, now))
        }
        guard isAccepted else {
            for entry in entries { entry.ticket(.failure(.overloaded(retryAfterMilliseconds: 1_000))) }
            return
        }
        act(step)
    }

    private func decide(_ state: inout State, _ now: Timestamp) -> Batcher<SendCompletion>.Step {
        let step = state.batcher.next(now: now)
        guard case .wait(let until) = step else { return step }
        // One timer at a time: an earlier one will decide again.
        if let wakesAt = state.wakesAt, wakesAt <= until { return .idle }
        state.wakesAt = until
        return step
    }

    private func act(_ step: Batcher<SendCompletion>.Step) {
        switch step {
        case .idle: break
        case .wait(let until):
            clock.schedule(at: until) { [weak self] in self?.wake() }
        case .send(let request):
            shard.send(request.map(\.message)) { [self] result in finish(request, result) }
            // More may leave beside it.
            poke()
        }
    }

    private func wake() {
        let now = clock.now()
        act(
            state.withLock { state in
                state.wakesAt = nil
                return decide(&state, now)
            })
    }

    private func poke() {
        let now = clock.now()
        act(state.withLock { decide(&$0, now) })
    }

    private func finish(_ request: Batcher<SendCompletion>.Request, _ result: Result<[SendReceipt], ShardError>) {
        let now = clock.now()
        let step = state.withLock { state in
            state.batcher.finished(request)
            return decide(&state, now)
        }
        act(step)
        switch result {
        case .success(let receipts):
            for (entry, receipt) in zip(request, receipts) { entry.ticket(.success(receipt)) }
        case .failure(let error):
            for entry in request { entry.ticket(.failure(error)) }
        }
    }
}
