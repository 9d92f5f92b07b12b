// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolCurl
import Testing

@testable import QueuePoolAWS

private let now = Timestamp(milliseconds: 1_800_000_000_999)

private func store(_ caller: FakeCaller) -> DynamoDBLeaseStore {
    DynamoDBLeaseStore(
        table: DynamoDBTable(name: "t", service: service(caller)), now: { now }, makeToken: { "token-1" })
}

private func pool() throws -> PoolName { try #require(PoolName("emails.fifo")) }

private func heartbeat(_ beat: Int, isLeaving: Bool = false) throws -> WorkerHeartbeat {
    WorkerHeartbeat(
        worker: try #require(WorkerID("w-1")), beat: beat, renewedAt: Timestamp(milliseconds: 5), isLeaving: isLeaving)
}

private func lease(_ shard: Int = 3, owner: String? = "w-1", next: String? = nil, version: Int = 0) -> ShardLease {
    ShardLease(
        shard: ShardIndex(shard), owner: owner.flatMap(WorkerID.init), next: next.flatMap(WorkerID.init),
        acquiredAt: Timestamp(milliseconds: 7), version: version)
}

private typealias Answer = Result<HTTPResponse, AWSError>
private let done = Answer.answer(200, [:])
private let isThere = Answer.answer(200, ["Item": ["pk": ["S": "POOLS"]]])
private let isGone = Answer.answer(200, [:])
private let refused = Answer.refusal("ConditionalCheckFailedException")

@Suite("The lease store in DynamoDB")
struct DynamoDBLeaseTests {
    // MARK: - Heartbeats

    @Test func `a heartbeat is one write, which names the beat before it and its own`() throws {
        let caller = FakeCaller(done)
        try store(caller).renew(heartbeat(7, isLeaving: true), ofPool: pool())
        #expect(caller.calls.count == 1)
        let call = try #require(caller.calls.first)
        #expect(call.action == "PutItem")
        #expect(call.body["ConditionExpression"] == "#beat = :before OR #beat = :beat")
        #expect(call.body["ExpressionAttributeNames"] == ["#beat": "beat"])
        #expect(call.body["ExpressionAttributeValues"] == [":before": ["N": "6"], ":beat": ["N": "7"]])
        // A day from now by the service's clock, whatever the worker's showed.
        #expect(
            call.body["Item"] == [
                "pk": ["S": "POOL#emails.fifo"], "sk": ["S": "WORKER#w-1"], "beat": ["N": "7"],
                "renewedAt": ["N": "5"], "leaving": ["N": "1"], "expiresAt": ["N": "1800086400"],
            ])
    }

    @Test func `the first heartbeat is for nothing or for itself, and is followed by a look for the pool`() throws {
        let caller = FakeCaller(done, isThere)
        try store(caller).renew(heartbeat(1), ofPool: pool())
        #expect(caller.calls.map(\.action) == ["PutItem", "GetItem"])
        #expect(caller.calls[0].body["ConditionExpression"] == "attribute_not_exists(pk) OR #beat = :beat")
        #expect(caller.calls[0].body["Item"]?["leaving"] == nil)
        #expect(caller.calls[1].body["Key"] == ["pk": ["S": "POOLS"], "sk": ["S": "POOL#emails.fifo"]])
        #expect(caller.calls[1].body["ProjectionExpression"] == "pk")
        #expect(caller.calls[1].body["ConsistentRead"] == true)
    }

    @Test(arguments: [(2, false), (100, false), (101, true), (102, false), (1_001, true)])
    func `every hundredth heartbeat looks for the pool, and goes if it is gone`(beat: Int, looks: Bool) throws {
        let caller = FakeCaller(done, isGone, done)
        let store = store(caller)
        if looks {
            #expect(throws: LeaseStoreError.noPool) { try store.renew(heartbeat(beat), ofPool: pool()) }
            #expect(caller.calls.map(\.action) == ["PutItem", "GetItem", "DeleteItem"])
            #expect(caller.calls[2].body["Key"]?["sk"] == ["S": "WORKER#w-1"])
        } else {
            try store.renew(heartbeat(beat), ofPool: pool())
            #expect(caller.calls.map(\.action) == ["PutItem"])
        }
    }

    @Test func `a look that fails is a failure, and the heartbeat stays`() throws {
        let caller = FakeCaller(done, .refusal("AccessDeniedException"))
        #expect(throws: LeaseStoreError.failed(code: "AccessDeniedException")) {
            try store(caller).renew(heartbeat(1), ofPool: pool())
        }
        #expect(caller.calls.map(\.action) == ["PutItem", "GetItem"])
    }

    @Test func `a refused heartbeat is a conflict, or the pool is gone`() throws {
        for (answer, error) in [
            (isThere, LeaseStoreError.conflict), (isGone, .noPool), (.refusal("AccessDeniedException"), .conflict),
        ] {
            let caller = FakeCaller(refused, answer)
            #expect(throws: error) { try store(caller).renew(heartbeat(7), ofPool: pool()) }
            #expect(caller.calls.map(\.action) == ["PutItem", "GetItem"])
        }
    }

    @Test func `a heartbeat is removed by its beat, and what is gone is gone`() throws {
        let caller = FakeCaller(done, refused, .refusal("ThrottlingException"), done)
        let worker = try #require(WorkerID("w-1"))
        try store(caller).remove(worker, beat: 7, ofPool: pool())
        let call = try #require(caller.calls.first)
        #expect(call.action == "DeleteItem")
        #expect(call.body["Key"] == ["pk": ["S": "POOL#emails.fifo"], "sk": ["S": "WORKER#w-1"]])
        #expect(call.body["ConditionExpression"] == "attribute_not_exists(pk) OR #beat = :beat")
        #expect(call.body["ExpressionAttributeValues"] == [":beat": ["N": "7"]])
        #expect(throws: LeaseStoreError.conflict) { try store(caller).remove(worker, beat: 7, ofPool: pool()) }
        try store(caller).remove(worker, beat: 7, ofPool: pool())
        #expect(caller.calls.count == 4)
    }

    // MARK: - Leases

    @Test func `a lease is one write, which names the version before it and its own token`() throws {
        let caller = FakeCaller(done)
        #expect(try store(caller).write(lease(next: "w-2", version: 4), ofPool: pool()) == 5)
        #expect(caller.calls.count == 1)
        let call = try #require(caller.calls.first)
        #expect(call.action == "PutItem")
        #expect(call.body["ConditionExpression"] == "#version = :version OR #written = :written")
        #expect(call.body["ExpressionAttributeNames"] == ["#version": "version", "#written": "written"])
        #expect(call.body["ExpressionAttributeValues"] == [":version": ["N": "4"], ":written": ["S": "token-1"]])
        #expect(
            call.body["Item"] == [
                "pk": ["S": "POOL#emails.fifo"], "sk": ["S": "LEASE#0003"], "version": ["N": "5"],
                "acquiredAt": ["N": "7"], "owner": ["S": "w-1"], "next": ["S": "w-2"], "written": ["S": "token-1"],
            ])
    }

    @Test func `a shard's first lease is for nothing or for itself, and is followed by a look for the pool`() throws {
        let caller = FakeCaller(done, isThere)
        #expect(try store(caller).write(lease(12_345, owner: nil), ofPool: pool()) == 1)
        #expect(caller.calls.map(\.action) == ["PutItem", "GetItem"])
        #expect(caller.calls[0].body["ConditionExpression"] == "attribute_not_exists(pk) OR #written = :written")
        #expect(caller.calls[0].body["Item"]?["sk"] == ["S": "LEASE#12345"])
        #expect(caller.calls[0].body["Item"]?["owner"] == nil && caller.calls[0].body["Item"]?["next"] == nil)
    }

    @Test func `a lease that was written for no pool is removed, if it is that one`() throws {
        let caller = FakeCaller(done, isGone, done)
        #expect(throws: LeaseStoreError.noPool) { try store(caller).write(lease(), ofPool: pool()) }
        #expect(caller.calls.map(\.action) == ["PutItem", "GetItem", "DeleteItem"])
        #expect(caller.calls[2].body["Key"]?["sk"] == ["S": "LEASE#0003"])
        #expect(caller.calls[2].body["ConditionExpression"] == "#held = :held")
        #expect(caller.calls[2].body["ExpressionAttributeValues"] == [":held": ["S": "token-1"]])
    }

    @Test func `a write whose answer was lost is made again with the same token`() throws {
        let caller = FakeCaller(.failure(.unknownOutcome(code: "timeout")), done)
        #expect(try store(caller).write(lease(version: 4), ofPool: pool()) == 5)
        #expect(caller.calls.count == 2 && caller.calls[0].body == caller.calls[1].body)
    }

    @Test func `a failure is told by the service's code`() throws {
        let caller = FakeCaller(.refusal("ResourceNotFoundException"))
        #expect(throws: LeaseStoreError.failed(code: "ResourceNotFoundException")) {
            try store(caller).write(lease(version: 4), ofPool: pool())
        }
        #expect(caller.calls.count == 1)
    }

    // MARK: - Tables

    private static func items(_ items: [Item], more: JSONTree = .null) -> Answer {
        .answer(200, ["Items": .array(items.map { JSONTree(item: $0) }), "LastEvaluatedKey": more])
    }

    @Test func `a table is one consistent query of all pages, in which leases come before workers`() throws {
        let (one, other) = (lease(2, version: 9), lease(10_000, owner: nil, version: 1))
        let beat = try heartbeat(7, isLeaving: true)
        let caller = FakeCaller(
            Self.items([LeaseItem.item(other, token: "x", of: try pool())], more: ["pk": ["S": "POOL#emails.fifo"]]),
            Self.items([
                LeaseItem.item(one, token: "x", of: try pool()), ["pk": .text("POOL#emails.fifo"), "sk": .text("M#1")],
                LeaseItem.item(beat, expiresAt: 1, of: try pool()),
            ]))
        let table = try store(caller).table(ofPool: pool())
        #expect(table == LeaseTable(heartbeats: [beat], leases: [one, other]))
        #expect(caller.calls.map(\.action) == ["Query", "Query"])
        #expect(caller.calls.allSatisfy { $0.body["ConsistentRead"] == true && $0.body["ScanIndexForward"] == nil })
        let values = try #require(caller.calls.first?.body["ExpressionAttributeValues"])
        #expect(
            values == [":pk": ["S": "POOL#emails.fifo"], ":first": ["S": "LEASE#"], ":last": ["S": "WORKER#~"]])
    }

    @Test(arguments: ["version", "acquiredAt", "beat", "renewedAt", "owner", "next", "sk"])
    func `what does not parse is told, not left out`(part: String) throws {
        var items = [
            LeaseItem.item(lease(next: "w-2", version: 4), token: "x", of: try pool()),
            LeaseItem.item(try heartbeat(7), expiresAt: 1, of: try pool()),
        ]
        #expect(try store(FakeCaller(Self.items(items))).table(ofPool: pool()).leases.count == 1)
        for place in items.indices where items[place][part] != nil {
            items[place][part] = part == "sk" ? .text("LEASE#x") : .text("no such thing")
        }
        #expect(throws: LeaseStoreError.failed(code: "DamagedLease")) {
            try store(FakeCaller(Self.items(items))).table(ofPool: pool())
        }
    }

    // MARK: - A pool's end

    @Test func `a pool's end removes the workers that it had, and the leases that nobody wrote since`() throws {
        let items = [
            LeaseItem.item(lease(version: 4), token: "x", of: try pool()),
            ["pk": .text("POOL#emails.fifo"), "sk": .text("M#1")],
            LeaseItem.item(try heartbeat(7), expiresAt: 1, of: try pool()),
        ]
        var definition = PoolDefinition(
            name: try pool(), topology: try Topology(pool: pool(), shardCount: 1), attributes: "",
            createdAt: Timestamp(milliseconds: 5))
        definition.version = 2
        // A lease that was written since is somebody else's, and a removal that fails is nobody's loss.
        let caller = FakeCaller(Self.items(items), done, refused, .refusal("AccessDeniedException"))
        let control = DynamoDBControlStore(
            table: DynamoDBTable(name: "t", service: service(caller)), makeToken: { "token-1" })
        try control.remove(definition)
        #expect(caller.calls.map(\.action) == ["Query", "TransactWriteItems", "DeleteItem", "DeleteItem"])
        #expect(caller.calls[2].body["Key"]?["sk"] == ["S": "LEASE#0003"])
        #expect(caller.calls[2].body["ExpressionAttributeValues"] == [":held": ["N": "4"]])
        #expect(caller.calls[3].body["Key"]?["sk"] == ["S": "WORKER#w-1"])
        #expect(caller.calls[3].body["ConditionExpression"] == nil)
    }
}
