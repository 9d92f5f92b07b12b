// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolTestSupport
import Testing

struct TrackingTests {
    private func record(_ id: String, _ state: TrackingState, at: Int64 = 0, tags: String? = nil) -> TrackingRecord {
        var record = TrackingRecord(id: id, state: state, at: Timestamp(milliseconds: at))
        record.tags = tags
        return record
    }

    private func time(_ milliseconds: Int64) -> Timestamp { Timestamp(milliseconds: milliseconds) }

    // MARK: - Replacing

    @Test func `a record of a higher rank replaces, one of a lower never does`() {
        let order: [[TrackingState]] = [[.queued], [.inFlight, .retrying], [.dead, .expired], [.sent], [.delivered]]
        for (rank, states) in order.enumerated() {
            for state in states {
                for (other, lower) in order.enumerated() where other < rank {
                    for earlier in lower {
                        #expect(record("a", state, at: 1).replacing(record("a", earlier, at: 9))?.state == state)
                        #expect(record("a", earlier, at: 9).replacing(record("a", state, at: 1)) == nil)
                    }
                }
            }
        }
    }

    @Test func `of one rank the later one stays`() {
        #expect(record("a", .inFlight, at: 5).replacing(record("a", .retrying, at: 4))?.state == .inFlight)
        #expect(record("a", .inFlight, at: 5).replacing(record("a", .retrying, at: 6)) == nil)
        #expect(record("a", .retrying, at: 5).replacing(record("a", .retrying, at: 5)) != nil)
    }

    @Test func `what only the earlier one knows is kept`() {
        var earlier = record("a", .retrying, tags: "{}")
        (earlier.attempt, earlier.acceptedAt, earlier.target, earlier.errorClass) = (3, time(7), "smtp://a", "smtp-421")
        var sent = record("a", .sent, at: 1)
        sent.target = "smtp://b"
        let merged = sent.replacing(earlier)
        #expect(merged?.attempt == 3 && merged?.acceptedAt == time(7) && merged?.tags == "{}")
        #expect(merged?.target == "smtp://b" && merged?.errorClass == nil)
        #expect(record("a", .delivered, at: 2).replacing(sent)?.target == "smtp://b")
    }

    // MARK: - Telling

    @Test func `a message that is delivered soon is told once`() {
        var buffer = TrackingBuffer()
        buffer.note(record("a", .inFlight, tags: "{}"), now: time(0))
        #expect(buffer.next(now: time(999)).isEmpty)
        buffer.note(record("a", .sent, at: 1), now: time(999))
        let batch = buffer.next(now: time(999))
        #expect(batch.map(\.state) == [.sent] && batch.first?.tags == "{}")
        buffer.told(isSaved: true)
        #expect(buffer.next(takesAll: true, now: time(5_000)).isEmpty && buffer.isEmpty)
    }

    @Test func `a message that stays in flight is told after a moment, by its latest record`() {
        var buffer = TrackingBuffer()
        buffer.note(record("a", .inFlight), now: time(0))
        buffer.note(record("a", .retrying, at: 1), now: time(900))
        #expect(buffer.next(now: time(1_000)).map(\.state) == [.retrying])
    }

    @Test func `one batch is under way at a time, of so many records`() {
        var buffer = TrackingBuffer()
        for number in 0..<700 { buffer.note(record("\(number)", .sent), now: time(0)) }
        #expect(buffer.next(now: time(0)).count == TrackingBuffer.batchMax)
        #expect(buffer.next(now: time(0)).isEmpty)
        buffer.told(isSaved: true)
        #expect(buffer.next(now: time(0)).map(\.id) == (TrackingBuffer.batchMax..<700).map(String.init))
    }

    @Test func `what is asked for while it waits has all that is known, be it under way or not`() {
        var buffer = TrackingBuffer()
        var queued = record("a", .queued, tags: "{}")
        queued.acceptedAt = time(0)
        buffer.note(queued, now: time(0))
        #expect(buffer.next(takesAll: true, now: time(0)) == [queued])
        buffer.note(record("a", .sent, at: 5), now: time(5))
        let found = buffer.record("a")
        #expect(found?.state == .sent && found?.acceptedAt == time(0) && found?.tags == "{}")
        #expect(buffer.record("b") == nil)
        // A record that somebody else saved is joined from either side.
        let joined = queued.joined(with: record("a", .sent, at: 5))
        #expect(joined.state == .sent && joined.acceptedAt == time(0))
    }

    @Test func `what was not saved is told again, before what came after it`() {
        var buffer = TrackingBuffer()
        buffer.note(record("a", .retrying), now: time(0))
        #expect(buffer.next(takesAll: true, now: time(0)).map(\.id) == ["a"])
        buffer.note(record("a", .sent, at: 1), now: time(1))
        buffer.told(isSaved: false)
        #expect(buffer.next(now: time(1)).map(\.state) == [.retrying, .sent])
    }

    @Test func `what finds no room is counted, and the rest is told`() {
        var buffer = TrackingBuffer()
        for number in 0..<(TrackingBuffer.waitingMax + 3) { buffer.note(record("\(number)", .sent), now: time(0)) }
        for number in 0..<(TrackingBuffer.waitingMax + 2) { buffer.note(record("o\(number)", .inFlight), now: time(0)) }
        #expect(buffer.droppedCount == 5)
        var told = 0
        while case let batch = buffer.next(takesAll: true, now: time(0)), !batch.isEmpty {
            told += batch.count
            buffer.told(isSaved: true)
        }
        #expect(told == 2 * TrackingBuffer.waitingMax && buffer.isEmpty)
    }

    @Test func `each random history is told whole and in order`() {
        for seed in UInt64(0)..<200 {
            var random = SplitMix64(seed: seed)
            var buffer = TrackingBuffer()
            var store: [String: TrackingRecord] = [:]
            var last: [String: TrackingRecord] = [:]
            var now: Int64 = 0
            func save(_ batch: [TrackingRecord]) {
                for record in batch {
                    store[record.id] = store[record.id].map { record.replacing($0) ?? $0 } ?? record
                }
            }
            for _ in 0..<300 {
                now += .random(in: 0..<400, using: &random)
                if Bool.random(using: &random) {
                    let states: [TrackingState] = [.inFlight, .retrying, .sent, .dead]
                    let record = record("\(Int.random(in: 0..<20))", states.randomElement() ?? .sent, at: now)
                    buffer.note(record, now: time(now))
                    last[record.id] = last[record.id].map { record.replacing($0) ?? $0 } ?? record
                } else if case let batch = buffer.next(now: time(now)), !batch.isEmpty {
                    let isSaved = Bool.random(using: &random)
                    if isSaved { save(batch) }
                    buffer.told(isSaved: isSaved)
                }
            }
            while case let batch = buffer.next(takesAll: true, now: time(now)), !batch.isEmpty {
                save(batch)
                buffer.told(isSaved: true)
            }
            #expect(store.mapValues(\.state) == last.mapValues(\.state), "seed \(seed)")
            #expect(store.mapValues(\.at) == last.mapValues(\.at), "seed \(seed)")
        }
    }
}
