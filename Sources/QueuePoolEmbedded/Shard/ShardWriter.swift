// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule
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

    let shard: EmbeddedShard
    let store: Store
    let identity: LogIdentity
    var books: LogBooks
    var moves = DeadLetterMoves()
    var moveNotes: [MoveNote] = []
    var waiting = WaitingReceives()
    var purges = PurgeLine()
    var memory: MemoryShare
    /// Whether the last commit failed, so that a change is told once.
    private var isFailing = false
    /// Upkeep has more to do than it did in the last turn. Like everything here, touched by one turn at a time.
    var hasMoreUpkeep = false
    /// Rows that do not open, each with the newest message that there was when it was found.
    var unopened: [Int64: SequenceNumber] = [:]
    /// Blocks that hold messages, as of the last turn.
    var blockCount = 0
    var maintainedAt: Timestamp

    init(shard: EmbeddedShard, store: Store, identity: LogIdentity, books: LogBooks, memory: MemoryShare) {
        self.memory = memory
        self.shard = shard
        self.store = store
        self.identity = identity
        self.books = books
        maintainedAt = shard.now()
        let (blockCount, finished) = shard.index.withLock { ($0.blockCount, $0.takeFinishedBlocks()) }
        self.blockCount = blockCount
        self.books.append(finished: finished)
        memory.all.opened()
        note(keys: shard.index.withLock { $0.deduplicationCount })
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
            if !inbox.operations.isEmpty || purges.mustGoOn { return .anotherTurn }
            if inbox.isClosed { return .end }
            if hasMoreUpkeep { return .anotherTurn }
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
            case .send(let batch, let completion):
                let messages = batch.pull()
                // What comes from another shard is deleted there.
                if let refusal = store.refusal ?? memory.all.refusal, messages.contains(where: { !$0.record.isMoved }) {
                    completion(.failed(.permanent(refusal)))
                } else {
                    turn.sends.append((messages, completion))
                }
            case .delete(let handles, let completion): turn.deletes.append((handles, completion))
            case .finishMove(let results): finishMove(results, &turn)
            case .expire(let handles): turn.expired.append(contentsOf: handles)
            case .load(let decision, let command, let completion):
                take(decision, of: WaitingReceives.Receive(command, since: store.pool.tickCount, completion))
            case .browse(let start, let limit, let completion): completion(browse(after: start, limit: limit))
            case .claim(let sequences, let seconds, let heldGroups, let completion):
                completion(claim(sequences, seconds: seconds, heldGroups: heldGroups))
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
    func commit(_ turn: consuming ShardTurn) {
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
        let cacheBytes = memory.cacheBytes
        let (isReady, keys) = shard.index.withLock { index in
            index.limitCache(toBytes: cacheBytes)
            turn.publish(&index, isDurable: failure == nil, now)
            books.append(finished: index.takeFinishedBlocks())
            blockCount = index.blockCount
            return (index.hasReadyGroup, index.deduplicationCount)
        }
        note(keys: keys)
        if !turn.moves.isEmpty { settleMoves(turn.moves, isDurable: failure == nil) }
        shard.counters.moved.wrappingAdd(failure == nil ? turn.movedCount : 0, ordering: .relaxed)
        turn.answer(failure)
        report(turn, failure)
        // Who waits for a move has its turn before others are told.
        if isReady, waiting.isEmpty { shard.notifyReady() }
    }

    private func take(note turn: inout ShardTurn) {
        shard.counters.commits.wrappingAdd(1, ordering: .relaxed)
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
    }

    // MARK: - Stop

    /// Writes down who holds what.
    func writeDeliveries() {
        let now = shard.now()
        let (states, last) = shard.index.withLock { index in
            index.advance(to: now)
            // The stop's own time is the newest that the shard had.
            return (index.deliveryStates(), max(index.highestSequence, SequenceNumber(firstOf: now)))
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
}
