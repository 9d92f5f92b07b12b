// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import QueuePoolSettings

/// `queuepool serve`
struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Serve pools over REST and the SQS protocol.",
        discussion: """
            Example:
              queuepool serve --data-dir ./queuepool-data --pool emails.fifo=8
            Every flag may also be an environment variable (QUEUEPOOL_...) or a key of the YAML file; flags win over \
            variables, and these over the file. Stop it with Ctrl-C or SIGTERM: accepted requests are answered first.
            """)

    @OptionGroup(title: "Server") var server: ServeMainOptions
    @OptionGroup(title: "Control store") var control: ControlOptions
    @OptionGroup(title: "Limits") var limits: ServeLimitOptions
    @OptionGroup(title: "Encryption at rest") var sealing: ServeSealingOptions
    @OptionGroup(title: "Worker, logs and file") var shared: SharedOptions

    func run() async throws {
        try await reportingFailures {
            let settings = try await ServeSettings(
                flags: flags.byKey, environment: ProcessInfo.processInfo.environment)
            startLogging(settings.log)
            try await runServe(settings)
        }
    }

    var flags: FlagTexts {
        var flags = FlagTexts()
        server.fill(&flags)
        control.fill(&flags)
        limits.fill(&flags)
        sealing.fill(&flags)
        shared.fill(&flags)
        return flags
    }
}

/// Where `serve` listens, and what it keeps.
struct ServeMainOptions: ParsableArguments {
    @Option(name: .setting(.listen), help: .setting(.listen)) var listen: String?
    @Option(name: .setting(.adminListen), help: .setting(.adminListen)) var adminListen: String?
    @Option(name: .setting(.allowedHosts), help: .setting(.allowedHosts)) var allowedHosts: [String] = []
    @Flag(name: .setting(.allowInsecureListen), help: .setting(.allowInsecureListen)) var allowInsecureListen = false
    @Flag(name: .setting(.requireKeys), help: .setting(.requireKeys)) var requireKeys = false
    @Option(name: .setting(.auditLog), help: .setting(.auditLog)) var auditLog: String?
    @Option(name: .setting(.dataDirectory), help: .setting(.dataDirectory)) var dataDirectory: String?
    @Option(name: .setting(.pools), help: .setting(.pools)) var pools: [String] = []
    @Option(name: .setting(.createQueueShards), help: .setting(.createQueueShards)) var createQueueShards: String?
    @Option(name: .setting(.quota), help: .setting(.quota)) var quota: String?
    @Option(name: .setting(.serverDeliver), help: .setting(.serverDeliver)) var deliver: [String] = []
    @Option(name: .setting(.webhookSecretFile), help: .setting(.webhookSecretFile)) var webhookSecretFile: [String] = []

    func fill(_ flags: inout FlagTexts) {
        flags.set(.listen, listen)
        flags.set(.adminListen, adminListen)
        flags.set(.allowInsecureListen, allowInsecureListen)
        flags.set(.requireKeys, requireKeys)
        flags.set(.auditLog, auditLog)
        flags.set(.allowedHosts, allowedHosts)
        flags.set(.dataDirectory, dataDirectory)
        flags.set(.pools, pools)
        flags.set(.createQueueShards, createQueueShards)
        flags.set(.quota, quota)
        flags.set(.serverDeliver, deliver)
        flags.set(.webhookSecretFile, webhookSecretFile)
    }
}

