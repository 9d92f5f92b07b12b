// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Why tracking records could not be written or read.
public struct TrackingStoreError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The store's own code, e.g. `SQLITE_FULL` or `ThrottlingException`; never an id or a text of a record.
    public let code: String
    public var description: String { "the tracking store failed: \(code)" }

    public init(code: String) { self.code = code }
}

/// Where records of what became of messages are kept for a set time. A loss of the latest seconds by a crash is allowed;
/// what can be read was written.
public protocol TrackingStore: Sendable {
    /// Writes records, in their order. For a message that has a record, `TrackingRecord.replacing` decides.
    /// - Parameter expiresAt: from then on the records are not found any more.
    func save(_ records: [TrackingRecord], ofPool pool: PoolName, expiresAt: Timestamp) async throws(TrackingStoreError)

    /// What is known of a message. A record whose time is over is not found, whether it was removed or not.
    func record(_ id: String, ofPool pool: PoolName, now: Timestamp) async throws(TrackingStoreError) -> TrackingRecord?

    /// Forgets a pool's messages, as the pool is deleted. A store whose records go by themselves may leave them: a pool made
    /// anew gives other ids.
    func removeAll(ofPool pool: PoolName) async throws(TrackingStoreError)
}
