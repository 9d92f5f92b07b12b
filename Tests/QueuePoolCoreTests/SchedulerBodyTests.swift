// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolCore

/// Messages whose bodies lie elsewhere and cannot be read.
@Suite struct `A group whose head has no body at hand` {
    private static let missing = DeliveryOutcome.incomplete(errorClass: "body-missing", isLasting: true)
    private static let away = DeliveryOutcome.incomplete(errorClass: "body-SlowDown", isLasting: false)

    @Test func `spends its attempts when there is none, then the group goes on`() {
        let stage = SchedulerStage(targets: 2, maxAttempts: 2)
        stage.receive("a-1", "a-2")
        stage.end("a-1", Self.missing)
        #expect(stage.told() == ["deliver a-1 1"], "no other target would help")
        stage.wait(30_000)
        _ = stage.told()
        stage.end("a-1", Self.missing)
        #expect(stage.told() == ["move a-1 body-missing body-missing 2"])
        stage.moved("a-1")
        stage.deleted()
        #expect(stage.told() == ["delete a-1", "deliver a-2 1"])
    }

    @Test func `spends nothing while nobody answers there, and waits longer each time`() {
        let stage = SchedulerStage(maxAttempts: 1)
        stage.receive("a-1")
        #expect(stage.told() == ["deliver a-1 1"])
        var waits: [Int] = []
        for _ in 0..<12 {
            stage.end("a-1", Self.away)
            var count = 0
            while stage.told().filter({ $0.hasPrefix("deliver") }).isEmpty, count < 1_000 {
                stage.wait(100)
                stage.extendAll()
                count += 1
            }
            waits.append(count)
        }
        #expect(waits.suffix(4).reduce(0, +) > 4 * waits.prefix(4).reduce(0, +))
        #expect(waits.allSatisfy { $0 < 1_000 })
        stage.end("a-1", .refused(errorClass: "smtp-550"))
        #expect(stage.told() == ["move a-1 permanent-failure smtp-550 1"], "which was the first attempt")
    }

    @Test(arguments: [missing, away]) func `says nothing of the target`(outcome: DeliveryOutcome) {
        let stage = SchedulerStage(maxAttempts: 100)
        for number in 0..<20 {
            stage.receive("g\(number)-1")
            stage.end("g\(number)-1", outcome)
        }
        #expect(!stage.told().contains { $0.hasPrefix("target") })
        stage.receive("b-1")
        #expect(stage.told().contains("deliver b-1 1"), "which gets the others")
    }

    @Test func `is given up for what its target says once the body is there`() {
        let stage = SchedulerStage(maxAttempts: 2)
        stage.receive("a-1")
        stage.end("a-1", Self.missing)
        stage.wait(30_000)
        _ = stage.told()
        stage.end("a-1", .failed(errorClass: "timeout"))
        #expect(stage.told() == ["move a-1 attempts-exhausted timeout 2"])
    }

    @Test func `counts with its whole size`() {
        let stage = SchedulerStage { $0.heldBytesMax = 1_000_000 }
        stage.receive(["a-1"], bytes: 100, storedBytes: 900_000)
        #expect(stage.heldBytes == 900_000)
        stage.receive(["b-1"], bytes: 100, storedBytes: 5)
        #expect(stage.heldBytes == 900_100)
    }
}
