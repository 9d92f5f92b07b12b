// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Logging
import QueuePoolCore
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
    let worker = try makeWorkerService(
        endpoint: settings.endpoint, pool: settings.pool.text, deliver: settings.deliver, shards: settings.shards,
        tuning: settings.worker, logger: logger)
    var services = [worker] as [any Service]
    if let listen = settings.metricsListen { services = watchedWorker(worker, listen: listen, logger: logger) }
    // First, so that it is told to stop last.
    if let line { services.insert(WorkProgress(metrics: worker.metrics, line: line), at: 0) }
    var quiet = logger
    quiet.logLevel = max(logger.logLevel, .warning)
    var configuration = ServiceGroupConfiguration(
        services: services, gracefulShutdownSignals: [.sigterm, .sigint], logger: quiet)
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
    endpoint: String, pool: String, deliver: [String], shards: String?, tuning: WorkerTuning, logger: Logger
) throws -> Worker {
    try OpenFiles.requireRoom(forDeliveries: tuning.concurrency)
    var options = WorkerOptions(endpoint: endpoint, pool: pool, deliver: deliver)
    options.shards = shards
    options.concurrency = tuning.concurrency
    options.visibilitySeconds = tuning.visibilitySeconds
    options.budget = WorkerBudget(maxAttempts: tuning.maxAttempts, retrySeconds: tuning.retrySeconds)
    options.graceSeconds = tuning.graceSeconds
    do {
        return try Worker(options, logger: logger)
    } catch let error as DeliveryURLError {
        throw CommandFailure(error.description, status: ExitStatus.usage)
    }
}

/// A worker that cannot go on before somebody changes something ends with a status that says so.
func exitStatus(_ failure: WorkerFailure) -> Int32 {
    switch failure {
    case .undeleted: ExitStatus.unavailable
    case .targetEnded: ExitStatus.inputOutput
    case .noPool, .noShards: ExitStatus.configuration
    }
}
