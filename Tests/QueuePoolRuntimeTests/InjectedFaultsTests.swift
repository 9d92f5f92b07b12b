// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import QueuePoolTestSupport
import Synchronization
import Testing

/// Opens one shard, for what is put around factories.
private struct OneShard: ShardFactory {
    let shard: any Shard

    func open(name: String, attributes: QueueAttributes, address: ShardAddress?) -> any Shard { shard }
    func remove(name: String, address: ShardAddress?) {}
}

@Suite struct `A shard with injected faults` {
    private let clock = ManualClock()

    private func faulty(_ shard: any Shard, _ faults: InjectedFaults) throws -> any Shard {
        try FaultyShardFactory(OneShard(shard: shard), faults: faults, clock: clock)
            .open(name: "a", attributes: QueueAttributes(), address: nil)
    }

    private func message(_ number: UInt8) -> OutgoingMessage {
        OutgoingMessage(record: MessageRecord(bytes: [number]), groupHash: UInt64(number))
    }

    @Test func `is of the kind of the shard behind it`() throws {
        let whole = WholeBatchShard(clock: clock)
        let each = FaultyEntryShard(name: "b", clock: clock)
        #expect(try faulty(whole, InjectedFaults(errorRate: 1)).traits == whole.traits)
        #expect(try faulty(each, InjectedFaults(errorRate: 1)).traits == each.traits)
    }

    @Test func `fails by the clock, never within the call, as its kind does, and stores nothing`() throws {
        let whole = WholeBatchShard(clock: clock)
        let each = FaultyEntryShard(name: "b", clock: clock)
        let answers = Mutex<[EntryAnswers]>([])
        for shard in [whole as any Shard, each] {
            let faulty = try faulty(shard, InjectedFaults(errorRate: 1))
            for batch in [ShardBatch([message(1)]), ShardBatch([])] {
                faulty.submit(batch) { answer in answers.withLock { $0.append(answer) } }
            }
        }
        #expect(answers.withLock { $0.isEmpty })
        clock.advance(milliseconds: 0)
        #expect(
            answers.withLock { $0 } == [
                .failed(.permanent(.injected)), .entries([]), .failed(.retryable), .entries([]),
            ])
        #expect(whole.requests.isEmpty && each.requests == 0)
    }

    @Test func `forms the batch when the latency is over`() throws {
        let whole = WholeBatchShard(clock: clock)
        let faulty = try faulty(whole, InjectedFaults(latencyMilliseconds: 30))
        let waiting = Mutex([message(1)])
        let answers = Mutex<[EntryAnswers]>([])
        faulty.submit(ShardBatch { waiting.withLock { $0 } }) { answer in answers.withLock { $0.append(answer) } }
        clock.advance(milliseconds: 29)
        waiting.withLock { $0.append(message(2)) }
        #expect(whole.requests.isEmpty)
        clock.advance(milliseconds: 1)
        #expect(whole.stored == [[1], [2]] && answers.withLock { $0.count } == 1)
    }
}
