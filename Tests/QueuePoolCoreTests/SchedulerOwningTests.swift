// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolCore

@Suite struct `A shard that is begun` {
    @Test func `is received from then on and not before`() {
        let stage = SchedulerStage(shards: 3, ownsAll: false)
        stage.wait(1_000)
        #expect(stage.told(withPolls: true) == [])
        stage.begin(1)
        #expect(stage.told(withPolls: true) == ["receive 1"])
        stage.begin(1)
        #expect(stage.told(withPolls: true) == [], "it is ours already")
        stage.receive("a-1", shard: 1)
        #expect(stage.told(withPolls: true) == ["deliver a-1 1", "receive 1"])
    }

    @Test func `may be one that the pool got meanwhile`() {
        let stage = SchedulerStage(shards: 1)
        stage.begin(2)
        #expect(stage.told(withPolls: true) == [], "there is none")
        stage.grow(to: 3)
        stage.wait(1_000)
        #expect(stage.told(withPolls: true) == [], "and a new one is not ours")
        stage.begin(2)
        #expect(stage.told(withPolls: true) == ["receive 2"])
        stage.grow(to: 1)
        stage.receive("a-1", shard: 2)
        #expect(stage.told() == ["deliver a-1 1"], "what is there stays")
    }

    @Test func `while it is being drained goes on with what was not given back yet`() {
        let stage = SchedulerStage(concurrency: 1)
        stage.receive("a-1", "b-1", "b-2")
        stage.drain()
        stage.end("a-1")
        stage.deleted()
        #expect(stage.told() == ["deliver a-1 1", "cancel receives of 0", "delete a-1"])
        stage.begin()
        #expect(stage.told() == ["deliver b-1 1"])
        stage.receiveFailed()
        stage.wait(1_000)
        #expect(stage.told(withPolls: true) == ["receive 0"], "and it is never drained")
    }

    @Test func `after it was drained is as new`() {
        let stage = SchedulerStage()
        stage.drain()
        stage.receiveFailed()
        #expect(stage.told() == ["cancel receives of 0", "drained 0"])
        stage.begin()
        #expect(stage.told(withPolls: true) == ["receive 0"], "the receive that was broken off is no failure")
        stage.receive("a-1", "a-2")
        #expect(stage.told() == ["deliver a-1 1"])
        stage.drain()
        stage.receiveFailed()
        #expect(stage.told() == ["cancel receives of 0", "release a-2"], "and is drained again")
    }

    @Test func `takes up the whole room, however many shards there are`() {
        let stage = SchedulerStage(shards: 8, ownsAll: false, concurrency: 1_000) { $0.heldBytesMax = 64 << 20 }
        stage.begin(5)
        var count = 0
        while stage.told(withPolls: true).contains("receive 5"), count < 100 {
            stage.receive((0..<10).map { "g\(count * 10 + $0)-0" }, shard: 5, bytes: 1 << 20)
            count += 1
        }
        #expect(stage.heldBytes >= 54 << 20 && stage.heldBytes <= 74 << 20, "\(stage.heldBytes >> 20) MiB")
    }

    @Test func `after a stop is not begun`() {
        let stage = SchedulerStage(shards: 2, ownsAll: false)
        stage.stop()
        _ = stage.told()
        stage.begin(1)
        #expect(stage.told(withPolls: true) == [])
    }
}

@Suite struct `A shard that is drained` {
    @Test func `gives back last first once its receive has ended, ends what is under way, and is drained once`() {
        let stage = SchedulerStage(shards: 2)
        stage.receive("a-1", "a-2", "a-3", shard: 1)
        _ = stage.told()
        stage.drain(1)
        #expect(stage.told() == ["cancel receives of 1"], "the receive could take again what is given back")
        stage.receive("a-4", "b-1", "b-2", shard: 1)
        #expect(Set(stage.told(withPolls: true)) == ["release a-4 a-3 a-2", "release b-2 b-1"])
        stage.end("a-1")
        #expect(stage.told() == ["delete a-1"])
        stage.deleted(failed: ["a-1"], shard: 1)
        #expect(stage.told() == ["deletes of 1 fail", "delete a-1"], "it is tried again")
        stage.deleted(shard: 1)
        #expect(stage.told() == ["deletes of 1 work", "drained 1"])
        stage.wait(60_000)
        #expect(stage.told(withPolls: true) == [], "once, and nothing more is received")
    }

