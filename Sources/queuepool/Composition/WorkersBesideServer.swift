// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Logging
import QueuePoolCore
import QueuePoolServer
import QueuePoolSettings
import QueuePoolWorker
import ServiceLifecycle
import Synchronization

// A worker beside the server is the same as `work`, over the loopback address. It begins when the server listens, because
// only then it is known on which port, and whether at all.

/// Workers that wait for the server of their process.
struct WorkersBesideServer {
    private let waiting: [(service: WorkerWhenListening, port: AsyncStream<Int>.Continuation)]

    var services: [any Service] { waiting.map(\.service) }

    /// - Throws: `CommandFailure` for a target that is none.
    init(_ settings: ServeSettings, logger: Logger) throws {
        guard !settings.deliver.isEmpty else {
            waiting = []
            return
        }
        let metrics = MetricsOfWorkers()
        MoreMetrics.ofProcess.set { metrics.page() }
        waiting = try settings.pools.map { pool in
            let (ports, continuation) = AsyncStream.makeStream(of: Int.self, bufferingPolicy: .bufferingNewest(1))
            let make: @Sendable (Int) throws -> Worker = { port in
                try makeWorkerService(
                    endpoint: "http://\(WorkersBesideServer.address(settings.listen, port: port))",
                    pool: pool.name.text, deliver: settings.deliver, shards: nil, tuning: settings.worker,
                    logger: logger)
            }
            // Most know their port at once, and a wrong target must stop the start, not what was started.
            let made = try make(settings.listen.port)
            return (
                WorkerWhenListening(
                    ports: ports, known: settings.listen.port > 0 ? made : nil, make: make, metrics: metrics),
                continuation
            )
        }
    }

    /// The server answers on this port.
    func begin(port: Int) {
        for worker in waiting {
            worker.port.yield(port)
            worker.port.finish()
        }
    }

    /// Where a server that listens on `listen` is reached from its own machine.
    static func address(_ listen: ListenAddress, port: Int) -> ListenAddress {
        let loopback = ["0.0.0.0": "127.0.0.1", "::": "::1"]
        return ListenAddress(host: loopback[listen.host] ?? listen.host, port: port)
    }
}

/// The figures of workers that have begun.
final class MetricsOfWorkers: Sendable {
    private let all = Mutex<[WorkerMetrics]>([])

    func add(_ metrics: WorkerMetrics) { all.withLock { $0.append(metrics) } }

    func page() -> String { WorkerMetrics.page(all.withLock { $0 }) }
}

/// A worker that begins when a port is known.
struct WorkerWhenListening: Service {
    let ports: AsyncStream<Int>
    /// The worker if it could be made before.
    var known: Worker?
    let make: @Sendable (Int) throws -> Worker
    var metrics: MetricsOfWorkers?

    func run() async throws {
        var port: Int?
        for await found in ports.cancelOnGracefulShutdown() { port = found }
        // The server did not come to listen, or was told to stop before.
        guard let port else { return }
        let worker = try known ?? make(port)
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
