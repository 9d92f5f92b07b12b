// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
package import QueuePoolCore

// Pools and their topologies in one table of DynamoDB, for servers on several machines. Guarantees what the port does:
// a pool is seen as a whole or not at all, and a write names the version it was made from.
//
// Items (`pk`, `sk` -> attributes):
//   POOLS, POOL#emails.fifo -> version, epoch, nextIndex, backend, attributes, createdAt, modifiedAt (milliseconds since
//       1970), quota?, tags (M), shards (L of M: number, name, weight, queueURL?, region?, endpoint?, roleARN?, account?),
//       deleting? (1), owner?, bodies?, slots (B), history (B) as TopologyEncoding packs them, written (the write's own token)
//   POOLS, REVISION -> number, which every write adds one to
//   DIRECTORIES, DIRECTORY#id -> path, of a server's data directory
//   POOL#emails.fifo, LEASE#0003 and WORKER#id -> workers' leases and heartbeats, see DynamoDBLeaseStore; `expiresAt`
//       (seconds since 1970) is the table's TTL attribute
//   TRACK#emails.fifo#id, RECORD -> what became of a message, see DynamoDBTrackingStore
//
// A pool is one item and not one for each shard: a transaction takes 100 items and a pool may have 256 shards; one item
// cannot be read half. 256 shards with addresses take about 60 KB and slots 32 KB of the 400 KB that an item may have.
// Pools share a partition so that one consistent Query lists them; there are few, and they are read when REVISION changed.
//
// Calls block the thread (see JSONService): the registry's own queue or a command's, never an event loop.

