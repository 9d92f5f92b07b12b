// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import QueuePoolCore
import QueuePoolJSON
import QueuePoolRuntime

// Leases for workers that reach the pool through this server. They are in the control store, where workers that use it
// themselves keep theirs, and nothing is decided here: each request is one call of the store.

/// `/v1/pools/{pool}/leases` and `/v1/pools/{pool}/workers`
struct LeaseService: Sendable {
    private static let store = DispatchQueue(label: "queuepool.leases", attributes: .concurrent)

    /// Stores count on from what they are sent, so there must be room above. Every JSON library keeps numbers up to here
    /// exact (2^53 - 1).
    private static let numberMax = 9_007_199_254_740_991

    let leases: any LeaseStore

    /// `GET /v1/pools/{pool}`: the pool is shown also while nobody knows its leases.
    static func show(
        _ pool: Pool, _ leases: (any LeaseStore)?, rates: ShardRates, clock: any Clock, reply: @escaping Reply
    ) {
        store.async {
            var facts = ShardFacts(wallTime: clock.wallTime(), rates: rates)
            if let table = try? leases?.table(ofPool: pool.name) {
                // An owner whose heartbeat is gone owns nothing.
                let alive = Set(table.heartbeats.map(\.worker))
                let held = table.leases.filter { $0.owner.map(alive.contains) ?? false }
                facts.leases = Dictionary(held.map { ($0.shard, $0) }) { first, _ in first }
            }
            reply(Answer(status: 200, contentType: "application/json", body: PoolDocuments.one(pool, facts)))
        }
    }

    /// `GET /v1/pools/{pool}/leases`
    func table(_ pool: Pool, reply: @escaping Reply) {
        perform(reply) { () throws(LeaseStoreError) in
            let table = try leases.table(ofPool: pool.name)
            var json = JSONWriter(capacity: 128 * (1 + table.heartbeats.count + table.leases.count))
            json.beginObject()
            json.key("workers")
            json.beginArray()
            for heartbeat in table.heartbeats { LeaseService.write(heartbeat, to: &json) }
            json.endArray()
            json.key("leases")
            json.beginArray()
            for lease in table.leases { LeaseService.write(lease, to: &json) }
            json.endArray()
            json.endObject()
            return Answer(status: 200, contentType: "application/json", body: json.take())
        }
    }

    /// `PUT /v1/pools/{pool}/workers/{worker}` with `{beat, renewedAt, isLeaving}`
    func renew(_ pool: Pool, _ worker: String, _ body: [UInt8], reply: @escaping Reply) throws(Problem) {
        let worker = try LeaseService.worker(worker, "worker")
        var fields = LeaseFields()
        try fields.read(body, allowed: ["beat", "renewedAt", "isLeaving"])
        let heartbeat = WorkerHeartbeat(
            worker: worker, beat: try LeaseService.number(fields.beat, "beat", from: 1),
            renewedAt: Timestamp(milliseconds: Int64(try LeaseService.number(fields.renewedAt, "renewedAt", from: 0))),
            isLeaving: fields.isLeaving ?? false)
        perform(reply) { () throws(LeaseStoreError) in
            try leases.renew(heartbeat, ofPool: pool.name)
            return Answer(status: 204, contentType: "application/json", body: [])
        }
    }

    /// `DELETE /v1/pools/{pool}/workers/{worker}?beat=N`
    func remove(_ pool: Pool, _ worker: String, beat: String?, reply: @escaping Reply) throws(Problem) {
        let worker = try LeaseService.worker(worker, "worker")
        let beat = try LeaseService.number(beat.flatMap(LeaseService.whole), "beat", from: 1)
        perform(reply) { () throws(LeaseStoreError) in
            try leases.remove(worker, beat: beat, ofPool: pool.name)
            return Answer(status: 204, contentType: "application/json", body: [])
        }
    }

    /// `PUT /v1/pools/{pool}/leases/{shard}` with `{version, owner, next, acquiredAt}`
    func write(_ pool: Pool, _ shard: String, _ body: [UInt8], reply: @escaping Reply) throws(Problem) {
        let number = try LeaseService.number(LeaseService.whole(shard), "shard", from: 0)
        guard pool.snapshot.shards.contains(where: { $0.index.number == number }) else {
            throw .invalidField("shard", "The pool has no shard of the number \(number).")
        }
        var fields = LeaseFields()
        try fields.read(body, allowed: ["version", "owner", "next", "acquiredAt"])
        let lease = ShardLease(
            shard: ShardIndex(number),
            owner: try fields.owner.map { (text) throws(Problem) in
                try LeaseService.worker(text, "owner")
            },
            next: try fields.next.map { (text) throws(Problem) in try LeaseService.worker(text, "next") },
            acquiredAt: Timestamp(
                milliseconds: Int64(try LeaseService.number(fields.acquiredAt, "acquiredAt", from: 0))),
            version: try LeaseService.number(fields.version, "version", from: 0))
        perform(reply) { () throws(LeaseStoreError) in
            var stored = lease
            stored.version = try leases.write(lease, ofPool: pool.name)
            var json = JSONWriter(capacity: 256)
            LeaseService.write(stored, to: &json)
            return Answer(status: 200, contentType: "application/json", body: json.take())
        }
    }

