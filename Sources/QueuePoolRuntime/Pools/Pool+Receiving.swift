// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import Synchronization

extension Pool {
    /// Receives from all shards in turn, or from one, waiting until `deadline` for the first message.
    /// - Parameters:
    ///   - shard: `nil` for the whole pool.
    ///   - reach: which bodies are put in place of the pointers to them.
    ///   - isAbandoned: whether the caller is gone; messages are not taken for it then.
    /// - Returns: the name of a receiver that waits, for `hub.abandoned`; `nil` for one that does not wait.
    @discardableResult
    package func receive(
        _ command: ReceiveCommand, from shard: PoolShard? = nil, waitSeconds: Int,
        reach: BodyReach = .own, isAbandoned: @escaping @Sendable () -> Bool,
        completion: @escaping @Sendable (ReceiveAnswer) -> Void
    ) -> WaiterID? {
        let deadline = clock.now() + Int64(waitSeconds) * 1_000
        let turn = shard == nil ? nextTurn(command) : 0
        let look: LongPollHub.Attempt = { [self] look, done in
            if isAbandoned() {
                completion(.success([]))
                return .served
            }
            // Anew for each look: shards come and go while a receiver waits.
            let (found, attempt) = search(command, in: shard, turn: turn, look)
            var search = found
            let isFar = search.shards.contains { $0.shard.traits.pollsRemotely }
            let round = Pool.round(&search, look, isFar: isFar, deadline: deadline, waitSeconds: waitSeconds)
            let tell: @Sendable (ReceiveRound.Answer) -> Void = { [self] answer in
                if !answer.messages.isEmpty {
                    hub.rearm()
                    if let attempt { remember(attempt, answer.contributors) }
                }
                if let failure = answer.failure { return completion(.failure(failure)) }
                expand(answer.messages, reach, in: shard) { completion(.success($0)) }
            }
            let known = ReceiveRound(round, search, watch: watch, clock: clock) { answer in
                let end = answer.end(of: look)
                // Next in line first: the answer may take this thread a while.
                done(end)
                if end.isServed { tell(answer) }
            }.run()
            guard let known else { return nil }
            let end = known.end(of: look)
            if end.isServed { tell(known) }
            return end
        }
        if waitSeconds == 0 {
            // Served in any case.
            _ = look(LongPollHub.Look(shard: nil, isLast: true, isFirst: true)) { _ in }
            return nil
        } else {
            return hub.poll(of: shard?.index, until: deadline, isAbandoned: isAbandoned, look)
        }
    }

    /// How a look asks. One for a shard that was woken begins there, and may end there.
    private static func round(
        _ search: inout ReceiveRound.Search, _ look: LongPollHub.Look, isFar: Bool, deadline: Timestamp,
        waitSeconds: Int
    ) -> LookRound {
        var count = search.shards.count
        let woken = look.shard.flatMap { shard in search.shards.firstIndex { $0.index == shard } }
        if let woken {
            search.start = woken
            if isFar { count = 1 }
        }
        let seconds = max(1, Int((deadline - search.startedAt + 999) / 1_000))
        let kind: LookRound.Kind =
            switch (isFar, look.isFirst, look.isLast) {
            case (false, _, _): woken == nil ? .near : .nearWoken
            case (true, true, true): .farNow
            case (true, true, false): .farFirst(seconds: seconds)
            case (true, false, true): .farLast
            case (true, false, false): .farWaiting(seconds: seconds)
            }
        return LookRound(
            count: count, limit: search.command.limit, kind: kind, endsUnanswered: waitSeconds > 0)
    }

    /// What a look asks, and what a repeatable receive of several shards is called by.
    private func search(
        _ command: ReceiveCommand, in shard: PoolShard?, turn: Int, _ look: LongPollHub.Look
    ) -> (ReceiveRound.Search, attempt: String?) {
        let snapshot = self.snapshot
        let now = clock.now()
        var command = command
        // A receive that is repeated must find the same messages.
        if command.attemptID == nil { command.limit = min(command.limit, receiveLimit(now)) }
        let attempt = shard == nil && !snapshot.isSingle ? command.attemptID : nil
        // A repeat asks those that answered the first.
        let replayed = attempt.flatMap { repeated(attempt: $0, snapshot, now: now) }
        let shards = shard.map { [$0] } ?? replayed ?? snapshot.shards
        let search = ReceiveRound.Search(
            shards: shards, start: replayed == nil ? turn % shards.count : 0, command: command,
            visibilitySeconds: command.visibilitySeconds ?? snapshot.attributes.visibilityTimeoutSeconds,
            startedAt: now, passesOver: look.isFirst ? shards.count > 1 && replayed == nil : true,
            triesIll: look.isFirst || !look.isLast)
        return (search, attempt)
    }

    /// The shards that answered the receive that is repeated, in their order.
    private func repeated(attempt: String, _ snapshot: Snapshot, now: Timestamp) -> [PoolShard]? {
        guard let indices = attempts.withLock({ $0.shards(of: attempt, now: now) }) else { return nil }
        let shards = indices.compactMap { index in snapshot.shards.first { $0.index == index } }
        return shards.isEmpty ? nil : shards
    }

    private func remember(_ attempt: String, _ shards: [ShardIndex]) {
        let now = clock.now()
        attempts.withLock { $0.remember(attempt, shards, now: now) }
    }

    /// Where a receiver's looks begin: in turn, or, for a repeatable receive, always at the same shard.
    private func nextTurn(_ command: ReceiveCommand) -> Int {
        if let id = command.attemptID { return Int(truncatingIfNeeded: XXHash64.hash(id) >> 1) }
        return turn.wrappingAdd(1, ordering: .relaxed).oldValue & Int.max
    }
}

extension ReceiveRound.Answer {
    /// Whether a look ends with this answer, or finds nothing to tell its receiver.
    fileprivate func end(of look: LongPollHub.Look) -> LongPollHub.LookEnd {
        // Only a look at all shards can tell that all fail.
        let isFailure = failure != nil && (look.isFirst || look.isLast)
        return messages.isEmpty && !isFailure && !look.isLast ? .unserved(retries: retries) : .served
    }
}
