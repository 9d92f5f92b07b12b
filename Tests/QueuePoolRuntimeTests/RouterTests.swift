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

    @Test func `goes by another topology from the moment that it is told of it`() throws {
        let group = UInt64(7)
        let old = try #require(topology.shards.firstIndex { $0.index == topology.shard(ofGroupHash: group) })
        let next = try topology.removing(topology.shards[old].index)
        doubles[old].hold()
        let told = Mutex<[String]>([])
        func send(_ body: UInt8) {
            var request = SendRequest()
            request.add(message(body, group: group), at: 0) { _, shard in told.withLock { $0.append(shard.name) } }
            router.send(request)
        }
        send(1)
        let leaving = router.shard(ofGroupHash: group)
        let staying = topology.shards.filter { $0.index != leaving.index }.compactMap { entry in
            (0..<10_000).lazy.map(router.shard(ofGroupHash:)).first { $0.index == entry.index }
        }
        router.adopt(next, shards: staying)
        send(2)
        clock.advance(milliseconds: 0)
        let new = router.shard(ofGroupHash: group)
        #expect(new.index == next.shard(ofGroupHash: group) && router.topology == next)
        #expect(told.withLock { $0 } == [new.name] && leaving.underWay == 1 && new.underWay == 0)
        doubles[old].release()
        clock.advance(milliseconds: 0)
        #expect(told.withLock { $0 } == [new.name, leaving.name] && leaving.underWay == 0)
        #expect(doubles[old].stored == [[1]] && router.traffic.total == 0)
    }

    @Test func `refuses what a fence holds, so that another try is worth while, and sends the rest`() {
        let told = Mutex<[Int: ShardError?]>([:])
        let order = RequestOrder()
        func send(_ groups: [UInt64], from first: Int) {
            var request = SendRequest(order: order)
            for (position, group) in zip(first..., groups) {
                request.add(message(UInt8(position), group: group), at: position) { result, _ in
                    told.withLock { $0[position] = .some(result.failure) }
                }
            }
            router.send(request)
            clock.advance(milliseconds: 0)
        }
        let fenced = [Slot(groupHash: 5)]
        router.fence(fenced)
        send([5, 6, 5], from: 0)
        send([5], from: 3)
        #expect(router.isQuiet(fenced))
        router.unfence(fenced)
        // The same request goes on: what follows a refused entry of its group is refused (I2).
        send([5, 6], from: 4)
        let reasons = told.withLock { $0 }
        let refusals = [0, 2, 3, 4].map { reasons[$0].flatMap { $0 } }
        #expect(refusals.allSatisfy { $0?.isRetryable == true } && refusals[0]?.reason == "unavailable")
        #expect(refusals.dropFirst().allSatisfy { $0?.root == refusals[0] })
        #expect([1, 5].allSatisfy { reasons[$0] == .some(nil) })
        #expect(doubles.flatMap(\.stored).count == 2 && router.traffic.total == 0)
        #expect(!router.isQuiet(fenced))
    }

    @Test func `is quiet on fenced slots when what passed before is answered, also after another topology`() throws {
        for double in doubles { double.hold() }
        var request = SendRequest()
        for number in 0..<8 { request.add(message(UInt8(number), group: UInt64(number)), at: number) { _, _ in } }
        router.send(request)
        let slots = (UInt64(0)..<4).map(Slot.init(groupHash:))
        router.fence(slots)
        let shards = topology.shards.compactMap { entry in
            (0..<10_000).lazy.map(router.shard(ofGroupHash:)).first { $0.index == entry.index }
        }
        router.adopt(try topology.weighting(topology.shards[0].index, 500), shards: shards)
        #expect(!router.isQuiet(slots))
        for double in doubles { double.release() }
        clock.advance(milliseconds: 0)
        #expect(router.isQuiet(slots) && shards.allSatisfy { $0.underWay == 0 })
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
