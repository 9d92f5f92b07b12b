// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule

// Turns single sends into batch requests for a shard that stores a batch whole, one batcher a shard. Guarantees: entries
// leave in the order in which they came, one request at a time; a request stays within the entry and byte limits; what
// waits is bounded, and whoever comes when it is full is told so at once; what waits
// longer than its deadline, which a small quota or a slow disk can make it, is not sent any more, and its sender is told
// so: it has tried again long ago, and past the deduplication interval both would be stored. There is no linger: a request leaves as soon as
// one may, and what arrives while it is under way makes the next one, so batches are as large as the load needs and a lone
// send waits for nobody. Source: the group commit of databases (Gawlick and Kinkade 1985) and franz-go's sink, which
// drains whatever has gathered when the previous request returns. A shard that answers for each entry has another sender
// (`RequestSender`), because entry k may fail there and k+1 be stored.

/// One waiting send: the message, and what to tell about it.
@frozen public struct BatcherEntry<Ticket: Sendable>: Sendable {
    public let message: OutgoingMessage
    public let ticket: Ticket
    /// The sender took a token of the quota for it already.
    public let isPaid: Bool
    /// What its request has in common; `nil` for the only entry of a request.
    public let order: RequestOrder?
    /// Its place among the entries of its request.
    public let position: Int

    @inlinable
    public init(
        message: OutgoingMessage, ticket: Ticket, isPaid: Bool = false, order: RequestOrder? = nil, position: Int = 0
    ) {
        self.message = message
        self.ticket = ticket
        self.isPaid = isPaid
        self.order = order
        self.position = position
    }

    /// Why it must not be sent any more; `nil` if it may.
    var earlierFailure: ShardError? { order?.failure(before: position, group: message.groupHash) }

    /// Notes its failure, so that later entries of its group in its request fail too.
    public func noteFailure(_ error: ShardError) {
        if !Mutation.batchFailureIsNotNoted.isOn { order?.fail(position, group: message.groupHash, because: error) }
    }
}

/// How large requests are and how much may wait.
public struct BatcherLimits: Hashable, Sendable {
    public var requestEntriesMax: Int
    public var requestBytesMax: Int
    public var waitingEntriesMax: Int
    public var waitingBytesMax: Int
    /// From acceptance until its request leaves: far inside of the deduplication interval of five minutes.
    public var deadlineMilliseconds: Int64

    public init(
        requestEntriesMax: Int, requestBytesMax: Int, waitingEntriesMax: Int = Defaults.waitingEntriesMax,
        waitingBytesMax: Int = Defaults.waitingBytesMax,
        deadlineMilliseconds: Int64 = Defaults.sendDeadlineMilliseconds
    ) {
        self.deadlineMilliseconds = deadlineMilliseconds
        self.requestEntriesMax = requestEntriesMax
        self.requestBytesMax = requestBytesMax
        self.waitingEntriesMax = waitingEntriesMax
        self.waitingBytesMax = waitingBytesMax
    }
}

/// The sends that wait for one shard, and the requests that are under way to it.
// Generic, so that tests can follow entries by number; specialized for what the program uses, because other modules
// would call it through type descriptions else.
public struct Batcher<Ticket: Sendable>: Sendable {
    typealias Request = [BatcherEntry<Ticket>]
    /// An entry that is not sent, and why.
    typealias Refusal = (entry: BatcherEntry<Ticket>, error: ShardError)

    /// What to do next.
    enum Step: Sendable {
        /// `refused`: entries that came to their turn after an earlier one of their group and request had failed; to be
        /// told so. The request is empty if they were all there was, and is not to be finished then.
        case send(Request, refused: [Refusal])
        /// Nothing may leave before this time: the quota is spent.
        case wait(until: Timestamp)
        case idle
    }

    /// How many entries came at one time.
    private struct Arrival: Sendable {
        let at: Timestamp
        var entries: Int
    }

    public let limits: BatcherLimits
    private var quota: TokenBucket?
    /// When a request was last kept from leaving by the quota, and by nothing else.
    private var quotaHeldAt = Timestamp.distantPast
    private var waiting: Deque<BatcherEntry<Ticket>> = []
    /// When the entries of `waiting` came, in their order.
    private var arrivals: Deque<Arrival> = []
    private var isRequestUnderWay = false
    private(set) public var waitingEntries = 0
    private(set) var waitingBytes = 0
    private var entriesUnderWay = 0
    private var bytesUnderWay = 0
    /// The request that the shard was told of and has not asked for yet.
    var announced: RequestID?
    /// The request that the shard has asked for and not answered yet.
    var underWay: (id: RequestID, request: Request)?
    var nextRequest = 0
    /// When the timer that was asked for rings.
    var wakesAt: Timestamp?

