// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// A row of `GET /v1/pools`.
struct PoolSummary: Decodable, Hashable, Sendable {
    var name: String
    var epoch: Int
    var shards: Int
    var backlog: Int
    var inFlight: Int
    var delayed: Int
    /// `nil`: nobody knows.
    var oldestAgeSeconds: Double?
    var deadLetterQueue: String?
}

/// The answer of `GET /v1/pools`.
struct PoolList: Decodable, Hashable, Sendable {
    var pools: [PoolSummary]
}

/// The answer of `GET /v1/pools/{pool}`.
struct PoolDetail: Decodable, Hashable, Sendable {
    struct Shard: Decodable, Hashable, Sendable {
        var name: String
        var index: Int
        var slots: Int
        var backlog: Int
        var inFlight: Int
        var delayed: Int
        var oldestAgeSeconds: Double?
        // A server of an earlier version does not say these.
        var owner: String?
        var leaseAgeSeconds: Double?
        var sentPerSecond: Double?
        var receivedPerSecond: Double?
        var deletedPerSecond: Double?
    }

    var name: String
    var epoch: Int
    var deadLetterQueue: String?
    var backlog: Int
    var inFlight: Int
    var delayed: Int
    var oldestAgeSeconds: Double?
    var quota: Int?
    var shards: [Shard]
}

/// The body of `POST /v1/pools`.
struct PoolCreation: Encodable, Hashable, Sendable {
    var name: String
    var shards: Int
    var quota: Int?
}

/// The answer of a purge.
struct PurgeResult: Decodable, Hashable, Sendable {
    var purged: Int
}
