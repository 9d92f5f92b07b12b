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
import Synchronization

// A worker beside the server is the same as `work`, but for its queue: it uses the server's own pools, without HTTP, so
// that neither TLS nor keys stand in between. It shares the shards with workers elsewhere by leases. It begins when the
// server listens, because only then it is known whether it will.

/// Workers that wait for the server of their process.
struct WorkersBesideServer {
    private let waiting: [(service: WorkerWhenListening, begin: AsyncStream<Void>.Continuation)]

    var services: [any Service] { waiting.map(\.service) }

    /// - Throws: `CommandFailure` for a target that is none.
    init(_ settings: ServeSettings, registry: PoolRegistry, logger: Logger) throws {
        guard !settings.deliver.isEmpty else {
            waiting = []
            return
        }
        let metrics = MetricsOfWorkers()
        MoreMetrics.ofProcess.set { metrics.page() }
        let source = WorkerSource(
            registry: registry, leases: registry.leases, label: "this server", targets: settings.deliver)
        waiting = try settings.pools.map { pool in
            let (begin, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
            // Made before the server starts: a wrong target must stop the start, not what was started.
            let worker = try makeWorkerService(
                WorkerOptions(endpoint: "", pool: pool.name.text, deliver: settings.deliver), source: source,
                tuning: settings.worker, logger: logger)
            return (WorkerWhenListening(begin: begin, worker: worker, metrics: metrics), continuation)
        }
    }

    /// The server answers.
    func begin() {
        for worker in waiting {
            worker.begin.yield()
            worker.begin.finish()
        }
    }
}

/// The figures of workers that have begun.
final class MetricsOfWorkers: Sendable {
    private let all = Mutex<[WorkerMetrics]>([])

    func add(_ metrics: WorkerMetrics) { all.withLock { $0.append(metrics) } }

    func page() -> String { WorkerMetrics.page(all.withLock { $0 }) }
}

/// A worker that begins when the server listens.
struct WorkerWhenListening: Service {
    let begin: AsyncStream<Void>
    let worker: Worker
    var metrics: MetricsOfWorkers?

    func run() async throws {
        var isListening = false
        for await _ in begin.cancelOnGracefulShutdown() { isListening = true }
        // The server did not come to listen, or was told to stop before.
        guard isListening else { return }
        metrics?.add(worker.metrics)
        try await worker.run()
    }
}

/// A service that is given so long to stop, however long others took before it.
struct TimedStop: Service {
    let service: any Service
    let seconds: Int

    func run() async throws {
        let service = service
        let seconds = seconds
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                try await service.run()
                return true
            }
            group.addTask {
                // Both throw when the service ended before.
                do {
                    try await gracefulShutdown()
                    try await Task.sleep(for: .seconds(seconds))
                } catch {}
                return false
            }
            // Whichever ends first ends the other; the service's own end and failure count.
            while let isService = try await group.next() {
                group.cancelAll()
                if isService { return }
            }
        }
    }
}
