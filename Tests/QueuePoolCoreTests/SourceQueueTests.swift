// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Testing

@Suite struct `The queue that a dead letter came from` {
    @Test func `is read out of its ARN`() throws {
        let queue = try #require(SourceQueue(arn: "arn:aws-cn:sqs:cn-north-1:222222222222:mine.fifo"))
        #expect(queue.region == "cn-north-1" && queue.account == "222222222222" && queue.name == "mine.fifo")
    }

    @Test(arguments: [
        "", "mine.fifo", "arn:aws:sns:us-east-1:1:mine.fifo", "arn:aws:sqs:us-east-1:1:", "arn:aws:sqs:us-east-1:1",
        "arn:aws:sqs:us-east-1:1:mine.fifo:x", "http://127.0.0.1/1/mine.fifo",
    ])
    func `is none where the text is no ARN of a queue`(text: String) {
        #expect(SourceQueue(arn: text) == nil)
    }

    @Test func `is the one at an address by its name, and by its account where one is known`() throws {
        let queue = try #require(SourceQueue(arn: "arn:aws:sqs:us-east-1:222222222222:mine.fifo"))
        func address(_ url: String, account: String? = nil) -> ShardAddress {
            ShardAddress(region: "us-east-1", queueURL: url, account: account)
        }
        #expect(queue.isNamed(by: address("https://sqs/222222222222/mine.fifo")))
        #expect(queue.isNamed(by: address("https://sqs/222222222222/mine.fifo", account: "222222222222")))
        #expect(!queue.isNamed(by: address("https://sqs/111111111111/mine.fifo", account: "111111111111")))
        #expect(!queue.isNamed(by: address("https://sqs/222222222222/other.fifo")))
    }

    @Test func `is a pool's shard by the rule of names`() throws {
        let name = try #require(PoolName("emails.fifo"))
        for number in [0, 3, 9_999, 12_345] { #expect(name.isShardName(name.shardName(number))) }
        for other in [
            "emails.fifo", "emails-dlq.fifo", "emails-003.fifo", "emails-00003.fifo", "emails--003.fifo",
            "emails-+003.fifo", "emailz-0003.fifo", "emails-0003", "",
        ] {
            #expect(!name.isShardName(other), "\(other)")
        }
    }
}
