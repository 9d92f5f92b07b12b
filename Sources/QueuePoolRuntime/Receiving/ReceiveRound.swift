// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Synchronization

// One look at a pool for messages: shard after shard, beginning where the last look ended, until the limit is reached
// or all were asked. A shard over its quota or with a broken disk is passed over, so that it delays its own groups only
// (I5); the look fails only if it found nothing and some shard failed.

final class ReceiveRound: Sendable {
    private struct State {
        var messages: [ReceivedMessage] = []
        var failure: ShardError?
        var asked = 0
    }

    private let shards: [PoolShard]
    private let start: Int
    private let command: ReceiveCommand
    private let state = Mutex(State())
    private let completion: @Sendable (Result<[ReceivedMessage], ShardError>) -> Void

    init(
        shards: [PoolShard], start: Int, command: ReceiveCommand,
        completion: @escaping @Sendable (Result<[ReceivedMessage], ShardError>) -> Void
    ) {
        self.shards = shards
        self.start = start
        self.command = command
        self.completion = completion
    }

    /// Looks with one patience after the other until something is found.
    static func run(
        _ patience: [ReceiveCommand.Patience], _ shards: [PoolShard], _ start: Int, _ command: ReceiveCommand,
        completion: @escaping @Sendable (Result<[ReceivedMessage], ShardError>) -> Void
    ) {
        var command = command
        command.patience = patience.first ?? .look
        let rest = Array(patience.dropFirst())
        let round = ReceiveRound(shards: shards, start: start, command: command) { [command] result in
            guard !rest.isEmpty, (try? result.get().isEmpty) ?? false else { return completion(result) }
            run(rest, shards, start, command, completion: completion)
        }
        round.run()
    }

    func run() {
        while let (shard, command) = next() {
            if let wait = shard.takeToken(.receive) {
                state.withLock { $0.failure = $0.failure ?? .quotaExceeded(retryAfterMilliseconds: wait) }
                continue
            }
            // A shard answers at once unless a body must come from its disk; then the round goes on from there.
            let meeting = Meeting()
            shard.shard.receive(command) { [self] result in
                take(result)
                if meeting.isSecond() { run() }
            }
            if !meeting.isSecond() { return }
        }
    }

    private func next() -> (PoolShard, ReceiveCommand)? {
        let (shard, left, hasSome, result) = state.withLock { state in
            let left = command.limit - state.messages.count
            guard left > 0, state.asked < shards.count else {
                let failed = state.messages.isEmpty ? state.failure : nil
                return (PoolShard?.none, 0, false, failed.map { .failure($0) } ?? Result.success(state.messages))
            }
            let shard = shards[(start + state.asked) % shards.count]
            state.asked += 1
            return (shard, left, !state.messages.isEmpty, .success([]))
        }
        guard let shard else {
            completion(result)
            return nil
        }
        var rest = command
        rest.limit = left
        // A caller that has something is answered; nobody is asked for more on its account.
        if hasSome, shard.shard.waitsRemotely { rest.patience = .atHand }
        return (shard, rest)
    }

    private func take(_ result: Result<[ReceivedMessage], ShardError>) {
        state.withLock { state in
            switch result {
            case .success(let messages): state.messages.append(contentsOf: messages)
            case .failure(let error): state.failure = error
            }
        }
    }
}

/// Where a call and its callback meet: whoever comes second goes on, so that answers given at once make a loop and not
/// a recursion.
private final class Meeting: Sendable {
    private let arrivals = Atomic(0)

    func isSecond() -> Bool { arrivals.wrappingAdd(1, ordering: .acquiringAndReleasing).oldValue == 1 }
}

/// How often, and how, shards far away are asked for one receive: a look first, which with a backlog is all that is
/// needed and takes no more than the caller can have; then long polls; at the end what these have brought.
final class ReceivePlan: Sendable {
    private let isRemote: Bool
    private let hasLooked = Atomic(false)

    init(isRemote: Bool) { self.isRemote = isRemote }

    func next(isLast: Bool, seconds: Int) -> [ReceiveCommand.Patience] {
        guard isRemote else { return [.look] }
        let isFirst = !hasLooked.exchange(true, ordering: .relaxed)
        if isLast { return isFirst ? [.look] : [.atHand] }
        return isFirst ? [.look, .wait(seconds: seconds)] : [.wait(seconds: seconds)]
    }
}
