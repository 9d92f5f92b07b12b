// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import QueuePoolCore
import QueuePoolEmbedded
import QueuePoolRuntime
import QueuePoolSealing
import QueuePoolServer
import QueuePoolSettings
import QueuePoolWorker
import ServiceLifecycle
import UnixSignals

// Puts the server together: clock, data directory, control store, shards, pools, doors, worker. Nothing decides here.

/// Runs the server until it is told to stop.
func runServe(_ settings: ServeSettings) async throws {
    let logger = Logger(label: "queuepool")
    let clock = SystemClock()
    let files = settings.tls.map(TLSFiles.init)
    let tls = try files?.open()
    let lock = try prepareDirectory(settings.dataDirectory)
    defer { withExtendedLifetime(lock) {} }
    let audit = try openAuditLog(settings, clock: clock, logger: logger)
    // After the pools: whatever they still do is written down.
    defer { audit?.close() }
    warnOfWideFiles(in: settings.dataDirectory, logger: logger)
    let masterKey = try settings.sealing.map {
        try MasterKeySource(
            $0, directory: settings.dataDirectory, control: settings.control, clock: clock, logger: logger)
    }
    if masterKey == nil { try MasterKeySource.refuseSealed(settings.dataDirectory) }
    // A file that is new asks for a data key, and what wraps it may be a service that is waited for.
    let dataKeys = try await onOwnThread { try masterKey?.open() }
    let shards = try await onOwnThread { try openStores(settings, keys: dataKeys, clock: clock, logger: logger) }
    let bodies = try await onOwnThread { try ServerBodies(settings, keys: dataKeys, clock: clock, logger: logger) }
    // After the shards, whose answers may remove bodies.
    defer { bodies.close() }
    let tracking = try await onOwnThread { try ServerTracking(settings, keys: dataKeys, clock: clock, logger: logger) }
    let registry = try makeRegistry(
        settings, shards: shards, bodies: bodies.options, tracking: tracking?.tracking, clock: clock, logger: logger)
    // It waits for answers of the control store, and what brings them may need the thread of a task meanwhile.
    try await onOwnThread { try openPools(settings, registry: registry, logger: logger) }
    try tracking?.connect(registry)
    registry.follow { error in
        logger.warning("The control store cannot be followed", metadata: ["error": "\(error)"])
    }

    var options = ServerOptions(host: settings.listen.host, port: settings.listen.port)
    options.tls = tls
    let access = try await serverAccess(settings, clock: clock, logger: logger)
    // No look begins any more; one that is under way has its own store.
    defer { access?.close() }
    options.access = access
    options.audit = audit
    options.browsers = BrowserGuard(
        isLoopback: settings.listen.isLoopback, allowedHosts: settings.allowedHosts)
    let room = OpenFiles.makeRoom(
        forConnections: settings.limits.maxConnections,
        besides: settings.adminListen == nil ? 0 : AdminDoorOptions.connectionsMax, logger: logger)
    options.limits.connectionsMax = room.connections
    options.limits.connectionsOfAddressMax =
        settings.limits.maxConnectionsPerAddress
        ?? (settings.listen.isLoopback ? options.limits.connectionsMax : max(1, options.limits.connectionsMax / 10))
    options.limits.heldBytesMax = settings.limits.heldBytesMax
    options.limits.requestBytesMax =
        settings.limits.requestBytesMax ?? DoorLimits.bytes(forBodies: settings.bodies.limitBytes)
    options.limits.idleSeconds = settings.limits.idleTimeoutSeconds
    options.limits.headSeconds = settings.limits.headerTimeoutSeconds
    options.admin = settings.adminListen.map { address in
        AdminDoorOptions(
            host: address.host, port: address.port,
            browsers: BrowserGuard(isLoopback: address.isLoopback, allowedHosts: settings.allowedHosts),
            beside: options.limits, connectionsMax: room.besides)
    }
    options.defaultShards = settings.createQueueShards
    options.idempotency = try await onOwnThread { try idempotencyOptions(settings, keys: dataKeys, logger: logger) }
    let workers = try WorkersBesideServer(settings, registry: registry, logger: logger)
    let server = QueueServer(
        registry: registry, options: options, logger: logger, storageProblem: { shards.storageProblem },
        onAdminReady: { logAdminPort($0, settings, logger) }
    ) { port in
        logger.info(
            "Listening",
            metadata: [
                "host": "\(settings.listen.host)", "port": "\(port)", "pools": "\(registry.pools.count)",
                "scheme": tls == nil ? "http" : "https",
            ])
        workers.begin()
    }
    // A stop goes through them from the last to the first: the workers give back and delete while the pools are open.
    var services: [any Service] = [TimedStop(service: server, seconds: settings.limits.drainSeconds)] + workers.services
    if let files, let tls { services.append(await TLSReload(files: files, door: tls, logger: logger)) }
    if let masterKey, let dataKeys, masterKey.mayChange {
        services.append(await MasterKeyReload(source: masterKey, keys: dataKeys, logger: logger))
    }
    if let audit { services.append(await AuditReopening(audit)) }
    // One that ends with a failure must not keep the others from finishing what they accepted.
    var configuration = ServiceGroupConfiguration(
        services: services.map {
            ServiceGroupConfiguration.ServiceConfiguration(
                service: $0, failureTerminationBehavior: .gracefullyShutdownGroup)
        }, gracefulShutdownSignals: [.sigterm, .sigint], logger: quiet(logger))
    // Each has its own time, so that one that takes all of it leaves the next its own; a worker bounds itself, and is given
    // what it may take beyond its grace for giving back.
    let workerSeconds = workers.services.isEmpty ? 0 : settings.worker.graceSeconds + 10
    configuration.maximumGracefulShutdownDuration = .seconds(workerSeconds + settings.limits.drainSeconds + 5)
    do {
        try await ServiceGroup(configuration: configuration).run()
    } catch let error as CommandFailure {
        await tracking?.close(clock)
        registry.close()
        throw error
    } catch let error as WorkerFailure {
        await tracking?.close(clock)
        registry.close()
        throw CommandFailure(error.description, status: exitStatus(error))
    } catch let error as AdminDoorFailure {
        await tracking?.close(clock)
        registry.close()
        throw CommandFailure(
            "the admin port on \(settings.adminListen?.description ?? "") ended: \(error)",
            status: ExitStatus.unavailable)
    } catch {
        await tracking?.close(clock)
        registry.close()
        throw CommandFailure(
            "the server on \(settings.listen) ended: \(error)", status: ExitStatus.unavailable)
    }
    await tracking?.close(clock)
    registry.close()
    logger.info("Stopped")
}

