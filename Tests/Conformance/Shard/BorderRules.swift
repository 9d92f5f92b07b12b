// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolTestSupport
import Synchronization
import Testing

// The border itself: handles, attributes, wakings, completions, and what a shard says of itself.

enum BorderRules {
    /// What a shard says of itself is what it does.
    static let traits: ShardRule = { bench in
        let shard = bench.shard
        bench.check(shard.traits == bench.traits.shard, "it says of itself: \(shard.traits)")
        try await bench.send(bench.message("g", "0"))
        _ = try await bench.receive()
        bench.check((shard.nextVisibleAt() != nil) == bench.traits.knowsNextVisible, "it tells the other next time")
        if let next = shard.nextVisibleAt() {
            bench.check(next == bench.stage.clock.now() + 30_000, "it calls another time the next")
        }
        let message = try await bench.receive(from: try await bench.open("empty.fifo"))
        bench.check(message.isEmpty, "an empty shard gives something")
    }

    /// Every entry has its answer, in order.
    static let eachEntry: ShardRule = { bench in
        let messages = (0..<10).map { bench.message("g\($0)", "\($0)", id: "d\($0)") }
        for _ in 0..<2 {
            let answers = await bench.submit(ShardBatch(messages))
            guard case .entries(let outcomes) = answers, outcomes.count == 10 else {
                bench.check(false, "not an answer for each: \(answers)")
                return
            }
            for outcome in outcomes {
                if case .stored = outcome { continue }
                bench.check(false, "an entry was not stored: \(outcome)")
            }
        }
        bench.check(try await bench.drain().sorted() == (0..<10).map(String.init), "other messages were stored")
    }

    /// A batch is asked for once; there are outcomes for what was pulled, and none for nothing.
    static let pulled: ShardRule = { bench in
        let pulls = Mutex(0)
        for (batch, name) in [([bench.message("g", "0"), bench.message("h", "1")], "two"), ([], "none")] {
            let caller = CallingThread()
            let isWithin = Mutex(false)
            let answers: EntryAnswers = await bench.book.wait("submit") { completion in
                bench.shard.submit(
                    ShardBatch {
                        pulls.withLock { $0 += 1 }
                        isWithin.withLock { $0 = caller.isCurrent }
                        return batch
                    }, completion: completion)
                caller.hasReturned()
                return nil
            } after: {
                bench.stage.clock.advance(milliseconds: 0)
            }
            let count = (try? answers.receipts.get())?.count
            bench.check(count == batch.count, "pulled were \(name), receipts are \(count ?? -1)")
            bench.check(
                !(isWithin.withLock { $0 } && bench.traits.shard.pullsLate), "it pulls \(name) late and did so at once")
        }
        bench.check(pulls.withLock { $0 } == 2, "two batches were pulled \(pulls.withLock { $0 }) times")
        bench.check(try await bench.drain().sorted() == ["0", "1"], "other messages were stored")
    }

    /// Receive counts grow with each delivery, and with nothing else.
    static let receiveCounts: ShardRule = { bench in
        try await bench.send(bench.message("g", "0"), bench.message("g", "1"))
        let start = bench.stage.clock.now()
        for round in 1...4 {
            let taken = try await bench.receive(1)
            bench.check(taken.map(\.count) == [round], "delivery \(round) has count \(taken.map(\.count))")
            bench.check(
                taken.first.map { abs($0.message.firstReceivedAt - start) < 1_000 } == true,
                "delivery \(round) has another first time")
            await bench.setVisibility(10, taken)
            if round % 2 == 0 { bench.pass(seconds: 11) } else { await bench.setVisibility(0, taken) }
        }
        let last = try await bench.receive()
        bench.check(last.map(\.count) == [5, 1], "at last the counts are \(last.map(\.count))")
    }

