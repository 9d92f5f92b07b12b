// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

/// How log lines are written.
package struct LogSettings: Hashable, Sendable {
    package enum Format: String, Hashable, Sendable {
        case text
        case json
    }

    /// A level of swift-log by its name.
    package var level: String
    package var format: Format

    package init(level: String, format: Format) {
        self.level = level
        self.format = format
    }
}

/// Bounds of the door.
package struct ServerLimits: Hashable, Sendable {
    package var maxConnections: Int
    /// `nil`: as the listening address needs it.
    package var maxConnectionsPerAddress: Int?
    /// `nil`: as the largest bodies need it.
    package var requestBytesMax: Int?
    package var heldBytesMax: Int
    package var idleTimeoutSeconds: Int
    package var headerTimeoutSeconds: Int
    /// 0: a stop does not wait.
    package var drainSeconds: Int
    package var idempotencyWindowSeconds: Int
    package var idempotencyBytesMax: Int

    package init(
        maxConnections: Int, maxConnectionsPerAddress: Int?, requestBytesMax: Int?, heldBytesMax: Int,
        idleTimeoutSeconds: Int, headerTimeoutSeconds: Int, drainSeconds: Int, idempotencyWindowSeconds: Int,
        idempotencyBytesMax: Int
    ) {
        self.maxConnections = maxConnections
        self.maxConnectionsPerAddress = maxConnectionsPerAddress
        self.requestBytesMax = requestBytesMax
        self.heldBytesMax = heldBytesMax
        self.idleTimeoutSeconds = idleTimeoutSeconds
        self.headerTimeoutSeconds = headerTimeoutSeconds
        self.drainSeconds = drainSeconds
        self.idempotencyWindowSeconds = idempotencyWindowSeconds
        self.idempotencyBytesMax = idempotencyBytesMax
    }
}

/// Bounds of one shard.
package struct ShardLimits: Hashable, Sendable {
    package var waitingEntriesMax: Int
    package var waitingBytesMax: Int
    package var cacheBytes: Int

    package init(waitingEntriesMax: Int, waitingBytesMax: Int, cacheBytes: Int) {
        self.waitingEntriesMax = waitingEntriesMax
        self.waitingBytesMax = waitingBytesMax
        self.cacheBytes = cacheBytes
    }
}

/// Bounds of all pools and shards of the process together.
package struct StorageLimits: Hashable, Sendable {
    package var poolsMax: Int
    package var shardsMax: Int
    package var waitingBytesMax: Int
    package var cacheBytesMax: Int
    /// `nil`: as the machine's memory allows.
    package var deduplicationEntriesMax: Int?
}

/// Bodies that are too large for a queue.
package struct BodySettings: Hashable, Sendable {
    /// Where those of queues of SQS go whose pools say nothing: `s3://BUCKET[/PREFIX]`; `nil`: nowhere.
    package var place: String?
    /// `nil`: as the kind of the queue needs it.
    package var thresholdBytes: Int?
    package var limitBytes: Int
}

/// Faults put in on purpose, for tests; both 0 in normal use.
package struct FaultInjection: Hashable, Sendable {
    package var latencyMilliseconds: Int
    /// 0...1
    package var errorRate: Double

    package init(latencyMilliseconds: Int, errorRate: Double) {
        self.latencyMilliseconds = latencyMilliseconds
        self.errorRate = errorRate
    }
}

/// How a worker treats messages.
package struct WorkerTuning: Hashable, Sendable {
    package var concurrency: Int
    package var visibilitySeconds: Int
    /// `nil`: not set.
    package var maxAttempts: Int?
    /// `nil`: not set.
    package var retrySeconds: Int?
    package var graceSeconds: Int

    package init(concurrency: Int, visibilitySeconds: Int, maxAttempts: Int?, retrySeconds: Int?, graceSeconds: Int) {
        self.concurrency = concurrency
        self.visibilitySeconds = visibilitySeconds
        self.maxAttempts = maxAttempts
        self.retrySeconds = retrySeconds
        self.graceSeconds = graceSeconds
    }
}

