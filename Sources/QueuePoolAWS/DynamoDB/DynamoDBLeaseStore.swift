// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
package import QueuePoolCore

// Workers and their leases, in the table of the control store.
//
// Items (`pk`, `sk` -> attributes):
//   POOL#emails.fifo, LEASE#0003 -> version, acquiredAt (milliseconds since 1970), owner?, next?, written (the write's
//       own token)
//   POOL#emails.fifo, WORKER#id -> beat, renewedAt (milliseconds since 1970), leaving? (1), expiresAt (seconds since
//       1970, the table's TTL attribute, a day ahead by the services' clock: what a worker left that nobody saw ends)
//
// One read is one consistent Query. It is no snapshot, but goes by sort key, so leases are read before workers. In the
// other order a lease whose owner began between the two would seem to have none, and would be taken from it.
//
// An attempt that is repeated because its answer was lost does no harm: each condition also holds if what is stored is
// this very write. So no success becomes a conflict, and no further read is needed to find out.
//
// That the pool is stored is no condition of a write. A transaction would cost four times as much for the lease alone and
// twice the pool's size for the look at it, and all workers' writes would collide at that one item. So a look follows
// the first write of each kind, every hundredth beat and every refusal; what was written for no pool is removed then. A
// look that came before the write would miss a pool that goes between the two.
//
// Units: a heartbeat or a write of a lease is one write unit (an item is smaller than 1 KB; refused, it costs the same).
// A read takes a read unit for each 4 KB: 1 for 8 shards and 8 workers (about 2 KB), 17 for 256 shards and as many
// workers (about 66 KB). A look at a pool takes its item's size: about 10 units for 8 shards, 25 for 256.
//
// Calls block the thread (see JSONService).

package struct DynamoDBLeaseStore: LeaseStore {
    /// A heartbeat that nobody removed ends after a day.
    static let secondsKept: Int64 = 86_400
    /// Beats from one look for the pool to the next.
    static let beatsBetweenLooks = 100

    private let table: DynamoDBTable
    private let now: @Sendable () -> Timestamp
    private let makeToken: @Sendable () -> String

    /// - Parameters:
    ///   - now: what time it is at the service, see `ServiceClock`: a heartbeat ends by the service's clock.
    ///   - makeToken: a fresh text for each write of a lease.
    package init(
        table: DynamoDBTable, now: @escaping @Sendable () -> Timestamp,
        makeToken: @escaping @Sendable () -> String = { UUID().uuidString }
    ) {
        self.table = table
        self.now = now
        self.makeToken = makeToken
    }

    package func table(ofPool pool: PoolName) throws(LeaseStoreError) -> LeaseTable {
        let items = try store { () throws(AWSError) in try LeaseItem.items(of: pool, in: table) }
        var found = LeaseTable()
        for item in items {
            switch LeaseItem.Parsed(item) {
            case .heartbeat(let heartbeat): found.heartbeats.append(heartbeat)
            case .lease(let lease): found.leases.append(lease)
            case .other: break
            // To leave it out would be to say that a shard has no owner.
            case .damaged: throw .failed(code: "DamagedLease")
            }
        }
        found.heartbeats.sort { $0.worker < $1.worker }
        found.leases.sort { $0.shard < $1.shard }
        return found
    }

    package func renew(_ heartbeat: WorkerHeartbeat, ofPool pool: PoolName) throws(LeaseStoreError) {
        let expiresAt = now().milliseconds / 1_000 + DynamoDBLeaseStore.secondsKept
        let item = LeaseItem.item(heartbeat, expiresAt: expiresAt, of: pool)
        let condition =
            heartbeat.beat == 1
            ? WriteCondition(
                "attribute_not_exists(pk) OR #beat = :beat", names: ["#beat": "beat"], values: [":beat": .number(1)])
            : WriteCondition(
                "#beat = :before OR #beat = :beat", names: ["#beat": "beat"],
                values: [":before": .number(heartbeat.beat - 1), ":beat": .number(heartbeat.beat)])
        try write(.put(item, if: condition), for: pool)
        guard heartbeat.beat % DynamoDBLeaseStore.beatsBetweenLooks == 1 else { return }
        try lookFor(pool, orUndo: .delete(LeaseItem.key(heartbeat.worker, of: pool), if: nil))
    }

    package func remove(_ worker: WorkerID, beat: Int, ofPool pool: PoolName) throws(LeaseStoreError) {
        let condition = WriteCondition(
            "attribute_not_exists(pk) OR #beat = :beat", names: ["#beat": "beat"], values: [":beat": .number(beat)])
        do throws(AWSError) {
            try table.write(.delete(LeaseItem.key(worker, of: pool), if: condition))
        } catch {
            throw error.code == LeaseItem.refusal ? .conflict : .failed(code: error.code)
        }
    }

    package func write(_ lease: ShardLease, ofPool pool: PoolName) throws(LeaseStoreError) -> Int {
        let token = makeToken()
        var next = lease
        next.version += 1
        var condition = WriteCondition(
            "attribute_not_exists(pk) OR #written = :written", names: ["#written": "written"],
            values: [":written": .text(token)])
        if lease.version > 0 {
            condition.expression = "#version = :version OR #written = :written"
            condition.names["#version"] = "version"
            condition.values[":version"] = .number(lease.version)
        }
        try write(.put(LeaseItem.item(next, token: token, of: pool), if: condition), for: pool)
        if lease.version == 0 {
            try lookFor(
                pool, orUndo: .delete(LeaseItem.key(lease.shard, of: pool), if: .equals("written", .text(token))))
        }
        return next.version
    }

    package func removeAll(ofPool pool: PoolName) throws(LeaseStoreError) {
        try store { () throws(AWSError) in
            for item in try LeaseItem.items(of: pool, in: table) { try LeaseItem.remove(item, in: table) }
        }
    }

    // MARK: - Pools that are not there

    /// Makes a write, and finds out whether a refusal is due to the pool's deletion.
    private func write(_ write: ItemWrite, for pool: PoolName) throws(LeaseStoreError) {
        do throws(AWSError) { try table.write(write) } catch {
            guard error.code == LeaseItem.refusal else { throw .failed(code: error.code) }
            // That it was refused is sure, also if the look fails.
            throw (try? table.has(PoolItem.key(pool))) == false ? .noPool : .conflict
        }
    }

    private func lookFor(_ pool: PoolName, orUndo undo: ItemWrite) throws(LeaseStoreError) {
        guard try store({ () throws(AWSError) in try !table.has(PoolItem.key(pool)) }) else { return }
        // What cannot be removed now is of no worth to anybody.
        try? table.write(undo)
        throw .noPool
    }

    private func store<R>(_ body: () throws(AWSError) -> R) throws(LeaseStoreError) -> R {
        do throws(AWSError) { return try body() } catch { throw .failed(code: error.code) }
    }
}