    /// Only the handle of the delivery that is in flight deletes, and only in its own shard.
    static let handles: ShardRule = { bench in
        let other = try await bench.open("other.fifo")
        try await bench.send(bench.message("g", "0"))
        try await bench.send(bench.message("g", "other"), to: other)
        let first = try await bench.receive()
        let foreign = try await bench.receive(from: other)
        let refused = await bench.delete(foreign)
        bench.check(
            refused.count == 1 && (bench.traits.tellsForeignHandles ? refused[0].isNotOurs : refused[0].isExpired),
            "another shard's handle: \(refused)")
        bench.pass(seconds: 31)
        let late = await bench.delete(first)
        bench.check(late.count == 1 && late[0].isExpired, "a handle after its time: \(late)")
        let second = try await bench.receive()
        bench.check(second.map(\.body) == ["0"], "after a late delete came \(second.map(\.body))")
        let stale = await bench.delete(first)
        bench.check(stale.count == 1 && stale[0].isExpired, "a handle of the delivery before: \(stale)")
        let good = await bench.delete(second)
        bench.check(good.count == 1 && good[0].isDeleted, "the handle in flight: \(good)")
        let again = await bench.delete(second)
        bench.check(again.count == 1 && again[0].isDeleted, "a second delete of the same: \(again)")
        bench.pass(seconds: 31)
        bench.check(try await bench.receive().isEmpty, "what was deleted came again")
        bench.check(
            try await bench.receive(from: other).map(\.body) == ["other"], "another shard's message was deleted")
    }

    /// Handles of one call have their outcomes in their order, more of them than a request takes.
    static let manyHandles: ShardRule = { bench in
        try await bench.send((0..<12).map { bench.message("g\($0)", "\($0)") })
        let early = try await bench.receive(3)
        bench.pass(seconds: 31)
        var taken: [Delivery] = []
        while taken.count < 12, case let more = try await bench.receive(), !more.isEmpty { taken += more }
        bench.check(taken.count == 12, "12 were sent, \(taken.count) came")
        let outcomes = await bench.delete(Array(taken.prefix(6)) + early + Array(taken.dropFirst(6)))
        let said = outcomes.map { $0.isDeleted ? "d" : $0.isExpired ? "e" : "?" }.joined()
        bench.check(said == "ddddddeeedddddd", "the outcomes are \(said)")
        bench.check(await bench.delete([]).isEmpty, "no handle has an outcome")
    }

    /// A receive that is repeated because its answer was lost gets the same messages and handles.
    static let attempts: ShardRule = { bench in
        try await bench.send((0..<4).map { bench.message("g", "\($0)") })
        let command = ReceiveCommand(limit: 2, attemptID: "attempt-1")
        let first = try await bench.receive(command)
        let again = try await bench.receive(command)
        bench.check(first.map(\.body) == ["0", "1"], "at first came \(first.map(\.body))")
        bench.check(again.map(\.body) == first.map(\.body), "the repeat gave \(again.map(\.body))")
        bench.check(again.map(\.handle.text) == first.map(\.handle.text), "the repeat gave other handles")
        bench.check(await bench.delete(first).allSatisfy(\.isDeleted), "they could not be deleted")
        let next = try await bench.receive(command)
        bench.check(next.map(\.body) == ["2", "3"], "after the deletes the same id gave \(next.map(\.body))")
    }

    /// Attributes that were changed are in force for the next receive; a receive may ask for its own.
    static let attributes: ShardRule = { bench in
        try await bench.send(bench.message("g", "0"))
        var attributes = ShardBench.attributes
        attributes.visibilityTimeoutSeconds = 5
        bench.shard.setAttributes(attributes)
        for (asked, seconds) in [(nil, 5), (50, 50), (nil, 5)] {
            let taken = try await bench.receive(ReceiveCommand(limit: 1, visibilitySeconds: asked))
            bench.check(taken.count == 1, "nothing came to be hidden for \(seconds) s")
            bench.pass(seconds: seconds - 1)
            bench.check(try await bench.receive().isEmpty, "hidden for \(seconds) s, it came a second earlier")
            bench.pass(seconds: 2)
        }
    }

