// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

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
}
