// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolCurl
import Testing

@testable import QueuePoolAWS

private func pool(shards: Int = 3) throws -> PoolDefinition {
    let name = try #require(PoolName("emails.fifo"))
    let topology = try Topology(pool: name, shardCount: shards).adding(name: "emails-0003.fifo")
    var pool = PoolDefinition(
        name: name, topology: topology, backend: .sqs,
        addresses: [
            ShardIndex(0): ShardAddress(region: "eu-central-1", queueURL: "https://sqs/1/emails-0000.fifo"),
            ShardIndex(1): ShardAddress(
                endpoint: "http://127.0.0.1:1", region: "us-east-1", queueURL: "http://x/2/other.fifo",
                roleARN: "arn:aws:iam::2:role/r", account: "2"),
        ], attributes: "VisibilityTimeout=60", tags: ["team": "mail"], quota: 300,
        createdAt: Timestamp(milliseconds: 5), version: 4)
    pool.modifiedAt = Timestamp(milliseconds: 9)
    return pool
}

private func store(_ caller: FakeCaller) -> DynamoDBControlStore {
    DynamoDBControlStore(table: DynamoDBTable(name: "t", service: service(caller)), makeToken: { "token-1" })
}

@Suite("The control store in DynamoDB")
struct DynamoDBTests {
    @Test func `a pool read back is the pool that was written`() throws {
        let pool = try pool()
        let bytes = JSONTree(item: PoolItem.item(pool, token: "w")).bytes
        #expect(try PoolItem.definition(JSONTree(bytes).item) == pool)
    }

    @Test(arguments: [nil, "directory-1"] as [String?], [false, true])
    func `whose a pool is and whether it is being deleted are written and read back`(
        owner: String?, isDeleting: Bool
    ) throws {
        var pool = try pool()
        pool.owner = owner
        pool.isDeleting = isDeleting
        let item = PoolItem.item(pool, token: "w")
        #expect((item["owner"] == nil) == (owner == nil) && (item["deleting"] == nil) == !isDeleting)
        #expect(try PoolItem.definition(JSONTree(JSONTree(item: item).bytes).item) == pool)
        let caller = FakeCaller(.answer(200, [:]))
        _ = try store(caller).save(pool)
        let written = try #require(caller.calls.first?.body["TransactItems"]?.elements.first?["Put"]?["Item"])
        #expect(written["owner"] == owner.map { ["S": .string($0)] })
        #expect(written["deleting"] == (isDeleting ? ["N": "1"] : nil))
    }

