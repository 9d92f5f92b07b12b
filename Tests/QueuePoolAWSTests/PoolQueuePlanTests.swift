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
