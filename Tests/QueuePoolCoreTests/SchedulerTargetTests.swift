// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolCore

@Suite struct `A target that fails` {
    private static let away = DeliveryOutcome.unavailable(errorClass: "unreachable")
    private static let failure = DeliveryOutcome.failed(errorClass: "http-503")

    @Test func `costs no message an attempt while it cannot be reached, and takes all of them when it is back`() {
        let stage = SchedulerStage(maxAttempts: 2)
        let names = (0..<30).map { "g\($0)-1" }
        for name in names { stage.receive(name) }
        #expect(stage.told().count == 30)
        for name in names { stage.end(name, Self.away) }
        #expect(stage.told() == ["target 0 unreachable"])
        // Down for a minute, in which each probe fails.
        var probes = 0
        for _ in 0..<600 {
            stage.wait(100)
            for text in stage.told() where text.hasPrefix("deliver") {
                probes += 1
                stage.end(String(text.split(separator: " ")[1]), Self.away)
            }
            if stage.held == 0 { break }
            stage.extendAll()
        }
        #expect((3...12).contains(probes), "one probe at a time, ever later: \(probes)")
        #expect(stage.deadLettered == 0)
        var delivered: [String] = []
        for _ in 0..<400 where delivered.count < 30 {
            stage.wait(100)
            for text in stage.told() where text.hasPrefix("deliver") {
                #expect(text.hasSuffix(" 1"), "nothing was spent")
                delivered.append(String(text.split(separator: " ")[1]))
                stage.end(delivered[delivered.count - 1])
            }
            stage.extendAll()
        }
        #expect(Set(delivered) == Set(names) && delivered.count == 30)
        #expect(stage.deadLettered == 0)
    }

    @Test func `is not asked for more while nothing can be delivered`() {
        let stage = SchedulerStage()
        stage.receive("a-1", "b-1", "c-1")
        for name in ["a-1", "b-1"] { stage.end(name, Self.away) }
        _ = stage.told()
        stage.receive()
        #expect(stage.told(withPolls: true).contains("receive 0"))
        stage.end("c-1", Self.away)
        #expect(stage.told() == ["target 0 unreachable"])
        stage.receive()
        #expect(stage.told(withPolls: true) == [], "no receive while the only target is away")
    }

    @Test func `two lost connections among many deliveries are no news`() {
        let stage = SchedulerStage()
        for round in 0..<10 {
            // Most deliveries go well.
            for name in ["b-\(round)", "c-\(round)"] {
                stage.receive(name)
                stage.end(name)
                stage.deleted()
            }
            _ = stage.told()
            stage.receive("a-\(round)")
            #expect(stage.told().contains("deliver a-\(round) 1"))
            stage.end("a-\(round)", Self.away)
            stage.wait(500)
            #expect(stage.told() == ["deliver a-\(round) 1"])
            stage.end("a-\(round)", Self.away)
            stage.wait(1_000)
            #expect(stage.told() == ["deliver a-\(round) 1"])
            stage.end("a-\(round)")
            #expect(stage.told() == ["delete a-\(round)"])
            stage.deleted()
        }
    }

    @Test func `is passed over for the next one within the same attempt`() {
        let stage = SchedulerStage(targets: 3)
        stage.receive("a-1")
        #expect(stage.told() == ["deliver a-1 1"])
        stage.end("a-1", Self.away)
        #expect(stage.told() == ["deliver a-1 1 at 1"])
        stage.end("a-1", Self.failure, target: 1)
        #expect(stage.told() == ["deliver a-1 1 at 2"])
        stage.end("a-1", Self.failure, target: 2)
        stage.wait(1_000)
        #expect(stage.told() == ["deliver a-1 2"], "an answer spends an attempt, and the next begins at the first")
    }

    @Test func `is passed over at once while it is known to be away`() {
        let stage = SchedulerStage(targets: 2)
        for name in ["a-1", "b-1", "c-1"] {
            stage.receive(name)
            stage.end(name, Self.away)
            stage.end(name, target: 1)
        }
        _ = stage.told()
        stage.receive("d-1")
        #expect(stage.told().contains("deliver d-1 1 at 1"))
    }

    @Test func `that refuses for good is believed: no other target gets the message`() {
        let stage = SchedulerStage(targets: 2)
        stage.receive("a-1")
        stage.end("a-1", .refused(errorClass: "smtp-550"))
        #expect(stage.told() == ["deliver a-1 1", "move a-1 permanent-failure smtp-550 1"])
    }

    @Test func `that may have taken a message gets it again, and no other does`() {
        let stage = SchedulerStage(targets: 2, maxAttempts: 3)
        stage.receive("a-1")
        _ = stage.told()
        stage.end("a-1", .unknown(errorClass: "timeout"))
        #expect(stage.told() == [])
        stage.wait(1_000)
        #expect(stage.told() == ["deliver a-1 2"])
        stage.end("a-1", Self.failure)
        stage.wait(2_000)
        #expect(stage.told() == ["deliver a-1 3"], "an answer 'not now' does not say that the first try did not arrive")
        stage.end("a-1", .unknown(errorClass: "timeout"))
        #expect(stage.told() == ["move a-1 attempts-exhausted timeout 3"])
    }

