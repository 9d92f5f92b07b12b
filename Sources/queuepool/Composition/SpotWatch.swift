// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import QueuePoolAWS
import QueuePoolCurl
import QueuePoolRuntime
import ServiceLifecycle

/// Ends when the machine, a spot instance of EC2, will be taken away: the worker then gives its shards up like at SIGTERM.
struct SpotWatch: Service {
    let notice: SpotNotice
    let engine: CurlEngine
    let logger: Logger

    func run() async throws {
        defer { engine.shutdown() }
        let came = await cancelWhenGracefulShutdown { await notice.wait() }
        if came { logger.notice("This spot instance will be taken away: the worker stops") }
    }
}

/// The watch, on a machine that may get such a notice.
func spotWatch(
    environment: [String: String] = ProcessInfo.processInfo.environment, logger: Logger
) -> SpotWatch? {
    let clock = SystemClock()
    let engine = CurlEngine()
    let surroundings = AWSSurroundings(
        variable: { environment[$0] }, file: { try? String(contentsOfFile: $0, encoding: .utf8) },
        perform: { (request) async throws(CurlError) in try await engine.perform(request) },
        clock: ServiceClock(clock))
    guard let notice = SpotNotice(surroundings, clock: clock) else {
        engine.shutdown()
        return nil
    }
    return SpotWatch(notice: notice, engine: engine, logger: logger)
}
