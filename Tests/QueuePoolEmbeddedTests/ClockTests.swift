// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolTestSupport
import Testing

@testable import QueuePoolEmbedded

@Suite("A shard's clock")
struct ClockTests {
    private let bench = UpkeepBench()

    private func isDuplicate(_ shard: EmbeddedShard, _ id: String) async throws -> Bool {
        try await shard.store(("g", id))[0].isDuplicate
    }

    @Test("set forward over a stop: ids from before are known for five minutes of running, and no longer")
    func forward() async throws {
        let first = try bench.open()
        #expect(try await !isDuplicate(first, "old"))
        #expect(try await !isDuplicate(first, "gone"))
        #expect(await first.discard(try await first.fetch()))
        // The block goes, its keys stay.
        bench.clock.pass(seconds: 2)
        #expect(try await !isDuplicate(first, "last"))
        first.close()
        bench.clock.pass(seconds: 600)
        let second = try bench.open()
        #expect(try await isDuplicate(second, "old"))
        #expect(try await isDuplicate(second, "gone"))
        #expect(try await !isDuplicate(second, "new"))
        bench.clock.pass(seconds: 297)
        #expect(try await isDuplicate(second, "old"))
        bench.clock.pass(seconds: 2)
        #expect(try await !isDuplicate(second, "old"))
        #expect(try await isDuplicate(second, "new"), "what came after the opening has its own five minutes")
        bench.clock.pass(seconds: 2)
        #expect(try await !isDuplicate(second, "new"))
        second.close()
    }

    @Test("set back over a stop: new ids are taken, known ones refused, and forgotten after five minutes")
    func back() async throws {
        let first = try bench.open()
        let before = try await first.store(("g", "old"))[0]
        first.close()
        bench.clock.pass(seconds: -600)
        let second = try bench.open()
        #expect(try await isDuplicate(second, "old"))
        let after = try await second.store(("h", "new"))[0]
        #expect(!after.isDuplicate && after.sequence > before.sequence)
        #expect(second.counts().oldestAgeMilliseconds == 0)
        bench.clock.pass(seconds: 301)
        #expect(try await !isDuplicate(second, "old"))
        #expect(try await !isDuplicate(second, "new"))
        second.close()
    }

    @Test("set back over a stop: what was in flight stays so for as long as it was meant to")
    func visibility() async throws {
        var attributes = QueueAttributes()
        attributes.retentionSeconds = 60
        let first = try bench.open(attributes)
        _ = try await first.store(("g", "1"))
        let taken = try await first.receive(ReceiveCommand(limit: 1, visibilitySeconds: 20)).get()
        #expect(taken.count == 1)
        bench.clock.pass(seconds: 5)
        first.close()
        bench.clock.pass(seconds: -600)
        let second = try bench.open(attributes)
        #expect(second.counts().inFlight == 1)
        #expect(second.nextVisibleAt() == bench.clock.now() + 15_000, "told in the time of whoever asks")
        bench.clock.pass(seconds: 15)
        #expect(second.counts().backlog == 1)
        bench.clock.pass(milliseconds: 40_001)
        #expect(try await second.fetch().isEmpty, "the retention period runs on too")
        second.close()
    }

    @Test("a clean stop notes its own time, so that an idle queue does not run back either")
    func stop() async throws {
        let first = try bench.open()
        let before = try await first.store(("g", "1"))[0]
        bench.clock.pass(seconds: 100)
        first.close()
        bench.clock.pass(seconds: -600)
        let second = try bench.open()
        let after = try await second.store(("g", "2"))[0]
        #expect(after.sequence.sentAt - before.sequence.sentAt == 100_000)
        second.close()
    }
}