    @Test func `leaves the other shards alone`() {
        let stage = SchedulerStage(shards: 2)
        stage.receive("a-1", "a-2", shard: 0)
        stage.drain(1)
        stage.receiveFailed(shard: 1)
        #expect(stage.told() == ["deliver a-1 1", "cancel receives of 1", "drained 1"])
        stage.end("a-1")
        stage.deleted()
        #expect(stage.told(withPolls: true) == ["delete a-1", "deliver a-2 1"])
    }

    @Test func `gives back what fails meanwhile, and what cannot be delivered goes to the dead-letter queue`() {
        let stage = SchedulerStage()
        stage.receive("a-1", "b-1")
        stage.drain()
        stage.receiveFailed()
        _ = stage.told()
        stage.end("a-1", .failed(errorClass: "timeout"))
        #expect(stage.told() == ["release a-1"])
        stage.end("b-1", .refused(errorClass: "smtp-550"))
        #expect(stage.told() == ["move b-1 permanent-failure smtp-550 1"])
        stage.moved("b-1")
        stage.deleted()
        #expect(stage.told() == ["delete b-1", "drained 0"])
    }

    @Test func `gives back what the dead-letter queue did not take`() {
        let stage = SchedulerStage()
        stage.receive("a-1")
        stage.drain()
        stage.receiveFailed()
        stage.end("a-1", .refused(errorClass: "smtp-550"))
        _ = stage.told()
        stage.moved("a-1", isStored: false)
        #expect(stage.told() == ["release a-1", "drained 0"])
    }

    @Test func `does not give back what was delivered and comes again`() {
        let stage = SchedulerStage()
        stage.receive("a-1")
        stage.end("a-1")
        stage.deleted(lost: ["a-1"])
        _ = stage.told()
        stage.drain()
        stage.receive("a-1", "a-2", handle: "again", receiveCount: 2)
        #expect(stage.told() == ["cancel receives of 0", "delete a-1", "release a-2"])
        stage.deleted()
        #expect(stage.told() == ["drained 0"])
    }

    @Test func `is so at its deadline, and what is under way is given back`() {
        let stage = SchedulerStage()
        stage.receive("a-1", "a-2", "b-1")
        stage.end("b-1")
        _ = stage.told()
        stage.drain(seconds: 5)
        stage.wait(4_900)
        #expect(stage.told() == ["cancel receives of 0"])
        stage.wait(100)
        #expect(stage.told() == ["release a-2", "release a-1", "drained 0"], "b-1 is done with")
        // The receive that nobody answered in time.
        stage.receive("c-1", "c-2")
        #expect(stage.told() == ["release c-2 c-1"])
        stage.end("a-1")
        stage.deleted()
        #expect(stage.told(withPolls: true) == ["delete a-1"], "nobody may have received it yet")
        #expect(stage.held == 1)
        stage.deleted()
        #expect(stage.held == 0)
    }

    @Test func `at the earlier of two deadlines, also that of a stop`() {
        let stage = SchedulerStage()
        stage.receive("a-1")
        stage.drain(seconds: 5)
        stage.drain(seconds: 25)
        stage.receiveFailed()
        _ = stage.told()
        stage.wait(5_000)
        #expect(stage.told() == ["release a-1", "drained 0"])
        stage.stop(graceSeconds: 5)
        #expect(stage.told() == ["cancel receives"], "a-1 is still being delivered")
        stage.end("a-1", .failed(errorClass: "timeout"))
        #expect(stage.told() == ["finished"])
    }

