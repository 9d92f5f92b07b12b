// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Synchronization

// The driver of `DeadLetterMoves`: store in the dead-letter queue first, delete here afterwards. Before the first, the
// receive counts of what is moved are written down, as at a clean stop: after a crash in between, the messages are spent
// still, nobody receives them, and the opening moves them again at once. By then the dead-letter queue knows their ids
// and stores no copy.

extension ShardWriter {
    /// A row with the receive counts of messages that are being moved.
    struct MoveNote {
        let row: Int64
        var left: Set<SequenceNumber>
    }

    /// Starts moves; the messages are held.
    func move(_ entries: [ReceivedEntry], _ bodies: inout [Int64: [UInt8]]) {
        let now = shard.now()
        let plan = moves.plan(entries.map(\.handle), now: now)
        putBack(plan.wait, until: plan.until, now)
        if !plan.delete.isEmpty { _ = shard.post(.finishMove(plan.delete.map { ($0, true) })) }
        var handles: [ReceiptHandle] = []
        var messages: [OutgoingMessage] = []
        var unread: [(handle: ReceiptHandle, isStored: Bool)] = []
        for entry in entries where plan.store.contains(entry.handle) {
            if case .success(let found?) = find(entry, &bodies) {
                handles.append(entry.handle)
                messages.append(found.deadLetter())
            } else {
                unread.append((entry.handle, false))
            }
        }
        if !unread.isEmpty { _ = shard.post(.finishMove(unread)) }
        guard !messages.isEmpty else { return }
        let shard = self.shard
        guard let sink = shard.deadLetterSink, note(handles) else {
            _ = shard.post(.finishMove(handles.map { ($0, false) }))
            return
        }
        sink(messages) { [handles] results in
            let stored = results.map { if case .success = $0 { true } else { false } }
            _ = shard.post(.finishMove(handles.indices.map { (handles[$0], $0 < stored.count && stored[$0]) }))
        }
    }

    /// Writes down what is about to be moved.
    /// - Returns: whether it is on stable storage.
    private func note(_ handles: [ReceiptHandle]) -> Bool {
        let noted = moveNotes.reduce(into: Set<SequenceNumber>()) { $0.formUnion($1.left) }
        let fresh = handles.filter { !noted.contains($0.sequence) }
        guard !fresh.isEmpty else { return true }
        let (states, last) = shard.index.withLock { ($0.deliveryStates(of: fresh), $0.highestSequence) }
        var row: Int64 = 0
        let failure = store.transactMakingRoom { (log) throws(DatabaseError) in
            row = try log.append(
                shard: identity.number, kind: LogKind.deliveriesOfOpenings,
                head: LogEncoding.encode(states: states, lastSequence: last))
        }
        guard failure == nil else { return false }
        moveNotes.append(MoveNote(row: row, left: Set(fresh.map(\.sequence))))
        return true
    }

    func finishMove(_ results: [(handle: ReceiptHandle, isStored: Bool)], _ turn: inout ShardTurn) {
        let now = shard.now()
        let outcome = moves.answered(results, now: now)
        waiting.answered()
        turn.moves.append(contentsOf: outcome.delete)
        putBack(outcome.wait, until: outcome.until, now)
        if outcome.beginsToFail { shard.report(.deadLetterFailed(outcome.wait.map(ShardTurn.messageID))) }
    }

    private func putBack(_ handles: [ReceiptHandle], until: Timestamp, _ now: Timestamp) {
        guard !handles.isEmpty else { return }
        waiting.settled(handles)
        shard.index.withLock { index in
            for handle in handles {
                index.finishDelete(handle, isDurable: false, deletionRow: 0, now: now, until: until)
            }
        }
    }

    /// The deletions of moved messages were written, or not.
    func settleMoves(_ handles: [ReceiptHandle], isDurable: Bool) {
        moves.deleted(handles, isDurable: isDurable)
        waiting.settled(handles)
        guard isDurable else { return }
        let gone = Set(handles.map(\.sequence))
        for place in moveNotes.indices { moveNotes[place].left.subtract(gone) }
    }

    /// Once a second: takes up moves that an opening found or that wait for another try, and removes notes that are done.
    func resumeMoves(_ now: Timestamp) {
        let done = moveNotes.filter(\.left.isEmpty).map(\.row)
        if !done.isEmpty {
            let failure = store.transact { (log) throws(DatabaseError) in for row in done { try log.delete(row: row) } }
            if failure == nil { moveNotes.removeAll(where: \.left.isEmpty) }
        }
        guard moves.mustLook(now: now), shard.deadLetterSink != nil else { return }
        let decision = shard.index.withLock { index in
            index.advance(to: now)
            return index.takeLeaving(now: now)
        }
        if !decision.expired.isEmpty { _ = shard.post(.expire(decision.expired)) }
        if decision.toDeadLetter.isEmpty {
            if decision.expired.isEmpty { moves.foundNothing() }
            return
        }
        var bodies: [Int64: [UInt8]] = [:]
        move(decision.toDeadLetter, &bodies)
    }
}
