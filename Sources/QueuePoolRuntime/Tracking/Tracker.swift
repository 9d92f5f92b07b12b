// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import Synchronization

/// Tells a store what became of one pool's messages: soon, in batches, and beside the messages' own way.
package final class Tracker: Sendable {
    /// - Returns: whether they are saved; else they are told again.
    package typealias Save = @Sendable (_ records: [TrackingRecord]) async -> Bool

    private static let pauseMilliseconds: Int64 = 250
    private static let pauseAfterFailureMilliseconds: Int64 = 2_000

    private struct State: Sendable {
        var buffer = TrackingBuffer()
        var isScheduled = false
        /// Ended by `finish`: a store may not be there any more.
        var isOver = false
    }

    private let state = Mutex(State())
    private let clock: any Clock
    private let save: Save

    package init(clock: any Clock, save: @escaping Save) {
        self.clock = clock
        self.save = save
    }

    /// Records that were dropped, because the store took fewer than came.
    package var droppedCount: Int { state.withLock { $0.buffer.droppedCount } }

    /// Takes a record; returns at once.
    package func note(_ record: TrackingRecord) {
        let now = clock.now()
        let mustSchedule = state.withLock { state in
            guard !state.isOver else { return false }
            state.buffer.note(record, now: now)
            defer { state.isScheduled = true }
            return !state.isScheduled
        }
        if mustSchedule { schedule(after: Tracker.pauseMilliseconds) }
    }

    /// What is not saved yet of a message.
    package func record(_ id: String) -> TrackingRecord? { state.withLock { $0.buffer.record(id) } }

    /// Tells what is left, until a time at the latest; nothing is taken after it.
    package func finish(deadline: Timestamp) async {
        while clock.now() < deadline {
            let (batch, isEmpty) = state.withLock { state in
                state.isOver = true
                return (state.buffer.next(takesAll: true, now: clock.now()), state.buffer.isEmpty)
            }
            if isEmpty { return }
            // A batch of before is still out.
            guard !batch.isEmpty else {
                await clock.pause(milliseconds: 20)
                continue
            }
            let isSaved = await save(batch)
            state.withLock { $0.buffer.told(isSaved: isSaved) }
            if !isSaved { await clock.pause(milliseconds: Tracker.pauseMilliseconds) }
        }
    }

    private func schedule(after milliseconds: Int64) {
        clock.schedule(afterMilliseconds: milliseconds) { [self] in Task { await tell() } }
    }

    private func tell() async {
        var pause = Tracker.pauseMilliseconds
        while true {
            let batch = state.withLock { $0.isOver ? [] : $0.buffer.next(now: clock.now()) }
            guard !batch.isEmpty else { break }
            let isSaved = await save(batch)
            state.withLock { $0.buffer.told(isSaved: isSaved) }
            if !isSaved {
                pause = Tracker.pauseAfterFailureMilliseconds
                break
            }
        }
        let isMore = state.withLock { state in
            state.isScheduled = !state.isOver && !state.buffer.isEmpty
            return state.isScheduled
        }
        if isMore { schedule(after: pause) }
    }
}
