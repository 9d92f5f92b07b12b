// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

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

extension SettingsReader {
    mutating func serverLimits() -> ServerLimits? {
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
}