package final class DynamoDBControlStore: ControlStore {
    static let partition = "POOLS"
    static let revisionKey = ItemKey(partition, "REVISION")
    /// Source: "Quotas in Amazon DynamoDB", item size.
    static let itemBytesMax = 400 * 1_024

    private let table: DynamoDBTable
    private let makeToken: @Sendable () -> String

    /// - Parameter makeToken: a fresh text of at most 36 characters for each write.
    package init(table: DynamoDBTable, makeToken: @escaping @Sendable () -> String = { UUID().uuidString }) {
        self.table = table
        self.makeToken = makeToken
    }

    package func revision() throws(ControlStoreError) -> Int {
        try store { () throws(AWSError) in try table.get(DynamoDBControlStore.revisionKey) }?["number"]?.number ?? 0
    }

    package func contents() throws(ControlStoreError) -> StoredPools {
        let items = try store { () throws(AWSError) in
            try table.query(DynamoDBControlStore.partition, sortPrefix: "POOL#")
        }
        var contents = StoredPools()
        for item in items {
            do throws(ControlStoreError) { contents.pools.append(try PoolItem.definition(item)) } catch {
                guard case .damaged(let name) = error else { throw error }
                contents.unreadable.append(name)
            }
        }
        return contents
    }

    package func pool(_ name: PoolName) throws(ControlStoreError) -> PoolDefinition? {
        guard let item = try store({ () throws(AWSError) in try table.get(PoolItem.key(name)) }) else { return nil }
        return try PoolItem.definition(item)
    }

    package func save(_ pool: PoolDefinition) throws(ControlStoreError) -> Int {
        let token = makeToken()
        var next = pool
        next.version += 1
        let item = PoolItem.item(next, token: token)
        let bytes = AttributeValue.map(item).size
        guard bytes <= DynamoDBControlStore.itemBytesMax else {
            throw .tooLarge(pool: pool.name.text, bytes: bytes, limit: DynamoDBControlStore.itemBytesMax)
        }
        let condition = pool.version == 0 ? .isNew : WriteCondition.equals("version", .number(pool.version))
        do throws(AWSError) {
            try table.write([.put(item, if: condition), DynamoDBControlStore.nextRevision], token: token)
        } catch {
            guard error.code == "ConditionalCheckFailed" else { throw DynamoDBControlStore.error(error) }
            // An attempt whose answer was lost may have done it: then what is stored carries this write's token.
            let stored = try store { () throws(AWSError) in try table.get(PoolItem.key(pool.name)) }
            guard stored?["written"] == .text(token) else { throw .conflict(pool: pool.name.text) }
        }
        return next.version
    }

    package func remove(_ pool: PoolDefinition) throws(ControlStoreError) {
        // Looked up while the pool still has its name, so none of them is of a pool that is made anew under it. What
        // is not found or cannot be removed is harmless: no heartbeat, no lease.
        let leases = (try? LeaseItem.items(of: pool.name, in: table)) ?? []
        // Gone already is well: an attempt whose answer was lost may have done it.
        let condition = WriteCondition(
            "attribute_not_exists(pk) OR (#version = :version AND #made = :made)",
            names: ["#version": "version", "#made": "createdAt"],
            values: [":version": .number(pool.version), ":made": .number(Int(pool.createdAt.milliseconds))])
        do throws(AWSError) {
            try table.write(
                [.delete(PoolItem.key(pool.name), if: condition), DynamoDBControlStore.nextRevision],
                token: makeToken())
        } catch {
            guard error.code == "ConditionalCheckFailed" else { throw DynamoDBControlStore.error(error) }
            throw .conflict(pool: pool.name.text)
        }
        for item in leases { try? LeaseItem.remove(item, in: table) }
    }

    package func directory(_ id: String) throws(ControlStoreError) -> String? {
        try store { () throws(AWSError) in try table.get(DynamoDBControlStore.directoryKey(id)) }?["path"]?.text
    }

    package func record(directory id: String, path: String) throws(ControlStoreError) {
        var item = DynamoDBControlStore.directoryKey(id).item
        item["path"] = .text(path)
        try store { () throws(AWSError) in try table.write([.put(item, if: nil)], token: makeToken()) }
    }

    private static func directoryKey(_ id: String) -> ItemKey { ItemKey("DIRECTORIES", "DIRECTORY#" + id) }

    /// Makes the table if it is missing and waits until it answers; may be repeated at any point.
    /// - Parameter pause: waits a little between two looks.
    package func makeTable(pause: () -> Void) throws(ControlStoreError) {
        try store { () throws(AWSError) in
            // A table that was made a moment ago may still be answered to be missing; made twice, it is made once.
            var looks = 1
            var status = try table.status()
            if status == nil { try table.create() }
            while status != "ACTIVE" {
                guard looks < DynamoDBControlStore.looksMax else { throw .retryable(code: "TableNotActive") }
                if looks > 1 || status != nil { pause() }
                looks += 1
                status = try table.status()
            }
            try table.expireItems(by: "expiresAt")
        }
    }

    /// Looks at a table that is not active yet; a table takes seconds to be made.
    private static let looksMax = 300

    private static let nextRevision = ItemWrite.update(
        revisionKey, WriteCondition("ADD #number :one", names: ["#number": "number"], values: [":one": .number(1)]),
        if: nil)

    private func store<R>(_ body: () throws(AWSError) -> R) throws(ControlStoreError) -> R {
        do throws(AWSError) { return try body() } catch { throw DynamoDBControlStore.error(error) }
    }

    private static func error(_ error: AWSError) -> ControlStoreError {
        if error.code == "ResourceNotFoundException" { return .noTable }
        return .service(code: error.code, isRetryable: error.isWorthAnotherAttempt)
    }
}

/// How a pool is written as an item.
enum PoolItem {
    static func key(_ pool: PoolName) -> ItemKey { ItemKey(DynamoDBControlStore.partition, "POOL#" + pool.text) }

