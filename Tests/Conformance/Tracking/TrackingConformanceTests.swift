// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

/// The rules of the port of tracking records, each run against every implementation.
@Suite(.timeLimit(.minutes(3))) struct `Every tracking store` {
    private func keep(_ rule: TrackingRule, _ subject: TrackingSubject) async throws {
        try await TrackingBench.run(rule, on: subject).report()
    }

    @Test(arguments: TrackingSubject.tested)
    func `gives back what was saved`(subject: TrackingSubject) async throws {
        try await keep(TrackingRules.readBack, subject)
    }

    @Test(arguments: TrackingSubject.tested)
    func `replaces a record by one of a higher rank or a later time only`(subject: TrackingSubject) async throws {
        try await keep(TrackingRules.replacing, subject)
    }

    @Test(arguments: TrackingSubject.tested)
    func `keeps what the later record does not know`(subject: TrackingSubject) async throws {
        try await keep(TrackingRules.keeping, subject)
    }

    @Test(arguments: TrackingSubject.tested)
    func `finds no record whose time is over`(subject: TrackingSubject) async throws {
        try await keep(TrackingRules.expiry, subject)
    }

    @Test(arguments: TrackingSubject.tested)
    func `keeps pools apart`(subject: TrackingSubject) async throws {
        try await keep(TrackingRules.pools, subject)
    }

    @Test(arguments: TrackingSubject.tested)
    func `keeps ids apart, be they UUIDs or not`(subject: TrackingSubject) async throws {
        try await keep(TrackingRules.ids, subject)
    }

    @Test(arguments: TrackingSubject.tested)
    func `gives texts back byte for byte`(subject: TrackingSubject) async throws {
        try await keep(TrackingRules.texts, subject)
    }

    // Not when answers are lost, which is tried by all others and would cost moto as much as these together.
    @Test(arguments: TrackingSubject.tested.filter { $0 != .dynamoDBLosingAnswers })
    func `takes a thousand records in one save`(subject: TrackingSubject) async throws {
        try await keep(TrackingRules.many, subject)
    }

    @Test(arguments: TrackingSubject.tested)
    func `takes records of one message in one save in their order`(subject: TrackingSubject) async throws {
        try await keep(TrackingRules.repeated, subject)
    }

    @Test(arguments: TrackingSubject.tested)
    func `removes the records of one pool`(subject: TrackingSubject) async throws {
        try await keep(TrackingRules.removal, subject)
    }

    @Test(arguments: TrackingSubject.tested)
    func `serves many calls at one time`(subject: TrackingSubject) async throws {
        try await keep(TrackingRules.manyAtOnce, subject)
    }
}

@Suite(.timeLimit(.minutes(3))) struct `The rules for tracking stores` {
    @Test(arguments: TrackingFault.allCases) func `notice a store that does not keep them`(
        fault: TrackingFault
    ) async throws {
        for (number, rule) in fault.rules.enumerated() {
            let findings = try await TrackingBench.run(rule, on: .inMemory, fault: fault)
            #expect(!findings.all.isEmpty, "rule \(number) of this fault found nothing")
        }
    }
}
