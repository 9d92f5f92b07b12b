// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import QueuePoolSettings
import Testing

/// Settings of `serve` from flags, an environment and the text of a YAML file.
func serveSettings(
    flags: [Setting: [String]] = [:], environment: [String: String] = [:], yaml: String? = nil
) async throws -> ServeSettings {
    try await withFlags(flags, yaml: yaml) { try await ServeSettings(flags: $0, environment: environment) }
}

/// Settings of `work`, likewise.
func workSettings(
    flags: [Setting: [String]] = [:], environment: [String: String] = [:], yaml: String? = nil
) async throws -> WorkSettings {
    try await withFlags(flags, yaml: yaml) { try await WorkSettings(flags: $0, environment: environment) }
}

private func withFlags<R>(
    _ flags: [Setting: [String]], yaml: String?, _ read: ([String: [String]]) async throws -> R
) async throws -> R {
    var texts = Dictionary(uniqueKeysWithValues: flags.map { ($0.key.key, $0.value) })
    guard let yaml else { return try await read(texts) }
    let file = FileManager.default.temporaryDirectory.appending(path: "settings-\(UUID()).yaml")
    try Data(yaml.utf8).write(to: file)
    defer { try? FileManager.default.removeItem(at: file) }
    texts[Setting.config.key] = [file.path]
    return try await read(texts)
}

@Suite("Where a setting comes from")
struct SourcesTests {
    @Test func `defaults hold when nothing is said`() async throws {
        let settings = try await serveSettings()
        #expect(settings.listen == ListenAddress(host: "127.0.0.1", port: 9324))
        #expect(settings.dataDirectory == "./queuepool-data")
        #expect(settings.control.address == .sqlite(file: "./queuepool-data/control.sqlite"))
        #expect(settings.pools.isEmpty)
        #expect(settings.quota == nil)
        #expect(settings.createQueueShards == 1)
        #expect(settings.limits.requestBytesMax == nil)
        #expect(settings.injection == FaultInjection(latencyMilliseconds: 0, errorRate: 0))
        #expect(settings.log == LogSettings(level: "info", format: .text))
    }

    @Test func `a flag wins over the environment and this over the file`() async throws {
        let yaml = "shard:\n  quota: 100\n"
        let environment = ["QUEUEPOOL_SHARD_QUOTA": "200"]
        #expect(try await serveSettings(yaml: yaml).quota == 100)
        #expect(try await serveSettings(environment: environment, yaml: yaml).quota == 200)
        #expect(try await serveSettings(flags: [.quota: ["300"]], environment: environment, yaml: yaml).quota == 300)
    }

    @Test func `pools come from repeated flags, a comma-separated variable, a list or a map`() async throws {
        let expected = [PoolSpec("emails.fifo=8"), PoolSpec("notes.fifo=2")]
        let flags = try await serveSettings(flags: [.pools: ["emails.fifo=8", "notes.fifo=2"]])
        let variable = try await serveSettings(environment: ["QUEUEPOOL_POOLS": "emails.fifo=8, notes.fifo=2"])
        let list = try await serveSettings(yaml: "pools:\n  - emails.fifo=8\n  - notes.fifo=2\n")
        let map = try await serveSettings(yaml: "pools:\n  emails.fifo: 8\n  notes.fifo: 2\n")
        for settings in [flags, variable, list, map] { #expect(settings.pools == expected) }
    }

    @Test func `the file's place may come from the environment`() async throws {
        let file = FileManager.default.temporaryDirectory.appending(path: "settings-\(UUID()).yaml")
        try Data("shard: {quota: 7}".utf8).write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        #expect(try await serveSettings(environment: ["QUEUEPOOL_CONFIG": file.path]).quota == 7)
    }

    @Test func `one file serves both commands`() async throws {
        let yaml = """
            server: {listen: "127.0.0.1:0"}
            worker:
              pool: emails.fifo
              deliver: "stdout:"
              shards: 0-3
              concurrency: 9
            log: {format: json, level: debug}
            """
        let work = try await workSettings(yaml: yaml)
        #expect(work.pool.text == "emails.fifo")
        #expect(work.deliver == ["stdout:"])
        #expect(work.shards == "0-3")
        #expect(work.worker.concurrency == 9)
        #expect(work.log == LogSettings(level: "debug", format: .json))
        let serve = try await serveSettings(yaml: yaml)
        #expect(serve.listen.port == 0)
        #expect(serve.deliver.isEmpty)
    }

    @Test func `the environment's own variables are nobody's business`() async throws {
        _ = try await serveSettings(environment: ["PATH": "/bin", "SHARD_QUOTA": "x", "queuepool_x": "y"])
    }
}
