// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import QueuePoolCore
import QueuePoolJSON
import QueuePoolRuntime
import QueuePoolSQS

/// Making and purging pools over REST.
struct PoolAdministration: Sendable {
    /// Deliveries after which a message of a pool goes to its dead-letter queue, if nobody said otherwise.
    static let maxReceiveCountDefault = 10

    let registry: PoolRegistry

    /// `POST /v1/pools` with `{name, shards, quota?}`.
    func create(_ body: [UInt8], caller: Caller, reply: @escaping Reply) {
        DispatchQueue.global().async {
            do throws(Problem) {
                let (name, shards, quota) = try PoolAdministration.read(body)
                if let denial = caller.denial(.admin, named: name.text, in: registry, isNew: true) {
                    return reply(denial.answer)
                }
                let (pool, isNew) = try ensure(name, shards: shards, quota: quota)
                reply(
                    Answer(
                        status: isNew ? 201 : 200, contentType: "application/json", body: PoolDocuments.one(pool)))
            } catch { reply(error.answer) }
        }
    }

    func purge(_ pool: Pool, reply: @escaping Reply) {
        registry.purge(pool) { result in
            switch result {
            case .success(let count):
                var json = JSONWriter(capacity: 32)
                json.beginObject()
                json.key("purged")
                json.int(count)
                json.endObject()
                reply(Answer(status: 200, contentType: "application/json", body: json.take()))
            case .failure(let error): reply(Problem(error).answer)
            }
        }
    }

    /// `DELETE /v1/pools/{pool}`
    func remove(_ pool: Pool, reply: @escaping Reply) {
        DispatchQueue.global().async {
            do throws(RegistryError) {
                try registry.remove(pool)
                reply(Answer(status: 204, contentType: "application/json", body: []))
            } catch { reply(Problem(error).answer) }
        }
    }

    /// The pool of that name, made with its dead-letter queue if it is not there; blocks.
    /// - Returns: whether it was made.
    func ensure(_ name: PoolName, shards: Int, quota: Int?) throws(Problem) -> (pool: Pool, isNew: Bool) {
        if let pool = registry.pool(name.text) {
            let snapshot = pool.snapshot
            guard snapshot.shards.count == shards, quota == nil || quota == snapshot.quota else {
                throw Problem(
                    "pool-differs", status: 409, title: "A pool of this name exists and is different",
                    detail: "It has \(snapshot.shards.count) shards and "
                        + (snapshot.quota.map { "a quota of \($0)" } ?? "no quota") + ".", field: "name")
            }
            return (pool, false)
        }
        do throws(RegistryError) {
            let dlq = DeadLetterQueueDraft(
                name: name.deadLetterQueueName, attributes: PoolAdministration.attributes(shards: 1, dlq: nil))
            let attributes = PoolAdministration.attributes(shards: shards, dlq: dlq.name)
            return (
                try registry.create(name, shards: shards, attributes: attributes, quota: quota, deadLetterQueue: dlq),
                true
            )
        } catch { throw Problem(error) }
    }

    private static func attributes(shards: Int, dlq: String?) -> String {
        var named: [String: String] = [QueueAttributeName.deduplicationScope.rawValue: "messageGroup"]
        if let dlq {
            named[QueueAttributeName.redrivePolicy.rawValue] = QueueAttributeSet.redrivePolicyText(
                deadLetterTargetArn: QueueNaming(endpoint: "").arn(dlq), maxReceiveCount: maxReceiveCountDefault)
        }
        var attributes = QueueAttributeSet()
        // These texts are ours and valid; were they not, the pool would have the defaults.
        try? attributes.update(named, queue: "")
        return attributes.encoded()
    }

    /// The pool that `create` would make; `nil` if it would make none.
    static func name(in body: [UInt8]) -> PoolName? { try? read(body).name }

    private static func read(_ body: [UInt8]) throws(Problem) -> (name: PoolName, shards: Int, quota: Int?) {
        var name: String?
        var shards: Int?
        var quota: Int?
        var unknown: String?
        var position = 0
        let fault: JSONFault? = body.withUnsafeBytes { bytes in
            var json = JSONReader(bytes)
            do throws(JSONFault) {
                try json.beginObject()
                while let key = try json.nextKey() {
                    position += 1
                    if key.equals("name") {
                        name = try json.readString().text
                    } else if key.equals("shards") {
                        shards = try json.readInt()
                    } else if key.equals("quota") {
                        if json.peekKind() == .null { try json.readNull() } else { quota = try json.readInt() }
                    } else {
                        unknown = "Member \(position) has a name of \(key.count) bytes that is not known"
                        try json.skipValue()
                    }
                }
                try json.finish()
                return nil
            } catch { return error }
        }
        if let fault { throw .malformed(fault) }
        if let unknown { throw .invalidField("pool", "\(unknown); allowed are name, shards, quota.") }
        guard let name, let pool = PoolName(name) else {
            throw .invalidField("name", "It must be 1 to 80 of A-Z a-z 0-9 - _ and end in .fifo.")
        }
        guard let shards, (1...Topology.shardsMax).contains(shards) else {
            throw .invalidField("shards", "It must be a whole number from 1 to \(Topology.shardsMax).")
        }
        if let quota, quota < 1 { throw .invalidField("quota", "It must be a whole number from 1, or null.") }
        return (pool, shards, quota)
    }
}

extension Problem {
    init(_ error: RegistryError) {
        switch error {
        case .nameTaken:
            self.init(
                "name-taken", status: 409, title: "The name is taken",
                detail: "It is a queue's or a shard's of a pool.", field: "name")
        case .noSuchPool: self = .noSuchPool()
        case .shardCount(let count):
            self = .invalidField("shards", "\(count) shards were asked for; allowed are 1 to \(Topology.shardsMax).")
        case .tooManyPools(let asked, let left):
            self.init(
                "too-many-pools", status: 409, title: "The server has as many pools as it may",
                detail: "\(asked) were asked for, a new dead-letter queue counting as one; \(left) more are allowed.")
        case .tooManyShards(let asked, let left):
            self.init(
                "too-many-shards", status: 409, title: "The server has as many shards as it may",
                detail: "\(asked) were asked for, a new dead-letter queue counting as one; \(left) more are allowed.",
                field: "shards")
        case .nameTooLong(let allowed):
            self = .invalidField(
                "name",
                "It may have at most \(allowed) characters, so that its shards and its dead-letter queue have names.")
        case .store(let error):
            self.init(
                "control-store", status: 503, title: "The control store failed", detail: "\(error)",
                retryAfterSeconds: 5)
        case .shard(let name, let reason):
            self.init("shard", status: 500, title: "A shard could not be opened", detail: "\(name): \(reason)")
        case .closed:
            self.init(
                "closing", status: 503, title: "The server is stopping", detail: "Try again.", retryAfterSeconds: 1)
        case .isDeadLetterQueue(let sources):
            self.init(
                "dead-letter-queue", status: 409, title: "The pool is a dead-letter queue",
                detail: "Messages go to it from \(sources.joined(separator: ", ")): change or delete these first.")
        case .foreign:
            self.init(
                "foreign-pool", status: 409, title: "The pool is another server's",
                detail: "It is in another server's data directory.")
        case .refused(let reason):
            self = reason as? Problem ?? Problem("refused", status: 409, title: "The change was refused", detail: "")
        }
    }
}
