// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import QueuePoolTestSupport
import Synchronization
import Testing

/// I2: what follows a failed entry in its group and request fails too, and is told so.
@Suite struct `The followers of a failed entry` {
    private typealias Results = [Result<SendReceipt, ShardError>]

    private let clock: ManualClock
    private let shard: WholeBatchShard

    init() {
        clock = ManualClock()
        shard = WholeBatchShard(clock: clock)
    }

    /// A pool of the one shard that takes requests of two entries, one at a time.
    private func pool(waitingEntriesMax: Int = 100, quota: Int? = nil) throws -> Pool {
        let name = try #require(PoolName("emails.fifo"))
        let topology = try Topology(pool: name, shardCount: 1)
        let limits = BatcherLimits(
            requestEntriesMax: 2, requestBytesMax: 1 << 20, waitingEntriesMax: waitingEntriesMax)
        return Pool(
            definition: PoolDefinition(
                name: name, topology: topology, attributes: "", createdAt: clock.now(), version: 1),
            attributes: QueueAttributes(), quota: quota,
            shards: [
                PoolShard(index: topology.shards[0].index, shard: shard, limits: limits, quota: quota, clock: clock)
            ],
            clock: clock)
    }

    /// One message for each of the groups, numbered in order.
    private func messages(_ groups: [UInt64], from first: UInt8 = 0) -> [OutgoingMessage] {
        zip(first..., groups).map { OutgoingMessage(record: MessageRecord(bytes: [$0]), groupHash: $1) }
    }

    /// - Returns: what was told; `nil` if nothing was.
    private func send(
        _ messages: [OutgoingMessage], to pool: Pool, order: RequestOrder? = nil, positions: [Int]? = nil,
        then act: () -> Void = {}
    ) -> Results? {
        let told = ToldOnce()
        pool.send(messages, order: order, positions: positions) { told.tell($0) }
        act()
        clock.advance(milliseconds: 0)
        return told.results
    }

    private func stored(_ results: Results?) -> [Bool]? { results?.map { (try? $0.get()) != nil } }

    @Test func `are not stored by a later request, and are told why`() throws {
        let pool = try pool()
        shard.refuse(request: 1, .storageFull)
        let results = try #require(send(messages([1, 1, 1, 2, 1]), to: pool), "some entry was not told of")
        let earlier = Result<SendReceipt, ShardError>.failure(.earlierEntryFailed(.storageFull))
        #expect(results[0] == .failure(.storageFull) && results[1] == .failure(.storageFull))
        #expect(results[2] == earlier && results[4] == earlier)
        #expect(stored(results) == [false, false, false, true, false])
        #expect(shard.stored == [[3]])
        #expect(pool.snapshot.shards[0].sender.waitingEntries == 0)
    }

    @Test func `are told though nothing is left to send`() throws {
        let pool = try pool()
        shard.refuse(request: 1, .closed)
        #expect(stored(send(messages([1, 1, 1, 1, 1]), to: pool)) == [false, false, false, false, false])
        #expect(shard.requests == [[[0], [1]]])
        // The sender goes on.
        #expect(stored(send(messages([1], from: 7), to: pool)) == [true])
        #expect(shard.stored == [[7]])
    }

    @Test func `are told though the shard answers late`() throws {
        let pool = try pool()
        shard.refuse(request: 2, .storageFull)
        shard.hold()
        let results = send(messages([1, 1, 1, 1, 1, 2]), to: pool) { shard.release() }
        #expect(stored(results) == [true, true, false, false, false, true])
        #expect(shard.stored == [[0], [1], [5]])
    }

    @Test func `of a later piece of the same request fail too, and those of another request do not`() throws {
        let pool = try pool()
        let order = RequestOrder()
        shard.refuse(request: 1, .storageFull)
        #expect(stored(send(messages([1]), to: pool, order: order)) == [false])
        #expect(stored(send(messages([1, 2], from: 1), to: pool, order: order, positions: [1, 2])) == [false, true])
        #expect(stored(send(messages([1, 2], from: 3), to: pool)) == [true, true])
        #expect(shard.stored == [[2], [3], [4]])
    }

    @Test func `of what was refused for want of room fail too when there is room again`() throws {
        let pool = try pool(waitingEntriesMax: 2)
        let order = RequestOrder()
        shard.hold()
        let first = ToldOnce()
        pool.send(messages([9, 9, 9])) { first.tell($0) }
        #expect(shard.requests.count == 1)
        let refused = try #require(
            send(messages([1, 1], from: 3), to: pool, order: order), "a refusal for want of room waits for nothing")
        #expect(refused.allSatisfy { $0 == .failure(.overloaded(retryAfterMilliseconds: 1_000)) })
        shard.release()
        clock.advance(milliseconds: 0)
        #expect(stored(first.results) == [true, true, true])
        #expect(stored(send(messages([1, 2], from: 5), to: pool, order: order, positions: [2, 3])) == [false, true])
        #expect(shard.stored == [[0], [1], [2], [6]])
    }

    @Test func `count as refusals, each by its reason`() throws {
        let pool = try pool()
        shard.refuse(request: 1, .storageFull)
        _ = send(messages([1, 1, 1, 2]), to: pool)
        let rows = pool.snapshot.shards[0].sender.refusals.rows
        #expect(rows.reduce(0) { $0 + $1.count } == 3)
        #expect(rows.first { $0.reason == ShardError.storageFull.reason }?.count ?? 0 >= 2)
    }
}

/// What a sender was told.
private final class ToldOnce: Sendable {
    private let state = Mutex<[Result<SendReceipt, ShardError>]?>(nil)

    var results: [Result<SendReceipt, ShardError>]? { state.withLock { $0 } }

    func tell(_ results: [Result<SendReceipt, ShardError>]) {
        let isFirst = state.withLock { state in
            defer { state = results }
            return state == nil
        }
        #expect(isFirst, "told twice")
    }
}
