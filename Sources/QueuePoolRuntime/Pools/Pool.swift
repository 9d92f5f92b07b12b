// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import Synchronization

// A pool at work: its topology, its router, its shards, and the doors through which everybody receives and deletes.

/// One logical FIFO queue over N shards.
package final class Pool: Sendable {
    /// What a pool is right now; replaced as a whole.
    package struct Snapshot: Sendable {
        package var definition: PoolDefinition
        package var attributes: QueueAttributes
        /// Requests a second for each action and shard; `nil` is no limit.
        package let quota: Int?
        package let shards: [PoolShard]

        fileprivate init(
            _ definition: PoolDefinition, _ attributes: QueueAttributes, _ quota: Int?, _ shards: [PoolShard]
        ) {
            self.definition = definition
            self.attributes = attributes
            self.quota = quota
            self.shards = shards
        }

        package var topology: Topology { definition.topology }
        package var isSingle: Bool { shards.count == 1 }
    }

    package let name: PoolName
    /// The way of every send.
    package let router: Router
    private let state: Mutex<Snapshot>
    private let turn = Atomic(0)
    private let clock: any Clock
    package let hub: LongPollHub
    private let watch: ShardWatch
    private let attempts = Mutex(AttemptShards())

    package init(
        definition: PoolDefinition, attributes: QueueAttributes, quota: Int? = nil, shards: [PoolShard],
        clock: any Clock
    ) {
        name = definition.name
        router = Router(topology: definition.topology, shards: shards)
        state = Mutex(Snapshot(definition, attributes, quota, shards))
        self.clock = clock
        let byIndex = Dictionary(uniqueKeysWithValues: shards.map { ($0.index, $0.shard) })
        hub = LongPollHub(clock: clock, shards: shards.map(\.index)) { byIndex[$0]?.nextVisibleAt() }
        let hub = self.hub
        watch = ShardWatch(clock: clock, shards: shards) { hub.wake($0) }
        for shard in shards {
            // Weakly: the hub asks the shards, and both would hold each other for ever.
            shard.shard.onReady { [weak hub, index = shard.index] in hub?.wake(index) }
        }
    }

    package var snapshot: Snapshot { state.withLock { $0 } }

    package var attributes: QueueAttributes { state.withLock { $0.attributes } }

    /// Whether requests over the quota are refused at once, as one SQS queue refuses them, instead of waiting.
    package var isThrottledAtOnce: Bool { state.withLock { $0.quota != nil && $0.isSingle } }

    /// Takes over new attributes or tags, also in the shards.
    package func update(_ definition: PoolDefinition, _ attributes: QueueAttributes) {
        let shards = state.withLock { state in
            state.definition = definition
            state.attributes = attributes
            return state.shards
        }
        for shard in shards { shard.shard.setAttributes(attributes) }
    }

    // MARK: - Sending

    /// Sends one message.
    package func send(
        _ message: OutgoingMessage, completion: @escaping @Sendable (Result<SendReceipt, ShardError>) -> Void
    ) {
        var request = SendRequest()
        request.add(message, at: 0) { result, _ in completion(result) }
        router.send(request)
    }

    /// Sends the messages of one request, answered together in their order.
    /// - Parameters:
    ///   - order: what the request has in common, if its door refused some of its entries already.
    ///   - positions: of the messages among the request's entries, ascending; `nil` if there are no others.
    package func send(
        _ messages: [OutgoingMessage], isPaid: Bool = false, order: RequestOrder? = nil, positions: [Int]? = nil,
        completion: @escaping @Sendable ([Result<SendReceipt, ShardError>]) -> Void
    ) {
        let gathering = Gathering<Result<SendReceipt, ShardError>>(count: messages.count, completion)
        var request = SendRequest(order: order, isPaid: isPaid)
        for (place, message) in messages.enumerated() {
            request.add(message, at: positions?[place] ?? place) { result, _ in gathering.put(result, at: place) }
        }
        router.send(request)
    }

    // MARK: - Receiving

    /// Receives from all shards in turn, or from one, waiting until `deadline` for the first message.
    /// - Parameters:
    ///   - shard: `nil` for the whole pool.
    ///   - isAbandoned: whether the caller is gone; messages are not taken for it then.
    /// - Returns: the name of a receiver that waits, for `hub.abandoned`; `nil` for one that does not wait.
    @discardableResult
    package func receive(
        _ command: ReceiveCommand, from shard: PoolShard? = nil, waitSeconds: Int,
        isAbandoned: @escaping @Sendable () -> Bool,
        completion: @escaping @Sendable (Result<[ReceivedMessage], ShardError>) -> Void
    ) -> WaiterID? {
        let snapshot = self.snapshot
        let now = clock.now()
        let deadline = now + Int64(waitSeconds) * 1_000
        // What a repeatable receive of several shards is called by, and whom a repeat of one has to ask.
        let attempt = shard == nil && !snapshot.isSingle ? command.attemptID : nil
        let replayed = attempt.flatMap { repeated(attempt: $0, snapshot, now: now) }
        let shards = shard.map { [$0] } ?? replayed ?? snapshot.shards
        let search = ReceiveRound.Search(
            shards: shards, start: replayed == nil ? start(command, shards.count) : 0, command: command,
            visibilitySeconds: command.visibilitySeconds ?? snapshot.attributes.visibilityTimeoutSeconds,
            startedAt: now,
            passesOver: shards.count > 1 && replayed == nil)
        let isFar = shards.contains { $0.shard.traits.pollsRemotely }
        let look: LongPollHub.Attempt = { [self] look, done in
            if isAbandoned() {
                done(true)
                return completion(.success([]))
            }
            var search = search
            if !look.isFirst {
                search.startedAt = clock.now()
                search.passesOver = true
                search.triesIll = !look.isLast
            }
            let round = Pool.round(&search, look, isFar: isFar, deadline: deadline, waitSeconds: waitSeconds)
            ReceiveRound(round, search, watch: watch, clock: clock) { [self] answer in
                // Only a look at all shards can tell that all fail.
                let isFailure = answer.failure != nil && (look.isFirst || look.isLast)
                if answer.messages.isEmpty, !isFailure, !look.isLast {
                    done(false)
                    for retry in answer.retries { hub.wake(retry.shard, at: retry.at) }
                    return
                }
                // Next in line first: the answer may take this thread a while.
                done(true)
                if !answer.messages.isEmpty {
                    hub.rearm()
                    if let attempt { remember(attempt, answer.contributors) }
                }
                completion(answer.failure.map { .failure($0) } ?? .success(answer.messages))
            }.run()
        }
        if waitSeconds == 0 {
            look(LongPollHub.Look(shard: nil, isLast: true, isFirst: true)) { _ in }
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

    /// Where a look begins: in turn, or, for a repeatable receive, always at the same shard.
    private func start(_ command: ReceiveCommand, _ count: Int) -> Int {
        guard count > 1 else { return 0 }
        if let id = command.attemptID { return Int(XXHash64.hash(id) % UInt64(count)) }
        return (turn.wrappingAdd(1, ordering: .relaxed).oldValue & Int.max) % count
    }

    // MARK: - Deleting

    /// The shard that gave a receipt handle.
    package func shard(of handle: ReceiptHandle) -> PoolShard? {
        state.withLock { state in state.shards.first { $0.shard.tag == handle.shard } }
    }

    /// Deletes by receipt handles; one outcome for each, in order.
    /// - Parameter shard: handles of other shards are not accepted; `nil` for the whole pool.
    package func delete(
        _ handles: [ReceiptHandle], in shard: PoolShard? = nil,
        completion: @escaping @Sendable ([DeleteOutcome]) -> Void
    ) {
        split(handles, in: shard, action: .delete, refused: { .failed($0) }, foreign: .notOurs, completion) {
            $0.delete($1, completion: $2)
        }
    }

    /// Changes visibility timeouts; one outcome for each, in order. A failure is a quota that is spent.
    package func changeVisibility(
        _ changes: [(handle: ReceiptHandle, seconds: Int)], in shard: PoolShard? = nil,
        completion: @escaping @Sendable ([Result<VisibilityDecision, ShardError>]) -> Void
    ) {
        let seconds = changes.map(\.seconds)
        let handles = changes.map(\.handle)
        let byHandle = Dictionary(zip(handles, seconds)) { _, last in last }
        split(
            handles, in: shard, action: .changeVisibility, refused: { .failure($0) }, foreign: .success(.notOurs),
            completion
        ) { shard, handles, done in
            shard.changeVisibility(handles.map { ($0, byHandle[$0] ?? 0) }) { [hub] decisions in
                hub.rearm()
                done(decisions.map { .success($0) })
            }
        }
    }

    /// Hands each shard its own handles, counts one request for each, and puts the answers in order.
    private func split<Outcome: Sendable>(
        _ handles: [ReceiptHandle], in only: PoolShard?, action: QuotaAction,
        refused: @escaping @Sendable (ShardError) -> Outcome, foreign: Outcome,
        _ completion: @escaping @Sendable ([Outcome]) -> Void,
        _ perform: (any Shard, [ReceiptHandle], @escaping @Sendable ([Outcome]) -> Void) -> Void
    ) {
        let gathering = Gathering<Outcome>(count: handles.count, completion)
        var parts: [(shard: PoolShard, handles: [ReceiptHandle], positions: [Int])] = []
        for (position, handle) in handles.enumerated() {
            guard let owner = shard(of: handle), only == nil || owner === only else {
                gathering.put(foreign, at: position)
                continue
            }
            if let place = parts.firstIndex(where: { $0.shard === owner }) {
                parts[place].handles.append(handle)
                parts[place].positions.append(position)
            } else {
                parts.append((owner, [handle], [position]))
            }
        }
        for part in parts {
            let positions = part.positions
            if let wait = part.shard.takeToken(action) {
                let outcome = refused(.quotaExceeded(retryAfterMilliseconds: wait))
                for position in positions { gathering.put(outcome, at: position) }
                continue
            }
            perform(part.shard.shard, part.handles) { outcomes in
                for (outcome, position) in zip(outcomes, positions) { gathering.put(outcome, at: position) }
            }
        }
    }

    // MARK: - All of it

    /// Removes every message and the deduplication memory.
    package func purge(_ only: PoolShard? = nil, completion: @escaping @Sendable (Result<Int, ShardError>) -> Void) {
        let shards = only.map { [$0] } ?? snapshot.shards
        let gathering = Gathering<Result<Int, ShardError>>(count: shards.count) { results in
            var total = 0
            for result in results {
                switch result {
                case .success(let count): total += count
                case .failure(let error): return completion(.failure(error))
                }
            }
            completion(.success(total))
        }
        for (position, shard) in shards.enumerated() {
            shard.shard.purge { gathering.put($0, at: position) }
        }
    }
}