/// Everything `serve` is told.
package struct ServeSettings: Hashable, Sendable {
    package var listen: ListenAddress
    /// Where operators are answered besides; `nil`: nowhere.
    package var adminListen: ListenAddress?
    /// `nil`: the port speaks plain HTTP.
    package var tls: TLSSettings?
    /// `nil`: messages are stored as they came.
    package var sealing: SealingSettings?
    /// Names without ports that the server goes by besides this machine's own; may be empty.
    package var allowedHosts: [String]
    /// Whether callers must show a key.
    package var requiresKeys: Bool
    /// Path of the audit log; `nil`: none is kept.
    package var auditLog: String?
    package var dataDirectory: String
    package var control: ControlSettings
    /// No name twice; may be empty.
    package var pools: [PoolSpec]
    /// Requests per second and API action for each shard; `nil`: no quota.
    package var quota: Int?
    /// Shards of a pool that CreateQueue makes when its tags say nothing, 1...256.
    package var createQueueShards: Int
    /// Targets of the worker in this process, in fallback order; empty: no worker here.
    package var deliver: [String]
    package var worker: WorkerTuning
    package var limits: ServerLimits
    package var shard: ShardLimits
    package var storage: StorageLimits
    package var bodies: BodySettings
    package var tracking: TrackingSettings
    package var injection: FaultInjection
    package var log: LogSettings

    /// Reads and checks all settings of `serve`.
    /// - Throws: `SettingErrors` with everything that is wrong.
    package init(flags: [String: [String]], environment: [String: String]) async throws {
        self = try ServeSettings(try await SettingsReader(flags: flags, environment: environment))
    }

    private init(_ settings: SettingsReader) throws {
        var reader = settings
        let tls = reader.tlsSettings()
        let sealing = reader.sealingSettings()
        let allowInsecure = reader.flag(.allowInsecureListen) == true
        let listen = reader.listenAddress(hasTLS: tls != nil, isOpenAllowed: allowInsecure)
        let adminListen = reader.adminAddress(
            beside: listen, hasTLS: tls != nil, isOpenAllowed: allowInsecure)
        let requiresKeys = reader.requiresKeys(at: [listen, adminListen], isOpenAllowed: allowInsecure)
        reader.refuseUnusedNames(tls, requiresKeys: requiresKeys)
        let allowedHosts = reader.allowedHosts()
        let directory = reader.text(.dataDirectory)?.value
        let auditLog = reader.auditLog(in: directory ?? ".", requiresKeys: requiresKeys)
        let control = reader.controlSettings(in: directory ?? ".")
        let pools = reader.poolSpecs()
        let quota = reader.integer(.quota)
        let createQueueShards = reader.integer(.createQueueShards)
        let deliver = reader.deliverTargets(.serverDeliver)
        let worker = reader.workerTuning()
        let limits = reader.serverLimits()
        let shard = reader.shardLimits()
        let storage = reader.storageLimits()
        let bodies = reader.bodySettings()
        let tracking = reader.trackingSettings()
        let injection = reader.faultInjection()
        let log = reader.logSettings()
        try reader.finish()
        guard let listen, let directory, let control, let createQueueShards, let worker, let limits, let shard,
            let storage, let bodies, let tracking, let injection, let log
        else { throw SettingErrors([]) }
        self.listen = listen
        self.adminListen = adminListen
        self.tls = tls
        self.sealing = sealing
        self.allowedHosts = allowedHosts
        self.requiresKeys = requiresKeys
        self.auditLog = auditLog
        self.dataDirectory = directory
        self.control = control
        self.pools = pools
        self.quota = quota
        self.createQueueShards = createQueueShards
        self.deliver = deliver
        self.worker = worker
        self.limits = limits
        self.shard = shard
        self.storage = storage
        self.bodies = bodies
        self.tracking = tracking
        self.injection = injection
        self.log = log
    }
}

// MARK: - Reading the parts -

extension SettingsReader {
    fileprivate mutating func listenAddress(hasTLS: Bool, isOpenAllowed: Bool) -> ListenAddress? {
        guard let found = text(.listen) else { return nil }
        guard let address = ListenAddress(found.value) else {
            refuse(found.value, of: .listen, from: found.source, "is not an address")
            return nil
        }
        refuseOpenAddress(address, from: found.source, hasTLS: hasTLS, isOpenAllowed: isOpenAllowed)
        return address
    }

    fileprivate mutating func allowedHosts() -> [String] {
        guard let found = list(.allowedHosts) else { return [] }
        // A listening address says what a host may look like.
        for host in found.value where ListenAddress(host.contains(":") ? "[\(host)]:0" : "\(host):0") == nil {
            refuse(host, of: .allowedHosts, from: found.source ?? .file, "is not a host name or address")
        }
        return found.value
    }