/// Bounds and faults of `serve`.
struct ServeLimitOptions: ParsableArguments {
    @Option(name: .setting(.maxConnections), help: .setting(.maxConnections)) var maxConnections: String?
    @Option(name: .setting(.maxConnectionsPerAddress), help: .setting(.maxConnectionsPerAddress))
    var maxConnectionsPerAddress: String?
    @Option(name: .setting(.heldBytesMax), help: .setting(.heldBytesMax)) var heldBytesMax: String?
    @Option(name: .setting(.requestBytesMax), help: .setting(.requestBytesMax)) var requestBytesMax: String?
    @Option(name: .setting(.idleTimeout), help: .setting(.idleTimeout)) var idleTimeout: String?
    @Option(name: .setting(.headerTimeout), help: .setting(.headerTimeout)) var headerTimeout: String?
    @Option(name: .setting(.drainSeconds), help: .setting(.drainSeconds)) var drainSeconds: String?
    @Option(name: .setting(.idempotencyWindow), help: .setting(.idempotencyWindow)) var idempotencyWindow: String?
    @Option(name: .setting(.idempotencyBytesMax), help: .setting(.idempotencyBytesMax)) var idempotencyBytes: String?
    @Option(name: .setting(.maxPools), help: .setting(.maxPools)) var maxPools: String?
    @Option(name: .setting(.maxShards), help: .setting(.maxShards)) var maxShards: String?
    @Option(name: .setting(.waitingBytesTotalMax), help: .setting(.waitingBytesTotalMax)) var waitingBytesTotal: String?
    @Option(name: .setting(.cacheBytesTotalMax), help: .setting(.cacheBytesTotalMax)) var cacheBytesTotal: String?
    @Option(name: .setting(.deduplicationEntriesMax), help: .setting(.deduplicationEntriesMax))
    var deduplicationEntries: String?
    @Option(name: .setting(.waitingEntriesMax), help: .setting(.waitingEntriesMax)) var waitingEntriesMax: String?
    @Option(name: .setting(.waitingBytesMax), help: .setting(.waitingBytesMax)) var waitingBytesMax: String?
    @Option(name: .setting(.cacheBytes), help: .setting(.cacheBytes)) var cacheBytes: String?
    @Option(name: .setting(.bodies), help: .setting(.bodies)) var bodies: String?
    @Option(name: .setting(.bodiesThreshold), help: .setting(.bodiesThreshold)) var bodiesThreshold: String?
    @Option(name: .setting(.bodiesLimit), help: .setting(.bodiesLimit)) var bodiesLimit: String?
    @Option(name: .setting(.trackingBytesMax), help: .setting(.trackingBytesMax)) var trackingBytesMax: String?
    @Option(name: .setting(.outcomesPool), help: .setting(.outcomesPool)) var outcomesPool: String?
    @Option(name: .setting(.injectLatency), help: .setting(.injectLatency)) var injectLatency: String?
    @Option(name: .setting(.injectErrorRate), help: .setting(.injectErrorRate)) var injectErrorRate: String?
    @Option(name: .setting(.tlsCertificate), help: .setting(.tlsCertificate)) var tlsCertificate: String?
    @Option(name: .setting(.tlsKey), help: .setting(.tlsKey)) var tlsKey: String?
    @Option(name: .setting(.tlsClientCA), help: .setting(.tlsClientCA)) var tlsClientCA: String?
    @Option(name: .setting(.tlsClient), help: .setting(.tlsClient)) var tlsClient: String?
    @Flag(name: .setting(.tlsClientNames), help: .setting(.tlsClientNames)) var tlsClientNames = false

    func fill(_ flags: inout FlagTexts) {
        flags.set(.maxConnections, maxConnections)
        flags.set(.maxConnectionsPerAddress, maxConnectionsPerAddress)
        flags.set(.requestBytesMax, requestBytesMax)
        flags.set(.heldBytesMax, heldBytesMax)
        flags.set(.idleTimeout, idleTimeout)
        flags.set(.headerTimeout, headerTimeout)
        flags.set(.drainSeconds, drainSeconds)
        flags.set(.idempotencyWindow, idempotencyWindow)
        flags.set(.idempotencyBytesMax, idempotencyBytes)
        flags.set(.maxPools, maxPools)
        flags.set(.maxShards, maxShards)
        flags.set(.waitingBytesTotalMax, waitingBytesTotal)
        flags.set(.cacheBytesTotalMax, cacheBytesTotal)
        flags.set(.deduplicationEntriesMax, deduplicationEntries)
        flags.set(.waitingEntriesMax, waitingEntriesMax)
        flags.set(.waitingBytesMax, waitingBytesMax)
        flags.set(.cacheBytes, cacheBytes)
        flags.set(.bodies, bodies)
        flags.set(.bodiesThreshold, bodiesThreshold)
        flags.set(.bodiesLimit, bodiesLimit)
        flags.set(.trackingBytesMax, trackingBytesMax)
        flags.set(.outcomesPool, outcomesPool)
        flags.set(.injectLatency, injectLatency)
        flags.set(.injectErrorRate, injectErrorRate)
        flags.set(.tlsCertificate, tlsCertificate)
        flags.set(.tlsKey, tlsKey)
        flags.set(.tlsClientCA, tlsClientCA)
        flags.set(.tlsClient, tlsClient)
        flags.set(.tlsClientNames, tlsClientNames)
    }
}

/// The master key of `serve`.
struct ServeSealingOptions: ParsableArguments {
    @Option(name: .setting(.masterKeyFile), help: .setting(.masterKeyFile)) var masterKeyFile: String?
    @Option(name: .setting(.masterKey), help: .setting(.masterKey)) var masterKey: String?
    @Option(name: .setting(.masterKeyKMS), help: .setting(.masterKeyKMS)) var masterKeyKMS: String?
    @Option(name: .setting(.oldMasterKeyFile), help: .setting(.oldMasterKeyFile)) var oldMasterKeyFile: String?
    @Option(name: .setting(.oldMasterKeyKMS), help: .setting(.oldMasterKeyKMS)) var oldMasterKeyKMS: String?

    func fill(_ flags: inout FlagTexts) {
        flags.set(.masterKeyFile, masterKeyFile)
        flags.set(.masterKey, masterKey)
        flags.set(.masterKeyKMS, masterKeyKMS)
        flags.set(.oldMasterKeyFile, oldMasterKeyFile)
        flags.set(.oldMasterKeyKMS, oldMasterKeyKMS)
    }
}
