// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule

// Turns single sends into batch requests, one batcher a shard. Guarantees: entries of one group leave in the order in
// which they came; a group never has entries in two unacknowledged requests; a request stays within the entry and byte
// limits; what waits is bounded, and whoever comes when it is full is told so at once. There is no linger: a request
// leaves as soon as one may, and what arrives while it is under way makes the next one, so batches are as large as the
// load needs and a lone send waits for nobody. Source: the group commit of databases (Gawlick and Kinkade 1985) and
// franz-go's sink, which drains whatever has gathered when the previous request returns.
//
// On a shard that stores a batch whole, any number of a group's entries share a request. On one that does not (Amazon
// SQS), entry k may fail and k+1 be stored, and nothing can take k+1 back; there, at most one entry of a group goes
// into a request, and the next waits for its answer.

/// Whom to tell what became of one message; told once.
package struct SendTicket: Sendable {
    package let complete: @Sendable (Result<SendReceipt, ShardError>) -> Void

    package init(_ complete: @escaping @Sendable (Result<SendReceipt, ShardError>) -> Void) { self.complete = complete }
}

/// One waiting send: the message, and what to tell about it.
package struct BatcherEntry<Ticket: Sendable>: Sendable {
    package let message: OutgoingMessage
    package let ticket: Ticket
    /// The sender took a token of the quota for it already.
    package let isPaid: Bool
    /// What its request has in common; `nil` for the only entry of a request.
    package let order: RequestOrder?
    /// Its place among the entries of its request.
    package let position: Int

    package init(
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
    package func noteFailure(_ error: ShardError) { order?.fail(position, group: message.groupHash, because: error) }
}

/// How large requests are and how much may wait.
package struct BatcherLimits: Hashable, Sendable {
    package var requestEntriesMax: Int
    package var requestBytesMax: Int
    package var requestsInFlightMax: Int
    /// Entries of one group in one request.
    package var groupEntriesMax: Int
    package var waitingEntriesMax: Int
    package var waitingBytesMax: Int

    package init(
        requestEntriesMax: Int, requestBytesMax: Int, requestsInFlightMax: Int = 1, groupEntriesMax: Int = .max,
        waitingEntriesMax: Int = 20_000, waitingBytesMax: Int = 64 << 20
    ) {
        self.requestEntriesMax = requestEntriesMax
        self.requestBytesMax = requestBytesMax
        self.requestsInFlightMax = requestsInFlightMax
        self.groupEntriesMax = groupEntriesMax
        self.waitingEntriesMax = waitingEntriesMax
        self.waitingBytesMax = waitingBytesMax
    }
}

/// The sends that wait for one shard, and the requests that are under way to it.
// Generic, so that tests can follow entries by number; specialized for what the program uses, because other modules
// would call it through type descriptions else.
package struct Batcher<Ticket: Sendable>: Sendable {
    package typealias Request = [BatcherEntry<Ticket>]
    /// An entry that is not sent, and why.
    package typealias Refusal = (entry: BatcherEntry<Ticket>, error: ShardError)

    /// What to do next.
    package enum Step: Sendable {
        /// `refused`: entries that came to their turn after an earlier one of their group and request had failed; to be
        /// told so. The request is empty if they were all there was, and is not to be finished then.
        case send(Request, refused: [Refusal])
        /// Nothing may leave before this time: the quota is spent.
        case wait(until: Timestamp)
        case idle
    }

    package let limits: BatcherLimits
    private var quota: TokenBucket?
    /// What waits, when groups need no bookkeeping.
    private var waiting: Deque<BatcherEntry<Ticket>> = []
    /// What waits, by group, and the groups in flight, when they do.
    private var lines: [UInt64: Line] = [:]
    /// Groups that have entries and are not in flight, each once, in the order in which they are served.
    private var turns: Deque<UInt64> = []
    private var requestsInFlight = 0
    private(set) package var waitingEntries = 0
    private(set) package var waitingBytes = 0

    @_specialize(where Ticket == SendTicket)
    package init(limits: BatcherLimits, quota: TokenBucket? = nil) {
        self.limits = limits
        self.quota = quota
    }

    /// Takes entries in, all or none.
    /// - Returns: whether there was room; a lone request larger than the bounds is let in when nothing waits.
    @_specialize(where Ticket == SendTicket)
    package mutating func accept(_ entries: [BatcherEntry<Ticket>]) -> Bool {
        let bytes = entries.reduce(0) { $0 + $1.message.byteCount }
        if waitingEntries > 0 {
            guard waitingEntries + entries.count <= limits.waitingEntriesMax,
                waitingBytes + bytes <= limits.waitingBytesMax
            else { return false }
        }
        if tracksGroups { entries.forEach { stand($0) } } else { waiting.append(contentsOf: entries) }
        waitingEntries += entries.count
        waitingBytes += bytes
        return true
    }

    /// Takes a token of the quota ahead, for an entry that comes in as paid.
    /// - Returns: `nil` if there was one or no quota is set, else the milliseconds until there will be.
    @_specialize(where Ticket == SendTicket)
    package mutating func takeToken(now: Timestamp) -> Int? { quota?.take(now: now) ?? nil }

    /// Whether a request may leave now.
    package enum Readiness: Hashable, Sendable {
        case ready
        /// Nothing may leave before this time: the quota is spent.
        case wait(until: Timestamp)
        case idle
    }

    @_specialize(where Ticket == SendTicket)
    package mutating func readiness(now: Timestamp) -> Readiness {
        guard requestsInFlight < limits.requestsInFlightMax, let first = tracksGroups ? firstInTurn : waiting.first
        else { return .idle }
        if quota != nil, !first.isPaid, quota?.hasToken(now: now) == false {
            var probe = quota
            return .wait(until: now + Int64(max(1, probe?.take(now: now) ?? 1)))
        }
        return .ready
    }

    /// The next request, if one may leave now.
    @_specialize(where Ticket == SendTicket)
    package mutating func next(now: Timestamp) -> Step {
        switch readiness(now: now) {
        case .idle: return .idle
        case .wait(let until): return .wait(until: until)
        case .ready: break
        }
        var refused: [Refusal] = []
        let request = tracksGroups ? gatherByGroup(&refused) : gather(&refused)
        waitingEntries -= request.count + refused.count
        waitingBytes -= request.reduce(0) { $0 + $1.message.byteCount }
        waitingBytes -= refused.reduce(0) { $0 + $1.entry.message.byteCount }
        guard !request.isEmpty else { return refused.isEmpty ? .idle : .send([], refused: refused) }
        if !request.contains(where: \.isPaid) { _ = quota?.take(now: now) }
        requestsInFlight += 1
        return .send(request, refused: refused)
    }

    /// A request was answered, whatever the answer; its groups may go on.
    @_specialize(where Ticket == SendTicket)
    package mutating func finished(_ request: Request) {
        requestsInFlight -= 1
        guard tracksGroups else { return }
        for entry in request {
            let hash = entry.message.groupHash
            guard lines[hash]?.isInFlight == true else { continue }
            if lines[hash]?.entries.isEmpty == true {
                lines[hash] = nil
            } else {
                lines[hash]?.isInFlight = false
                turns.append(hash)
            }
        }
    }

    /// With one request at a time and no limit for a group, order needs no bookkeeping.
    private var tracksGroups: Bool { limits.requestsInFlightMax > 1 || limits.groupEntriesMax != .max }

    private var firstInTurn: BatcherEntry<Ticket>? { turns.first.flatMap { lines[$0]?.entries.first } }

    private mutating func gather(_ refused: inout [Refusal]) -> Request {
        var request: Request = []
        var bytes = 0
        while request.count < limits.requestEntriesMax, let entry = waiting.first {
            if let error = entry.earlierFailure {
                refused.append((entry, error))
                waiting.removeFirst()
                continue
            }
            guard request.isEmpty || bytes + entry.message.byteCount <= limits.requestBytesMax else { break }
            bytes += entry.message.byteCount
            request.append(entry)
            waiting.removeFirst()
        }
        return request
    }

    /// Takes as much of each group as may go, group by group; a group served goes behind those not served yet.
    private mutating func gatherByGroup(_ refused: inout [Refusal]) -> Request {
        var request: Request = []
        var bytes = 0
        while request.count < limits.requestEntriesMax, let hash = turns.popFirst() {
            // Taken out while it is changed, so that its entries are not copied.
            guard var line = lines.removeValue(forKey: hash) else { continue }
            defer { if line.isInFlight || !line.entries.isEmpty { lines[hash] = line } }
            var isFull = false
            var count = 0
            while count < limits.groupEntriesMax, request.count < limits.requestEntriesMax,
                let entry = line.entries.first
            {
                if let error = entry.earlierFailure {
                    refused.append((entry, error))
                    line.entries.removeFirst()
                    continue
                }
                isFull = !request.isEmpty && bytes + entry.message.byteCount > limits.requestBytesMax
                if isFull { break }
                line.entries.removeFirst()
                bytes += entry.message.byteCount
                request.append(entry)
                count += 1
            }
            line.isInFlight = count > 0
            if count == 0, !line.entries.isEmpty { turns.prepend(hash) }
            if isFull { break }
        }
        return request
    }

    private mutating func stand(_ entry: BatcherEntry<Ticket>) {
        let hash = entry.message.groupHash
        // A group in flight or with entries is known already; only a new one needs its turn.
        if lines[hash] == nil { turns.append(hash) }
        lines[hash, default: Line()].entries.append(entry)
    }

    /// One group's waiting entries, in order.
    private struct Line: Sendable {
        var entries: Deque<BatcherEntry<Ticket>> = []
        var isInFlight = false
    }
}
