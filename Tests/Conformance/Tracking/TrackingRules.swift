// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import Testing

/// What every store of tracking records must do.
enum TrackingRules {
    /// What was saved is read back, whatever it says.
    @Sendable static func readBack(_ bench: TrackingBench) async throws {
        try await bench.check("none", is: nil, "a message that nobody told of")
        try await bench.save([])
        var records = TrackingState.allCases.flatMap {
            [bench.record("bare-\($0)", $0), bench.full("full-\($0)", $0, 1)]
        }
        var lists = bench.record("lists", .sent)
        lists.recipients = []
        records.append(lists)
        lists.id = "longest"
        lists.recipients = Array(0..<TrackingRecord.recipientsMax)
        records.append(lists)
        try await bench.save(records)
        for record in records { try await bench.check(record.id, is: record, "a record") }
    }

    /// Of each two states at each two times, the one that must stay does, and takes from the other what it must.
    @Sendable static func replacing(_ bench: TrackingBench) async throws {
        var (first, second, wanted): ([TrackingRecord], [TrackingRecord], [TrackingRecord]) = ([], [], [])
        for earlier in TrackingState.allCases {
            for later in TrackingState.allCases {
                for time in [-1, 0, 1] as [Int64] {
                    let id = "\(earlier)-\(later)-\(time)"
                    let told = bench.full(id, earlier, 1)
                    // Every second one says nothing but its state.
                    let next =
                        first.count.isMultiple(of: 2)
                        ? bench.full(id, later, after: time, 2) : bench.record(id, later, after: time)
                    first.append(told)
                    second.append(next)
                    wanted.append(next.replacing(told) ?? told)
                }
            }
        }
        try await bench.save(first)
        try await bench.save(second)
        for record in wanted { try await bench.check(record.id, is: record, "of two records") }
    }

    /// What a later record leaves of an earlier one: said here once more, apart from the code that decides it.
    @Sendable static func keeping(_ bench: TrackingBench) async throws {
        let states: [TrackingState] = [.retrying, .dead, .sent, .delivered]
        try await bench.save(states.map { bench.full("\($0)", .inFlight, 7) })
        try await bench.save(states.map { bench.record("\($0)", $0, after: 1) })
        for state in states {
            var wanted = bench.record("\(state)", state, after: 1)
            wanted.acceptedAt = TrackingBench.now + -1_007
            wanted.attempt = 7
            wanted.tags = "{\"mark\":\"7\"}"
            if state == .delivered { wanted.target = "smtp://mail7.example:25" }
            try await bench.check(wanted.id, is: wanted, "what a bare record leaves")
        }
    }

    /// A record is found until its time is over, to the millisecond; a later one has its own time.
    @Sendable static func expiry(_ bench: TrackingBench) async throws {
        let end = TrackingBench.end
        try await bench.save([bench.record("a", .queued), bench.record("b", .queued), bench.record("c", .sent)])
        let later = bench.record("b", .sent, after: 5)
        try await bench.save([later], expiresAt: end + 60_000)
        // Does not replace, and so does not prolong.
        try await bench.save([bench.record("c", .queued, after: 5)], expiresAt: end + 60_000)
        try await bench.check("a", is: bench.record("a", .queued), at: end + -1, "just before its end")
        for id in ["a", "c"] {
            for time in [end, end + 1, end + 86_400_000] {
                try await bench.check(id, is: nil, at: time, "after its end")
            }
        }
        try await bench.check("b", is: later, at: end + 59_999, "just before its later end")
        try await bench.check("b", is: nil, at: end + 60_000, "after its later end")
    }

    /// Pools share nothing.
    @Sendable static func pools(_ bench: TrackingBench) async throws {
        let (mine, theirs) = (bench.full("id", .sent, 1), bench.full("id", .delivered, 2))
        try await bench.one.save([theirs], ofPool: bench.secondPool, expiresAt: TrackingBench.end)
        try await bench.check("id", is: nil, "of another pool")
        try await bench.save([mine])
        try await bench.check("id", is: mine, "of its own pool")
        try await bench.check("id", of: bench.secondPool, is: theirs, "of its own pool")
    }

