// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

/// The rules of the port of bodies, each run against every implementation.
@Suite(.timeLimit(.minutes(3))) struct `Every body store` {
    private func keep(_ rule: @escaping BodyRule, _ subject: BodySubject) async throws {
        try await BodyBench.run(rule, on: subject).report()
    }

    @Test(arguments: BodySubject.tested)
    func `gives back what was stored, byte for byte`(subject: BodySubject) async throws {
        try await keep(BodyRules.readBack, subject)
    }

    @Test(arguments: BodySubject.tested)
    func `knows no body that is not there, and removes it all the same`(subject: BodySubject) async throws {
        try await keep(BodyRules.removal, subject)
    }

    @Test(arguments: BodySubject.tested)
    func `takes the same body again under its key`(subject: BodySubject) async throws {
        try await keep(BodyRules.again, subject)
    }

    @Test(arguments: BodySubject.tested)
    func `gives no body that is over the reader's limit`(subject: BodySubject) async throws {
        try await keep(BodyRules.limits, subject)
    }

    @Test(arguments: BodySubject.tested)
    func `touches nothing that is not in its folder`(subject: BodySubject) async throws {
        try await keep(BodyRules.foreignKeys, subject)
    }

    @Test(arguments: BodySubject.tested)
    func `gives no key twice`(subject: BodySubject) async throws {
        try await keep(BodyRules.keys, subject)
    }

    @Test(arguments: BodySubject.tested)
    func `ends each call once and later`(subject: BodySubject) async throws {
        try await keep(BodyRules.endings, subject)
    }

    @Test(arguments: BodySubject.tested)
    func `answers many at one time, each its own`(subject: BodySubject) async throws {
        try await keep(BodyRules.manyAtOnce, subject)
    }
}