    /// Who found nothing and waits is woken when there is something.
    static let waking: ShardRule = { bench in
        let shard = bench.shard
        let (wakes, woken) = AsyncStream.makeStream(of: Void.self)
        shard.onReady { woken.yield() }
        var command = ReceiveCommand(limit: 10)
        command.patience = .wait(seconds: 20)
        let none = try await bench.receive(command)
        bench.check(none.isEmpty, "an empty shard gives \(none.count)")
        try await bench.send(bench.message("g", "0"))
        let isWoken = await bench.isGiven(by: wakes)
        bench.check(isWoken, "nobody was woken")
        guard isWoken else { return }
        command.patience = .atHand
        let came = try await bench.receive(command)
        bench.check(came.map(\.body) == ["0"], "after the waking came \(came.map(\.body))")
    }

    /// Each call is answered once, whatever goes on beside it, also when the shard closes; then it takes nothing more.
    static let completions: ShardRule = { bench in
        let shard = bench.shard
        let acknowledged = Mutex<[String]>([])
        try await bench.send((0..<20).map { bench.message("h\($0)", "held \($0)") })
        let held = try await bench.receive()
        for number in 0..<60 {
            let body = "\(number)"
            bench.book.start("submit") {
                shard.submit(ShardBatch([bench.message("g\(number % 7)", body)]), completion: $0)
                return nil
            } then: { (answers: EntryAnswers) in
                if case .success = answers.receipts { acknowledged.withLock { $0.append(body) } }
            }
            if number % 6 == 0 {
                bench.book.start("receive") { shard.receive(ReceiveCommand(limit: 1), completion: $0) }
            }
            if number % 6 == 1, number / 6 < held.count - 2 {
                let handle = held[number / 6].handle
                bench.book.start("delete") { (answered: @escaping @Sendable ([DeleteOutcome]) -> Void) in
                    shard.delete([handle], completion: answered)
                    return nil
                }
                bench.book.start("changeVisibility") { shard.changeVisibility([(handle, 40)], completion: $0) }
            }
        }
        await ShardBench.close(shard)
        bench.check(bench.book.faults.isEmpty, "after the close: \(bench.book.faults.joined(separator: ", "))")
        let sent = await bench.submit(ShardBatch([bench.message("late", "late")]))
        bench.check(sent == .failed(.permanent(.closed)), "a closed shard says of a batch \(sent)")
        let none = await bench.submit(ShardBatch([]))
        bench.check(none.receipts == .success([]) || none == sent, "a closed shard says of no batch \(none)")
        let deleted: [DeleteOutcome] = await bench.book.wait("delete") {
            shard.delete(held.suffix(1).map(\.handle), completion: $0)
            return nil
        } after: {
            bench.stage.clock.advance(milliseconds: 0)
        }
        bench.check(deleted.count == 1 && deleted[0].isClosed, "a closed shard says of a delete \(deleted)")
        bench.check(await bench.purge() == .failure(.closed), "a closed shard takes a purge")
        try await bench.reopen()
        bench.pass(seconds: 60)
        let stored = Set(try await bench.drain())
        let lost = acknowledged.withLock { $0 }.filter { !stored.contains($0) }
        // Those that were received meanwhile were never deleted.
        bench.check(lost.isEmpty, "acknowledged and not there: \(lost)")
        bench.check(!stored.contains("late"), "what a closed shard refused is there")
    }

    /// A closed shard gives nothing out and changes nothing: who holds what is written down already, for the next opening.
    static let closedToReceivers: ShardRule = { bench in
        let shard = bench.shard
        try await bench.send(bench.message("g", "0"), bench.message("h", "1"))
        let held = try await bench.receive(1)
        await ShardBench.close(shard)
        let received: ReceiveAnswer = await bench.book.wait("receive") {
            shard.receive(ReceiveCommand(limit: 10), completion: $0)
        }
        bench.check((try? received.get())?.isEmpty != false, "a closed shard gives messages out")
        let changed = await bench.setVisibility(0, held)
        bench.check(changed.count == 1 && changed[0] != .changed, "a closed shard changes a visibility")
    }
}
