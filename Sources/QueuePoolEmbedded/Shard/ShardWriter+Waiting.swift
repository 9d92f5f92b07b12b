// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Synchronization

// Receives that found nothing but messages to move. SQS answers such a receive with what follows them, so it waits until
// they are moved, and asks the index again. It is not given the followers before: if the dead-letter queue refuses, the
// message is put back in front of them, and may be delivered after all once the redrive policy is gone (I2).
//
// A receive that has something is answered at once, and one that waits takes what comes to other groups (I5). Nobody waits
// longer than two seconds, and nobody at all after somebody waited in vain, until the dead-letter queue answers again: one
// that never answers costs its source next to nothing.

/// Receives that wait for moves to the dead-letter queue.
struct WaitingReceives {
    struct Receive {
        let command: ReceiveCommand
        let completion: @Sendable (ReceiveAnswer) -> Void
        /// The pool's tick when it was asked for.
        fileprivate let tick: Int
        /// Moves that it began and that are not settled.
        fileprivate var moves: Set<SequenceNumber> = []

        init(
            _ command: ReceiveCommand, since tick: Int,
            _ completion: @escaping @Sendable (ReceiveAnswer) -> Void
        ) {
            self.command = command
            self.tick = tick
            self.completion = completion
        }
    }

    /// With these, a receive waits between one and two seconds.
    private static let ticksMax = 2
    private var line: [Receive] = []
    /// Nobody waited in vain since the dead-letter queue answered.
    private var isPatient = true

    var isEmpty: Bool { line.isEmpty }

    /// Whether a receive is to wait for its moves.
    fileprivate mutating func mayWait(_ receive: Receive, tick: Int) -> Bool {
        guard !receive.moves.isEmpty else { return false }
        if tick - receive.tick >= WaitingReceives.ticksMax { isPatient = false }
        return isPatient
    }

    fileprivate mutating func append(_ receive: Receive) { line.append(receive) }

    fileprivate mutating func removeAll() -> [Receive] {
        defer { line = [] }
        return line
    }

    /// The dead-letter queue answered.
    mutating func answered() { isPatient = true }

    /// Messages were moved, or put back.
    mutating func settled(_ handles: [ReceiptHandle]) {
        for place in line.indices { line[place].moves.subtract(handles.map(\.sequence)) }
    }
}

extension ShardWriter {
    /// Starts the moves that a receive asked for; answers it, or lets it wait for them.
    func take(_ decision: ReceiveDecision, of receive: WaitingReceives.Receive) {
        var receive = receive
        receive.moves.formUnion(decision.toDeadLetter.map(\.sequence))
        let mustWait = decision.received.isEmpty && waiting.mayWait(receive, tick: store.pool.tickCount)
        // In line before the moves begin: some are put back at once.
        if mustWait { waiting.append(receive) }
        var bodies: [Int64: [UInt8]] = [:]
        if !decision.toDeadLetter.isEmpty { move(decision.toDeadLetter, &bodies) }
        if !mustWait { load(decision, &bodies, receive.completion) }
    }

    /// Once a turn, after its commit: asks the index again for those who wait, in their order.
    func resumeReceives() {
        guard !waiting.isEmpty else { return }
        for receive in waiting.removeAll() {
            guard let decision = shard.decide(receive.command) else {
                receive.completion(.success([]))
                continue
            }
            take(decision, of: receive)
        }
        if shard.index.withLock({ $0.hasReadyGroup }) { shard.notifyReady() }
    }

    /// The shard closes: what is being moved now is taken up again at its next opening.
    func endReceives() { for receive in waiting.removeAll() { receive.completion(.success([])) } }
}
