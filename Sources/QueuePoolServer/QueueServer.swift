// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Hummingbird
import HummingbirdCore
package import Logging
import NIOCore
import NIOPosix
package import QueuePoolCore
package import QueuePoolRuntime
import QueuePoolSQS
import ServiceLifecycle
import Synchronization

// The server: pools behind two ways in on one port, and on a second port for operators if there is one. It runs as a
// service: when told to stop, it lets waiting receives answer, takes no new connection, finishes every request that was
// read, and only then closes the shards, so that no accepted message is left unanswered, and the event loops after them.

/// How the server is run.
package struct ServerOptions: Sendable {
    package var host: String
    package var port: Int
    /// `nil`: plain HTTP.
    package var tls: TLSDoor?
    package var limits = DoorLimits()
    /// By default everything that a browser's page of another origin could send is refused, as on loopback.
    package var browsers = BrowserGuard(isLoopback: true, allowedHosts: [])
    /// Shards of a queue that CreateQueue makes without saying how many.
    package var defaultShards = 1
    package var idempotency = IdempotencyOptions()
    /// Knows callers by their keys; `nil`: nobody is asked who he is.
    package var access: AccessGate?
    /// Where it is kept who did what; `nil`: nowhere.
    package var audit: (any AuditTrail)?
    /// Series that stand on the metrics page besides the server's.
    package var moreMetrics = MoreMetrics.ofProcess
    /// `nil`: operators are answered where everybody is.
    package var admin: AdminDoorOptions?

    package init(host: String, port: Int) {
        self.host = host
        self.port = port
    }
}

package struct QueueServer: Service {
    private let registry: PoolRegistry
    private let options: ServerOptions
    private let logger: Logger
    private let storageProblem: @Sendable () -> String?
    private let onReady: @Sendable (Int) async -> Void
    private let onAdminReady: @Sendable (Int) async -> Void

    /// - Parameters:
    ///   - registry: with every pool open.
    ///   - storageProblem: why a part of the sends is refused although the server runs.
    ///   - onAdminReady: called with the operators' port once it is open, which is before the other one.
    ///   - onReady: called with the port once requests are answered.
    package init(
        registry: PoolRegistry, options: ServerOptions, logger: Logger,
        storageProblem: @escaping @Sendable () -> String? = { nil },
        onAdminReady: @escaping @Sendable (_ port: Int) async -> Void = { _ in },
        onReady: @escaping @Sendable (_ port: Int) async -> Void = { _ in }
    ) {
        self.registry = registry
        self.options = options
        self.logger = logger
        self.storageProblem = storageProblem
        self.onAdminReady = onAdminReady
        self.onReady = onReady
    }

    package func run() async throws {
        let naming = QueueNaming(endpoint: "\(options.tls == nil ? "http" : "https")://\(options.host):\(options.port)")
        let audit = options.audit.map { AuditDesk($0, clock: registry.clock) }
        let sqs = SQSService(registry: registry, naming: naming, defaultShards: options.defaultShards, audit: audit)
        let service = QueueService(
            registry: registry, sqs: sqs, idempotency: options.idempotency, access: options.access,
            isEncrypted: options.tls != nil, audit: audit)
        let counters = RequestCounters()
        let shared = DoorState(
            limits: options.limits, browsers: options.browsers, service: service, counters: counters)
        let adminDoor = options.admin.map {
            DoorState(limits: $0.limits, browsers: $0.browsers, service: service, counters: counters)
        }
        let readiness = Readiness()
        let rates = ShardRates()
        rates.follow(registry)
        let metrics = MetricsPage(
            registry: registry, requests: counters, door: shared, admin: adminDoor, more: options.moreMetrics,
            audit: options.audit)
        let routes = { @Sendable [storageProblem] (door: DoorState) in
            Routes(
                service: service, limits: door.limits, browsers: door.browsers, lives: door.lives, budget: door.budget,
                metrics: metrics, rates: rates,
                whyNotReady: { readiness.isReady ? storageProblem() : "It is starting or stopping." })
        }
        var logger = logger
        logger.logLevel = max(logger.logLevel, .warning)
        // Half of the processors: the shards' writers keep the other half busy, and fewer loops take more from each wait.
        let group = MultiThreadedEventLoopGroup(numberOfThreads: max(1, System.coreCount / 2))
        let adminGroup = adminDoor.map { _ in MultiThreadedEventLoopGroup(numberOfThreads: 1) }
        let groups = [group, adminGroup].compactMap(\.self)
        let application = application(
            options.host, options.port, shared, routes(shared), group, logger
        ) { [onReady] port in
            readiness.set(true)
            await onReady(port)
        }
        let serve = { @Sendable [registry] in
            try await withGracefulShutdownHandler {
                try await application.run()
            } onGracefulShutdown: {
                readiness.set(false)
                registry.stopWaiting()
            }
        }
        do {
            if let admin = options.admin, let adminDoor, let adminGroup {
                let listening = AsyncStream<Void>.makeStream()
                let operators = self.application(
                    admin.host, admin.port, adminDoor, routes(adminDoor), adminGroup, logger
                ) { [onAdminReady] port in
                    await onAdminReady(port)
                    listening.continuation.yield()
                }
                try await AdminDoor(application: operators, listening: listening, logger: logger).serve(while: serve)
            } else {
                try await serve()
            }
        } catch {
            await stop(groups)
            throw error
        }
        await stop(groups)
    }

    /// A door's socket and what is behind it.
    private func application(
        _ host: String, _ port: Int, _ door: DoorState, _ routes: Routes, _ group: MultiThreadedEventLoopGroup,
        _ logger: Logger, onRunning: @escaping @Sendable (_ port: Int) async -> Void
    ) -> some ApplicationProtocol {
        Application(
            router: routes.router(),
            server: HTTPServerBuilder { DoorChannel(shared: door, tls: options.tls, responder: $0) },
            configuration: ApplicationConfiguration(
                address: .hostname(host, port: port), serverName: "queuepool",
                backlog: 1_024),
            onServerRunning: { channel in await onRunning(channel.localAddress?.port ?? 0) },
            eventLoopGroupProvider: .shared(group), logger: logger)
    }

    /// The loops go last: a shard that still works may have an answer for a client that left, and what takes that back
    /// runs on the client's loop. No answer comes from a shard that is closed.
    private func stop(_ groups: [MultiThreadedEventLoopGroup]) async {
        await withCheckedContinuation { continuation in
            // Closing blocks until what was accepted is on disk.
            DispatchQueue.global().async {
                registry.close()
                continuation.resume()
            }
        }
        for group in groups { try? await group.shutdownGracefully() }
    }
}

/// Whether the server answers requests.
final class Readiness: Sendable {
    private let value = Atomic(false)
    var isReady: Bool { value.load(ordering: .relaxed) }
    func set(_ isReady: Bool) { value.store(isReady, ordering: .relaxed) }
}

extension PoolRegistry {
    /// Makes a pool with its dead-letter queue unless it is there; blocks.
    /// - Throws: `Problem` that says why not.
    package func ensurePool(_ name: PoolName, shards: Int) throws {
        _ = try PoolAdministration(registry: self).ensure(name, shards: shards, quota: nil)
    }
}

/// What the queue attributes of a definition mean to a shard.
package func queueAttributes(of text: String) -> QueueAttributes {
    ((try? QueueAttributeSet(encoded: text)) ?? QueueAttributeSet()).queueAttributes
}
