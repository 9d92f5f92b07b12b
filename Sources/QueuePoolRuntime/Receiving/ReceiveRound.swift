// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Synchronization

// The driver of `LookRound`: asks the shards that it names. An answer may come within the call that asked; the loop that
// made the call goes on from there, so answers given at once make a loop and not a recursion. A shard over its quota,
// with a broken disk or without an answer delays its own groups only (I5).

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
    }

    private let search: Search
    private let watch: ShardWatch
    private let clock: any Clock
    private let state: Mutex<State>
    private let completion: @Sendable (Answer) -> Void

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

    func run() {
        let isMine = state.withLock { state in
            defer { state.isRunning = true }
            return !state.isRunning
        }
        guard isMine else { return }
        while let ask = next() { perform(ask) }
    }

    /// What to ask; `nil` when there is nothing to do, or nothing until an answer comes.
    private func next() -> LookRound.Ask? {
        enum Turn {
            case ask(LookRound.Ask)
            case wait
            case arm(wave: Int)
            case end(Answer)
        }
        let turn = state.withLock { state -> Turn in
            switch state.round.next() {
            case .ask(let ask): return .ask(ask)
            case .wait(let wave):
                state.isRunning = false
                guard state.armedWave != wave else { return .wait }
                state.armedWave = wave
                return .arm(wave: wave)
            case .end(let outcome):
                if outcome == .failed { state.answer.failure = state.failure }
                return .end(state.answer)
            }
        }
        switch turn {
        case .ask(let ask): return ask
        case .wait: return nil
        case .arm(let wave):
            clock.schedule(at: clock.now() + ShardHealth.patienceMilliseconds) { [weak self] in
                self?.patienceIsOver(wave)
            }
            return nil
        case .end(let answer):
            completion(answer)
            return nil
        }
    }

    private func shard(_ turn: Int) -> PoolShard { search.shards[(search.start + turn) % search.shards.count] }

    private func perform(_ ask: LookRound.Ask) {
        let shard = shard(ask.turn)
        // What a repeatable receive gets, the shard must have given it under its name.
        if search.command.attemptID == nil,
            watch.take(
                of: shard, limit: ask.limit, visibilitySeconds: search.visibilitySeconds,
                completion: { [self] in answered(ask, shard, $0) })
        {
            return
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
                state.failure = state.failure ?? .quotaExceeded(retryAfterMilliseconds: wait)
                state.answer.retries.append((shard.index, at))
            }
        }
        var command = search.command
        command.limit = ask.limit
        command.patience = ask.patience
        shard.shard.receive(command) { [self] result in
            let retryAt = note(result, of: shard.index, ask.patience)
            answered(ask, shard, result, retryAt: retryAt)
        }
    }

    /// A receiver that has something is answered; it does not try on others' account.
    private func triesIll() -> Bool { search.triesIll && state.withLock { $0.answer.messages.isEmpty } }

    private func note(
        _ result: Result<[ReceivedMessage], ShardError>, of shard: ShardIndex, _ patience: ReceiveCommand.Patience
    ) -> Timestamp? {
        switch result {
        case .success(let messages):
            // Where nothing was asked for, nothing was learnt.
            if patience == .look || !messages.isEmpty { watch.answered(shard) }
            return nil
        case .failure(let error): return watch.failed(shard, error)
        }
    }

    private func answered(
        _ ask: LookRound.Ask, _ shard: PoolShard, _ result: Result<[ReceivedMessage], ShardError>,
        retryAt: Timestamp? = nil
    ) {
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
        if isTaken { return run() }
        if search.command.attemptID == nil {
            watch.keep(
                messages, of: shard.index, visibilitySeconds: search.visibilitySeconds, askedAt: search.startedAt)
        } else {
            // A repeat of the attempt would give them to somebody else as well.
            watch.giveBack(messages.reversed(), to: shard.shard)
        }
    }

    private func patienceIsOver(_ wave: Int) {
        let overdue = state.withLock { $0.round.patienceIsOver(wave: wave) }
        guard !overdue.isEmpty else { return }
        for turn in overdue { watch.overdue(shard(turn).index) }
        run()
    }
}