/// How heartbeats and leases are written as items.
enum LeaseItem {
    /// The service's code for a condition that does not hold.
    static let refusal = "ConditionalCheckFailedException"

    private static let leasePrefix = "LEASE#"
    private static let workerPrefix = "WORKER#"

    private static func partition(_ pool: PoolName) -> String { "POOL#" + pool.text }

    static func key(_ worker: WorkerID, of pool: PoolName) -> ItemKey {
        ItemKey(partition(pool), workerPrefix + worker.text)
    }

    static func key(_ shard: ShardIndex, of pool: PoolName) -> ItemKey {
        let digits = String(shard.number)
        return ItemKey(partition(pool), leasePrefix + String(repeating: "0", count: max(0, 4 - digits.count)) + digits)
    }

    static func item(_ heartbeat: WorkerHeartbeat, expiresAt: Int64, of pool: PoolName) -> Item {
        var item = key(heartbeat.worker, of: pool).item
        item["beat"] = .number(heartbeat.beat)
        item["renewedAt"] = .number(Int(heartbeat.renewedAt.milliseconds))
        item["leaving"] = heartbeat.isLeaving ? .number(1) : nil
        item["expiresAt"] = .number(Int(expiresAt))
        return item
    }

    static func item(_ lease: ShardLease, token: String, of pool: PoolName) -> Item {
        var item = key(lease.shard, of: pool).item
        item["version"] = .number(lease.version)
        item["acquiredAt"] = .number(Int(lease.acquiredAt.milliseconds))
        item["owner"] = lease.owner.map { .text($0.text) }
        item["next"] = lease.next.map { .text($0.text) }
        item["written"] = .text(token)
        return item
    }

    /// Leases first, then workers. What else sorts between the two is read too, and left out.
    static func items(of pool: PoolName, in table: DynamoDBTable) throws(AWSError) -> [Item] {
        // The characters of a worker's id sort before `~`.
        try table.query(partition(pool), from: leasePrefix, through: workerPrefix + "~")
    }

    /// Removes a worker's life or a lease as it was read: not a lease that somebody wrote since.
    static func remove(_ item: Item, in table: DynamoDBTable) throws(AWSError) {
        guard let partition = item["pk"]?.text, let sort = item["sk"]?.text else { return }
        var condition: WriteCondition?
        if sort.hasPrefix(leasePrefix), let version = item["version"] {
            condition = .equals("version", version)
        } else if !sort.hasPrefix(workerPrefix), !sort.hasPrefix(leasePrefix) {
            return
        }
        do throws(AWSError) {
            try table.write(.delete(ItemKey(partition, sort), if: condition))
        } catch {
            if error.code != refusal { throw error }
        }
    }

    /// What an item says.
    enum Parsed: Hashable {
        case heartbeat(WorkerHeartbeat)
        case lease(ShardLease)
        /// Of another kind.
        case other
        case damaged

        init(_ item: Item) {
            let sort = item["sk"]?.text ?? ""
            if sort.hasPrefix(workerPrefix) {
                self = Parsed.heartbeat(item, sort.dropFirst(workerPrefix.count)).map { .heartbeat($0) } ?? .damaged
            } else if sort.hasPrefix(leasePrefix) {
                self = Parsed.lease(item, sort.dropFirst(leasePrefix.count)).map { .lease($0) } ?? .damaged
            } else {
                self = .other
            }
        }

        private static func heartbeat(_ item: Item, _ id: Substring) -> WorkerHeartbeat? {
            guard let worker = WorkerID(String(id)), let beat = item["beat"]?.number,
                let renewedAt = item["renewedAt"]?.number
            else { return nil }
            return WorkerHeartbeat(
                worker: worker, beat: beat, renewedAt: Timestamp(milliseconds: Int64(renewedAt)),
                isLeaving: item["leaving"] == .number(1))
        }

        private static func lease(_ item: Item, _ digits: Substring) -> ShardLease? {
            guard let number = Int(digits), let version = item["version"]?.number,
                let acquiredAt = item["acquiredAt"]?.number
            else { return nil }
            let (owner, next) = (item["owner"]?.text, item["next"]?.text)
            let lease = ShardLease(
                shard: ShardIndex(number), owner: owner.flatMap(WorkerID.init), next: next.flatMap(WorkerID.init),
                acquiredAt: Timestamp(milliseconds: Int64(acquiredAt)), version: version)
            guard (item["owner"] == nil) == (lease.owner == nil), (item["next"] == nil) == (lease.next == nil) else {
                return nil
            }
            return lease
        }
    }
}
