// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

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

    let access = try await serverAccess(settings, clock: clock, logger: logger)
    // No look begins any more; one that is under way has its own store.
    defer { access?.close() }
    var options = ServerOptions(settings, logger: logger)
    options.tls = tls
    options.access = access
    options.audit = audit
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
    if let files, let tls {
        let reload = TLSReload(files: files, door: tls, logger: logger)
        services.append(await HangupService { await reload.reload() })
        reload.warnOfEnd()
    }
    if let masterKey, let dataKeys, masterKey.mayChange {
        let reload = MasterKeyReload(source: masterKey, keys: dataKeys, logger: logger)
        services.append(await HangupService { await reload.reload() })
    }
    if let audit { services.append(await HangupService { audit.reopen() }) }
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
    let failure: (any Error)?
    do {
        try await ServiceGroup(configuration: configuration).run()
        failure = nil
    } catch {
        failure = error
    }
    await tracking?.close(clock)
    registry.close()
    if let failure { throw commandFailure(failure, settings) }
    logger.info("Stopped")
}

/// What ended the group, as the command says it.
private func commandFailure(_ error: any Error, _ settings: ServeSettings) -> CommandFailure {
    switch error {
    case let failure as CommandFailure: failure
    case let failure as WorkerFailure: CommandFailure(failure.description, status: exitStatus(failure))
    case is AdminDoorFailure:
        CommandFailure(
            "the admin port on \(settings.adminListen?.description ?? "") ended: \(error)",
            status: ExitStatus.unavailable)
    default:
        CommandFailure("the server on \(settings.listen) ended: \(error)", status: ExitStatus.unavailable)
    }
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