    static func item(_ pool: PoolDefinition, token: String) -> Item {
        var item = key(pool.name).item
        item["version"] = .number(pool.version)
        item["epoch"] = .number(pool.topology.epoch.number)
        item["nextIndex"] = .number(pool.topology.nextIndex)
        item["backend"] = .text(pool.backend.rawValue)
        item["attributes"] = .text(pool.attributes)
        item["createdAt"] = .number(Int(pool.createdAt.milliseconds))
        item["modifiedAt"] = .number(Int(pool.modifiedAt.milliseconds))
        item["quota"] = pool.quota.map { .number($0) }
        item["deleting"] = pool.isDeleting ? .number(1) : nil
        item["owner"] = pool.owner.map { .text($0) }
        item["bodies"] = pool.bodies.map { .text($0.text) }
        item["tags"] = .map(pool.tags.mapValues { .text($0) })
        item["shards"] = .list(pool.topology.shards.map { shard($0, pool.addresses[$0.index]) })
        item["slots"] = .bytes(TopologyEncoding.encode(slots: pool.topology.slots))
        item["history"] = .bytes(TopologyEncoding.encode(history: pool.topology.history))
        item["written"] = .text(token)
        return item
    }

    private static func shard(_ entry: ShardEntry, _ address: ShardAddress?) -> AttributeValue {
        var map: Item = [
            "number": .number(entry.index.number), "name": .text(entry.name), "weight": .number(entry.weight),
        ]
        map["queueURL"] = (address?.queueURL).map { .text($0) }
        map["region"] = (address?.region).map { .text($0) }
        map["endpoint"] = (address?.endpoint).map { .text($0) }
        map["roleARN"] = (address?.roleARN).map { .text($0) }
        map["account"] = (address?.account).map { .text($0) }
        return .map(map)
    }

    /// - Throws: `ControlStoreError.damaged` if anything that must be there is not.
    static func definition(_ item: Item) throws(ControlStoreError) -> PoolDefinition {
        let title = String((item["sk"]?.text ?? "").dropFirst("POOL#".count))
        guard let name = PoolName(title), let topology = topology(item),
            let backend = (item["backend"]?.text).flatMap(PoolBackend.init(rawValue:)),
            let attributes = item["attributes"]?.text, let version = item["version"]?.number,
            let createdAt = item["createdAt"]?.number, let modifiedAt = item["modifiedAt"]?.number
        else { throw .damaged(pool: title) }
        var definition = PoolDefinition(
            name: name, topology: topology, backend: backend, addresses: addresses(item), attributes: attributes,
            tags: (item["tags"]?.map ?? [:]).compactMapValues(\.text), quota: item["quota"]?.number,
            createdAt: Timestamp(milliseconds: Int64(createdAt)), version: version)
        definition.modifiedAt = Timestamp(milliseconds: Int64(modifiedAt))
        definition.isDeleting = item["deleting"] == .number(1)
        definition.owner = item["owner"]?.text
        if let text = item["bodies"]?.text {
            guard let bodies = PoolBodies(text: text) else { throw .damaged(pool: title) }
            definition.bodies = bodies
        }
        return definition
    }

    private static func topology(_ item: Item) -> Topology? {
        let maps = (item["shards"]?.list ?? []).compactMap(\.map)
        let shards = maps.compactMap { map -> ShardEntry? in
            guard let number = map["number"]?.number, let name = map["name"]?.text, let weight = map["weight"]?.number
            else { return nil }
            return ShardEntry(index: ShardIndex(number), name: name, weight: weight)
        }
        guard !shards.isEmpty, shards.count == maps.count, let epoch = item["epoch"]?.number,
            let nextIndex = item["nextIndex"]?.number,
            let slots = (item["slots"]?.bytes).flatMap(TopologyEncoding.slots),
            let history = (item["history"]?.bytes).flatMap(TopologyEncoding.history)
        else { return nil }
        return try? Topology(
            stored: Epoch(epoch), shards: shards, slots: slots, history: history, nextIndex: nextIndex)
    }

    private static func addresses(_ item: Item) -> [ShardIndex: ShardAddress] {
        var found: [ShardIndex: ShardAddress] = [:]
        for map in (item["shards"]?.list ?? []).compactMap(\.map) {
            guard let number = map["number"]?.number, let queueURL = map["queueURL"]?.text,
                let region = map["region"]?.text
            else { continue }
            found[ShardIndex(number)] = ShardAddress(
                endpoint: map["endpoint"]?.text, region: region, queueURL: queueURL, roleARN: map["roleARN"]?.text,
                account: map["account"]?.text)
        }
        return found
    }
}