private func logAdminPort(_ port: Int, _ settings: ServeSettings, _ logger: Logger) {
    logger.info(
        "The admin port is open",
        metadata: [
            "host": "\(settings.adminListen?.host ?? "")", "port": "\(port)",
            "scheme": settings.tls == nil ? "http" : "https",
        ])
}

/// The group's own life is not worth a line each time.
private func quiet(_ logger: Logger) -> Logger {
    var logger = logger
    logger.logLevel = max(logger.logLevel, .warning)
    return logger
}

private func prepareDirectory(_ directory: String) throws -> DirectoryLock {
    for path in [directory, directory + "/shards"]
    where mkdir(path, PrivateFile.directoryMode) != 0 && errno != EEXIST {
        throw CommandFailure(
            "the data directory \(directory) cannot be made: \(systemMessage(errno))", status: ExitStatus.inputOutput)
    }
    do throws(DirectoryLock.Failure) {
        return try DirectoryLock(path: directory + "/lock")
    } catch {
        switch error {
        case .taken:
            throw CommandFailure(
                "the data directory \(directory) is in use by another server", status: ExitStatus.unavailable)
        case .unusable(let code):
            throw CommandFailure(
                "the data directory \(directory) cannot be used: \(systemMessage(code))",
                status: ExitStatus.inputOutput)
        }
    }
}

/// Modes are not changed without being asked: somebody may have opened the files to a backup.
private func warnOfWideFiles(in directory: String, logger: Logger) {
    for wide in PrivateFile.wide(in: directory) {
        logger.warning(
            "Others than the owner may read or change stored messages",
            metadata: [
                "path": "\(wide.path)", "mode": "\(wide.mode)", "mend": "chmod \(wide.wanted) \(wide.path)",
            ])
    }
}

private func openStores(
    _ settings: ServeSettings, keys: DataKeys?, clock: SystemClock, logger: Logger
) throws -> EmbeddedShardFactory {
    var options = EmbeddedShardOptions(clock: clock)
    if let keys { options.seal(with: keys) }
    options.cacheBytesMax = settings.shard.cacheBytes
    options.memory = ShardMemory(
        cacheBytesMax: settings.storage.cacheBytesMax,
        keysMax: settings.storage.deduplicationEntriesMax ?? MachineMemory.bytes / 4 / ShardMemory.bytesOfKey)
    options.report = { log($0, to: logger) }
    do throws(ShardOpenError) {
        return try EmbeddedShardFactory(directory: settings.dataDirectory + "/shards", options: options)
    } catch {
        throw CommandFailure(
            "the stores in \(settings.dataDirectory)/shards cannot be opened: \(error)", status: ExitStatus.inputOutput)
    }
}

private func idempotencyOptions(
    _ settings: ServeSettings, keys: DataKeys?, logger: Logger
) throws -> IdempotencyOptions {
    var options = IdempotencyOptions()
    options.windowSeconds = settings.limits.idempotencyWindowSeconds
    options.bytesMax = settings.limits.idempotencyBytesMax
    options.report = { isSaved in
        if isSaved {
            logger.notice("Idempotency keys are written again")
        } else {
            logger.error("Idempotency keys cannot be written: those of now are forgotten when the server stops")
        }
    }
    let path = settings.dataDirectory + "/idempotency.sqlite"
    do throws(DatabaseError) {
        let store = try SQLiteIdempotencyStore(path: path, keys: keys)
        if store.damagedCount > 0 {
            logger.error(
                "Idempotency keys are not as they were sealed; they are forgotten",
                metadata: ["file": "idempotency.sqlite", "keys": "\(store.damagedCount)"])
        }
        options.store = store
    } catch {
        throw CommandFailure("the file \(path) cannot be opened: \(error)", status: ExitStatus.inputOutput)
    }
    return options
}

private func makeRegistry(
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

private func openPools(_ settings: ServeSettings, registry: PoolRegistry, logger: Logger) throws {
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
