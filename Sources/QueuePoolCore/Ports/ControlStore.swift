// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// A pool as the control store keeps it.
package struct PoolDefinition: Hashable, Sendable {
    package let name: PoolName
    package var topology: Topology
    /// The settable queue attributes as the SQS door wrote them down; opaque here.
    package var attributes: String
    package var tags: [String: String]
    /// Requests a second for each action and shard; `nil` is no limit.
    package var quota: Int?
    package var createdAt: Timestamp
    package var modifiedAt: Timestamp

    package init(
        name: PoolName, topology: Topology, attributes: String, tags: [String: String] = [:], quota: Int? = nil,
        createdAt: Timestamp
    ) {
        self.name = name
        self.topology = topology
        self.attributes = attributes
        self.tags = tags
        self.quota = quota
        self.createdAt = createdAt
        modifiedAt = createdAt
    }
}

/// Why the control store did not do what it was asked.
package enum ControlStoreError: Error, Hashable, Sendable {
    /// The store failed; `code` is its own result code.
    case failed(code: Int32)
    /// What is stored under this name does not parse.
    case damaged(pool: String)
}

/// Where topologies live. Calls may block; they are made from the registry's own queue, never from an event loop.
package protocol ControlStore: Sendable {
    func pools() throws(ControlStoreError) -> [PoolDefinition]
    func save(_ pool: PoolDefinition) throws(ControlStoreError)
    func remove(_ pool: PoolName) throws(ControlStoreError)
}

/// Makes, opens and removes physical shards. Calls may block.
package protocol ShardFactory: Sendable {
    func open(name: String, attributes: QueueAttributes) throws -> any Shard
    /// Removes a closed shard and everything in it.
    func remove(name: String) throws
}