    @Test func `is not begun a second time beside what still runs`() {
        let stage = SchedulerStage()
        stage.receive("a-1", "a-2")
        stage.drain(seconds: 5)
        stage.receiveFailed()
        stage.wait(5_000)
        stage.begin()
        _ = stage.told()
        stage.receive("a-1", "a-2", handle: "again", receiveCount: 2)
        #expect(stage.told() == [], "a-1 is being delivered")
        stage.end("a-1")
        #expect(stage.deletedHandles == ["againa-1"])
        stage.deleted()
        #expect(stage.told() == ["delete a-1", "deliver a-2 1"])
    }

    @Test func `and is not ours is drained at once`() {
        let stage = SchedulerStage(ownsAll: false)
        stage.drain()
        #expect(stage.told() == ["drained 0"])
    }
}

@Suite struct `A shard that is dropped` {
    @Test func `is forgotten without a release; what is under way ends and is deleted`() {
        let stage = SchedulerStage(concurrency: 2)
        stage.receive("a-1", "a-2", "b-1", "c-1")
        _ = stage.told()
        stage.drop()
        #expect(stage.told() == ["cancel receives of 0"])
        stage.receive("d-1")
        stage.wait(1_000)
        #expect(stage.told(withPolls: true) == [])
        #expect(stage.held == 2, "a-1 and b-1")
        stage.end("a-1")
        #expect(stage.told() == ["delete a-1"])
        stage.deleted()
        stage.end("b-1", .failed(errorClass: "timeout"))
        stage.wait(60_000)
        #expect(stage.told(withPolls: true) == [])
        #expect(stage.held == 0 && stage.delivered == 1)
        #expect(stage.lapsed == 5)
    }

    @Test func `moves nothing to the dead-letter queue any more, until it comes again`() {
        let stage = SchedulerStage()
        stage.receive("a-1", "a-2")
        stage.drop()
        stage.receiveFailed()
        _ = stage.told()
        stage.end("a-1", .refused(errorClass: "smtp-550"))
        #expect(stage.told() == [])
        stage.begin()
        stage.receive("a-1", "a-2", handle: "again", receiveCount: 2)
        #expect(stage.told() == ["move a-1 permanent-failure smtp-550 2"], "no target gets it again")
    }

    @Test func `while it is being drained is never drained`() {
        let stage = SchedulerStage()
        stage.receive("a-1", "a-2")
        stage.drain()
        stage.drop()
        stage.receiveFailed()
        stage.end("a-1")
        stage.deleted()
        stage.wait(30_000)
        #expect(
            stage.told(withPolls: true)
                == ["deliver a-1 1", "receive 0", "cancel receives of 0", "cancel receives of 0", "delete a-1"])
    }

    @Test func `and begun again does not deliver beside what still runs, nor again what was delivered`() {
        let stage = SchedulerStage()
        stage.receive("a-1", "a-2", "b-1")
        stage.end("b-1")
        stage.drop()
        stage.receiveFailed()
        stage.begin()
        _ = stage.told()
        stage.receive("a-1", "a-2", "b-1", handle: "again", receiveCount: 2)
        #expect(stage.told() == [])
        stage.end("a-1")
        stage.deleted(lost: ["b-1"])
        #expect(stage.deletedHandles == ["againb-1", "againa-1"])
        stage.deleted()
        #expect(stage.told() == ["delete b-1 a-1", "deliver a-2 1"])
    }

    @Test func `holds no suspect back that is another's`() {
        let stage = SchedulerStage(shards: 2)
        stage.receive("a-1", shard: 0, receiveCount: 15)
        stage.receive("b-1", shard: 1, receiveCount: 15)
        stage.drain(1)
        stage.wait(2_000)
        #expect(stage.told().filter { $0.hasPrefix("deliver") } == ["deliver a-1 15"])
        stage.end("a-1")
        stage.deleted()
        stage.wait(1_000)
        #expect(stage.told() == ["delete a-1"], "b-1 is to be given back")
    }
}
