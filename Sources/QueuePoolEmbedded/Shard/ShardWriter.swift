// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import QueuePoolCore
import Synchronization

// What one shard does in a turn of its store: take everything that gathered and judge it against the index under its lock;
// write it, in one transaction with the store's other shards; publish it to the index under the lock; answer everybody.
// If the transaction fails, nothing was published and everybody is told.

/// - Important: used under its store's lock only, and a shard stands in the store's line once (`isScheduled` in its inbox).
///   That is what makes it Sendable.
final class ShardWriter: @unchecked Sendable {
    private static let blockMessagesMax = 256
    private static let blockBytesMax = 256 << 10
    private static let maintenanceMilliseconds: Int64 = 1_000

    let shard: EmbeddedShard
    let store: Store
    private let identity: LogIdentity
    var books: LogBooks
    /// Rows of blocks that have no message left, to be deleted with the next commit.
    var finishedRows: [Int64] = []
    /// Whether the last commit failed, so that a change is told once.
    private var isFailing = false
    private var deletionRowsAtLastSweep = 0
    private var maintainedAt: Timestamp

    init(shard: EmbeddedShard, store: Store, identity: LogIdentity, books: LogBooks) {
        self.shard = shard
        self.store = store
        self.identity = identity
        self.books = books
        finishedRows = shard.index.withLock { $0.takeFinishedRows() }
        maintainedAt = shard.now()
    }

    /// Asks for a turn unless one is coming.
    func poke() {
        let mustSchedule = shard.inbox.withLock { inbox in
            defer { inbox.isScheduled = true }
            return !inbox.isScheduled
        }
        if mustSchedule { store.schedule(self) }
    }

    /// What comes after a turn.
    enum Sequel {
        case rest
        case anotherTurn
        case end
    }

    func endTurn() -> Sequel {
        shard.inbox.withLock { inbox in
            if !inbox.operations.isEmpty { return .anotherTurn }
            if inbox.isClosed { return .end }
            inbox.isScheduled = false
            return .rest
        }
    }

    private func take() -> [ShardOperation] {
        shard.inbox.withLock { inbox in
            let taken = inbox.operations
            inbox.operations = []
            return taken
        }
    }

    /// Takes everything that gathered and judges it.
    /// - Returns: what is to be written and settled; `nil` if nothing is left to do.
    func begin() -> ShardTurn? {
        var turn = ShardTurn()
        for operation in take() {
            switch operation {
            case .send(let pull, let completion):
                let messages = pull()
                // What comes from another shard is deleted there.
                if let refusal = store.refusal, messages.contains(where: { !$0.record.isMoved }) {
                    completion(.failure(refusal))
                } else {
                    turn.sends.append((messages, completion))
                }
            case .delete(let handles, let completion): turn.deletes.append((handles, completion))
            case .finishMove(let handles, let isStored): turn.moves.append((handles, isStored))
            case .load(let decision, let completion): load(decision, completion)
            case .purge(let completion):
                // A purge divides what came before it from what comes after.
                commit(turn)
                turn = ShardTurn()
                purge(completion)
            }
        }
        return turn.isEmpty ? nil : judged(turn)
    }

    // MARK: - One commit

    /// A commit of this shard's alone.
    private func commit(_ turn: consuming ShardTurn) {
        if !turn.isEmpty { store.commit([(self, judged(turn))]) }
    }

    private func judged(_ turn: consuming ShardTurn) -> ShardTurn {
        var turn = turn
        let now = shard.now()
        shard.index.withLock { index in
            index.advance(to: now)
            turn.judge(&index, now, blockMessagesMax: ShardWriter.blockMessagesMax, bytes: ShardWriter.blockBytesMax)
        }
        return turn
    }