    /// Ids are apart by each of their bytes, UUIDs or not.
    @Sendable static func ids(_ bench: TrackingBench) async throws {
        var ids = [1, 2, 15, 16, 17, 35, 36, 37, 99, TrackingRecord.idBytesMax].map {
            String(repeating: "a", count: $0)
        }
        ids += ["0190b6c4-52f1-8a3e-9c1d-7f00deadbeef", "0190B6C4-52F1-8A3E-9C1D-7F00DEADBEEF"]
        ids += ["0190b6c4-52f1-8a3e-9c1d-7f00deadbeee", "0190b6c452f1-8a3e-9c1d-7f00-deadbeef"]
        // UUIDs whose 16 bytes are texts.
        ids += ["61616161-6161-6161-6161-616161616161", "61616161-6161-6161-6161-6161616161ff"]
        ids += ["é", "e\u{301}", "#", "a#RECORD", "\u{0}", "\u{0}b", "\"'\\", "%2e/../", " ", "😀"]
        ids += [String(repeating: "é", count: 50)]
        try await bench.save(ids.enumerated().map { bench.full($1, .sent, $0) })
        for (number, id) in ids.enumerated() {
            try await bench.check(id, is: bench.full(id, .sent, number), "the id \(number)")
        }
        for id in ["b", "a ", "A", "0190b6c4-52f1-8a3e-9c1d-7f00deadbee"] {
            try await bench.check(id, is: nil, "an id that was not saved")
        }
    }

    /// Texts come back as they were.
    @Sendable static func texts(_ bench: TrackingBench) async throws {
        let texts = [
            "", " ", "{}", "{\"a\":\"\\u0000\"}", "a\u{0}b", "\u{0}", "é", "e\u{301}", "😀👩‍👩‍👧", "\u{FFFF}\u{10FFFF}",
            "\u{FEFF}x", "\r\n\t\u{7F}\u{1}\u{1F}\u{2028}", "\"quoted\" \\ '", String(repeating: "ü", count: 512),
        ]
        let records = texts.enumerated().map { number, text in
            var record = bench.record("t\(number)", .dead)
            record.tags = text
            record.target = String(text.prefix(128))
            record.reason = record.target
            record.errorClass = record.target
            return record
        }
        try await bench.save(records)
        for record in records { try await bench.check(record.id, is: record, "texts") }
    }

    /// A save takes many.
    @Sendable static func many(_ bench: TrackingBench) async throws {
        let ids = (0..<1_000).map { _ in UUID().uuidString.lowercased() }
        try await bench.save(ids.enumerated().map { bench.full($1, .queued, $0) })
        for (number, id) in ids.enumerated() where number % 37 == 0 || number > 990 {
            try await bench.check(id, is: bench.full(id, .queued, number), "one of many, number \(number)")
        }
    }

    /// Records of one message in one save count in their order.
    @Sendable static func repeated(_ bench: TrackingBench) async throws {
        let orders: [[TrackingState]] = [
            [.queued, .inFlight, .sent], [.sent, .inFlight, .queued], [.inFlight, .retrying], [.retrying, .inFlight],
            [.queued, .queued], [.dead, .expired], [.sent, .delivered, .sent], [.delivered, .sent, .dead],
        ]
        var (records, wanted): ([TrackingRecord], [TrackingRecord]) = ([], [])
        for (number, order) in orders.enumerated() {
            let told = order.enumerated().map { place, state in
                place == 0 ? bench.full("r\(number)", state, 1) : bench.record("r\(number)", state)
            }
            records += told
            wanted.append(told.dropFirst().reduce(told[0]) { $1.replacing($0) ?? $0 })
        }
        try await bench.save(records)
        for record in wanted { try await bench.check(record.id, is: record, "told several times") }
    }

    /// A pool's records are removed, and nothing else.
    @Sendable static func removal(_ bench: TrackingBench) async throws {
        let (mine, theirs) = (bench.full("id", .delivered, 1), bench.full("id", .sent, 2))
        try await bench.one.removeAll(ofPool: bench.pool)
        try await bench.save([mine])
        try await bench.one.save([theirs], ofPool: bench.secondPool, expiresAt: TrackingBench.end)
        try await bench.one.removeAll(ofPool: bench.pool)
        try await bench.check("id", of: bench.secondPool, is: theirs, "of a pool that stays")
        let next = bench.record("next", .queued)
        try await bench.save([next])
        try await bench.check("next", is: next, "of a pool that was made anew")
        guard bench.removesAtOnce else { return }
        try await bench.check("id", is: nil, "of a pool that was removed")
        try await bench.save([bench.record("id", .queued)])
        try await bench.check("id", is: bench.record("id", .queued), "with the id of one that was removed")
    }

    /// Many calls at one time do not mix.
    @Sendable static func manyAtOnce(_ bench: TrackingBench) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for caller in 0..<20 {
                group.addTask {
                    let records = (0..<5).map { bench.full("c\(caller)-\($0)", .sent, caller * 10 + $0) }
                    try await bench.save(records)
                    for record in records { try await bench.check(record.id, is: record, "one of many calls") }
                }
            }
            try await group.waitForAll()
        }
    }
}