    // MARK: - Parts

    /// The store may block: never on an event loop.
    private func perform(
        _ reply: @escaping Reply, _ body: @escaping @Sendable () throws(LeaseStoreError) -> Answer
    ) {
        LeaseService.store.async {
            do throws(LeaseStoreError) { reply(try body()) } catch { reply(Problem(error).answer) }
        }
    }

    private static func write(_ heartbeat: WorkerHeartbeat, to json: inout JSONWriter) {
        json.beginObject()
        json.key("worker")
        json.string(heartbeat.worker.text)
        json.key("beat")
        json.int(heartbeat.beat)
        json.key("renewedAt")
        json.int(heartbeat.renewedAt.milliseconds)
        json.key("isLeaving")
        json.bool(heartbeat.isLeaving)
        json.endObject()
    }

    private static func write(_ lease: ShardLease, to json: inout JSONWriter) {
        json.beginObject()
        json.key("shard")
        json.int(lease.shard.number)
        json.key("owner")
        if let owner = lease.owner { json.string(owner.text) } else { json.null() }
        json.key("next")
        if let next = lease.next { json.string(next.text) } else { json.null() }
        json.key("acquiredAt")
        json.int(lease.acquiredAt.milliseconds)
        json.key("version")
        json.int(lease.version)
        json.endObject()
    }

    private static func worker(_ text: String, _ field: String) throws(Problem) -> WorkerID {
        guard let worker = WorkerID(text) else {
            throw .invalidField(
                field,
                "It has \(text.utf8.count) bytes; allowed are 1 to \(WorkerID.bytesMax) of A-Z a-z 0-9 . _ -.")
        }
        return worker
    }

    /// A number of an address, in its one way to be written: no sign, no zeros before it.
    private static func whole(_ text: String) -> Int? { Int(text).flatMap { String($0) == text ? $0 : nil } }

    private static func number(_ value: Int?, _ field: String, from least: Int) throws(Problem) -> Int {
        guard let value, value >= least, value <= LeaseService.numberMax else {
            throw .invalidField(field, "It must be a whole number from \(least) to \(LeaseService.numberMax).")
        }
        return value
    }
}

/// The members of a request about leases.
private struct LeaseFields {
    var beat: Int?
    var renewedAt: Int?
    var isLeaving: Bool?
    var version: Int?
    var owner: String?
    var next: String?
    var acquiredAt: Int?

    mutating func read(_ body: [UInt8], allowed: Set<String>) throws(Problem) {
        var fields = self
        var unknown: Int?
        let fault: JSONFault? = body.withUnsafeBytes { bytes in
            var json = JSONReader(bytes)
            do throws(JSONFault) {
                try json.beginObject()
                while let key = try json.nextKey() {
                    let name = key.text
                    if allowed.contains(name) {
                        try fields.read(name, &json)
                    } else {
                        unknown = unknown ?? key.count
                        try json.skipValue()
                    }
                }
                try json.finish()
                return nil
            } catch { return error }
        }
        if let fault { throw .malformed(fault) }
        if let unknown {
            throw .invalidField(
                "body",
                "A member has a name of \(unknown) bytes that is not known; allowed are "
                    + "\(allowed.sorted().joined(separator: ", ")).")
        }
        self = fields
    }

    private mutating func read(_ name: String, _ json: inout JSONReader) throws(JSONFault) {
        switch name {
        case "beat": beat = try json.readInt()
        case "renewedAt": renewedAt = try json.readInt()
        case "isLeaving": isLeaving = try json.readBool()
        case "version": version = try json.readInt()
        case "acquiredAt": acquiredAt = try json.readInt()
        case "owner": owner = try LeaseFields.text(&json)
        default: next = try LeaseFields.text(&json)
        }
    }

    private static func text(_ json: inout JSONReader) throws(JSONFault) -> String? {
        guard json.peekKind() != .null else {
            try json.readNull()
            return nil
        }
        return try json.readString().text
    }
}

extension Problem {
    fileprivate init(_ error: LeaseStoreError) {
        switch error {
        case .conflict:
            self.init(
                "lease-conflict", status: 409, title: "Another worker was first",
                detail: "What is stored is not what the request was made from. Read the leases again.")
        case .noPool: self = .noSuchPool()
        case .failed(let code):
            self.init(
                "control-store", status: 503, title: "The control store failed", detail: "Its code is \(code).",
                retryAfterSeconds: 1)
        }
    }
}
