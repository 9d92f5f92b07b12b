// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
package import QueuePoolCore
import Synchronization

// A complete FIFO queue on one SQLite file. Guarantees: what was answered is on stable storage (I1); what a commit did
// not make durable was never visible to a receiver; `kill -9` at any moment loses nothing that was answered.
//
// One writer commits for everybody (group commit): it takes all operations that gathered while the last commit was
// flushing and puts them into the next one. Receives and changes of visibility write nothing; they take the
// index's lock, decide, and return the answer, unless a body must come from the disk. So a crash forgets
// who held what: messages in flight are delivered again, which is what at-least-once allows, and their receive counts
// start anew; a clean stop remembers both.
//
// Lock order: `inbox` and `index` are leaves, never held together, and nothing is called while one is held.

/// A FIFO shard in this process.
package final class EmbeddedShard: Shard {
    package let name: String
    package let tag: ShardTag
    package var traits: ShardTraits { ShardTraits(storesWholeBatches: true, pullsLate: true) }

    let clock: ShardClock
    let index: Mutex<FIFOQueue>
    let inbox = Mutex(ShardInbox())
    /// Read and written under the lock of `index`.
    private let isShut = Atomic(false)
    let stopped = DispatchSemaphore(value: 0)
    let counters = ShardCounters()
    private let callbacks = Mutex(ShardCallbacks())

    init(name: String, index: consuming FIFOQueue, clock: ShardClock) {
        self.name = name
        tag = index.tag
        self.clock = clock
        self.index = Mutex(index)
    }

    package func submit(_ batch: ShardBatch, completion: @escaping @Sendable (EntryAnswers) -> Void) {
        if post(.send(batch, completion)) { return }
        later { completion(batch.pull().isEmpty ? .entries([]) : .failed(.permanent(.closed))) }
    }

    /// Answers what was not taken; never within the call.
    func later(_ answer: @escaping @Sendable () -> Void) {
        clock.wall.schedule(afterMilliseconds: 0, answer)
    }

    package func receive(
        _ command: ReceiveCommand, completion: @escaping @Sendable (ReceiveAnswer) -> Void
    ) -> ReceiveAnswer? {
        guard let decision = decide(command) else { return .failure(.closed) }
        if decision.toDeadLetter.isEmpty, decision.received.allSatisfy({ $0.body != nil }) {
            return .success(decision.received.compactMap { entry in entry.body.map { entry.message(in: $0) } })
        }
        return post(.load(decision, command, completion)) ? nil : .failure(.closed)
    }

    /// Asks the index what a receive gets now; `nil` once the shard is closed.
    func decide(_ command: ReceiveCommand) -> ReceiveDecision? {
        let time = now()
        let answer = index.withLock { index -> ReceiveDecision? in
            guard !isShut.load(ordering: .relaxed) else { return nil }
            index.advance(to: time)
            let seconds = command.visibilitySeconds ?? index.attributes.visibilityTimeoutSeconds
            return index.receive(
                limit: command.limit, visibilityMilliseconds: Int64(seconds) * 1_000, attemptID: command.attemptID,
                now: time)
        }
        guard let decision = answer else { return nil }
        if !decision.expired.isEmpty { _ = post(.expire(decision.expired)) }
        return decision
    }

    package func delete(_ handles: [ReceiptHandle], completion: @escaping @Sendable ([DeleteOutcome]) -> Void) {
        if post(.delete(handles, completion)) { return }
        later { completion(handles.map { _ in .failed(.closed) }) }
    }

    package func changeVisibility(
        _ changes: [(handle: ReceiptHandle, seconds: Int)],
        completion: @escaping @Sendable ([VisibilityDecision]) -> Void
    ) -> [VisibilityDecision]? {
        let time = now()
        let (decisions, isReady) = index.withLock { index in
            guard !isShut.load(ordering: .relaxed) else {
                return (changes.map { _ in VisibilityDecision.failed(.closed) }, false)
            }
            index.advance(to: time)
            let decisions = changes.map {
                index.changeVisibility($0.handle, milliseconds: Int64($0.seconds) * 1_000, now: time)
            }
            return (decisions, index.hasReadyGroup)
        }
        if isReady { notifyReady() }
        return decisions
    }

    package func purge(completion: @escaping @Sendable (Result<Int, ShardError>) -> Void) {
        if post(.purge(completion)) { return }
        later { completion(.failure(.closed)) }
    }

    package func setAttributes(_ attributes: QueueAttributes) {
        let time = now()
        index.withLock { $0.setAttributes(attributes, now: time) }
        notifyReady()
    }

    package func counts() -> ShardCounts {
        let time = now()
        var counts = index.withLock { index in
            index.advance(to: time)
            var counts = ShardCounts()
            counts.inFlight = index.inFlightCount
            counts.delayed = index.delayedCount(time)
            counts.backlog = max(0, index.messageCount - counts.inFlight - counts.delayed)
            counts.oldestAgeMilliseconds = index.oldestAge(time) ?? 0
            counts.deduplicationEntries = index.deduplicationCount
            counts.sent = index.sentCount
            counts.received = index.receivedCount
            counts.duplicates = index.duplicateCount
            counts.expired = index.expiredCount
            counts.deleted = index.deletedCount
            return counts
        }
        counts.commits = counters.commits.load(ordering: .relaxed)
        let moved = counters.moved.load(ordering: .relaxed)
        counts.movedToDeadLetter = moved
        counts.deleted -= moved
        return counts
    }

    package func nextVisibleAt() -> Timestamp? {
        let time = now()
        return index.withLock { index in
            index.advance(to: time)
            return index.nextVisibleAt
        }.map(clock.wallTime)
    }

    /// The shard's time.
    func now() -> Timestamp { clock.now() }

    package func onReady(_ notify: @escaping @Sendable () -> Void) { callbacks.withLock { $0.ready = notify } }

    package func onEvent(_ report: @escaping @Sendable (ShardEvent) -> Void) {
        callbacks.withLock { $0.event = report }
    }

    func report(_ event: ShardEvent) { callbacks.withLock { $0.event }?(event) }

    /// Sets where messages go that were received too often; without it a redrive policy only holds them back.
    package func setDeadLetterSink(_ sink: DeadLetterSink?) { callbacks.withLock { $0.deadLetterSink = sink } }

    var deadLetterSink: DeadLetterSink? { callbacks.withLock { $0.deadLetterSink } }

    func notifyReady() { callbacks.withLock { $0.ready }?() }

    /// Sets how the writer is asked for a turn, and how to wait for its last one; once, before the shard is used.
    func setWriter(
        _ poke: @escaping @Sendable () -> Void, wait: @escaping @Sendable (_ isDone: DispatchSemaphore) -> Void
    ) {
        callbacks.withLock { ($0.writer, $0.wait) = (poke, wait) }
    }

    /// - Returns: `false` if the shard is closing; the operation was not taken.
    func post(_ operation: ShardOperation) -> Bool {
        let mustPoke: Bool? = inbox.withLock { inbox in
            if inbox.isClosed { return nil }
            inbox.operations.append(operation)
            return !inbox.isScheduled
        }
        if mustPoke == true { callbacks.withLock { $0.writer }?() }
        return mustPoke != nil
    }

    /// Finishes what was accepted, writes down who holds what, closes the file. Blocks until that is done.
    package func close() {
        let isFirst = inbox.withLock { inbox in
            defer { inbox.isClosed = true }
            return !inbox.isClosed
        }
        guard isFirst else { return }
        // Before the writer writes down who holds what: nothing may be given out or back behind that.
        index.withLock { _ in isShut.store(true, ordering: .relaxed) }
        callbacks.withLock { $0.writer }?()
        callbacks.withLock { $0.wait }?(stopped)
        // The writer holds the file: let it go, so that the file can be opened again.
        callbacks.withLock { ($0.writer, $0.wait) = (nil, nil) }
    }
}

/// Whom a shard calls. A struct, because a bare closure in a generic lock is wrapped anew at every access.
struct ShardCallbacks {
    var ready: (@Sendable () -> Void)?
    var writer: (@Sendable () -> Void)?
    var wait: (@Sendable (DispatchSemaphore) -> Void)?
    var event: (@Sendable (ShardEvent) -> Void)?
    var deadLetterSink: DeadLetterSink?
}

/// Counts that the writer keeps.
final class ShardCounters: Sendable {
    let commits = Atomic(0)
    let moved = Atomic(0)
}

extension ReceivedEntry {
    func message(in storage: [UInt8]) -> ReceivedMessage {
        ReceivedMessage(
            handle: handle, messageID: MessageID(shard: handle.shard, sequence: handle.sequence),
            receiveCount: Int(handle.receiveCount), firstReceivedAt: firstReceivedAt, storage: storage,
            offset: offset, length: length)
    }
}