    fileprivate mutating func poolSpecs() -> [PoolSpec] {
        var specs: [PoolSpec] = []
        var source = SettingSource.file
        if let found = list(.pools) {
            source = found.source ?? .file
            for entry in found.value {
                if let spec = PoolSpec(entry) {
                    specs.append(spec)
                } else {
                    refuse(entry, of: .pools, from: source, "is not a pool")
                }
            }
        } else {
            for (name, value) in fileMap(.pools) {
                if let spec = PoolSpec(name: name, shards: value) {
                    specs.append(spec)
                } else {
                    refuse("\(name): \(value)", of: .pools, from: source, "is not a pool")
                }
            }
        }
        var seen: Set<PoolName> = []
        for spec in specs where !seen.insert(spec.name).inserted {
            refuse(spec.name.text, of: .pools, from: source, "names the same pool twice")
        }
        return specs
    }

    fileprivate mutating func serverLimits() -> ServerLimits? {
        let connections = integer(.maxConnections)
        let ofAddress = integer(.maxConnectionsPerAddress)
        let bytes = integer(.requestBytesMax)
        let held = integer(.heldBytesMax)
        let idle = integer(.idleTimeout)
        let header = integer(.headerTimeout)
        let drain = integer(.drainSeconds)
        let window = integer(.idempotencyWindow)
        let keyBytes = integer(.idempotencyBytesMax)
        guard let connections, let held, let idle, let header, let drain, let window, let keyBytes
        else { return nil }
        return ServerLimits(
            maxConnections: connections, maxConnectionsPerAddress: ofAddress, requestBytesMax: bytes,
            heldBytesMax: held, idleTimeoutSeconds: idle, headerTimeoutSeconds: header, drainSeconds: drain,
            idempotencyWindowSeconds: window, idempotencyBytesMax: keyBytes)
    }

    fileprivate mutating func shardLimits() -> ShardLimits? {
        let entries = integer(.waitingEntriesMax)
        let bytes = integer(.waitingBytesMax)
        let cache = integer(.cacheBytes)
        guard let entries, let bytes, let cache else { return nil }
        return ShardLimits(waitingEntriesMax: entries, waitingBytesMax: bytes, cacheBytes: cache)
    }

    fileprivate mutating func storageLimits() -> StorageLimits? {
        let pools = integer(.maxPools)
        let shards = integer(.maxShards)
        let waiting = integer(.waitingBytesTotalMax)
        let cache = integer(.cacheBytesTotalMax)
        let entries = integer(.deduplicationEntriesMax)
        guard let pools, let shards, let waiting, let cache else { return nil }
        return StorageLimits(
            poolsMax: pools, shardsMax: shards, waitingBytesMax: waiting, cacheBytesMax: cache,
            deduplicationEntriesMax: entries)
    }

    fileprivate mutating func bodySettings() -> BodySettings? {
        let threshold = integer(.bodiesThreshold)
        let limit = integer(.bodiesLimit)
        let place = text(.bodies)
        if let place, !place.value.hasPrefix("s3://") {
            refuse(place.value, of: .bodies, from: place.source, "is not a place for bodies")
        }
        guard let limit else { return nil }
        return BodySettings(place: place?.value, thresholdBytes: threshold, limitBytes: limit)
    }

    fileprivate mutating func faultInjection() -> FaultInjection? {
        let latency = integer(.injectLatency)
        let rate = decimal(.injectErrorRate)
        guard let latency, let rate else { return nil }
        return FaultInjection(latencyMilliseconds: latency, errorRate: rate)
    }

    package mutating func workerTuning() -> WorkerTuning? {
        let concurrency = integer(.concurrency)
        let visibility = integer(.visibilitySeconds)
        let attempts = integer(.maxAttempts)
        let retry = integer(.retrySeconds)
        let grace = integer(.graceSeconds)
        guard let concurrency, let visibility, let grace else { return nil }
        return WorkerTuning(
            concurrency: concurrency, visibilitySeconds: visibility, maxAttempts: attempts, retrySeconds: retry,
            graceSeconds: grace)
    }

    package mutating func logSettings() -> LogSettings? {
        let level = choice(.logLevel)
        let format = choice(.logFormat).flatMap(LogSettings.Format.init)
        guard let level, let format else { return nil }
        return LogSettings(level: level, format: format)
    }
}
