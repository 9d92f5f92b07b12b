// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule
import HeapModule

// Turns single sends into requests to a shard that answers for each entry (Amazon SQS). Guarantees: a ticket is told
// once; success only if the shard said "stored" (I1); of a group, a message is stored after those before it that were
// acknowledged, also when entries fail, answers are lost and requests are repeated (I2); what is held is bounded.
//
// The rules, and why:
// - ONE entry of a group in a request, and the next leaves after its answer is known. SQS may fail entry k and store
//   k+1, and nothing takes k+1 back: with two of a group in a request, k could only be stored behind k+1. So a group
//   moves one message a round trip; groups move side by side.
// - An entry in flight stays the head of its group's line. If it fails, or nobody knows, it is the head still, and is
//   sent again with the same deduplication id. Its followers are held until it is stored, refused for good, or past its
//   deadline.
// - An unknown outcome is tried again: within five minutes SQS recognizes the deduplication id and stores nothing twice
//   (I3), also if the first request arrives after the second. The deadline lies far inside of the five minutes; past it
//   the sender is told that the outcome is unknown, and so it is if a later try is refused: the first may have stored.
// - An entry in doubt keeps its place past its deadline, and past a refusal, until a try is answered "stored" or no
//   request from before can arrive any more: else a follower could be stored before it.
// - Once an entry was told a failure, later entries of its group and request are told so too, and are not sent
//   (`RequestOrder`).
// - A request leaves at once if one may (no linger); what comes while none may makes the next one.
// - A request that fails as a whole pauses the shard, with full jitter, and until one succeeds, one at a time leaves: a
//   dead shard is not stormed. Requests that were under way together count as one failure. An entry that fails alone
//   waits alone.
// - A shard that goes on failing is known to: its senders are told within two seconds instead of thirty, so that a
//   request over several shards has its answers soon (I5). What is held meanwhile serves as probes, one more when the
//   last one is not answered soon; what comes beyond a request's worth of them is refused at once.
// - One request without any answer is enough for that, if it was waited for long and nothing else was answered meanwhile:
//   a shard that accepts and never answers would otherwise have three time limits to be found out.
// - Tickets are told at the deadline even if the shard never answers; the group is not: what may yet be stored must not
//   be overtaken. For a minute it is tried on; then it only keeps its place, since its sender has made later tries of its
//   own perhaps, and the five minutes count from the first. A sender who tries it again takes it over.

/// How large requests are, how many may be under way, how much may be held and for how long.
public struct RequestLimits: Hashable, Sendable {
    public var requestEntriesMax = QueueLimits.batchEntriesMax
    public var requestBytesMax = QueueLimits.messageBytesMax
    public var requestsInFlightMax = 8
    /// Entries and bytes that are held, in flight or waiting.
    public var heldEntriesMax = Defaults.waitingEntriesMax
    public var heldBytesMax = Defaults.waitingBytesMax
    /// From acceptance to the answer to the sender, 1...120,000 milliseconds: far inside of SQS's five minutes.
    public var deadlineMilliseconds: Int64 = Defaults.sendDeadlineMilliseconds {
        didSet { deadlineMilliseconds = min(max(1, deadlineMilliseconds), 120_000) }
    }
    /// Requests in a row that failed, and milliseconds since the first of them, after which a shard counts as failing.
    public var failingRequests = 3
    public var failingMilliseconds: Int64 = 5_000
    /// The deadline while it counts as failing: its senders are told soon, and each of their messages is a probe.
    public var failingDeadlineMilliseconds: Int64 = 2_000
    /// A request that came to nothing after so long is enough, if the shard answered none since it was sent.
    public var silentMilliseconds = RequestPace.silentMilliseconds
    /// How long a probe is waited for before another one leaves.
    public var probeMilliseconds = RequestPace.probeMilliseconds
    /// How long after it was sent a request whose answer is missing may still arrive. Inside of the five minutes, so that
    /// every try until then is recognized as the same message.
    public var doubtMilliseconds: Int64 = 240_000
    /// How long after that an entry in doubt is tried again although nobody waits for it.
    public var doubtTriesMilliseconds: Int64 = 60_000
    /// How often one that only keeps its place is looked at.
    public var doubtLookMilliseconds: Int64 = 500

