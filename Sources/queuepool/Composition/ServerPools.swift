// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import QueuePoolCore
import QueuePoolEmbedded
import QueuePoolRuntime
import QueuePoolServer
import QueuePoolSettings

// The pools of a server: what they are made of, and how they are opened.

/// The pools, of which none is open yet.
/// - Throws: `CommandFailure` if the control store cannot be opened.
func makeRegistry(
    _ settings: ServeSettings, shards: EmbeddedShardFactory, bodies: BodyOptions, tracking: MessageTracking?,
    clock: any Clock, logger: Logger
) throws -> PoolRegistry {
    let stores = try openControlStores(settings.control, clock: clock)
    var factory: any ShardFactory = shards
    let faults = InjectedFaults(
        latencyMilliseconds: settings.injection.latencyMilliseconds, errorRate: settings.injection.errorRate)
    if !faults.isNone { factory = FaultyShardFactory(factory, faults: faults, clock: clock) }
    var options = PoolOptions()
    options.quota = settings.quota
    options.waitingEntriesMax = settings.shard.waitingEntriesMax
    options.waitingBytesMax = settings.shard.waitingBytesMax
    options.waitingBudget = WaitingBudget(limit: settings.storage.waitingBytesMax)
    options.poolsMax = settings.storage.poolsMax
    options.shardsMax = settings.storage.shardsMax
    options.bodies = bodies
    options.tracking = tracking
    // Files of one server are of no use to the others that share a table.
    var factories: [PoolBackend: any ShardFactory] = [:]
    if case .sqlite = settings.control.address { factories[.embedded] = factory }
    let queues = LazyShardFactory { try queueShardFactory(settings.control, clock: clock) }
    factories[.sqs] = faults.isNone ? queues : FaultyShardFactory(queues, faults: faults, clock: clock)
    var directory: DataDirectory?
    if factories[.embedded] != nil { directory = try dataDirectory(settings, shards) }
    return PoolRegistry(
        store: stores.control, leases: stores.leases, factories: factories, options: options, clock: clock,
        directory: directory,
        meaning: { queueAttributes(of: $0) },
        report: { log($0, to: logger) })
}

/// What the control store should know of this server's files.
private func dataDirectory(_ settings: ServeSettings, _ shards: EmbeddedShardFactory) throws -> DataDirectory {
    do throws(ShardOpenError) {
        let contents = try shards.contents()
        let path = URL(fileURLWithPath: settings.dataDirectory).resolvingSymlinksInPath().path
        return DataDirectory(id: contents.id, path: path, shards: contents.shards)
    } catch {
        throw CommandFailure(
            "the stores in \(settings.dataDirectory)/shards cannot be read: \(error)", status: ExitStatus.inputOutput)
    }
}

/// Opens the pools that there are, and makes those that the settings name besides.
/// - Throws: `CommandFailure` that names the pool.
func openPools(_ settings: ServeSettings, registry: PoolRegistry, logger: Logger) throws {
    do throws(RegistryError) {
        let leftovers = try registry.openAll()
        if !leftovers.isEmpty {
            logger.notice(
                "Removed shards that no pool names", metadata: ["shards": "\(leftovers.joined(separator: " "))"])
        }
    } catch {
        if case .foreign = error { throw CommandFailure(describe(error), status: ExitStatus.configuration) }
        throw CommandFailure("a pool cannot be opened: \(error)", status: ExitStatus.inputOutput)
    }
    let room = registry.room
    if room.pools < 0 || room.shards < 0 {
        logger.warning(
            "More pools or shards exist than the server may make; all of them are served",
            metadata: [
                "pools": "\(settings.storage.poolsMax - room.pools)", "poolsMax": "\(settings.storage.poolsMax)",
                "shards": "\(settings.storage.shardsMax - room.shards)", "shardsMax": "\(settings.storage.shardsMax)",
            ])
    }
    // One that cannot be read is in the log already, and stops no other.
    for pool in settings.pools where !registry.isUnreadable(pool.name.text) {
        do {
            try registry.ensurePool(pool.name, shards: pool.shards)
        } catch {
            throw CommandFailure(
                "the pool \(pool.name) with \(pool.shards) shards: \(describe(error))", status: ExitStatus.configuration
            )
        }
    }
}

private func describe(_ error: any Error) -> String {
    if case RegistryError.foreign(let pool, let owner, let here) = error {
        return owner == here
            ? "the files of \(pool) in \(here) are gone: those there were made anew"
            : "the pool \(pool) is in the data directory \(owner ?? "of another server"), "
                + "and this server's is \(here); a control store that both share has embedded pools of one of them only"
    }
    guard let problem = error as? QueuePoolServer.Problem else { return "\(error)" }
    return problem.title + ". " + problem.detail
}
