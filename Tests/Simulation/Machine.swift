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
    private let sealing: SimulatedSealing
    private var line: VirtualCommitLine?
    private var factory: SimulatedShardFactory?

    init(seed: UInt64, sealing: SimulatedSealing) {
        self.sealing = sealing
        random = SharedRandom(seed: seed)
        disk = SimulatedDisk(random: SplitMix64(seed: ~seed))
    }

    /// Whether a store takes no more writes until it is opened again.
    var isAnyStoreClosed: Bool { factory?.stores.contains { $0.brokenBy != nil } ?? false }

    /// What seals the logs in this process; `nil` if nothing does.
    private var keys: SimulatedKeys? {
        switch sealing {
        case .none: nil
        case .always: SimulatedKeys(mayHavePlainRows: false)
        case .later: disk.life > 1 ? SimulatedKeys(mayHavePlainRows: true) : nil
        }
    }

    /// - Returns: `nil` if one of them cannot be opened.
    func openShards(_ plan: WorldPlan, _ host: Host, seed: UInt64) -> [any Shard]? {
        let numbers = SharedRandom(seed: seed)
        let line = VirtualCommitLine(clock: host) { [unowned self] in
            Int64(random.numbers.below(4)) + slowness
        }
        let factory = SimulatedShardFactory(
            disk: disk, storeCount: 2, clock: host, line: line, cacheBytesMax: 4_096, keys: keys,
            random: { numbers.numbers.next() })
        self.line = line
        self.factory = factory
        return try? plan.definition.topology.shards.map {
            try factory.open(name: $0.name, attributes: plan.attributes)
        }
    }

    /// The numbers in the bodies of all messages on the disk that are not deleted there.
    var messagesOnDisk: Set<Int> {
        var found: Set<Int> = []
        let keys = SimulatedKeys(mayHavePlainRows: true)
        for store in factory?.stores ?? [] {
            let rows = disk.file(store.path).openedRows(keys.sealing(of: store.path, exists: true))
            found.formUnion(Machine.messages(rows))
        }
        return found
    }

    private static func messages(_ rows: [SimulatedRow]) -> [Int] {
        struct Place: Hashable {
            let shard: Int64
            let sequence: SequenceNumber
        }
        var numbers: [Place: Int] = [:]
        var deleted: Set<Place> = []
        for row in rows {
            if row.kind == LogKind.block, let block = LogEncoding.blockHead(row.head), let body = row.body {
                for entry in block.directory {
                    let bytes = Array(body[Int(entry.offset)..<Int(entry.offset + entry.length)])
                    numbers[Place(shard: row.shard, sequence: entry.sequence)] = MessageRecord(bytes: bytes).withView {
                        Int(String(decoding: $0.body, as: UTF8.self))
                    }
                }
            } else if row.kind == LogKind.deletions, let sequences = LogEncoding.deletions(row.head) {
                deleted.formUnion(sequences.map { Place(shard: row.shard, sequence: $0) })
            }
        }
        return numbers.filter { !deleted.contains($0.key) }.map(\.value)
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
