// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Logging
import QueuePoolCore
import QueuePoolRuntime
import QueuePoolServer
import QueuePoolSettings
import QueuePoolWorker
import ServiceLifecycle
import UnixSignals

/// Runs a worker until it is told to stop.
func runWork(_ settings: WorkSettings) async throws {
    let line = WorkProgress.isWanted(settings) ? TerminalLine() : nil
    var logger = Logger(label: "queuepool")
    if let line {
        let base = logger.handler
        logger = Logger(label: logger.label) { _ in LogsAboveLine(base: base, line: line) }
    }
    let source = try await openSource(settings, logger: logger)
    defer { source?.registry.close() }
    var options = WorkerOptions(
        endpoint: settings.endpoint ?? "", pool: settings.pool.text, deliver: settings.deliver)
    options.shards = settings.shards
    options.tls = try transferTLS(settings.tls, token: settings.token)
    options.isTracking = settings.trackingHours > 0
    let worker = try makeWorkerService(options, source: source?.source, tuning: settings.worker, logger: logger)
    var services = [worker] as [any Service]
    if let listen = settings.metricsListen { services = watchedWorker(worker, listen: listen, logger: logger) }
    if let watch = spotWatch(logger: logger) { services.append(watch) }
    // First, so that it is told to stop last.
    if let line { services.insert(WorkProgress(metrics: worker.metrics, line: line), at: 0) }
    var quiet = logger
    quiet.logLevel = max(logger.logLevel, .warning)
    var configuration = ServiceGroupConfiguration(
        services: services.map {
            ServiceGroupConfiguration.ServiceConfiguration(
                service: $0,
                // The watch ends with the notice, or when it is told to.
                successTerminationBehavior: $0 is SpotWatch ? .gracefullyShutdownGroup : .cancelGroup)
        },
        // The last one is what tools that watch spot instances send.
        gracefulShutdownSignals: [.sigterm, .sigint, .sigusr1], logger: quiet)
    configuration.maximumGracefulShutdownDuration = .seconds(settings.worker.graceSeconds + 10)
    do {
        try await ServiceGroup(configuration: configuration).run()
    } catch let error as WorkerFailure {
        throw CommandFailure(error.description, status: exitStatus(error))
    } catch let error as MetricsServer.Failure {
        throw CommandFailure(
            "metrics cannot be served on \(settings.metricsListen.map { "\($0)" } ?? ""): \(error)",
            status: ExitStatus.unavailable)
    }
}

func makeWorkerService(
    _ options: WorkerOptions, source: WorkerSource?, tuning: WorkerTuning, logger: Logger
) throws -> Worker {
    try OpenFiles.requireRoom(forDeliveries: tuning.concurrency)
    var options = options
    options.concurrency = tuning.concurrency
    options.visibilitySeconds = tuning.visibilitySeconds
    options.budget = WorkerBudget(maxAttempts: tuning.maxAttempts, retrySeconds: tuning.retrySeconds)
    options.graceSeconds = tuning.graceSeconds
    do {
        return try Worker(
            options, source: source, logger: logger, clock: SystemClock(), signer: providerSigner(for: options.deliver))
    } catch let error as DeliveryURLError {
        throw CommandFailure(
            error.description, status: error.concernsSetting ? ExitStatus.configuration : ExitStatus.usage)
    }
}

/// The queues of a pool that the worker goes to without a server in between; `nil` if it goes through one.
/// - Throws: `CommandFailure` that says why it cannot.
private func openSource(
    _ settings: WorkSettings, logger: Logger
) async throws -> (registry: PoolRegistry, source: WorkerSource)? {
    guard case .queues(let control) = settings.way else { return nil }
    let clock = SystemClock()
    let label = control.address.text
    let stores = try openControlStores(control, clock: clock)
    var options = PoolOptions()
    options.only = [settings.pool.text, settings.pool.deadLetterQueueName]
    let bodies = S3Bodies { try AWSAccess(control, clock: clock) }
    options.bodies = BodyOptions(store: { bodies.store(of: $0) }, place: { bodies.place(of: $0, $1) })
    if settings.trackingHours > 0, let store = try sharedTrackingStore(control, clock: clock) {
        options.tracking = MessageTracking(
            store: store, keepMilliseconds: Int64(settings.trackingHours) * 3_600_000, clock: clock)
    }
    let registry = PoolRegistry(
        store: stores.control, leases: stores.leases,
        factories: [.sqs: LazyShardFactory { try queueShardFactory(control, clock: clock) }], options: options,
        clock: clock, meaning: { queueAttributes(of: $0) }, report: { log($0, to: logger) })
    let pool = settings.pool
    try await onOwnThread {
        do {
            guard let definition = try stores.control.pool(pool), !definition.isDeleting else {
                throw CommandFailure(
                    "the control store \(label) has no pool \(pool); make it with: queuepool pool create \(pool) "
                        + "--backend sqs --shards N --control \(label)", status: ExitStatus.configuration)
            }
            guard definition.backend == .sqs else {
                throw CommandFailure(
                    "the shards of \(pool) are files of a server, which nobody else can open; give the server's address "
                        + "by --endpoint instead of --control", status: ExitStatus.configuration)
            }
        } catch let error as ControlStoreError {
            throw CommandFailure(
                "the control store \(label) cannot be read: \(describe(error))", status: ExitStatus.unavailable)
        }
        do throws(RegistryError) { try registry.openAll() } catch {
            throw CommandFailure("the pool \(pool) cannot be opened: \(error)", status: ExitStatus.unavailable)
        }
    }
    registry.follow { error in
        logger.warning("The control store cannot be followed", metadata: ["error": "\(error)"])
    }
    return (registry, WorkerSource(registry: registry, leases: stores.leases, label: label, targets: settings.deliver))
}

/// A worker that cannot go on before somebody changes something ends with a status that says so.
func exitStatus(_ failure: WorkerFailure) -> Int32 {
    switch failure {
    case .undeleted: ExitStatus.unavailable
    case .targetEnded: ExitStatus.inputOutput
    case .noPool, .noLeases, .noShards, .unknownCaller: ExitStatus.configuration
    case .noRight: ExitStatus.noPermission
    }
}
