// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Synchronization

// The driver of `LookRound`: asks the shards that it names. What a shard knows at once it returns, and the loop goes on;
// answers that come later go on with it on their threads, one at a time. A shard over its quota, with a broken disk or
// without an answer delays its own groups only (I5).

/// One look at a pool for messages.
final class ReceiveRound: Sendable {
    /// What is looked for, and where.
    struct Search: Sendable {
        var shards: [PoolShard]
        /// The place of the shard that is asked first.
        var start: Int
        var command: ReceiveCommand
        /// The receiver's, or else the pool's.
        var visibilitySeconds: Int
        var startedAt: Timestamp
        /// Whether shards that are ill are passed over.
        var passesOver: Bool
        /// Whether it has the time to try an ill shard again: not a last look.
        var triesIll = true
    }

    struct Answer: Sendable {
        var messages: [ReceivedMessage] = []
        /// Set if all shards failed.
        var failure: ShardError?
        /// Shards that were not asked, or failed, and when they are worth another look.
        var retries: [(shard: ShardIndex, at: Timestamp)] = []
        /// The shards of the messages.
        var contributors: [ShardIndex] = []
    }

    private struct State {
        var round: LookRound
        var answer = Answer()
        var failure: ShardError?
        /// Some thread makes the calls, or the round has ended.
        var isRunning = false
        var armedWave = -1

        mutating func next() -> Turn {
            switch round.next() {
            case .ask(let ask): return .ask(ask)
            case .wait(let wave):
                isRunning = false
                guard armedWave != wave else { return .wait }
                armedWave = wave
                return .arm(wave: wave)
            case .end(let outcome):
                if outcome == .failed { answer.failure = failure }
                return .end(answer)
            }
        }
    }

    private enum Turn {
        case ask(LookRound.Ask)
        /// Nothing to do until an answer comes.
        case wait
        case arm(wave: Int)
        case end(Answer)
    }

    private let search: Search
    private let watch: ShardWatch
    private let clock: any Clock
    private let state: Mutex<State>
    private let completion: @Sendable (Answer) -> Void

    /// - Parameter completion: called with the answer if `run` did not return it.
    init(
        _ round: LookRound, _ search: Search, watch: ShardWatch, clock: any Clock,
        completion: @escaping @Sendable (Answer) -> Void
    ) {
        self.search = search
        self.watch = watch
        self.clock = clock
        state = Mutex(State(round: round))
        self.completion = completion
    }

    /// Begins the round.
    /// - Returns: its answer, if that is known at once.
    func run() -> Answer? {
        let isMine = state.withLock { state in
            defer { state.isRunning = true }
            return !state.isRunning
        }
        guard isMine else { return nil }
        while true {
            switch state.withLock({ $0.next() }) {
            case .ask(let ask): perform(ask)
            case .wait: return nil
            case .arm(let wave):
                clock.schedule(at: clock.now() + ShardHealth.patienceMilliseconds) { [weak self] in
                    self?.patienceIsOver(wave)
                }
                return nil
            case .end(let answer): return answer
            }
        }
    }

    /// After an answer that came later.
    private func goOn() {
        if let answer = run() { completion(answer) }
    }

    private func shard(_ turn: Int) -> PoolShard { search.shards[(search.start + turn) % search.shards.count] }

    private func perform(_ ask: LookRound.Ask) {
        let shard = shard(ask.turn)
        // What a repeatable receive gets, the shard must have given it under its name.
        if search.command.attemptID == nil {
            let taken = watch.take(of: shard, limit: ask.limit, visibilitySeconds: search.visibilitySeconds) { [self] in
                if take(.success($0), ask, shard) { goOn() }
            }
            switch taken {
            case .nothing: break
            case .messages(let messages):
                _ = take(.success(messages), ask, shard)
                return
            case .later: return
            }
        }
        if search.passesOver, ask.patience == .look,
            let refusal = watch.refusal(of: shard.index, tries: self.triesIll())
        {
            return state.withLock { state in
                state.round.passedOver(ask, isFailure: refusal.failure != nil)
                state.failure = state.failure ?? refusal.failure
                state.answer.retries.append((shard.index, refusal.retryAt))
            }
        }
        if let wait = shard.takeToken(.receive) {
            let at = clock.now() + Int64(wait)
            return state.withLock { state in
                state.round.passedOver(ask, isFailure: true)
                state.failure = state.failure ?? .quotaExceeded(retryAfterMilliseconds: wait, of: shard.quota)
                state.answer.retries.append((shard.index, at))
            }
        }
        var command = search.command
        command.limit = ask.limit
        command.patience = ask.patience
        let answered: @Sendable (ReceiveAnswer) -> Bool = { [self] answer in
            let answer = answer.mapError { $0.named(shard.quota) }
            return take(answer, ask, shard, retryAt: note(answer, of: shard.index, ask.patience))
        }
        if let known = shard.shard.receive(command, completion: { [self] in if answered($0) { goOn() } }) {
            _ = answered(known)
        }
    }

    /// A receiver that has something is answered; it does not try on others' account.
    private func triesIll() -> Bool { search.triesIll && state.withLock { $0.answer.messages.isEmpty } }

    private func note(
        _ result: ReceiveAnswer, of shard: ShardIndex, _ patience: ReceiveCommand.Patience
    ) -> Timestamp? {
        switch result {
        case .success(let messages):
            // Where nothing was asked for, nothing was learnt.
            if patience == .look || !messages.isEmpty { watch.answered(shard) }
            return nil
        case .failure(let error): return watch.failed(shard, error)
        }
    }

    /// - Returns: whether the round goes on with it: nobody gave the shard up meanwhile.
    private func take(
        _ result: ReceiveAnswer, _ ask: LookRound.Ask, _ shard: PoolShard, retryAt: Timestamp? = nil
    ) -> Bool {
        var messages: [ReceivedMessage] = []
        var failure: ShardError?
        switch result {
        case .success(let some): messages = some
        case .failure(let error): failure = error
        }
        let isTaken = state.withLock { state in
            guard state.round.answered(ask, count: messages.count, isFailure: failure != nil) else { return false }
            state.failure = state.failure ?? failure
            if let retryAt { state.answer.retries.append((shard.index, retryAt)) }
            guard !messages.isEmpty else { return true }
            state.answer.contributors.append(shard.index)
            if state.answer.messages.isEmpty {
                state.answer.messages = messages
            } else {
                state.answer.messages.append(contentsOf: messages)
            }
            return true
        }
        if isTaken { return true }
        if search.command.attemptID == nil {
            watch.keep(
                messages, of: shard.index, visibilitySeconds: search.visibilitySeconds, askedAt: search.startedAt)
        } else {
            // A repeat of the attempt would give them to somebody else as well.
            watch.giveBack(messages.reversed(), to: shard.shard)
        }
        return false
    }

    private func patienceIsOver(_ wave: Int) {
        let overdue = state.withLock { $0.round.patienceIsOver(wave: wave) }
        guard !overdue.isEmpty else { return }
        for turn in overdue { watch.overdue(shard(turn).index) }
        goOn()
    }
}
