// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// One shard's moves to its dead-letter queue. A move is two writes in two places: the message is stored there, then
// deleted here. Guarantees: a message is not sent there again once it is known to be stored there, only its deletion is
// tried again; a queue that takes nothing is asked with one message at a time, and ever less often; what waits is put
// back until the next try, so that nothing spins; a change from working to failing and back is told once.
//
// A crash between the two writes is the driver's part: it notes what is about to be moved before it sends it, and takes
// these moves up first after an opening, while the dead-letter queue still knows the message's id (I3).

/// Decides what becomes of messages that were received too often.
public struct DeadLetterMoves: Sendable {
    /// What to do with messages that were found spent; each is in one of the lists.
    public struct Plan: Hashable, Sendable {
        /// To be noted durably, then stored in the dead-letter queue.
        public var store: [ReceiptHandle] = []
        /// Stored there already: to be deleted here.
        public var delete: [ReceiptHandle] = []
        /// To be put back until then.
        public var wait: [ReceiptHandle] = []
        public var until = Timestamp.distantPast
    }

    /// What the dead-letter queue's answer leads to.
    public struct Outcome: Hashable, Sendable {
        public var delete: [ReceiptHandle] = []
        public var wait: [ReceiptHandle] = []
        public var until = Timestamp.distantPast
        /// The first failure since moves succeeded.
        public var beginsToFail = false
    }

    /// Milliseconds from the first failure to the next try, doubled with each further one.
    public static let firstPause: Int64 = 1_000
    public static let longestPause: Int64 = 60_000

    /// Stored in the dead-letter queue, and not deleted here yet.
    private var stored: Set<SequenceNumber> = []
    /// Put back until a later try.
    private var waiting: Set<SequenceNumber> = []
    private var underWay: Set<SequenceNumber> = []
    private var failures = 0
    private var pausedUntil = Timestamp.distantPast
    private var mustLook = true

    public init() {}

    /// Whether to look for messages to move without being asked by a receive: after an opening, and while some wait.
    public func mustLook(now: Timestamp) -> Bool { (mustLook || !waiting.isEmpty) && now >= pausedUntil }

    /// A look found nothing.
    public mutating func foundNothing() { mustLook = false }

    public mutating func plan(_ handles: [ReceiptHandle], now: Timestamp) -> Plan {
        var plan = Plan()
        for handle in handles {
            waiting.remove(handle.sequence)
            if stored.contains(handle.sequence) {
                plan.delete.append(handle)
            } else if failures == 0 || now >= pausedUntil && underWay.isEmpty {
                // While it fails, one is the probe for all.
                underWay.insert(handle.sequence)
                plan.store.append(handle)
            } else {
                plan.wait.append(handle)
                waiting.insert(handle.sequence)
            }
        }
        plan.until = max(pausedUntil, now + DeadLetterMoves.firstPause)
        return plan
    }

    /// - Parameter results: whether the dead-letter queue said that it stored the message.
    public mutating func answered(_ results: [(handle: ReceiptHandle, isStored: Bool)], now: Timestamp) -> Outcome {
        var outcome = Outcome()
        for (handle, isStored) in results {
            underWay.remove(handle.sequence)
            if isStored {
                stored.insert(handle.sequence)
                outcome.delete.append(handle)
            } else {
                waiting.insert(handle.sequence)
                outcome.wait.append(handle)
            }
        }
        if outcome.wait.isEmpty {
            failures = 0
            pausedUntil = .distantPast
        } else {
            outcome.beginsToFail = failures == 0
            let pause = DeadLetterMoves.firstPause << Int64(min(failures, 16))
            failures += 1
            pausedUntil = now + min(DeadLetterMoves.longestPause, pause)
        }
        outcome.until = pausedUntil
        return outcome
    }

    /// The deletions of moved messages are durable, or were not written and are tried again.
    public mutating func deleted(_ handles: [ReceiptHandle], isDurable: Bool) {
        for handle in handles {
            if isDurable { stored.remove(handle.sequence) } else { waiting.insert(handle.sequence) }
        }
    }
}
