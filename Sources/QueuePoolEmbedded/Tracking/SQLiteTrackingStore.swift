// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule
import Dispatch
package import QueuePoolCore
import Synchronization

/// Records that are saved together.
struct TrackingSave: Sendable {
    let records: [TrackingRecord]
    let pool: String
    let expiresAt: Timestamp
}

/// Tracking records in an SQLite file of their own. One thread commits for all that wait. What is over goes a slice with
/// each commit, several times as many rows as come, and what finds no room goes likewise, the oldest first.
///
/// The store has no clock: what time it is, it knows from those who read and from `removeExpired`.
package final class SQLiteTrackingStore: TrackingStore {
    /// The file's name in the data directory.
    package static let fileName = "tracking.sqlite"
    /// After so many records nothing more joins a commit, so that a read behind it waits for little.
    private static let batchMax = 2_000
    /// Rows that one step of `removeExpired` removes.
    private static let removedMax = 1_000
    private static let closed = TrackingStoreError(code: "Closed")

    private struct Waiting: Sendable {
        let save: TrackingSave
        let done: CheckedContinuation<Result<Void, TrackingStoreError>, Never>
    }

    private struct State: Sendable {
        var waiting: Deque<Waiting> = []
        var isWriting = false
        var isClosed = false
        /// The latest time that somebody told.
        var now = Timestamp.distantPast
        var droppedCount = 0
    }

    private let state = Mutex(State())
    private let file: Mutex<TrackingFile>
    private let reportDamaged: @Sendable (_ count: Int) -> Void
    private let thread = DispatchQueue(label: "queuepool.tracking")

    /// Opens the file, or makes it.
    /// - Parameters:
    ///   - bytesMax: of the file, without its log of some megabytes; when it holds more, the oldest records go.
    ///   - keys: what gives the file its data key; `nil`: records are stored as they are.
    ///   - reportDamaged: called, on the file's thread, with how many reads found a record that is not as it was sealed.
    ///     Nothing is known then of its message.
    ///   - vfs: the name of a registered SQLite VFS to use instead of the default one.
    /// - Throws: `DatabaseError` if that can't be done, or the file is somebody else's or a later version's.
    package init(
        path: String, bytesMax: Int = 2 << 30, keys: (any StoreKeys)? = nil, vfs: String? = nil,
        reportDamaged: @escaping @Sendable (_ count: Int) -> Void = { _ in }
    ) throws(DatabaseError) {
        let sealing = try keys?.sealing(ofFileAt: path)
        file = Mutex(
            try TrackingFile(path: path, bytesMax: bytesMax, vfs: vfs, sealing: sealing.map(TrackingSealing.init)))
        self.reportDamaged = reportDamaged
    }

    /// Records that went before their time was over, since the file was opened, because it was full.
    package var droppedCount: Int { state.withLock { $0.droppedCount } }

    /// Finishes what was asked for, and closes the file. Calls after it fail.
    package func close() {
        guard
            state.withLock({ state in
                defer { state.isClosed = true }
                return !state.isClosed
            })
        else { return }
        // Whatever was asked for before stands before this, but for saves that made room for others between them.
        thread.sync {
            while !write() {}
            file.withLock { $0.close() }
        }
    }

    // MARK: - Calls

    package func save(
        _ records: [TrackingRecord], ofPool pool: PoolName, expiresAt: Timestamp
    ) async throws(TrackingStoreError) {
        let save = TrackingSave(records: records, pool: pool.text, expiresAt: expiresAt)
        let result = await withCheckedContinuation { done in
            // The thread is asked under the lock, so that `close` comes after it.
            let isClosed = state.withLock { state in
                guard !state.isClosed else { return true }
                state.waiting.append(Waiting(save: save, done: done))
                if !state.isWriting { thread.async { self.takeTurn() } }
                state.isWriting = true
                return false
            }
            if isClosed { done.resume(returning: .failure(SQLiteTrackingStore.closed)) }
        }
        try result.get()
    }

    package func record(
        _ id: String, ofPool pool: PoolName, now: Timestamp
    ) async throws(TrackingStoreError) -> TrackingRecord? {
        note(now)
        return try await run { (file) throws(DatabaseError) in try file.record(id, ofPool: pool.text, now: now) }
    }

    package func removeAll(ofPool pool: PoolName) async throws(TrackingStoreError) {
        try await run { (file) throws(DatabaseError) in try file.forget(pool: pool.text) }
    }

    /// Removes what is over, in steps between which others are served. Whoever opened the store calls it from time to time,
    /// for a store to which nothing is written any more, and so that the store knows the time.
    /// - Returns: how many records were removed.
    @discardableResult
    package func removeExpired(now: Timestamp) async throws(TrackingStoreError) -> Int {
        note(now)
        var all = 0
        while true {
            let removed = try await run { (file) throws(DatabaseError) in
                try file.removeExpired(now: now, limit: SQLiteTrackingStore.removedMax)
            }
            all += removed
            if removed < SQLiteTrackingStore.removedMax { return all }
        }
    }

    private func note(_ now: Timestamp) { state.withLock { $0.now = max($0.now, now) } }

    private func run<R: Sendable>(
        _ body: @escaping @Sendable (TrackingFile) throws(DatabaseError) -> R
    ) async throws(TrackingStoreError) -> R {
        let result = await withCheckedContinuation {
            (done: CheckedContinuation<Result<R, TrackingStoreError>, Never>) in
            let isClosed = state.withLock { state in
                guard !state.isClosed else { return true }
                thread.async {
                    done.resume(returning: self.onFile(body))
                    self.file.withLock { $0.checkpoint() }
                }
                return false
            }
            if isClosed { done.resume(returning: .failure(SQLiteTrackingStore.closed)) }
        }
        return try result.get()
    }

    // MARK: - On the thread

    private func onFile<R: Sendable>(
        _ body: @Sendable (TrackingFile) throws(DatabaseError) -> R
    ) -> Result<R, TrackingStoreError> {
        let (result, damaged) = file.withLock { file -> (Result<R, TrackingStoreError>, Int) in
            do throws(DatabaseError) {
                let value = try body(file)
                return (.success(value), file.takeDamaged())
            } catch {
                return (.failure(TrackingStoreError(code: error.name)), file.takeDamaged())
            }
        }
        if damaged > 0 { reportDamaged(damaged) }
        return result
    }

    /// Makes one commit, and the next one behind what else was asked for meanwhile.
    private func takeTurn() {
        if !write() { thread.async { self.takeTurn() } }
    }

    /// Commits some of what waits.
    /// - Returns: whether nothing is left.
    private func write() -> Bool {
        let (batch, now) = state.withLock { state in
            var batch: [Waiting] = []
            var count = 0
            while count < SQLiteTrackingStore.batchMax, let next = state.waiting.popFirst() {
                count += next.save.records.count
                batch.append(next)
            }
            return (batch, state.now)
        }
        if !batch.isEmpty {
            let saves = batch.map(\.save)
            let result = onFile { (file) throws(DatabaseError) in try file.write(saves, now: now) }
            if case .success(let dropped) = result { state.withLock { $0.droppedCount += dropped } }
            for waiting in batch { waiting.done.resume(returning: result.map { _ in }) }
            // Nobody waits for the flush.
            file.withLock { $0.checkpoint() }
        }
        return state.withLock { state in
            if state.waiting.isEmpty { state.isWriting = false }
            return state.waiting.isEmpty
        }
    }
}