    @Test func `a removal names the pool that was seen, by version and time of making, and counts the revision`() throws
    {
        // Workers' leases are looked up before; there are none.
        let caller = FakeCaller(.answer(200, [:]), .answer(200, [:]))
        try store(caller).remove(pool())
        #expect(caller.calls.map(\.action) == ["Query", "TransactWriteItems"])
        let parts = caller.calls.last?.body["TransactItems"]?.elements ?? []
        let delete = try #require(parts.first?["Delete"])
        #expect(delete["Key"] == ["pk": ["S": "POOLS"], "sk": ["S": "POOL#emails.fifo"]])
        #expect(
            delete["ConditionExpression"] == "attribute_not_exists(pk) OR (#version = :version AND #made = :made)")
        #expect(delete["ExpressionAttributeNames"] == ["#version": "version", "#made": "createdAt"])
        #expect(delete["ExpressionAttributeValues"] == [":version": ["N": "4"], ":made": ["N": "5"]])
        #expect(parts.last?["Update"]?["UpdateExpression"] == "ADD #number :one")
    }

    @Test func `a removal of a pool that was changed or made anew is a conflict`() {
        let worker: JSONTree = ["pk": ["S": "POOL#emails.fifo"], "sk": ["S": "WORKER#w"]]
        let caller = FakeCaller(
            .answer(200, ["Items": [worker]]), .refusal("TransactionCanceledException", Self.lost))
        #expect(throws: ControlStoreError.conflict(pool: "emails.fifo")) { try store(caller).remove(pool()) }
        // The leases of a pool that stays do too.
        #expect(caller.calls.map(\.action) == ["Query", "TransactWriteItems"])
    }

    @Test func `directories are written and found by their ids`() throws {
        let key: JSONTree = ["pk": ["S": "DIRECTORIES"], "sk": ["S": "DIRECTORY#a"]]
        let caller = FakeCaller(
            .answer(200, [:]), .answer(200, ["Item": ["path": ["S": "/x"]]]), .answer(200, [:]))
        try store(caller).record(directory: "a", path: "/x")
        let put = caller.calls.first?.body["TransactItems"]?.elements.first?["Put"]
        #expect(put?["Item"]?["path"] == ["S": "/x"] && put?["Item"]?["sk"] == key["sk"])
        #expect(try store(caller).directory("a") == "/x")
        #expect(caller.calls.last?.body["Key"] == key)
        #expect(try store(caller).directory("b") == nil)
    }

    @Test func `the largest pool fits an item`() throws {
        let name = try #require(PoolName(String(repeating: "p", count: 70) + ".fifo"))
        let address = ShardAddress(
            endpoint: String(repeating: "e", count: 80), region: "eu-central-1",
            queueURL: String(repeating: "q", count: 140), roleARN: String(repeating: "r", count: 80), account: "1")
        let pool = PoolDefinition(
            name: name, topology: try Topology(pool: name, shardCount: 256), backend: .sqs,
            addresses: Dictionary(uniqueKeysWithValues: (0..<256).map { (ShardIndex($0), address) }), attributes: "",
            createdAt: Timestamp(milliseconds: 0))
        // The rest is room for 15,000 unsettled moves of 10 bytes.
        #expect(AttributeValue.map(PoolItem.item(pool, token: "w")).size < DynamoDBControlStore.itemBytesMax - 150_000)
    }

    @Test(arguments: ["epoch", "shards", "slots", "history", "backend", "version", "attributes", "createdAt"])
    func `an item without one of its parts is damaged`(part: String) throws {
        var item = PoolItem.item(try pool(), token: "w")
        item[part] = nil
        #expect(throws: ControlStoreError.damaged(pool: "emails.fifo")) { try PoolItem.definition(item) }
    }

    @Test func `a write names the version it was made from, and counts the revision with it`() throws {
        let caller = FakeCaller(.answer(200, [:]))
        #expect(try store(caller).save(pool()) == 5)
        let call = try #require(caller.calls.first)
        #expect(call.action == "TransactWriteItems" && call.body["ClientRequestToken"] == "token-1")
        let parts = call.body["TransactItems"]?.elements ?? []
        let put = try #require(parts.first?["Put"])
        #expect(put["ConditionExpression"] == "#held = :held")
        #expect(put["ExpressionAttributeNames"] == ["#held": "version"])
        #expect(put["ExpressionAttributeValues"] == [":held": ["N": "4"]])
        #expect(put["Item"]?["version"] == ["N": "5"])
        #expect(parts.last?["Update"]?["UpdateExpression"] == "ADD #number :one")
    }

    @Test func `the first write asks that nothing is there`() throws {
        let caller = FakeCaller(.answer(200, [:]))
        var pool = try pool()
        pool.version = 0
        #expect(try store(caller).save(pool) == 1)
        let put = caller.calls.first?.body["TransactItems"]?.elements.first?["Put"]
        #expect(put?["ConditionExpression"] == "attribute_not_exists(pk)")
    }

    private static let lost: [String: JSONTree] = [
        "CancellationReasons": [["Code": "ConditionalCheckFailed"], ["Code": "None"]]
    ]

    @Test func `a version that is not there any more is a conflict`() throws {
        let other: JSONTree = ["Item": JSONTree(item: PoolItem.item(try pool(), token: "token-2"))]
        let caller = FakeCaller(.refusal("TransactionCanceledException", Self.lost), .answer(200, other))
        #expect(throws: ControlStoreError.conflict(pool: "emails.fifo")) { try store(caller).save(pool()) }
    }

    @Test func `a write whose answer was lost is found to be done`() throws {
        let ours: JSONTree = ["Item": JSONTree(item: PoolItem.item(try pool(), token: "token-1"))]
        let caller = FakeCaller(
            .failure(.unknownOutcome(code: "timeout")), .refusal("TransactionCanceledException", Self.lost),
            .answer(200, ours))
        #expect(try store(caller).save(pool()) == 5)
        #expect(caller.calls.map(\.action) == ["TransactWriteItems", "TransactWriteItems", "GetItem"])
    }

    @Test func `a transaction that met another one is tried again`() throws {
        let met: [String: JSONTree] = ["CancellationReasons": [["Code": "None"], ["Code": "TransactionConflict"]]]
        let caller = FakeCaller(.refusal("TransactionCanceledException", met), .answer(200, [:]))
        #expect(try store(caller).save(pool()) == 5)
        #expect(caller.calls.count == 2)
    }

    @Test func `throttling is tried again a few times and then told`() throws {
        let refusal = Result<HTTPResponse, AWSError>.refusal("ThrottlingException")
        let caller = FakeCaller(refusal, refusal, refusal, refusal, refusal, refusal)
        #expect(throws: ControlStoreError.service(code: "ThrottlingException", isRetryable: true)) {
            try store(caller).revision()
        }
        #expect(caller.calls.count == JSONService.attemptsMax)
    }

    @Test func `a missing table is told as such, at once`() {
        let caller = FakeCaller(.refusal("ResourceNotFoundException"))
        #expect(throws: ControlStoreError.noTable) { try store(caller).pools() }
        #expect(caller.calls.count == 1)
    }

    @Test func `all pages of a query are read, and read consistently`() throws {
        let item = JSONTree(item: PoolItem.item(try pool(), token: "w"))
        let caller = FakeCaller(
            .answer(200, ["Items": [item], "LastEvaluatedKey": ["pk": ["S": "POOLS"]]]), .answer(200, ["Items": [item]])
        )
        #expect(try store(caller).pools().count == 2)
        #expect(caller.calls.allSatisfy { $0.body["ConsistentRead"] == true })
        #expect(caller.calls.last?.body["ExclusiveStartKey"] == ["pk": ["S": "POOLS"]])
    }

    @Test func `a table without a write is at revision 0`() throws {
        #expect(try store(FakeCaller(.answer(200, [:]))).revision() == 0)
        let held = Result<HTTPResponse, AWSError>.answer(200, ["Item": ["number": ["N": "7"]]])
        #expect(try store(FakeCaller(held)).revision() == 7)
    }

    private static func table(_ status: String) -> Result<HTTPResponse, AWSError> {
        .answer(200, ["Table": ["TableStatus": .string(status)]])
    }

    private static let expires = Result<HTTPResponse, AWSError>.answer(
        200, ["TimeToLiveDescription": ["TimeToLiveStatus": "ENABLED"]])

    @Test func `a table that is there is looked at once`() throws {
        let caller = FakeCaller(Self.table("ACTIVE"), Self.expires)
        var pauses = 0
        try store(caller).makeTable { pauses += 1 }
        #expect(caller.calls.map(\.action) == ["DescribeTable", "DescribeTimeToLive"] && pauses == 0)
    }

    @Test func `a table that is made is waited for until it is active, and no longer`() throws {
        let caller = FakeCaller(
            .refusal("ResourceNotFoundException"), .answer(200, [:]), .refusal("ResourceNotFoundException"),
            Self.table("CREATING"), Self.table("ACTIVE"), Self.expires)
        var pauses = 0
        try store(caller).makeTable { pauses += 1 }
        #expect(
            caller.calls.map(\.action) == [
                "DescribeTable", "CreateTable", "DescribeTable", "DescribeTable", "DescribeTable",
                "DescribeTimeToLive",
            ])
        #expect(pauses == 2)
    }

    @Test func `a table that never becomes active is told, not waited for without end`() {
        let caller = FakeCaller(answers: Array(repeating: Self.table("UPDATING"), count: 1_000))
        #expect(throws: ControlStoreError.service(code: "TableNotActive", isRetryable: true)) {
            try store(caller).makeTable {}
        }
        #expect(caller.calls.count == 300)
    }
}