    /// Publishes what was written, or not, and answers.
    func settle(_ turn: consuming ShardTurn, _ failure: ShardError?) {
        var turn = turn
        if failure == nil, turn.needsWrite { take(note: &turn) }
        let now = shard.now()
        let isReady = shard.index.withLock { index in
            turn.publish(&index, isDurable: failure == nil, now)
            finishedRows.append(contentsOf: index.takeFinishedRows())
            return index.hasReadyGroup
        }
        shard.counters.moved.wrappingAdd(failure == nil ? turn.movedCount : 0, ordering: .relaxed)
        turn.answer(failure)
        report(turn, failure)
        if isReady { shard.notifyReady() }
    }

    private func take(note turn: inout ShardTurn) {
        shard.counters.commits.wrappingAdd(1, ordering: .relaxed)
        finishedRows.removeFirst(turn.droppedRows)
        if let keyRow = turn.keyRow { books.keyRows.append(keyRow) }
        if !turn.deletions.isEmpty, let row = turn.rows.last {
            turn.deletionRow = row
            books.deletionRows.append(row)
        }
    }

    private func report(_ turn: ShardTurn, _ failure: ShardError?) {
        for event in turn.events(isDurable: failure == nil) { shard.report(event) }
        guard turn.needsWrite, isFailing != (failure != nil) else { return }
        isFailing.toggle()
        shard.report(failure.map { .commitsFail($0) } ?? .commitsSucceedAgain)
    }

    /// Writes a turn's rows; in a transaction.
    func write(_ turn: inout ShardTurn) throws(DatabaseError) {
        let log = store.file
        turn.rows = []
        for block in turn.blocks {
            turn.rows.append(
                try log.append(
                    shard: identity.number, kind: LogKind.block, head: LogEncoding.encode(block), body: block.body))
        }
        if !turn.deletions.isEmpty {
            turn.rows.append(
                try log.append(
                    shard: identity.number, kind: LogKind.deletions,
                    head: LogEncoding.encode(deletions: turn.deletions)))
        }
        turn.droppedRows = finishedRows.count
        turn.keyRow = try drop(finishedRows, shard.now())
    }

    /// Deletes blocks that have no message left; their keys stay in the log until their five minutes are over.
    private func drop(
        _ rows: [Int64], _ now: Timestamp
    ) throws(DatabaseError) -> (row: Int64, newest: SequenceNumber)? {
        let oldest = SequenceNumber(firstOf: now + -Int64(QueueLimits.deduplicationSeconds) * 1_000)
        var keys: [(key: Hash128, sequence: SequenceNumber)] = []
        let log = store.file
        for row in rows {
            if let head = try log.head(row: row), let block = LogEncoding.blockHead(head) {
                keys.append(contentsOf: block.keys.lazy.filter { $0.sequence >= oldest })
            }
            try log.delete(row: row)
        }
        guard let newest = keys.map(\.sequence).max() else { return nil }
        let head = LogEncoding.encode(keys: keys)
        return (try log.append(shard: identity.number, kind: LogKind.keys, head: head), newest)
    }

    // MARK: - Purge

    private func purge(_ completion: @Sendable (Result<Int, ShardError>) -> Void) {
        let rows =
            shard.index.withLock { $0.blockRows() } + finishedRows + books.keyRows.map(\.row) + books.deletionRows
        let failure = store.transactMakingRoom { (log) throws(DatabaseError) in
            for row in rows { try log.delete(row: row) }
        }
        if let failure { return completion(.failure(failure)) }
        finishedRows = []
        books = LogBooks()
        completion(.success(shard.index.withLock { $0.removeAll() }))
    }

    // MARK: - Stop

    /// Writes down who holds what.
    func writeDeliveries() {
        let now = shard.now()
        let (states, last) = shard.index.withLock { index in
            index.advance(to: now)
            return (index.deliveryStates(), index.highestSequence)
        }
        // A failure here only forgets receive counts, which a crash would have forgotten too.
        _ = store.transact { (log) throws(DatabaseError) in
            var start = 0
            repeat {
                let end = min(start + 16_384, states.count)
                let head = LogEncoding.encode(states: states[start..<end], lastSequence: last)
                _ = try log.append(shard: identity.number, kind: LogKind.deliveriesOfOpenings, head: head)
                start = end
            } while start < states.count
        }
    }

