// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule
import QueuePoolCore

// How a journal's files come free: the oldest first, by itself when nothing is left in it, or by SQLite.

extension JournaledLog {
    var isCheckpointDue: Bool { file.isCheckpointDue || journal.offset >= JournaledLog.roomFactor * fileBytes }

    func checkpoint() {
        guard brokenBy == nil else { return }
        // What has no room is tried again.
        try? settleAll()
        file.checkpoint()
    }

    func checkpointIfDue(on line: any CommitLine) {
        if let outcome = settler?.take() { note(outcome) }
        guard brokenBy == nil else { return }
        if journal.offset >= max(fileBytes, retryOffset) { goOn() }
        guard isCheckpointDue else { return }
        line.waiting {
            if journal.offset >= JournaledLog.roomFactor * fileBytes { awaitRoom() } else { file.checkpoint() }
        }
    }

    /// Goes on in another file, if there is one, and sees to it that there will be one for the next time.
    private func goOn() {
        if settling == nil {
            while let oldest = waiting.first, oldest.batch.isEmpty {
                journal.release(oldest.file)
                waiting.removeFirst()
            }
        }
        // One that cannot be made is tried again at the next commit, which finds no room in the end.
        _ = try? takeFresh()
        if settling == nil, journal.freeCount(opening: mayOpen) < 2 { settling = waiting.popFirst() }
        startSettling()
    }

    /// Waits until the oldest file is in SQLite, and goes on in it.
    private func awaitRoom() {
        if settling == nil { settling = waiting.popFirst() }
        startSettling()
        do throws(DatabaseError) {
            try awaitSettling()
            if !(try takeFresh()) { try settleAll() }
        } catch {}
    }

    /// Carries everything into SQLite; it is on stable storage there when this returns.
    func settleAll() throws(DatabaseError) {
        try checkUsable()
        try awaitSettling()
        while settling != nil || !waiting.isEmpty {
            if settling == nil { settling = waiting.popFirst() }
            try finishSettling()
        }
        guard journal.offset > 0 else { return }
        // The current one last, and on from its start: on a full disk it is the one that has room.
        let batch = fresh
        settling = CommitJournal.Segment(file: journal.current, generation: journal.generation, batch: batch)
        fresh = LogBatch()
        do throws(DatabaseError) { try finishSettling() } catch {
            settling = nil
            fresh = batch
            fresh.isPartlySettled = true
            throw error
        }
        journal.restart(after: settled)
    }

    /// Goes on in another file of the journal.
    /// - Returns: whether there is one.
    private func takeFresh() throws(DatabaseError) -> Bool {
        let full = CommitJournal.Segment(file: journal.current, generation: journal.generation, batch: fresh)
        let filesBefore = journal.paths.count
        guard try journal.turn(opening: mayOpen) else { return false }
        waiting.append(full)
        fresh = LogBatch()
        retryOffset = 0
        if journal.paths.count > filesBefore { mark() }
        return true
    }

    /// Whether the journal may have one more file: what SQLite needs to take all of them comes first.
    private var mayOpen: Bool {
        guard let room = SystemFile.room(at: file.directory) else { return false }
        let all = Int64(2 * CommitJournal.filesMax * fileBytes)
        return room.free >= min(room.total / 8, all) + Int64(fileBytes)
    }

    private func startSettling() {
        do throws(DatabaseError) { try trySettling() } catch { note(LogSettling.Outcome(failure: error)) }
    }

    private func trySettling() throws(DatabaseError) {
        guard let settling else { return }
        let settler: LogSettling
        if let made = self.settler {
            settler = made
        } else {
            settler = try LogSettling(path: file.path, vfs: vfs, fileBytes: fileBytes)
            self.settler = settler
        }
        if settler.isIdle { settler.begin(settling) }
    }

    func finishSettling() throws(DatabaseError) {
        try trySettling()
        try awaitSettling()
    }

    /// Waits until nothing is written to SQLite beside commits.
    func awaitSettling() throws(DatabaseError) {
        guard let outcome = settler?.wait() else { return }
        note(outcome)
        if let failure = outcome.failure { throw failure }
    }

    private func note(_ outcome: LogSettling.Outcome) {
        guard let failure = outcome.failure else {
            if let done = settling {
                settled = done.generation
                journal.release(done.file)
            }
            settling = nil
            return
        }
        if failure.isFatal { brokenBy = failure }
        retryOffset = journal.offset + fileBytes / 8
    }

    func shrink() {
        guard brokenBy == nil, (try? settleAll()) != nil else { return }
        file.shrink()
        guard brokenBy == nil else { return }
        do throws(DatabaseError) { try journal.truncate(settled: settled) } catch { brokenBy = error }
    }

    func room() -> StoreRoom? {
        guard let room = file.room() else { return nil }
        // What is still to be carried into SQLite needs room there, and in its log until it was copied.
        let bytes = waiting.reduce(fresh.byteCount + (settling?.batch.byteCount ?? 0)) { $0 + $1.batch.byteCount }
        let needed = Int64(bytes + min(bytes, fileBytes))
        return StoreRoom(free: max(0, room.free - needed), total: room.total, growth: max(0, room.growth - needed))
    }
}
