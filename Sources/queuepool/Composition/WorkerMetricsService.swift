// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Logging
import QueuePoolServer
import QueuePoolSettings
import QueuePoolWorker
import ServiceLifecycle

/// A worker and the server of its figures: it begins when they can be watched, and is watched until it has ended.
func watchedWorker(_ worker: Worker, listen: ListenAddress, logger: Logger) -> [any Service] {
    let (begin, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    let server = MetricsServer(
        host: listen.host, port: listen.port,
        browsers: BrowserGuard(isLoopback: listen.isLoopback, allowedHosts: []), logger: logger,
        page: { WorkerMetrics.page([worker.metrics]) },
        onReady: { port in
            logger.info("Metrics are served", metadata: ["host": "\(listen.host)", "port": "\(port)"])
            continuation.yield()
            continuation.finish()
        })
    // A stop goes through them from the last to the first.
    return [TimedStop(service: server, seconds: 2), WorkerWhenListening(begin: begin, worker: worker)]
}
