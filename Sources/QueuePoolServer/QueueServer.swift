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

// The server: pools behind two ways in on one port. It runs as a service: when told to stop, it lets waiting receives
// answer, takes no new connection, finishes every request that was read, and only then closes the shards, so that no
// accepted message is left unanswered, and the event loops after them.

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

    /// - Parameters:
    ///   - registry: with every pool open.
    ///   - storageProblem: why a part of the sends is refused although the server runs.
    ///   - onReady: called with the port once requests are answered.
    package init(
        registry: PoolRegistry, options: ServerOptions, logger: Logger,
        storageProblem: @escaping @Sendable () -> String? = { nil },
        onReady: @escaping @Sendable (_ port: Int) async -> Void = { _ in }
    ) {
        self.registry = registry
        self.options = options
        self.logger = logger
        self.storageProblem = storageProblem
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
        let readiness = Readiness()
        let rates = ShardRates()
        rates.follow(registry)
        let routes = Routes(
            service: service, limits: options.limits, browsers: options.browsers, lives: shared.lives,
            budget: shared.budget,
            metrics: MetricsPage(registry: registry, requests: counters, door: shared, more: options.moreMetrics,
            audit: options.audit),
            rates: rates,
            whyNotReady: { [storageProblem] in
                readiness.isReady ? storageProblem() : "It is starting or stopping."
            })
        var logger = logger
        logger.logLevel = max(logger.logLevel, .warning)
        // Half of the processors: the shards' writers keep the other half busy, and fewer loops take more from each wait.
        let group = MultiThreadedEventLoopGroup(numberOfThreads: max(1, System.coreCount / 2))
        let application = Application(
            router: routes.router(),
            server: HTTPServerBuilder { DoorChannel(shared: shared, tls: options.tls, responder: $0) },
            configuration: ApplicationConfiguration(
                address: .hostname(options.host, port: options.port), serverName: "queuepool",
                backlog: 1_024),
            onServerRunning: { channel in
                readiness.set(true)
                await onReady(channel.localAddress?.port ?? 0)
            },
            eventLoopGroupProvider: .shared(group), logger: logger)
        do {
            try await withGracefulShutdownHandler {
                try await application.run()
            } onGracefulShutdown: { [registry] in
                readiness.set(false)
                registry.stopWaiting()
            }
        } catch {
            await stop(group)
            throw error
        }
        await stop(group)
    }

    /// The loops go last: a shard that still works may have an answer for a client that left, and what takes that back
    /// runs on the client's loop. No answer comes from a shard that is closed.
    private func stop(_ group: MultiThreadedEventLoopGroup) async {
        await withCheckedContinuation { continuation in
            // Closing blocks until what was accepted is on disk.
            DispatchQueue.global().async {
                registry.close()
                continuation.resume()
            }
        }
        try? await group.shutdownGracefully()
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
