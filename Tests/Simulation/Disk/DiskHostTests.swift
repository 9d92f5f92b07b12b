// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolTestSupport
import Testing

@testable import QueuePoolEmbedded

@Suite("Shards of a simulated host")
struct DiskHostTests {
    private func factory(_ disk: SimulatedDisk, _ host: Host) -> SimulatedShardFactory {
        let random = SharedRandom(seed: UInt64(host.life))
        return SimulatedShardFactory(
            disk: disk, clock: host, line: VirtualCommitLine(clock: host), random: { random.numbers.next() })
    }

    @Test func `have their turns by its clock, and none after its end`() throws {
        let time = SimulatedTime()
        let host = Host("server", 1, time)
        let disk = SimulatedDisk(random: SplitMix64(seed: 1))
        let stored = try factory(disk, host).open(name: "a-0000.fifo", attributes: QueueAttributes())
        let (first, second) = (
            Answer<Result<[SendReceipt], ShardError>>(), Answer<Result<[SendReceipt], ShardError>>()
        )
        stored.send([DiskBench.message("g", "1")]) { first.value = $0 }
        while first.value == nil, time.step() {}
        #expect(throws: Never.self) { try #require(first.value).get() }

        stored.send([DiskBench.message("g", "2")]) { second.value = $0 }
        host.crash()
        var random = SplitMix64(seed: 2)
        disk.crash(&random)
        let writes = disk.writes
        while time.step() {}
        #expect(second.value == nil)
        #expect(disk.writes == writes)

        host.start(offset: 0)
        let found = try factory(disk, host).open(name: "a-0000.fifo", attributes: QueueAttributes())
        let received = Answer<Result<[ReceivedMessage], ShardError>>()
        let known = found.receive(ReceiveCommand(limit: 10)) { received.value = $0 }
        if let known { received.value = known }
        while received.value == nil, time.step() {}
        #expect(try #require(received.value).get().map(\.text) == ["1"])
    }
}
