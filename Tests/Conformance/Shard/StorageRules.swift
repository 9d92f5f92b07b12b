// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Testing

// What is stored, once or not at all (I1, I3), and what is left of it.

enum StorageRules {
    /// What comes is what was sent, byte by byte.
    static let wholeMessages: ShardRule = { bench in
        let attributes = [
            MessageAttribute(name: "bytes", dataType: "Binary", value: [0, 1, 255]),
            MessageAttribute(name: "text", text: "\u{1F600} \"quoted\" \\"),
        ]
        let body = "line\nline\t\u{E9}\u{1F600}\"\\ " + String(repeating: "x", count: 40_000)
        try await bench.send(bench.message("g/1", body, id: "id-of-it", attributes: attributes))
        let came = try await bench.receive()
        bench.check(came.map(\.body) == [body], "another body, or \(came.count) messages")
        bench.check(
            came.map { [$0.group, $0.deduplicationID] } == [["g/1", "id-of-it"]], "another group or deduplication id")
        bench.check(came.first?.attributes.sorted { $0.name < $1.name } == attributes, "other attributes")
    }

    /// The same id in the same group is stored once within the interval, and again after it.
    static let duplicates: ShardRule = { bench in
        let first = try await bench.send(bench.message("g", "first", id: "d"))
        bench.pass(seconds: 200)
        let second = try await bench.send(bench.message("g", "second", id: "d"), bench.message("g", "own", id: "e"))
        bench.check(first.first?.isDuplicate == false, "the first is told to be a duplicate")
        bench.check(
            second.map(\.isDuplicate) == [bench.traits.tellsDuplicates, false],
            "the second and another are told to be \(second.map(\.isDuplicate))")
        bench.check(
            second.first?.messageID == first.first?.messageID, "the duplicate has not the id of what is stored")
        // Remembered although the message is gone, and counted from the first send.
        let came = try await bench.drain()
        bench.check(came == ["first", "own"], "stored were \(came)")
        bench.pass(seconds: 90)
        try await bench.send(bench.message("g", "third", id: "d"))
        let none = try await bench.drain()
        bench.check(none.isEmpty, "within the interval, after a delete, was stored \(none)")
        bench.pass(seconds: 20)
        let later = try await bench.send(bench.message("g", "fourth", id: "d"))
        bench.check(later.first?.isDuplicate == false, "after the interval it is told to be a duplicate")
        bench.check(try await bench.drain() == ["fourth"], "after the interval it was not stored")
    }

    /// Twice in one batch is once, too.
    static let duplicatesInABatch: ShardRule = { bench in
        let receipts = try await bench.send(
            bench.message("g", "a", id: "d"), bench.message("g", "b", id: "d"), bench.message("g", "c", id: "e"))
        bench.check(
            receipts.map(\.isDuplicate) == [false, bench.traits.tellsDuplicates, false],
            "they are told to be \(receipts.map(\.isDuplicate))")
        bench.check(try await bench.drain() == ["a", "c"], "other messages were stored")
    }

    /// By the scope of the queue, the same id in another group is the same message or another.
    static let scopes: ShardRule = { bench in
        var attributes = ShardBench.attributes
        attributes.deduplicationScope = .queue
        let byQueue = try await bench.open("by-queue.fifo", attributes)
        for (shard, wanted) in [(bench.shard, ["1", "2"]), (byQueue, ["1"])] {
            try await bench.send(bench.message("g", "1", id: "d"), to: shard)
            try await bench.send(bench.message("h", "2", id: "d"), to: shard)
            let came = try await bench.receive(from: shard).map(\.body).sorted()
            bench.check(came == wanted, "\(wanted.count == 2 ? "by group" : "by queue") were stored \(came)")
        }
    }

