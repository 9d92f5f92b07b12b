// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

/// The rules of the port, each run against every implementation.
@Suite(.timeLimit(.minutes(3))) struct `Every control store` {
    private func keep(_ rule: @escaping ControlRule, _ subject: ControlSubject) async throws {
        try await ControlBench.run(rule, on: subject).report()
    }

    @Test(arguments: ControlSubject.tested)
    func `gives back the pool that was written`(subject: ControlSubject) async throws {
        try await keep(ControlRules.readBack, subject)
    }

    @Test(arguments: ControlSubject.tested)
    func `lists pools by name`(subject: ControlSubject) async throws {
        try await keep(ControlRules.listing, subject)
    }

    @Test(arguments: ControlSubject.tested)
    func `tells the second of two who write from the same version`(subject: ControlSubject) async throws {
        try await keep(ControlRules.conflicts, subject)
    }

    // Not over moto, where two were seen to win; DynamoDB promises that one does.
    @Test(arguments: [ControlSubject.sqlite, .simulated])
    func `lets one of many win who write at one time`(subject: ControlSubject) async throws {
        try await keep(ControlRules.races, subject)
    }

    @Test(arguments: ControlSubject.tested)
    func `has a revision that grows with every change, and with nothing else`(subject: ControlSubject) async throws {
        try await keep(ControlRules.revision, subject)
    }

    @Test(arguments: ControlSubject.tested)
    func `removes a pool for who saw it last, and not one that was made anew`(subject: ControlSubject) async throws {
        try await keep(ControlRules.removal, subject)
    }

    @Test(arguments: ControlSubject.tested)
    func `knows whose a pool is and whether it is being deleted`(subject: ControlSubject) async throws {
        try await keep(ControlRules.ownership, subject)
    }

    @Test(arguments: ControlSubject.tested)
    func `knows where data directories are`(subject: ControlSubject) async throws {
        try await keep(ControlRules.directories, subject)
    }

    @Test(arguments: ControlSubject.tested)
    func `takes the largest pool`(subject: ControlSubject) async throws {
        try await keep(ControlRules.largest, subject)
    }

    @Test(arguments: ControlSubject.tested)
    func `names a pool that does not parse, and gives the others`(subject: ControlSubject) async throws {
        try await keep(ControlRules.damage, subject)
    }
}
