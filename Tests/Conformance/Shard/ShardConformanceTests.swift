// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolTestSupport
import Testing

/// The rules of the port, each run against every implementation.
@Suite(.timeLimit(.minutes(3))) struct `Every shard` {
    private func keep(_ rule: ShardRule, _ subject: ShardSubject) async throws {
        try await ShardBench.run(rule, on: subject).report()
    }

    // MARK: - Order

    @Test(arguments: ShardSubject.allCases)
    func `gives a group's messages in the order of their sends`(subject: ShardSubject) async throws {
        try await keep(OrderRules.sends, subject)
    }

    @Test(arguments: ShardSubject.allCases)
    func `gives entries of one batch in their order, under the ids of their receipts`(
        subject: ShardSubject
    ) async throws { try await keep(OrderRules.entriesOfABatch, subject) }

    @Test(arguments: ShardSubject.allCases)
    func `keeps a group locked until what is in flight of it is deleted`(subject: ShardSubject) async throws {
        try await keep(OrderRules.lockUntilDeleted, subject)
    }

    @Test(arguments: ShardSubject.allCases)
    func `keeps a group locked until what is in flight of it is visible again`(subject: ShardSubject) async throws {
        try await keep(OrderRules.lockUntilVisible, subject)
    }

    @Test(arguments: ShardSubject.allCases)
    func `gives again, in order, what was given back`(subject: ShardSubject) async throws {
        try await keep(OrderRules.givenBack, subject)
    }

    @Test(arguments: ShardSubject.allCases)
    func `keeps a message in flight for as long as it is told to`(subject: ShardSubject) async throws {
        try await keep(OrderRules.keptLonger, subject)
    }

    @Test(arguments: ShardSubject.allCases, SplitMix64.seeds(4))
    func `does what a model of the queue does`(subject: ShardSubject, seed: UInt64) async throws {
        try await keep(OrderRules.walk(seed: seed, steps: 200), subject)
    }

    // MARK: - What is stored

    @Test(arguments: ShardSubject.allCases)
    func `gives what was sent, byte by byte`(subject: ShardSubject) async throws {
        try await keep(StorageRules.wholeMessages, subject)
    }

    @Test(arguments: ShardSubject.allCases)
    func `stores a deduplication id once within the interval`(subject: ShardSubject) async throws {
        try await keep(StorageRules.duplicates, subject)
    }

    @Test(arguments: ShardSubject.allCases)
    func `stores a deduplication id once within a batch`(subject: ShardSubject) async throws {
        try await keep(StorageRules.duplicatesInABatch, subject)
    }

    @Test(arguments: ShardSubject.allCases)
    func `tells ids of other groups apart as its scope says`(subject: ShardSubject) async throws {
        try await keep(StorageRules.scopes, subject)
    }

    @Test(arguments: ShardSubject.allCases)
    func `has what it acknowledged when it is opened again`(subject: ShardSubject) async throws {
        try await keep(StorageRules.reopening, subject)
    }

    @Test(arguments: ShardSubject.allCases)
    func `has nothing and knows no id after a purge, and goes on`(subject: ShardSubject) async throws {
        try await keep(StorageRules.purge, subject)
    }

    @Test(arguments: ShardSubject.allCases)
    func `counts what is there and what went`(subject: ShardSubject) async throws {
        try await keep(StorageRules.counts, subject)
    }

    // MARK: - The border

    @Test(arguments: ShardSubject.allCases)
    func `is of the kind that it says`(subject: ShardSubject) async throws {
        try await keep(BorderRules.traits, subject)
    }

    @Test(arguments: ShardSubject.allCases)
    func `answers for each entry of a request, or stores it whole`(subject: ShardSubject) async throws {
        try await keep(BorderRules.eachEntry, subject)
    }

    @Test(arguments: ShardSubject.allCases)
    func `has a receipt for each message that it pulled`(subject: ShardSubject) async throws {
        try await keep(BorderRules.pulled, subject)
    }

    @Test(arguments: ShardSubject.allCases)
    func `counts the deliveries of a message`(subject: ShardSubject) async throws {
        try await keep(BorderRules.receiveCounts, subject)
    }

    @Test(arguments: ShardSubject.allCases)
    func `deletes by the handle in flight, and by no other`(subject: ShardSubject) async throws {
        try await keep(BorderRules.handles, subject)
    }

    @Test(arguments: ShardSubject.allCases)
    func `has an outcome for each of many handles, in their order`(subject: ShardSubject) async throws {
        try await keep(BorderRules.manyHandles, subject)
    }

    @Test(arguments: ShardSubject.allCases)
    func `gives a repeated receive what the first one got`(subject: ShardSubject) async throws {
        try await keep(BorderRules.attempts, subject)
    }

    @Test(arguments: ShardSubject.allCases)
    func `hides messages for as long as its attributes or the receive say`(subject: ShardSubject) async throws {
        try await keep(BorderRules.attributes, subject)
    }

    @Test(arguments: ShardSubject.allCases)
    func `wakes who waits when there is something`(subject: ShardSubject) async throws {
        try await keep(BorderRules.waking, subject)
    }

    @Test(arguments: ShardSubject.allCases)
    func `answers each call once, also while and after it closes`(subject: ShardSubject) async throws {
        try await keep(BorderRules.completions, subject)
    }

    @Test(arguments: ShardSubject.allCases)
    func `gives nothing out once it is closed`(subject: ShardSubject) async throws {
        let findings = try await ShardBench.run(BorderRules.closedToReceivers, on: subject)
        findings.report()
    }
}