    @Test func `that may have taken a message and is away for hours holds its group no longer`() {
        let stage = SchedulerStage(targets: 2) { $0.unknownMilliseconds = 600_000 }
        stage.receive("a-1", "a-2")
        stage.end("a-1", .unknown(errorClass: "timeout"))
        var moved: Int64?
        for second in 1...700 where moved == nil {
            stage.wait(1_000)
            for text in stage.told() {
                if text.hasPrefix("deliver a-1") { stage.end("a-1", Self.away) }
                if text.hasPrefix("move a-1") {
                    #expect(text == "move a-1 attempts-exhausted unknown-outcome 1")
                    moved = Int64(second)
                }
                #expect(!text.hasSuffix("at 1"))
            }
            stage.extendAll()
        }
        #expect((600...640).contains(moved ?? 0), "\(String(describing: moved))")
    }

    @Test func `that may have taken a message is remembered when the message comes again`() {
        let stage = SchedulerStage(targets: 2)
        stage.receive("a-1")
        stage.end("a-1", .unknown(errorClass: "timeout"))
        _ = stage.told()
        stage.extended(["a-1"], lost: ["a-1"])
        for name in ["b-1", "c-1"] {
            stage.receive(name)
            stage.end(name, Self.away)
        }
        _ = stage.told()
        stage.receive("a-1", handle: "again")
        #expect(!stage.told().contains { $0.hasPrefix("deliver a-1") }, "target 1 must not get it, target 0 is away")
        stage.wait(30_000)
        #expect(stage.told().contains("deliver a-1 2"))
    }

    @Test func `that is gone for good ends the worker and spends nothing`() {
        let stage = SchedulerStage()
        stage.receive("a-1", "a-2")
        stage.end("a-1", .ended(errorClass: "stdout-closed"))
        #expect(stage.told() == ["deliver a-1 1", "target 0 ended stdout-closed"])
        stage.stop()
        stage.receiveFailed()
        #expect(stage.told() == ["cancel receives", "release a-2 a-1", "drained 0", "finished"])
    }
}

@Suite struct `A message's budget` {
    private static let failure = DeliveryOutcome.failed(errorClass: "http-503")

    @Test func `is attempts and time, both`() {
        let stage = SchedulerStage(maxAttempts: 2) { $0.retryMilliseconds = 3_600_000 }
        stage.receive("a-1")
        var attempts = 0
        var isMoved = false
        for second in 0..<5_000 where !isMoved {
            for text in stage.told() {
                if text.hasPrefix("deliver") {
                    attempts += 1
                    stage.end("a-1", Self.failure)
                } else if text.hasPrefix("move") {
                    #expect(second >= 3_600, "not before its time is over")
                    isMoved = true
                }
            }
            stage.wait(1_000)
            stage.extendAll()
        }
        #expect(isMoved && attempts > 100)
    }

    @Test func `counts what the queue delivered before`() {
        let stage = SchedulerStage(maxAttempts: 3)
        stage.receive("a-1", receiveCount: 3)
        #expect(stage.told() == ["deliver a-1 3"])
        stage.end("a-1", Self.failure)
        #expect(stage.told() == ["move a-1 attempts-exhausted http-503 3"])
    }

    @Test func `ends for what kills its workers, which never fails`() {
        let stage = SchedulerStage { $0.maxReceives = 6 }
        stage.receive("a-1", receiveCount: 6)
        stage.receive("b-1", receiveCount: 7)
        stage.wait(1_000)
        #expect(stage.told() == ["move b-1 attempts-exhausted received-7-times 7"])
        stage.moved("b-1")
        stage.deleted()
        #expect(stage.told() == ["delete b-1", "deliver a-1 6"])
    }
}

@Suite struct `Recipients of one mail` {
    @Test func `get it once; those who wait are tried again, those refused are recorded`() {
        let stage = SchedulerStage()
        stage.receive("a-1", "a-2")
        stage.end("a-1", .partial(PartialDelivery(refused: [1], deferred: [3], errorClass: "smtp-550")))
        _ = stage.told()
        stage.wait(1_000)
        #expect(stage.told() == ["deliver a-1 2 to 3"])
        stage.end("a-1")
        #expect(stage.told() == ["move a-1 recipients-refused smtp-550 2 to 1"])
        stage.moved("a-1", isStored: false)
        stage.wait(30_000)
        #expect(stage.told().last == "move a-1 recipients-refused smtp-550 2 to 1", "and is not mailed to anybody")
        stage.moved("a-1")
        stage.deleted()
        #expect(stage.told() == ["delete a-1", "deliver a-2 1"])
    }

    @Test func `that are refused at once are recorded at once`() {
        let stage = SchedulerStage()
        stage.receive("a-1")
        stage.end("a-1", .partial(PartialDelivery(refused: [0, 2], deferred: [], errorClass: "smtp-550")))
        #expect(stage.told() == ["deliver a-1 1", "move a-1 recipients-refused smtp-550 1 to 0,2"])
    }
}
