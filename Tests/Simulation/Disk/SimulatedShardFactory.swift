// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Synchronization

@testable import QueuePoolEmbedded

/// What was told of stores, in its order.
final class StorageEvents: Sendable {
    private let told = Mutex<[StorageEvent]>([])
    var all: [StorageEvent] { told.withLock { $0 } }
    func append(_ event: StorageEvent) { told.withLock { $0.append(event) } }
}

/// Shards as the server keeps them, on a simulated disk: one factory for each process that the disk sees.
final class SimulatedShardFactory: ShardFactory {
    /// A few of the small numbers of messages that a simulation sends: so blocks go with commits, and some stay behind.
    static let sliceLimits = SliceLimits(finishedDue: 6, finishedMax: 4)
    let stores: [Store]
    let watch: StorageWatch
    let events: StorageEvents
    private let options: EmbeddedShardOptions

    /// - Parameters:
    ///   - line: gives the turns; of the same process.
    ///   - keys: seal the logs; they stay plain if `nil`.
    ///   - random: where tags, keys and incarnations come from.
    init(
        disk: SimulatedDisk, directory: String = "data", storeCount: Int = 2, clock: any Clock, line: any CommitLine,
        cacheBytesMax: Int = 16 << 20, keys: SimulatedKeys? = nil, random: @escaping @Sendable () -> UInt64
    ) {
        var options = EmbeddedShardOptions(line: line, clock: clock, random: random)
        options.cacheBytesMax = cacheBytesMax
        options.openLog = { (path) throws(DatabaseError) in
            let log = try SimulatedLog(path: path, on: disk)
            return keys.map { SealedLog(log, sealing: $0.sealing(of: path, exists: true)) } ?? log
        }
        self.options = options
        let (events, openLog) = (StorageEvents(), options.openLog)
        let watch = StorageWatch { events.append($0) }
        (self.events, self.watch) = (events, watch)
        stores = (0..<max(1, storeCount)).map {
            Store(
                path: "\(directory)/store-\($0)", pool: line, openLog: openLog, watch: watch,
                limits: SimulatedShardFactory.sliceLimits)
        }
    }

    /// - Throws: `ShardOpenError`
    func open(name: String, attributes: QueueAttributes, address: ShardAddress? = nil) throws -> any Shard {
        try store(of: name).open(name: name, attributes: attributes, options: options)
    }

    func remove(name: String, address: ShardAddress? = nil) throws { try store(of: name).remove(name: name) }

    func removeShards(except names: Set<String>) throws -> [String] {
        var removed: [String] = []
        for store in stores {
            let strangers = try store.rows(unlessAllAreIn: names).keys.filter { !names.contains($0) }
            for name in strangers.sorted() {
                try store.remove(name: name)
                removed.append(name)
            }
        }
        return removed
    }

    private func store(of name: String) -> Store { stores[EmbeddedShardFactory.place(name, stores.count)] }
}
