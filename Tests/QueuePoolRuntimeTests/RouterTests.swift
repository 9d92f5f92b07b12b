// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import QueuePoolTestSupport
import Synchronization
import Testing

/// I4 and I2 at the one place where every send passes.
@Suite struct `A router` {
    private let clock: ManualClock
    private let doubles: [WholeBatchShard]
    private let topology: Topology
    private let router: Router

    init() throws {
        let clock = ManualClock()
        self.clock = clock
        doubles = (0..<4).map { WholeBatchShard(number: $0, clock: clock) }
        let name = try #require(PoolName("emails.fifo"))
        topology = try Topology(pool: name, shardCount: 4)
        let limits = BatcherLimits(requestEntriesMax: 10, requestBytesMax: 1 << 20, waitingEntriesMax: 1_000)
        router = Router(
            topology: topology,
            shards: zip(topology.shards, doubles).map { entry, double in
                PoolShard(index: entry.index, shard: double, limits: limits, quota: nil, clock: clock)
            })
    }

    private func message(_ body: UInt8, group: UInt64) -> OutgoingMessage {
        OutgoingMessage(record: MessageRecord(bytes: [body]), groupHash: group)
    }

    @Test(arguments: SplitMix64.seeds(10))
    func `sends each message to the shard of its group's slot, in order`(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        var expected: [[[UInt8]]] = Array(repeating: [], count: 4)
        var request = SendRequest()
        let told = Mutex<[Int: String]>([:])
        var names: [Int: String] = [:]
        for number in 0..<100 {
            let group = random.next()
            let place = try #require(topology.shards.firstIndex { $0.index == topology.shard(ofGroupHash: group) })
            expected[place].append([UInt8(number)])
            names[number] = "whole-\(place)"
            request.add(message(UInt8(number), group: group), at: number) { result, shard in
                if case .success = result { told.withLock { $0[number] = shard.name } }
            }
        }
        router.send(request)
        clock.advance(milliseconds: 0)
        for (double, bodies) in zip(doubles, expected) { #expect(double.stored == bodies, "seed \(seed)") }
        #expect(told.withLock { $0 } == names, "each is told once, with its shard")
    }

    @Test func `knows how many messages of a slot are under way, and none when all are answered`() {
        for double in doubles { double.hold() }
        doubles[0].refuse(request: 1, .storageFull)
        var request = SendRequest()
        for number in 0..<60 { request.add(message(UInt8(number), group: UInt64(number % 20)), at: number) { _, _ in } }
        router.send(request)
        for group in UInt64(0)..<20 {
            #expect(router.traffic.underWay(Slot(groupHash: group)) == 3)
        }
        #expect(router.traffic.total == 60)
        for double in doubles { double.release() }
        clock.advance(milliseconds: 0)
        #expect(router.traffic.total == 0, "those that failed are answered too")
    }

    @Test func `counts a message as under way before its shard has it`() {
        let seen = Mutex<[Int]>([])
        var request = SendRequest()
        let slot = Slot(groupHash: 7)
        let traffic = router.traffic
        // When it is told, the message is not under way any more, and was never below zero.
        request.add(message(1, group: 7), at: 0) { _, _ in seen.withLock { $0.append(traffic.underWay(slot)) } }
        router.send(request)
        #expect(traffic.underWay(slot) == 1)
        clock.advance(milliseconds: 0)
        #expect(seen.withLock { $0 } == [0])
    }

    @Test func `tells the entries after one that the door refused`() {
        let told = Mutex<[ShardError?]>([])
        var request = SendRequest()
        request.add(message(1, group: 5), at: 0) { result, _ in told.withLock { $0.append(result.failure) } }
        request.refuse(1, groupHash: 5, because: .invalid(code: "invalid-body"))
        request.add(message(3, group: 5), at: 2) { result, _ in told.withLock { $0.append(result.failure) } }
        request.add(message(4, group: 6), at: 3) { result, _ in told.withLock { $0.append(result.failure) } }
        router.send(request)
        clock.advance(milliseconds: 0)
        let reasons = told.withLock { $0 }
        #expect(reasons.filter { $0 == nil }.count == 2)
        #expect(reasons.contains(.earlierEntryFailed(.invalid(code: "invalid-body"))))
        #expect(router.traffic.total == 0)
    }
}

extension Result {
    fileprivate var failure: Failure? { if case .failure(let error) = self { error } else { nil } }
}
