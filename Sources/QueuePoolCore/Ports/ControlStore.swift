// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// What a pool is, apart from its messages, and where that is kept. Several servers may share one store, so every write
// of a pool says which version it saw: of two that saw the same, one is told `conflict` and must read again. A store
// also counts its writes, so that a server that asks every few seconds pays one small read when nothing happened.

/// What a pool's shards are.
public enum PoolBackend: String, Hashable, Sendable, CaseIterable {
    /// Files of the server's own.
    case embedded
    /// FIFO queues of Amazon SQS, or of a service that speaks its protocol.
    case sqs
}

/// Where a shard is that is not a file of the server's own.
public struct ShardAddress: Hashable, Sendable {
    /// Base URL to which requests go, without a slash at its end; `nil` is the region's own endpoint.
    public var endpoint: String?
    public var region: String
    /// As the service gave it; sent as `QueueUrl`, and not an address to connect to.
    public var queueURL: String
    /// A role to take before the queue is used, for queues of another account.
    public var roleARN: String?
    /// The twelve digits of the account that owns the queue; `nil` where they do not matter.
    public var account: String?

    public init(
        endpoint: String? = nil, region: String, queueURL: String, roleARN: String? = nil, account: String? = nil
    ) {
        self.endpoint = endpoint
        self.region = region
        self.queueURL = queueURL
        self.roleARN = roleARN
        self.account = account
    }

    /// The physical queue's name, which is the last part of its URL.
    public var queueName: String { queueURL.split(separator: "/").last.map(String.init) ?? queueURL }
}

/// A pool as the control store keeps it.
public struct PoolDefinition: Hashable, Sendable {
    public let name: PoolName
    public var topology: Topology
    public var backend: PoolBackend
    /// Where the shards are; empty for embedded ones.
    public var addresses: [ShardIndex: ShardAddress]
    /// The settable queue attributes as the SQS door wrote them down; opaque here.
    public var attributes: String
    public var tags: [String: String]
    /// Requests a second for each action and shard; `nil` is no limit.
    public var quota: Int?
    public var createdAt: Timestamp
    public var modifiedAt: Timestamp
    /// Its deletion was accepted and is not finished: nobody is served from it, and its name is not free yet.
    public var isDeleting = false
    /// The id of the data directory that holds an embedded pool's shards; `nil` if nobody wrote it down, and for others.
    public var owner: String?
    /// Where bodies lie that are too large for the queues; `nil`: nobody said.
    public var bodies: PoolBodies?
    /// Writes of this pool so far, as of the read that gave this value; 0 if it was never stored.
    public var version: Int

    public init(
        name: PoolName, topology: Topology, backend: PoolBackend = .embedded,
        addresses: [ShardIndex: ShardAddress] = [:], attributes: String, tags: [String: String] = [:],
        quota: Int? = nil, createdAt: Timestamp, version: Int = 0
    ) {
        self.name = name
        self.topology = topology
        self.backend = backend
        self.addresses = addresses
        self.attributes = attributes
        self.tags = tags
        self.quota = quota
        self.createdAt = createdAt
        self.version = version
        modifiedAt = createdAt
    }
}

/// Why the control store did not do what it was asked.
public enum ControlStoreError: Error, Hashable, Sendable {
    /// The store failed; `code` is its own result code.
    case failed(code: Int32)
    /// What is stored under this name does not parse.
    case damaged(pool: String)
    /// Another writer was first: what is stored is not the version that the write was made from.
    case conflict(pool: String)
    /// The file was written by a later version of the program.
    case unknownSchema(Int)
    /// The table is not there.
    case noTable
    /// The pool is larger than the store takes for one.
    case tooLarge(pool: String, bytes: Int, limit: Int)
    /// A service answered with this code, or not at all; `isRetryable` says whether a later attempt may succeed.
    case service(code: String, isRetryable: Bool)
}

/// Everything that is stored, as far as it can be read.
public struct StoredPools: Sendable {
    /// Sorted by name.
    public var pools: [PoolDefinition]
    /// Names under which something is stored that does not parse.
    public var unreadable: [String]

    public init(pools: [PoolDefinition] = [], unreadable: [String] = []) {
        self.pools = pools
        self.unreadable = unreadable
    }
}

/// Where topologies live. Calls may block; they are made from the registry's own queue, never from an event loop.
public protocol ControlStore: Sendable {
    /// A number that every write changes; never goes back.
    func revision() throws(ControlStoreError) -> Int
    /// One pool that cannot be read hides no other.
    func contents() throws(ControlStoreError) -> StoredPools
    /// Sorted by name.
    /// - Throws: `ControlStoreError.damaged` if one of them does not parse.
    func pools() throws(ControlStoreError) -> [PoolDefinition]
    func pool(_ name: PoolName) throws(ControlStoreError) -> PoolDefinition?
    /// Writes a pool as a whole, if what is stored still has the version that `pool` carries; 0: if nothing is stored.
    /// - Returns: the version that is stored now.
    /// - Throws: `ControlStoreError.conflict` if it has another one; nothing was written then.
    func save(_ pool: PoolDefinition) throws(ControlStoreError) -> Int
    /// Removes a pool, if what is stored still is the version that `pool` is. Nothing happens if nothing is stored.
    /// - Throws: `ControlStoreError.conflict` if something else is stored under the name; it stays.
    func remove(_ pool: PoolDefinition) throws(ControlStoreError)
    /// Where the data directory of this id was when a server last used it; `nil` if none did.
    func directory(_ id: String) throws(ControlStoreError) -> String?
    /// Writes down where a data directory is.
    func record(directory id: String, path: String) throws(ControlStoreError)
}

extension ControlStore {
    public func pools() throws(ControlStoreError) -> [PoolDefinition] {
        let contents = try contents()
        if let name = contents.unreadable.first { throw .damaged(pool: name) }
        return contents.pools
    }
}

/// Makes, opens and removes physical shards. Calls may block.
public protocol ShardFactory: Sendable {
    /// - Parameter address: where the shard is; `nil` for files of the server's own.
    func open(name: String, attributes: QueueAttributes, address: ShardAddress?) throws -> any Shard
    /// Removes a closed shard and everything in it. Nothing happens if it is not there.
    func remove(name: String, address: ShardAddress?) throws
    /// Removes what an interrupted creation left: shards of the server's own that no pool names. For the start, before
    /// any shard is open.
    /// - Returns: their names.
    func removeShards(except names: Set<String>) throws -> [String]
}

extension ShardFactory {
    /// Shards that belong to somebody else stay.
    public func removeShards(except names: Set<String>) throws -> [String] { [] }
}
