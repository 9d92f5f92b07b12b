// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Logging
import QueuePoolServer
import QueuePoolSettings

// The doors of a server: where they are, and what they bear.

extension ServerOptions {
    /// The addresses and bounds that the settings name, with as many connections as the process may have files.
    init(_ settings: ServeSettings, logger: Logger) {
        self.init(host: settings.listen.host, port: settings.listen.port)
        browsers = BrowserGuard(isLoopback: settings.listen.isLoopback, allowedHosts: settings.allowedHosts)
        let room = OpenFiles.makeRoom(
            forConnections: settings.limits.maxConnections,
            besides: settings.adminListen == nil ? 0 : AdminDoorOptions.connectionsMax, logger: logger)
        limits.connectionsMax = room.connections
        limits.connectionsOfAddressMax =
            settings.limits.maxConnectionsPerAddress
            ?? (settings.listen.isLoopback ? limits.connectionsMax : max(1, limits.connectionsMax / 10))
        limits.heldBytesMax = settings.limits.heldBytesMax
        limits.requestBytesMax =
            settings.limits.requestBytesMax ?? DoorLimits.bytes(forBodies: settings.bodies.limitBytes)
        limits.idleSeconds = settings.limits.idleTimeoutSeconds
        limits.headSeconds = settings.limits.headerTimeoutSeconds
        if let address = settings.adminListen {
            admin = AdminDoorOptions(
                host: address.host, port: address.port,
                browsers: BrowserGuard(isLoopback: address.isLoopback, allowedHosts: settings.allowedHosts),
                beside: limits, connectionsMax: room.besides)
        }
        defaultShards = settings.createQueueShards
    }
}
