// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

// What is done by receipt handles, each at the shard that gave it, and what is done to all shards.

extension Pool {
    /// Deletes by receipt handles; one outcome for each, in order.
    /// - Parameter shard: handles of other shards are not accepted; `nil` for the whole pool.
    package func delete(
        _ handles: [ReceiptHandle], in shard: PoolShard? = nil,
        completion: @escaping @Sendable ([DeleteOutcome]) -> Void
    ) {
        split(handles, in: shard, action: .delete, refused: { .failed($0) }, foreign: .notOurs, completion) {
            [isTracked = tracking != nil] (shard, handles, done) in
            shard.shard.delete(handles) { outcomes in
                if isTracked { shard.noteDeleted(handles, outcomes) }
                done(outcomes.map { $0.named(shard.quota) })
            }
            return nil
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
            let changed: @Sendable ([VisibilityDecision]) -> [Result<VisibilityDecision, ShardError>] = { [hub] in
                hub.rearm()
                return $0.map { .success($0.named(shard.quota)) }
            }
            let changes = handles.map { ($0, byHandle[$0] ?? 0) }
            return shard.shard.changeVisibility(changes) { done(changed($0)) }.map(changed)
        }
    }

    /// Hands each shard its own handles, counts one request for each, and puts the answers in order. Answers that are
    /// known at once are handed on within this call.
    private func split<Outcome: Sendable>(
        _ handles: [ReceiptHandle], in only: PoolShard?, action: QuotaAction,
        refused: @escaping @Sendable (ShardError) -> Outcome, foreign: Outcome,
        _ completion: @escaping @Sendable ([Outcome]) -> Void,
        _ perform: (PoolShard, [ReceiptHandle], @escaping @Sendable ([Outcome]) -> Void) -> [Outcome]?
    ) {
        let gathering = Gathering<Outcome>(count: handles.count, unknown: foreign, completion)
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
            let put: @Sendable ([Outcome]) -> Void = { [positions = part.positions] outcomes in
                for (outcome, position) in zip(outcomes, positions) { gathering.put(outcome, at: position) }
            }
            if let wait = part.shard.takeToken(action) {
                let outcome = refused(.quotaExceeded(retryAfterMilliseconds: wait, of: part.shard.quota))
                put(part.handles.map { _ in outcome })
            } else if let known = perform(part.shard, part.handles, put) {
                put(known)
            }
        }
    }

    // MARK: - All of it

    /// Removes every message and the deduplication memory.
    package func purge(_ only: PoolShard? = nil, completion: @escaping @Sendable (Result<Int, ShardError>) -> Void) {
        let shards = only.map { [$0] } ?? snapshot.shards
        let gathering = Gathering<Result<Int, ShardError>>(count: shards.count, unknown: .success(0)) { results in
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

extension DeleteOutcome {
    /// The same, and whose quota it is if it tells of one and does not say.
    fileprivate func named(_ quota: ShardQuota) -> DeleteOutcome {
        if case .failed(let error) = self { .failed(error.named(quota)) } else { self }
    }
}

extension VisibilityDecision {
    /// The same, and whose quota it is if it tells of one and does not say.
    fileprivate func named(_ quota: ShardQuota) -> VisibilityDecision {
        if case .failed(let error) = self { .failed(error.named(quota)) } else { self }
    }
}
