// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import QueuePoolTestSupport
import Testing

/// Pools over queues of SQS; their attributes are the name of their dead-letter queue.
private struct HomeStage {
    let stage = RegistryStage()
    let registry: PoolRegistry

    init() {
        registry = PoolRegistry(
            store: stage.store, factories: [.embedded: stage.shards, .sqs: stage.shards], options: PoolOptions(),
            clock: stage.clock,
            meaning: { text in
                var attributes = QueueAttributes()
                if !text.isEmpty { attributes.redrive = RedrivePolicy(deadLetterQueue: text, maxReceiveCount: 1) }
                return attributes
            })
    }

    /// - Parameter queues: URLs of its shards; none: shards of the server's own.
    func pool(_ name: String, _ queues: [ShardAddress] = [], deadLetters: String = "") throws {
        let name = try stage.name(name)
        let addresses = queues.enumerated().map { (ShardIndex($0), $1) }
        stage.store.put(
            PoolDefinition(
                name: name, topology: try Topology(pool: name, shardCount: max(1, queues.count)),
                backend: queues.isEmpty ? .embedded : .sqs,
                addresses: Dictionary(addresses) { first, _ in first }, attributes: deadLetters,
                createdAt: Timestamp(milliseconds: 1), version: 1))
    }

    static func queue(
        _ name: String, region: String = "us-east-1", endpoint: String? = nil, account: String? = nil
    ) -> ShardAddress {
        ShardAddress(endpoint: endpoint, region: region, queueURL: "https://sqs/1/\(name)", account: account)
    }

    /// The name of the pool that has a queue for a shard.
    func owner(_ region: String, _ account: String, _ name: String) throws -> String? {
        let queue = try #require(SourceQueue(arn: "arn:aws:sqs:\(region):\(account):\(name)"))
        return registry.pool(ofQueue: queue)?.name.text
    }

    func onlySource(_ name: String) throws -> String? {
        registry.onlySource(of: try #require(registry.pool(name)))?.name.text
    }
}

@Suite struct `Where dead letters came from` {
    private let stage = HomeStage()

    @Test func `is the pool that has the queue, in its region and its account`() throws {
        try stage.pool("a.fifo", [HomeStage.queue("a-0000.fifo"), HomeStage.queue("mine.fifo")])
        try stage.pool("b.fifo", [HomeStage.queue("mine.fifo", region: "us-west-2")])
        try stage.pool("c.fifo", [HomeStage.queue("mine.fifo", region: "eu-west-1", account: "222222222222")])
        try stage.registry.openAll()
        #expect(try stage.owner("us-east-1", "1", "mine.fifo") == "a.fifo")
        #expect(try stage.owner("us-west-2", "1", "mine.fifo") == "b.fifo")
        #expect(try stage.owner("eu-west-1", "222222222222", "mine.fifo") == "c.fifo")
        #expect(try stage.owner("eu-west-1", "1", "mine.fifo") == nil, "of another account")
        #expect(try stage.owner("eu-north-1", "1", "mine.fifo") == nil, "of another region")
        #expect(try stage.owner("us-east-1", "1", "other.fifo") == nil)
    }

    @Test func `is the pool at an endpoint of its own, whatever region that calls itself`() throws {
        try stage.pool("a.fifo", [HomeStage.queue("a-0000.fifo", region: "eu-west-1", endpoint: "http://127.0.0.1:1")])
        try stage.registry.openAll()
        #expect(try stage.owner("us-east-1", "1", "a-0000.fifo") == "a.fifo")
    }

    @Test func `is known by the rule of names when the shard has left its pool`() throws {
        try stage.pool("a.fifo", [HomeStage.queue("a-0000.fifo")])
        try stage.pool("b.fifo")
        try stage.registry.openAll()
        #expect(try stage.owner("us-east-1", "1", "a-0007.fifo") == "a.fifo")
        #expect(try stage.owner("us-east-1", "1", "b-0007.fifo") == nil, "its shards were never queues")
    }

    @Test func `is nobody's to guess where two pools have the queue`() throws {
        try stage.pool("a.fifo", [HomeStage.queue("mine.fifo")])
        try stage.pool("b.fifo", [HomeStage.queue("mine.fifo")])
        try stage.registry.openAll()
        #expect(try stage.owner("us-east-1", "1", "mine.fifo") == nil)
    }

    @Test func `is the only pool whose policy or whose name leads there`() throws {
        try stage.pool("dead.fifo", [HomeStage.queue("grave.fifo")])
        try stage.pool("named-dlq.fifo", [HomeStage.queue("named-dlq.fifo")])
        try stage.pool("shared.fifo", [HomeStage.queue("shared.fifo")])
        try stage.pool("a.fifo", [HomeStage.queue("a.fifo")], deadLetters: "grave.fifo")
        try stage.pool("named.fifo", [HomeStage.queue("named.fifo")])
        try stage.pool("b.fifo", [HomeStage.queue("b.fifo")], deadLetters: "shared.fifo")
        try stage.pool("c.fifo", [HomeStage.queue("c.fifo")], deadLetters: "shared.fifo")
        try stage.registry.openAll()
        #expect(try stage.onlySource("dead.fifo") == "a.fifo", "its policy names the queue, not the pool")
        #expect(try stage.onlySource("named-dlq.fifo") == "named.fifo")
        #expect(try stage.onlySource("shared.fifo") == nil)
        #expect(try stage.onlySource("a.fifo") == nil)
    }
}
