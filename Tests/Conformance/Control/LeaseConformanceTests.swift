// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

/// The rules of the port of leases, each run against every implementation.
@Suite(.timeLimit(.minutes(3))) struct `Every lease store` {
    private func keep(_ rule: @escaping LeaseRule, _ subject: LeaseSubject) async throws {
        try await LeaseBench.run(rule, on: subject).report()
    }

    @Test(arguments: LeaseSubject.tested)
    func `gives back what was written`(subject: LeaseSubject) async throws {
        try await keep(LeaseRules.readBack, subject)
    }

    @Test(arguments: LeaseSubject.tested)
    func `stores the beat after the one that is stored, and that one again`(subject: LeaseSubject) async throws {
        try await keep(LeaseRules.beats, subject)
    }

    @Test(arguments: LeaseSubject.tested)
    func `removes a heartbeat that stood still, and the worker cannot go on`(subject: LeaseSubject) async throws {
        try await keep(LeaseRules.removal, subject)
    }

    @Test(arguments: LeaseSubject.tested)
    func `tells the second of two who write a lease from the same version`(subject: LeaseSubject) async throws {
        try await keep(LeaseRules.versions, subject)
    }

    @Test(arguments: LeaseSubject.tested)
    func `keeps leases for a pool that is stored, and no longer`(subject: LeaseSubject) async throws {
        try await keep(LeaseRules.pools, subject)
    }

    @Test(arguments: LeaseSubject.tested)
    func `removes everything of a pool`(subject: LeaseSubject) async throws {
        try await keep(LeaseRules.clearing, subject)
    }

    @Test(arguments: LeaseSubject.tested)
    func `changes no pool and no revision`(subject: LeaseSubject) async throws {
        try await keep(LeaseRules.apart, subject)
    }

    @Test(arguments: LeaseSubject.tested)
    func `takes as many as a pool may have, and sorts them`(subject: LeaseSubject) async throws {
        try await keep(LeaseRules.many, subject)
    }

    // Not over moto, which looks at a condition and writes in two steps without a lock; DynamoDB promises that one wins.
    @Test(arguments: [LeaseSubject.sqlite, .simulated])
    func `lets one of many win who write a lease at one time`(subject: LeaseSubject) async throws {
        try await keep(LeaseRules.writeRaces, subject)
    }

    // Not over moto, as above.
    @Test(arguments: [LeaseSubject.sqlite, .simulated])
    func `lets a renewal win or the removal of the beat before it, never both`(subject: LeaseSubject) async throws {
        try await keep(LeaseRules.heartbeatRaces, subject)
    }
}