    public init() {}
}

/// The sends that one shard has not answered yet.
public struct RequestSender<Ticket: Sendable>: Sendable {
    public typealias Event = SenderEvent<Ticket>
    public typealias Effect = SenderEffect<Ticket>

    struct Held: Sendable {
        let message: OutgoingMessage
        /// `nil` once told.
        var ticket: Ticket?
        var deadline: Timestamp
        var isPaid: Bool
        var order: RequestOrder?
        var position: Int
        var failures = 0
        /// Its last try was throttled.
        var isThrottled = false
        var isInFlight = false
        /// It may be stored already, or yet, by a request whose answer is missing.
        var isInDoubt: Bool { doubtedAt != nil }
        /// When a request with it was first sent whose answer is missing.
        var doubtedAt: Timestamp?

        var earlierFailure: ShardError? { order?.failure(before: position, group: message.groupHash) }

        func noteFailure(_ error: ShardError) {
            if Mutation.entryFailureIsNotNoted.isOn { return }
            order?.fail(position, group: message.groupHash, because: error)
        }
    }

    struct Request: Sendable {
        let entries: [Int]
        let sentAt: Timestamp
    }

    /// A group whose head waits by itself.
    struct Resting: Comparable, Sendable {
        let until: Timestamp
        let group: UInt64

        static func < (a: Resting, b: Resting) -> Bool { a.until < b.until }
    }

    public let limits: RequestLimits
    var quota: AdaptiveQuota?
    var jitter: FullJitter
    var held: [Int: Held] = [:]
    /// The held entries of each group in order, by number. A group is in exactly one place: in turns, in retries, in
    /// resting, or in flight with its head.
    var lines: [UInt64: Deque<Int>] = [:]
    var turns: Deque<UInt64> = []
    /// Groups whose head was tried already; served first, because its deadline is nearest.
    var retries: Deque<UInt64> = []
    var resting = Heap<Resting>()
    var requests: [RequestID: Request] = [:]
    /// Entries in the order of their deadlines, which is that of their acceptance; some are gone already.
    var deadlines: Deque<Int> = []
    var nextEntry = 0
    var nextRequest = 0
    public internal(set) var heldBytes = 0
    var entriesInFlight = 0
    /// Requests that failed as a whole since one succeeded.
    var failures = 0
    var failedAt = Timestamp.distantPast
    /// Of these failures, all were throttlings.
    var isOnlyThrottled = false
    /// When a request was last kept from leaving by the quota, and by nothing else.
    var quotaHeldAt = Timestamp.distantPast
    /// When the shard answered last, whatever it said.
    var answeredAt = Timestamp.distantPast
    /// When the first of these failed.
    var failingFrom = Timestamp.distantPast
    /// When the shard began to count as failing; `nil` while it does not.
    var isFailingSince: Timestamp?
    var pausedUntil = Timestamp.distantPast
    /// The request that left last while the shard fails.
    var probe: RequestID?
    var sendWakesAt: Timestamp?
    var deadlineWakesAt: Timestamp?
    var lastNow = Timestamp.distantPast

    public init(limits: RequestLimits, quota: AdaptiveQuota? = nil, seed: UInt64) {
        self.limits = limits
        self.quota = quota
        jitter = FullJitter(seed: seed)
    }

    /// When an entry is told at the latest. Like the deadlines, ascending in the order of acceptance.
    func deadline(of entry: Held) -> Timestamp {
        guard let since = isFailingSince else { return entry.deadline }
        let accepted = entry.deadline + -limits.deadlineMilliseconds
        return min(entry.deadline, max(accepted, since) + limits.failingDeadlineMilliseconds)
    }

    public var heldEntries: Int { held.count }
    public var waitingEntries: Int { held.count - entriesInFlight }
    /// Nothing is held, under way or waiting for its time.
    var isAtRest: Bool {
        held.isEmpty && heldBytes == 0 && entriesInFlight == 0 && requests.isEmpty && resting.isEmpty
    }