    // MARK: - Maintenance

    /// Once a second: retention, old keys, deletion rows that nobody needs.
    func maintain() {
        let now = shard.now()
        guard now - maintainedAt >= ShardWriter.maintenanceMilliseconds, store.brokenBy == nil else { return }
        maintainedAt = now
        expire(now)
        if books.deletionRows.count >= deletionRowsAtLastSweep + 1_024 {
            rewritePinned(now)
            deletionRowsAtLastSweep = books.deletionRows.count
        }
        sweep(now)
        deletionRowsAtLastSweep = min(deletionRowsAtLastSweep, books.deletionRows.count)
    }

    private func expire(_ now: Timestamp) {
        let handles = shard.index.withLock { index in
            index.advance(to: now)
            return index.takeExpired(now: now)
        }
        guard !handles.isEmpty else { return }
        var turn = ShardTurn()
        turn.expired = handles
        commit(turn)
    }

    /// Rewrites blocks that keep old deletion rows alive, so that they hold live messages only.
    private func rewritePinned(_ now: Timestamp) {
        let newest = books.deletionRows.last ?? 0
        let pinned = shard.index.withLock { $0.blocksPinning(deletionsBefore: newest, limit: 256) }
        let oldest = SequenceNumber(firstOf: now + -Int64(QueueLimits.deduplicationSeconds) * 1_000)
        var rewritten: [(row: Int64, directory: [DirectoryEntry], body: [UInt8])] = []
        let failure = store.transact { (log) throws(DatabaseError) in
            for (row, live) in pinned {
                guard let head = try log.head(row: row), let block = LogEncoding.blockHead(head),
                    let body = try log.body(row: row)
                else { continue }
                let (directory, compact) = ShardWriter.compacted(live, body)
                let keys = block.keys.filter { $0.sequence >= oldest }
                try log.replace(row: row, head: LogEncoding.encode(directory: directory, keys: keys), body: compact)
                rewritten.append((row, directory, compact))
            }
        }
        guard failure == nil else { return }
        shard.index.withLock { index in
            for item in rewritten { index.rewrote(row: item.row, directory: item.directory, body: item.body) }
        }
    }

    private static func compacted(_ live: [DirectoryEntry], _ body: [UInt8]) -> ([DirectoryEntry], [UInt8]) {
        var compact: [UInt8] = []
        compact.reserveCapacity(live.reduce(0) { $0 + Int($1.length) })
        let directory = live.map { entry in
            var moved = entry
            moved.offset = UInt32(compact.count)
            compact.append(contentsOf: body[Int(entry.offset)..<Int(entry.offset + entry.length)])
            return moved
        }
        return (directory, compact)
    }

    /// Removes rows of keys past their interval and deletion rows that no block needs.
    private func sweep(_ now: Timestamp) {
        let oldest = SequenceNumber(firstOf: now + -Int64(QueueLimits.deduplicationSeconds) * 1_000)
        let keyRows = books.keyRows.prefix { $0.newest < oldest }.prefix(1_000).map(\.row)
        // Finished blocks go in the same transaction as the deletions that only they still needed.
        let finished = finishedRows
        let needed = shard.index.withLock { $0.oldestNeededDeletionRow() }
        let deletionRows = books.deletionRows.prefix { $0 < needed ?? .max }.prefix(4_096)
        guard keyRows.count + deletionRows.count + finished.count > 0 else { return }
        var keyRow: (row: Int64, newest: SequenceNumber)?
        let failure = store.transact { (log) throws(DatabaseError) in
            for row in keyRows { try log.delete(row: row) }
            for row in deletionRows { try log.delete(row: row) }
            keyRow = try drop(finished, now)
        }
        guard failure == nil else { return }
        finishedRows.removeFirst(finished.count)
        if let keyRow { books.keyRows.append(keyRow) }
        books.keyRows.removeFirst(keyRows.count)
        books.deletionRows.removeFirst(deletionRows.count)
    }
}