    /// What was answered is there when everything was stopped and started again: sends, deletes, ids and counts.
    static let reopening: ShardRule = { bench in
        try await bench.send((0..<6).map { bench.message("g", "\($0)", id: "d\($0)") })
        try await bench.send((0..<3).map { bench.message("h", "h\($0)") })
        let taken = try await bench.receive(2)
        bench.check(taken.map(\.body) == ["0", "1"], "at first came \(taken.map(\.body))")
        bench.check(await bench.delete(Array(taken.prefix(1))).allSatisfy(\.isDeleted), "no delete")
        try await bench.reopen()
        // One is in flight still, and its group locked.
        let open = try await bench.receive()
        bench.check(open.map(\.body) == ["h0", "h1", "h2"], "after the start came \(open.map(\.body))")
        try await bench.send(bench.message("g", "again", id: "d0"), bench.message("g", "6"))
        bench.pass(seconds: 31)
        let again = try await bench.receive(6)
        bench.check(again.first?.count == 2, "the one that was in flight has count \(again.first?.count ?? 0)")
        let bodies = again.map(\.body) + (try await bench.drain())
        let outcomes = await bench.delete(again)
        bench.check(outcomes.allSatisfy(\.isDeleted), "deletes said \(outcomes)")
        let all = Dictionary(grouping: bodies + (try await bench.drain())) { $0.hasPrefix("h") }
        bench.check(all[false] == ["1", "2", "3", "4", "5", "6"], "of g came \(all[false] ?? [])")
        bench.check(all[true] == ["h0", "h1", "h2"], "of h came \(all[true] ?? [])")
    }

    /// Nothing is left, nothing is remembered, and the queue goes on.
    static let purge: ShardRule = { bench in
        try await bench.send((0..<4).map { bench.message("g", "\($0)", id: "d\($0)") })
        let taken = try await bench.receive(1)
        let counted = await bench.counts()
        let result = await bench.purge()
        bench.check(
            result == .success(counted.backlog + counted.inFlight), "purge of \(counted.backlog) + 1 said \(result)")
        bench.pass(seconds: 31)
        bench.check(try await bench.receive().isEmpty, "something is left")
        bench.check(!(await bench.delete(taken).contains(where: \.isNotOurs)), "its handle is another shard's now")
        let receipts = try await bench.send(bench.message("g", "new", id: "d1"))
        bench.check(receipts.map(\.isDuplicate) == [false], "an id from before is remembered")
        bench.check(try await bench.drain() == ["new"], "what was sent after it did not come")
        let counts = await bench.counts()
        bench.check(counts.backlog == 0 && counts.inFlight == 0, "it counts \(counts.backlog) and \(counts.inFlight)")
    }

    /// Once nothing is under way, what is there and what went is what was done.
    static let counts: ShardRule = { bench in
        try await bench.send((0..<7).map { bench.message("g\($0 % 2)", "\($0)") })
        try await bench.send(bench.message("g0", "twice", id: "d"))
        try await bench.send(bench.message("g0", "twice", id: "d"))
        let taken = try await bench.receive(4)
        bench.check(taken.count == 4, "a receive of four gave \(taken.count)")
        _ = await bench.delete(Array(taken.prefix(1)))
        let counts = await bench.counts()
        bench.check(counts.inFlight == 3, "in flight are 3, it counts \(counts.inFlight)")
        bench.check(counts.backlog == 4, "the backlog is 4, it counts \(counts.backlog)")
        bench.check(counts.received == 4 && counts.deleted == 1, "counted: \(counts.received), \(counts.deleted)")
        // Where nobody tells duplicates, they count as sent.
        bench.check(counts.sent == (bench.traits.tellsDuplicates ? 8 : 9), "it counts \(counts.sent) as sent")
        if bench.traits.countsEverything {
            bench.check(counts.duplicates == 1 && counts.expired == 0, "duplicates or expiries are counted wrongly")
        } else {
            bench.check(
                counts.duplicates == nil && counts.expired == nil, "what it cannot know is shown as a number")
        }
        // Something was received: of that at least the age is known.
        bench.check(counts.oldestAgeMilliseconds != nil, "the oldest age is not known")
        bench.pass(seconds: 31)
        _ = try await bench.drain()
        let empty = await bench.counts()
        bench.check(empty.backlog == 0 && empty.inFlight == 0, "at last: \(empty.backlog) and \(empty.inFlight)")
        bench.check(empty.deleted == 8, "it counts \(empty.deleted) as deleted")
    }
}