    /// Takes a token of the quota ahead, for an entry that comes in as paid.
    /// - Returns: `nil` if there was one or no quota is set, else the milliseconds until there will be.
    public mutating func takeToken(now: Timestamp) -> Int? { quota?.take(now: now) ?? nil }

    /// - Complexity: O(1) for each entry that comes, leaves or is answered; O(log n) for one that rests.
    public mutating func handle(_ event: Event, now time: Timestamp) -> [Effect] {
        // Threads read the clock before they take turns here.
        let now = max(time, lastNow)
        lastNow = now
        var effects: [Effect] = []
        switch event {
        case .accept(let entries): accept(entries, now, &effects)
        case .answered(let id, .entries(let outcomes)): answered(id, outcomes, now, &effects)
        case .answered(let id, .failed(let failure)): failed(id, failure, now, &effects)
        case .timer:
            if let at = sendWakesAt, at <= now { sendWakesAt = nil }
            if let at = deadlineWakesAt, at <= now { deadlineWakesAt = nil }
        }
        expire(now, &effects)
        dispatch(now, &effects)
        return effects
    }

    /// All or none; a lone request larger than the bounds is let in when nothing is held.
    private mutating func accept(_ entries: [BatcherEntry<Ticket>], _ now: Timestamp, _ effects: inout [Effect]) {
        if isFailingSince != nil, held.count >= limits.requestEntriesMax {
            let wait = retryAfterMilliseconds
            let error =
                isOnlyThrottled
                ? ShardError.quotaExceeded(retryAfterMilliseconds: wait) : .unavailable(retryAfterMilliseconds: wait)
            return refuse(entries, error, &effects)
        }
        let bytes = entries.reduce(0) { $0 + $1.message.byteCount }
        let fits = held.count + entries.count <= limits.heldEntriesMax && heldBytes + bytes <= limits.heldBytesMax
        guard fits || held.isEmpty else {
            return refuse(entries, .overloaded(retryAfterMilliseconds: retryAfterMilliseconds), &effects)
        }
        heldBytes += bytes
        for entry in entries {
            if takeOver(entry, now) { continue }
            let id = nextEntry
            nextEntry += 1
            held[id] = Held(
                message: entry.message, ticket: entry.ticket, deadline: now + limits.deadlineMilliseconds,
                isPaid: entry.isPaid, order: entry.order, position: entry.position)
            deadlines.append(id)
            let group = entry.message.groupHash
            if lines[group] == nil { turns.append(group) }
            lines[group, default: []].append(id)
        }
    }

    /// The sender of a head in doubt that nobody waits for any more tries it again: it is told what becomes of the head.
    private mutating func takeOver(_ entry: BatcherEntry<Ticket>, _ now: Timestamp) -> Bool {
        guard let line = lines[entry.message.groupHash], let id = line.first, let head = held[id], head.isInDoubt,
            head.ticket == nil, head.message.hasSameDeduplicationID(as: entry.message), entry.earlierFailure == nil
        else { return false }
        // An earlier entry of the same request waits behind the head: this one must not be told before it.
        if let order = entry.order, line.contains(where: { held[$0]?.order === order }) { return false }
        heldBytes -= entry.message.byteCount
        held[id]?.ticket = entry.ticket
        held[id]?.deadline = now + limits.deadlineMilliseconds
        held[id]?.isPaid = entry.isPaid
        held[id]?.order = entry.order
        held[id]?.position = entry.position
        // It is still there if it was told before its deadline.
        deadlines.removeAll { $0 == id }
        deadlines.append(id)
        return true
    }

    private func refuse(_ entries: [BatcherEntry<Ticket>], _ error: ShardError, _ effects: inout [Effect]) {
        for entry in entries {
            entry.noteFailure(error)
            effects.append(.complete(entry.ticket, .failure(error)))
        }
    }

    /// About the time until a tenth of what is held has left.
    var retryAfterMilliseconds: Int {
        guard let quota else { return 1_000 }
        let rate = max(1, Int(quota.rate)) * limits.requestEntriesMax
        return min(max(100, held.count * 100 / rate), 30_000)
    }
}
