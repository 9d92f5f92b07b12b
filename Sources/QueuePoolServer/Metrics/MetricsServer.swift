// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Hummingbird
import HummingbirdCore
package import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle

/// Serves `GET /metrics` and `GET /healthz` for a process that serves nothing else.
package struct MetricsServer: Service {
    /// Why nothing is served.
    package struct Failure: Error, Hashable, Sendable, CustomStringConvertible {
        package let description: String
    }

    /// Whoever scrapes needs one; the process needs its descriptors for other things.
    private static let connectionsMax = 16
    private static let idleSeconds: Int64 = 75

    private let host: String
    private let port: Int
    private let browsers: BrowserGuard
    private let logger: Logger
    private let page: @Sendable () -> String
    private let onReady: @Sendable (Int) async -> Void

    /// - Parameters:
    ///   - port: 0 takes a free one.
    ///   - page: the series of now, in Prometheus' text format.
    ///   - onReady: called with the port once requests are answered.
    package init(
        host: String, port: Int, browsers: BrowserGuard, logger: Logger, page: @escaping @Sendable () -> String,
        onReady: @escaping @Sendable (_ port: Int) async -> Void
    ) {
        self.host = host
        self.port = port
        self.browsers = browsers
        self.logger = logger
        self.page = page
        self.onReady = onReady
    }

    /// - Throws: `Failure`, for instance if the address is taken.
    package func run() async throws {
        var logger = logger
        logger.logLevel = max(logger.logLevel, .warning)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let application = Application(
            router: router(),
            server: .http1(configuration: .init(idleTimeout: .seconds(MetricsServer.idleSeconds))),
            configuration: ApplicationConfiguration(
                address: .hostname(host, port: port), serverName: "queuepool",
                availableConnectionsDelegate: MaximumAvailableConnections(MetricsServer.connectionsMax)),
            onServerRunning: { channel in await onReady(channel.localAddress?.port ?? 0) },
            eventLoopGroupProvider: .shared(group), logger: logger)
        let outcome: Result<Void, any Error>
        do {
            try await application.run()
            outcome = .success(())
        } catch { outcome = .failure(error) }
        try? await group.shutdownGracefully()
        if case .failure(let error) = outcome {
            if error is CancellationError { throw error }
            throw Failure(description: "\(error)")
        }
    }

    private func router() -> Router<RouteContext> {
        let router = Router(context: RouteContext.self)
        router.add(middleware: GuardMiddleware(browsers: browsers))
        router.get("/metrics") { _, _ in
            MetricsServer.text(page(), "text/plain; version=0.0.4; charset=utf-8")
        }
        router.get("/healthz") { _, _ in MetricsServer.text("ok\n", "text/plain; charset=utf-8") }
        return router
    }

    private static func text(_ text: String, _ type: String) -> Response {
        Response(status: .ok, headers: [.contentType: type], body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }
}