    @_specialize(where Ticket == SendTicket)
    public init(limits: BatcherLimits, quota: TokenBucket? = nil) {
        self.limits = limits
        self.quota = quota
    }

    /// Takes entries in, all or none.
    /// - Returns: whether there was room; a lone request larger than the bounds is let in when nothing waits.
    mutating func accept(_ entries: [BatcherEntry<Ticket>], now: Timestamp) -> Bool {
        guard !entries.isEmpty else { return true }
        let bytes = entries.reduce(0) { $0 + $1.message.byteCount }
        if waitingEntries > 0 {
            guard waitingEntries + entries.count <= limits.waitingEntriesMax,
                waitingBytes + bytes <= limits.waitingBytesMax
            else { return false }
        }
        waiting.append(contentsOf: Mutation.requestReversed.isOn ? entries.reversed() : entries)
        arrivals.append(Arrival(at: now, entries: entries.count))
        waitingEntries += entries.count
        waitingBytes += bytes
        return true
    }

    /// Takes out what has waited until its deadline.
    mutating func expire(now: Timestamp) -> [Refusal] {
        var late: [Refusal] = []
        let wait = 1_000
        while let oldest = arrivals.first, now - oldest.at >= limits.deadlineMilliseconds {
            // Under a shard that is slow as well, the request under way is what is waited for.
            let isOverQuota = !isRequestUnderWay && quotaHeldAt >= oldest.at
            let error =
                isOverQuota
                ? ShardError.quotaExceeded(retryAfterMilliseconds: wait) : .overloaded(retryAfterMilliseconds: wait)
            for _ in 0..<oldest.entries {
                let entry = removeFirst()
                waitingEntries -= 1
                waitingBytes -= entry.message.byteCount
                late.append((entry, entry.earlierFailure ?? error))
            }
        }
        return late
    }

    private mutating func removeFirst() -> BatcherEntry<Ticket> {
        if arrivals[0].entries == 1 { arrivals.removeFirst() } else { arrivals[0].entries -= 1 }
        return waiting.removeFirst()
    }

    /// Takes a token of the quota ahead, for an entry that comes in as paid.
    /// - Returns: `nil` if there was one or no quota is set, else the milliseconds until there will be.
    public mutating func takeToken(now: Timestamp) -> Int? { quota?.take(now: now) ?? nil }

    /// Whether a request may leave now.
    enum Readiness: Hashable, Sendable {
        case ready
        /// Nothing may leave before this time: the quota is spent.
        case wait(until: Timestamp)
        case idle
    }

    mutating func readiness(now: Timestamp) -> Readiness {
        guard !isRequestUnderWay, let first = waiting.first else { return .idle }
        if quota != nil, !first.isPaid, quota?.hasToken(now: now) == false {
            quotaHeldAt = now
            var probe = quota
            return .wait(until: now + Int64(max(1, probe?.take(now: now) ?? 1)))
        }
        return .ready
    }

    /// The next request, if one may leave now.
    mutating func next(now: Timestamp) -> Step {
        switch readiness(now: now) {
        case .idle: return .idle
        case .wait(let until): return .wait(until: until)
        case .ready: break
        }
        var refused: [Refusal] = []
        let request = gather(&refused)
        let bytes = request.reduce(0) { $0 + $1.message.byteCount }
        waitingEntries -= request.count + refused.count
        waitingBytes -= bytes
        waitingBytes -= refused.reduce(0) { $0 + $1.entry.message.byteCount }
        guard !request.isEmpty else { return refused.isEmpty ? .idle : .send([], refused: refused) }
        if !request.contains(where: \.isPaid) { _ = quota?.take(now: now) }
        isRequestUnderWay = true
        entriesUnderWay = request.count
        bytesUnderWay = bytes
        return .send(request, refused: refused)
    }

    /// The request under way was answered, whatever the answer.
    mutating func finished(_ request: Request) {
        isRequestUnderWay = false
        entriesUnderWay = 0
        bytesUnderWay = 0
    }

    public var heldEntries: Int { waitingEntries + entriesUnderWay }
    public var heldBytes: Int { waitingBytes + bytesUnderWay }

    private mutating func gather(_ refused: inout [Refusal]) -> Request {
        var request: Request = []
        var bytes = 0
        request.reserveCapacity(min(waiting.count, limits.requestEntriesMax))
        while request.count < limits.requestEntriesMax, !waiting.isEmpty {
            if let error = waiting[0].earlierFailure {
                refused.append((removeFirst(), error))
                continue
            }
            let size = waiting[0].message.byteCount
            guard request.isEmpty || bytes + size <= limits.requestBytesMax else { break }
            bytes += size
            request.append(removeFirst())
        }
        return request
    }
}
