// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

/// How a worker reaches the shards of its pool.
package enum WorkerWay: Hashable, Sendable {
    /// Through a server, by its base URL.
    case server(endpoint: String)
    /// Straight to the queues of Amazon SQS that the control store names.
    case queues(ControlSettings)
}

/// Everything `work` is told.
package struct WorkSettings: Hashable, Sendable {
    package var way: WorkerWay
    /// Base URL of the server, if the worker goes through one.
    package var endpoint: String? { if case .server(let endpoint) = way { endpoint } else { nil } }
    /// Towards that server.
    package var tls: ClientTLSSettings
    /// What it is shown; `nil`: nothing.
    package var token: TokenSettings?
    package var pool: PoolName
    /// Targets in fallback order; at least one.
    package var deliver: [String]
    /// Numbers and ranges of the shards owned; `nil`: all.
    package var shards: String?
    package var worker: WorkerTuning
    /// Where the worker's metrics are served; `nil`: nowhere.
    package var metricsListen: ListenAddress?
    /// Hours for which it is kept what became of each message; 0: the worker tells nobody.
    package var trackingHours: Int
    package var log: LogSettings

    /// Reads and checks all settings of `work`.
    /// - Throws: `SettingErrors` with everything that is wrong.
    package init(flags: [String: [String]], environment: [String: String]) async throws {
        self = try WorkSettings(try await SettingsReader(flags: flags, environment: environment))
    }

    private init(_ settings: SettingsReader) throws {
        var reader = settings
        let way = reader.workerWay()
        let tls = reader.clientTLSSettings()
        let token: TokenSettings? =
            if case .server(let endpoint) = way { reader.tokenSettings(towards: endpoint) } else { nil }
        let pool = reader.text(.workerPool)
        let name = pool.flatMap { PoolName($0.value) }
        if let pool, name == nil {
            reader.refuse(pool.value, of: .workerPool, from: pool.source, "is not a pool's name")
        }
        if pool == nil, !reader.errors.contains(where: { $0.name == Setting.workerPool.key }) {
            reader.refuse(.missing(.workerPool))
        }
        let deliver = reader.deliverTargets(.workerDeliver)
        if deliver.isEmpty, !reader.errors.contains(where: { $0.name == Setting.workerDeliver.key }) {
            reader.refuse(.missing(.workerDeliver))
        }
        let shards = reader.parsed(.workerShards, or: "names no shards") { isShardSelection($0) ? $0 : nil }
        let worker = reader.workerTuning()
        let metricsListen = reader.metricsAddress()
        let trackingHours = reader.integer(.trackingHours)
        let log = reader.logSettings()
        try reader.finish()
        guard let way, let tls, let name, let worker, let trackingHours, let log else { throw SettingErrors([]) }
        self.way = way
        self.tls = tls
        self.token = token
        self.pool = name
        self.deliver = deliver
        self.shards = shards
        self.worker = worker
        self.metricsListen = metricsListen
        self.trackingHours = trackingHours
        self.log = log
    }
}

/// Everything the commands that only talk to a server are told by settings.
package struct ClientSettings: Hashable, Sendable {
    /// Base URL of the server, without a slash at its end.
    package var endpoint: String
    /// Towards that server.
    package var tls: ClientTLSSettings
    /// What it is shown; `nil`: nothing.
    package var token: TokenSettings?

    /// Reads and checks the settings of `send` and `pool`.
    /// - Throws: `SettingErrors` with everything that is wrong.
    package init(flags: [String: [String]], environment: [String: String]) async throws {
        self = try ClientSettings(try await SettingsReader(flags: flags, environment: environment))
    }

    private init(_ settings: SettingsReader) throws {
        var reader = settings
        let endpoint = reader.endpointAddress()
        let tls = reader.clientTLSSettings()
        let token = reader.tokenSettings(towards: endpoint)
        try reader.finish()
        guard let endpoint, let tls else { throw SettingErrors([]) }
        self.endpoint = endpoint
        self.tls = tls
        self.token = token
    }
}

extension SettingsReader {
    /// A server unless a control store was named and no server, or by a stronger source. A file of SQLite that only the
    /// configuration file names is the server's, which may read the same file.
    fileprivate mutating func workerWay() -> WorkerWay? {
        let server = peek(.endpoint)?.source
        let store = peek(.control).flatMap { found in
            let isServers = found.source == .file && found.value.hasPrefix("sqlite:")
            return isServers && server == nil ? nil : found.source
        }
        let endpoint = endpointAddress()
        let control = controlSettings(in: "./queuepool-data")
        guard let store else { return endpoint.map { .server(endpoint: $0) } }
        if let server {
            guard server != store else {
                refuse(
                    SettingError(
                        name: Setting.control.key, source: store,
                        description: "settings 'endpoint' and 'storage.control' are both given; allowed: one of "
                            + "them, the server through which the worker receives or the control store that names its "
                            + "queues"))
                return nil
            }
            if server.rawValue < store.rawValue { return endpoint.map { .server(endpoint: $0) } }
        }
        return control.map { .queues($0) }
    }

    fileprivate mutating func metricsAddress() -> ListenAddress? {
        let allowInsecure = flag(.allowInsecureMetricsListen)
        guard let found = text(.metricsListen) else { return nil }
        guard let address = ListenAddress(found.value) else {
            refuse(found.value, of: .metricsListen, from: found.source, "is not an address")
            return nil
        }
        if !address.isLoopback, allowInsecure != true {
            refuse(
                SettingError(
                    name: Setting.metricsListen.key, source: found.source,
                    description: "setting 'worker.metrics-listen': '\(address)' is off loopback, and without TLS and "
                        + "credentials whoever reaches it may read the metrics; allowed: a loopback address, or "
                        + "--allow-insecure-metrics-listen"))
        }
        return address
    }

    fileprivate mutating func endpointAddress() -> String? {
        parsed(.endpoint, or: "is not an http address") { text in
            guard isHTTPAddress(text) else { return nil }
            return String(text.reversed().drop { $0 == "/" }.reversed())
        }
    }
}

/// Whether a text begins as a URL of HTTP with a host.
package func isHTTPAddress(_ text: String) -> Bool {
    ["http://", "https://"].contains { text.hasPrefix($0) && text.count > $0.count }
}
