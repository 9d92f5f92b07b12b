// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import Logging
import QueuePoolCore
import QueuePoolEmbedded
import QueuePoolRuntime
import QueuePoolServer
import ServiceLifecycle
import UnixSignals

@main
struct Main {
    static func main() async throws {
        let arguments = CommandLine.arguments
        func value(_ name: String) -> String? {
            arguments.firstIndex(of: name).map { arguments[$0 + 1] }
        }
        let port = Int(value("--listen")?.split(separator: ":").last ?? "9324") ?? 9324
        let directory = value("--data-dir") ?? "./queuepool-data"
        let clock = SystemClock()
        mkdir(directory, 0o755)
        mkdir(directory + "/shards", 0o755)
        let store = try SQLiteControlStore(path: directory + "/control.sqlite")
        var shardOptions = EmbeddedShardOptions(now: { clock.now() })
        if let width = value("--gate").flatMap({ Int($0) }) { shardOptions.gate = CommitGate(width: width) }
        let factory = EmbeddedShardFactory(directory: directory + "/shards", options: shardOptions)
        var options = PoolOptions()
        options.quota = value("--quota").flatMap { Int($0) }
        let registry = PoolRegistry(store: store, factory: factory, options: options, clock: clock) {
            queueAttributes(of: $0)
        }
        try registry.openAll()
        for (index, argument) in arguments.enumerated() where argument == "--pool" {
            let parts = arguments[index + 1].split(separator: "=")
            if let name = PoolName(String(parts[0])) { try registry.ensurePool(name, shards: Int(parts[1]) ?? 1) }
        }
        let logger = Logger(label: "queuepool")
        let server = QueueServer(
            registry: registry, options: ServerOptions(host: "127.0.0.1", port: port), logger: logger)
        let group = ServiceGroup(
            services: [server], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
        try await group.run()
        registry.close()
    }
}
