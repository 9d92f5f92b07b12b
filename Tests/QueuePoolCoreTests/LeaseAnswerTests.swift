// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolCore

@Suite("Answers of the lease store, one by one")
struct LeaseAnswerTests {
    @Test func `what a write of unknown outcome may give away is begun only after a newer write`() {
        var stage = LeaseStage(shards: 2)
        stage.begin()
        let taken = stage.answerWrite()
        let second = stage.pendingWrite
        #expect(taken.contains { if case .begin(let hold) = $0 { hold.shard == ShardIndex(0) } else { false } })
        #expect(second?.shard == ShardIndex(1) && second?.owner == stage.machine.worker)
        // The pool shrinks while the second shard is taken: it is given up again.
        stage.resize(to: 1)
        _ = stage.answerWrite()
        let given = stage.pendingWrite
        #expect(given?.shard == ShardIndex(1) && given?.owner == nil && given?.version == 1)
        // The pool grows while that write is under way.
        let grown = stage.resize(to: 2)
        #expect(grown.isEmpty)
        stage.loseWrite()
        let read = stage.answerRead()
        let kept = stage.pendingWrite
        #expect(!read.contains { if case .begin = $0 { true } else { false } })
        #expect(kept?.owner == stage.machine.worker && kept?.version == 1)
        let begun = stage.answerWrite()
        #expect(begun.contains { if case .begin(let hold) = $0 { hold.shard == ShardIndex(1) } else { false } })
    }

    @Test func `a repeated beat counts from when it left first`() {
        var stage = LeaseStage(shards: 1)
        let first = stage.tick(0)
        guard case .renew(let beat)? = first.first(where: { if case .renew = $0 { true } else { false } }) else {
            Issue.record("no renewal at the beginning")
            return
        }
        let lost = LeaseStoreError.failed(code: "timeout")
        _ = stage.machine.renewed(beat, .failure(lost), now: stage.now + 3_000)
        let again = stage.tick(5_000)
        #expect(again.contains(.renew(stage.sameBeat(beat, at: 5_000))))
        _ = stage.machine.renewed(stage.sameBeat(beat, at: 5_000), .success(()), now: stage.now)
        let end = stage.machine.limits.termMilliseconds - stage.machine.limits.marginMilliseconds
        #expect(stage.machine.life.validUntil == stage.start + end)
    }

    @Test func `without an answer to its renewals a worker drops everything in time, and begins another life`() {
        var stage = LeaseStage(shards: 2)
        stage.begin()
        _ = stage.answerWrite()
        _ = stage.answerWrite()
        let held = stage.machine.owned
        #expect(held.count == 2)
        let valid = stage.machine.limits.termMilliseconds - stage.machine.limits.marginMilliseconds
        // The first beat left at the start; the second leaves, and nobody answers.
        let second = stage.tick(stage.machine.limits.renewMilliseconds)
        #expect(second.contains { if case .renew(let beat) = $0 { beat.beat == 2 } else { false } })
        let last = stage.tick(valid - 1)
        #expect(!last.contains { if case .drop = $0 { true } else { false } })
        #expect(held.allSatisfy { stage.machine.mayDeliver($0, now: stage.now) })
        #expect(!held.contains { stage.machine.mayDeliver($0, now: stage.start + valid) })

        let lapse = stage.tick(valid)
        #expect(lapse.prefix(2) == held.map(LeaseMachine.Effect.drop)[...])
        #expect(stage.machine.owned.isEmpty)
        #expect(stage.machine.worker == WorkerID("stage.2"))
        // The lane of renewals is still taken by the old life's; then the new one's first beat leaves.
        let next = stage.failRenewal(.failed(code: "timeout"))
        let first = WorkerID("stage.2").map {
            LeaseMachine.Effect.renew(WorkerHeartbeat(worker: $0, beat: 1, renewedAt: stage.now))
        }
        #expect(next.first == first)
    }

    @Test func `a worker that stood still drops everything before it does anything else`() {
        var stage = LeaseStage(shards: 1)
        stage.begin()
        _ = stage.answerWrite()
        let held = stage.machine.owned
        let effects = stage.tick(60_000)
        #expect(effects.first == held.first.map(LeaseMachine.Effect.drop))
        #expect(effects.contains { if case .renew(let beat) = $0 { beat.worker.text == "stage.2" } else { false } })
        #expect(!effects.contains { if case .begin = $0 { true } else { false } })
    }

    @Test func `a pool that is gone is dropped at once`() {
        var stage = LeaseStage(shards: 1)
        stage.begin()
        _ = stage.answerWrite()
        #expect(stage.machine.figures.owned == 1)
        let effects = stage.failRenewal(.noPool)
        #expect(effects.contains { if case .drop = $0 { true } else { false } })
        #expect(stage.machine.figures.owned == 0)
        // The next life waits a little.
        #expect(!effects.contains { if case .renew = $0 { true } else { false } })
    }
}
