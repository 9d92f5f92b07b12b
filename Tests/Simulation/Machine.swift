// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolTestSupport

@testable import QueuePoolEmbedded

/// The machine under a server with embedded shards: its disk outlives the process, and goes wrong.
final class Machine: @unchecked Sendable {
    let disk: SimulatedDisk
    /// Milliseconds that a turn of a store takes longer.
    var slowness: Int64 = 0
    private let random: SharedRandom
    private var line: VirtualCommitLine?
    private var factory: SimulatedShardFactory?

    init(seed: UInt64) {
        random = SharedRandom(seed: seed)
        disk = SimulatedDisk(random: SplitMix64(seed: ~seed))
    }

    /// Whether a store takes no more writes until it is opened again.
    var isAnyStoreClosed: Bool { factory?.stores.contains { $0.brokenBy != nil } ?? false }

    /// - Returns: `nil` if one of them cannot be opened.
    func openShards(_ plan: WorldPlan, _ host: Host, seed: UInt64) -> [any Shard]? {
        let numbers = SharedRandom(seed: seed)
        let line = VirtualCommitLine(clock: host) { [unowned self] in
            Int64(random.numbers.below(4)) + slowness
        }
        let factory = SimulatedShardFactory(
            disk: disk, storeCount: 2, clock: host, line: line, cacheBytesMax: 4_096,
            random: { numbers.numbers.next() })
        self.line = line
        self.factory = factory
        return try? plan.definition.topology.shards.map {
            try factory.open(name: $0.name, attributes: plan.attributes)
        }
    }

    func end(withPower: Bool) {
        line?.stop()
        if withPower { disk.crash(&random.numbers) } else { disk.kill() }
    }

    func calmDown() {
        disk.faults = DiskFaults()
        disk.bytesMax = 1 << 40
        slowness = 0
    }
}
