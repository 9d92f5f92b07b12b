// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Testing

@testable import QueuePoolAWS

@Suite("The queues of a pool")
struct PoolQueuePlanTests {
    private let wanted: QueueSpecification
    private let found: FoundQueue

    init() throws {
        let name = try #require(PoolName("emails.fifo"))
        let plan = PoolQueuePlan(pool: name, options: PoolQueueOptions())
        wanted = plan.shard(ShardIndex(3), deadLetterARN: "arn:aws:sqs:eu-central-1:1:emails-dlq.fifo")
        found = FoundQueue(url: "https://sqs/1/emails-0003.fifo", attributes: wanted.attributes, tags: wanted.tags)
    }

    private func changed(_ attributes: [String: String?] = [:], tags: [String: String?] = [:]) -> FoundQueue {
        var texts = found.attributes
        for (name, value) in attributes { texts[name] = value }
        var marks = found.tags
        for (name, value) in tags { marks[name] = value }
        return FoundQueue(url: found.url, attributes: texts, tags: marks)
    }

    @Test func `a shard deduplicates by group, redrives, and says whose it is`() {
        #expect(wanted.name == "emails-0003.fifo")
        #expect(wanted.attributes["DeduplicationScope"] == "messageGroup")
        #expect(wanted.attributes["FifoThroughputLimit"] == "perQueue")
        #expect(RedriveText(wanted.attributes["RedrivePolicy"] ?? "")?.queueName == "emails-dlq.fifo")
        #expect(
            wanted.tags == ["queuepool:pool": "emails.fifo", "queuepool:shard": "3", "queuepool:epoch": "1"])
    }

    @Test func `a queue as it should be has no differences`() {
        #expect(QueueComparison(wanted, found).differences.isEmpty)
    }

    @Test func `a redrive policy is compared by what it says`() {
        let text = #"{ "maxReceiveCount": 10, "deadLetterTargetArn": "arn:aws:sqs:eu-central-1:1:emails-dlq.fifo" }"#
        #expect(QueueComparison(wanted, changed(["RedrivePolicy": text])).differences.isEmpty)
    }

    @Test func `a missing queue is made, not mended`() {
        let comparison = QueueComparison(wanted, nil)
        #expect(comparison.isMissing && comparison.conflicts.isEmpty)
        #expect(comparison.differences.map(\.description) == ["emails-0003.fifo: is missing"])
    }

    @Test func `another value is a conflict that names the attribute`() {
        let comparison = QueueComparison(wanted, changed(["VisibilityTimeout": "60"]))
        #expect(
            comparison.conflicts.map(\.description) == ["emails-0003.fifo: VisibilityTimeout is '60', should be '30'"])
        #expect(comparison.attributesToSet.isEmpty)
    }

    @Test func `a redrive policy and tags that were never set are set`() {
        let comparison = QueueComparison(
            wanted, changed(["RedrivePolicy": nil], tags: ["queuepool:pool": nil]))
        #expect(comparison.conflicts.isEmpty)
        #expect(comparison.attributesToSet.keys.sorted() == ["RedrivePolicy"])
        #expect(comparison.tagsToSet == ["queuepool:pool": "emails.fifo"])
    }

    @Test func `a queue of another pool is a conflict, an older epoch is not`() {
        #expect(QueueComparison(wanted, changed(tags: ["queuepool:pool": "other.fifo"])).conflicts.count == 1)
        let older = QueueComparison(wanted, changed(tags: ["queuepool:epoch": "0"]))
        #expect(older.conflicts.isEmpty && older.tagsToSet == ["queuepool:epoch": "1"])
    }
}

@Suite("Queues that a pool takes over")
struct AdoptionTests {
    private func queue(_ name: String, _ attributes: [String: String] = [:]) -> FoundQueue {
        FoundQueue(
            url: "https://sqs/1/\(name)",
            attributes: [
                "FifoQueue": "true", "DeduplicationScope": "queue", "FifoThroughputLimit": "perQueue",
                "MaximumMessageSize": "1048576",
            ].merging(attributes) { $1 }, tags: [:])
    }

    @Test func `a queue as the service makes it gets another scope and another limit, and is told of`() {
        let found = queue("a.fifo")
        let adoption = Adoption([found])
        #expect(
            adoption.notes.map(\.description) == [
                "a.fifo: DeduplicationScope is set to 'messageGroup', was 'queue'",
                "a.fifo: FifoThroughputLimit is set to 'perMessageGroupId', was 'perQueue'",
            ])
        #expect(Adoption([adoption.changed(found)]).notes.isEmpty)
    }

    @Test func `queues that deduplicate by group already keep their limit, unless one of them has another`() {
        let slow = queue("a.fifo", ["DeduplicationScope": "messageGroup"])
        let fast = queue("b.fifo", ["DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"])
        #expect(Adoption([slow]).notes.isEmpty && !Adoption([slow]).options.isHighThroughput)
        let both = Adoption([slow, fast])
        #expect(both.options.isHighThroughput && both.changes(of: fast).isEmpty)
        #expect(both.changes(of: slow) == ["FifoThroughputLimit": "perMessageGroupId"])
    }

    @Test func `the pool's limit is the least of its queues, and the queue that sets it is told of`() {
        let grouped = ["DeduplicationScope": "messageGroup"]
        let small = grouped.merging(["MaximumMessageSize": "262144"]) { $1 }
        let adoption = Adoption([queue("a.fifo", grouped), queue("b.fifo", small), queue("c.fifo", grouped)])
        #expect(adoption.options.messageBytesMax == 262_144)
        #expect(adoption.notes == [.limits(queue: "b.fifo", bytes: 262_144)])
    }

    @Test func `the dead-letter queue takes every message that a shard may hold, also one from before`() throws {
        let small = queue("a.fifo", ["MaximumMessageSize": "262144"])
        let plan = PoolQueuePlan(
            pool: try #require(PoolName("emails.fifo")), options: Adoption([small, queue("b.fifo")]).options)
        #expect(plan.deadLetterQueue.attributes["MaximumMessageSize"] == "1048576")
        #expect(plan.shard(ShardIndex(0), deadLetterARN: "").attributes["MaximumMessageSize"] == "262144")
    }

    @Test func `a key is kept and told of`() {
        let found = queue("a.fifo", ["DeduplicationScope": "messageGroup", "KmsMasterKeyId": "alias/k"])
        #expect(Adoption([found]).notes == [.keepsKey(queue: "a.fifo")] && Adoption([found]).changes(of: found).isEmpty)
    }
}
