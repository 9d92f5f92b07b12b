// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Who should work on which shard. Every worker makes this plan for itself from the table that all of them read; so it
// depends on nothing but the table, and two workers that see the same come to the same. A plan that is carried out in
// part leads to the rest of it: each step that it asks for is one of the fewest moves that bring balance.

/// The wished worker of each shard: even shares, and as few moves as even shares allow.
public enum LeasePlan {
    /// Shares differ by one at most. Those who hold more keep the larger shares; of equals, the lower worker gets it.
    /// - Parameters:
    ///   - workers: who may hold shards; in any order.
    ///   - shards: what is to be held; in any order.
    ///   - holders: who has a shard now, or is about to get it. Workers that are not in `workers` count as nobody.
    /// - Returns: a worker for each shard; nothing if there are no workers.
    public static func wishes(
        workers: [WorkerID], shards: [ShardIndex], holders: [ShardIndex: WorkerID]
    ) -> [ShardIndex: WorkerID] {
        guard !workers.isEmpty else { return [:] }
        let shards = Set(shards).sorted()
        var held = Dictionary(workers.map { ($0, [ShardIndex]()) }, uniquingKeysWith: { first, _ in first })
        for shard in shards {
            if let holder = holders[shard] { held[holder]?.append(shard) }
        }
        let ranked = held.sorted { a, b in
            a.value.count == b.value.count ? a.key < b.key : a.value.count > b.value.count
        }
        let (share, rest) = shards.count.quotientAndRemainder(dividingBy: ranked.count)
        var wishes: [ShardIndex: WorkerID] = [:]
        var room: [(worker: WorkerID, count: Int)] = []
        for (place, (worker, own)) in ranked.enumerated() {
            let quota = share + (place < rest ? 1 : 0)
            for shard in own.prefix(quota) { wishes[shard] = worker }
            if own.count < quota { room.append((worker, quota - own.count)) }
        }
        room.sort { $0.worker < $1.worker }
        let homeless = shards.filter { wishes[$0] == nil }
        let places = room.lazy.flatMap { repeatElement($0.worker, count: $0.count) }
        for (shard, worker) in zip(homeless, places) { wishes[shard] = worker }
        return wishes
    }
}
