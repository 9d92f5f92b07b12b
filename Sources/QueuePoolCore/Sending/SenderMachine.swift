// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// What stands before a shard decides in one of two machines: `Batcher` for one that stores a batch whole, `RequestSender`
// for one that answers for each entry. They have one shape, so that one driver serves both and decides nothing itself.

/// The order in which batches were begun.
public typealias RequestID = Int

/// What a machine is told.
public enum SenderEvent<Ticket: Sendable>: Sendable {
    /// Messages come in, in order; all are taken in, or all are refused.
    case accept([BatcherEntry<Ticket>])
    /// A batch was answered; an entry that the answer does not mention may be stored or not.
    case answered(RequestID, EntryAnswers)
    /// A time has come for which it asked by `wake`.
    case timer
}

/// What its driver is to do, in this order and outside of any lock.
public enum SenderEffect<Ticket: Sendable>: Sendable {
    /// Submit a batch that the machine forms when the shard asks for it (`pull`).
    case announce(RequestID)
    /// Submit this batch.
    case send(RequestID, [OutgoingMessage])
    /// Tell one sender.
    case complete(Ticket, Result<SendReceipt, ShardError>)
    /// Tell the senders of a batch what the answer says: one effect, and not one for each of thousands.
    case settle([BatcherEntry<Ticket>], EntryAnswers)
    /// Send `timer` at this time.
    case wake(at: Timestamp)
}

/// The decisions of what stands before a shard. Pure: time and answers come in, effects go out.
public protocol SenderMachine: Sendable {
    mutating func handle(_ event: SenderEvent<SendTicket>, now: Timestamp) -> [SenderEffect<SendTicket>]

    /// Forms the batch that was announced under this number; once.
    mutating func pull(
        _ id: RequestID, now: Timestamp
    ) -> (messages: [OutgoingMessage], effects: [SenderEffect<SendTicket>])

    /// Takes a token of the quota ahead, for an entry that comes in as paid.
    /// - Returns: `nil` if there was one or no quota is set, else the milliseconds until there will be.
    mutating func takeToken(now: Timestamp) -> Int?

    /// Messages that wait for a batch.
    var waitingEntries: Int { get }
    /// Messages that are waiting or under way.
    var heldEntries: Int { get }
    /// The bytes of their records.
    var heldBytes: Int { get }
}

extension SenderMachine {
    /// Nothing: what is never announced is never asked for.
    public mutating func pull(
        _ id: RequestID, now: Timestamp
    ) -> (messages: [OutgoingMessage], effects: [SenderEffect<SendTicket>]) { ([], []) }
}

extension Batcher: SenderMachine where Ticket == SendTicket {}
extension RequestSender: SenderMachine where Ticket == SendTicket {}
