// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule

// Gathers what several callers ask of their receipt handles into requests of ten; one collector for deletes, one for
// changes of visibility. A remote queue counts and bills requests, not handles. Guarantees:
//
// - No linger. While few requests are under way, what comes in leaves at once; beyond that, handles gather until they fill
//   a request, which leaves at once too, or until an answer makes room. So a caller alone waits for nobody, and many
//   callers at once fill their requests.
// - No handle is in two requests that are under way, nor twice in one: a service carries out requests, and the entries of
//   one, in any order, and of two changes of one handle the later must win.
// - What one call asks stays in one request, as far as it fits: messages of a group that a caller gives back must become
//   visible together, or another receiver gets a later one first (I2).
// - What waits leaves in its order, except that smaller calls fill what room a larger one leaves.
// - What waits is bounded, and every call is completed once.
// - Requests keep to a pace (`RequestPace`). What the service refused for its rate was not carried out, and waits for
//   another token, at most some seconds. While the queue is known to fail, callers are told so at once, and one request
//   at a time tries it. Requests that are not answered for long leave room in the process for other queues (I5).
//
// Nothing else is tried again here: a delete that failed is its receiver's to repeat, who knows how long the handle is
// good.

/// What is asked of one receipt handle.
public struct HandleChange: Hashable, Sendable {
    public var handle: ReceiptHandle
    /// The new visibility timeout; unused by deletes.
    public var seconds: Int

    public init(handle: ReceiptHandle, seconds: Int = 0) {
        self.handle = handle
        self.seconds = seconds
    }
}

/// What became of it.
public enum HandleOutcome: Hashable, Sendable {
    case done
    /// The handle is no longer that of a message in flight.
    case lost
    case failed(ShardError)
}

/// Deletes, or changes of visibility, on their way to one remote queue. `Ticket` is what the driver completes a call by.
public struct HandleCollector<Ticket: Sendable>: Sendable {
    public struct Limits: Hashable, Sendable {
        public var requestEntriesMax = QueueLimits.batchEntriesMax
        /// Requests under way below which one leaves although it has room.
        public var eagerRequestsMax = 4
        /// Requests under way in all. With answers after 20 milliseconds, 64 of ten carry 32,000 handles a second.
        public var requestsMax = 64
        public var waitingEntriesMax = Defaults.waitingEntriesMax
        /// Requests under way in all while the oldest of them has waited for longer than `slowMilliseconds`.
        public var slowRequestsMax = 16
        public var slowMilliseconds: Int64 = 2_000
        /// How long after it came in a change that is refused for the rate waits for another request.
        public var throttledMilliseconds: Int64 = 5_000
        /// Calls that are looked at to fill one request.
        public var searchMax = 64

        public init() {}
    }

    public enum Event: Sendable {
        /// A call comes in; all of it is taken in, or all refused.
        case enqueue([HandleChange], Ticket)
        /// A request was answered, for each of its changes in order. What is missing was carried out or not.
        case answered(RequestID, [HandleOutcome])
        case failed(RequestID, ShardError)
        /// The time of a `wake` has come.
        case timer
    }

    /// What the driver is to do, in this order and outside of any lock.
    public enum Effect: Sendable {
        case send(RequestID, [HandleChange])
        /// One outcome for each change of the call, in order.
        case complete(Ticket, [HandleOutcome])
        /// Hand in `timer` at this time.
        case wake(Timestamp)
    }

    private struct Call: Sendable {
        let ticket: Ticket
        var outcomes: [HandleOutcome]
        /// Changes without an outcome.
        var left: Int
    }

    /// What of a call goes into one request: each handle once.
    private struct Part: Sendable {
        let call: Int
        /// The place of its first change in the call.
        let start: Int
        let acceptedAt: Timestamp
        var changes: [HandleChange]
    }

    private struct Request: Sendable {
        let parts: [Part]
        let sentAt: Timestamp
    }

    public let limits: Limits
    private var calls: [Int: Call] = [:]
    private var nextCall = 0
    private var waiting: Deque<Part> = []
    private var requests: [RequestID: Request] = [:]
    private var pace: RequestPace?
    private var wakesAt: Timestamp?
    private var nextRequest: RequestID = 0
    private var handlesUnderWay: Set<ReceiptHandle> = []
    /// Changes that are in no request yet.
    public private(set) var waitingEntries = 0

    /// - Parameter pace: of the requests; `nil` is none.
    public init(limits: Limits = Limits(), pace: RequestPace? = nil) {
        self.limits = limits
        self.pace = pace
    }

    public var requestsUnderWay: Int { requests.count }
    /// Requests a second that the service was found to allow; `nil` without a pace.
    public var rate: Double? { pace?.quota.rate }

    /// The quota of these requests, from now on.
    public mutating func set(quota: AdaptiveQuota) { pace?.set(quota: quota) }

    public mutating func handle(_ event: Event, now: Timestamp) -> [Effect] {
        var effects: [Effect] = []
        switch event {
        case .enqueue(let changes, let ticket): enqueue(changes, ticket, now, &effects)
        case .answered(let id, let outcomes):
            if requests[id] != nil { pace?.succeeded(now: now) }
            finish(id, &effects) { outcomes.indices.contains($0) ? outcomes[$0] : .failed(.unknownOutcome) }
        case .failed(let id, let error): failed(id, error, now, &effects)
        case .timer: if let at = wakesAt, at <= now { wakesAt = nil }
        }
        dispatch(now, &effects)
        return effects
    }

    /// Sends what may leave; asks to be woken when time alone holds the rest back.
    private mutating func dispatch(_ now: Timestamp, _ effects: inout [Effect]) {
        while !waiting.isEmpty {
            if let refusal = pace?.refusal(underWay: requests.count, now: now) { refuseWaiting(refusal, &effects) }
            guard !waiting.isEmpty, hasRoom(now) else { return }
            if let at = pace?.mayLeave(underWay: requests.count, now: now), at != .distantPast {
                if wakesAt.map({ at < $0 }) ?? true {
                    wakesAt = at
                    effects.append(.wake(at))
                }
                return
            }
            guard let parts = form() else { return }
            pace?.left(now: now)
            send(parts, now, &effects)
        }
    }

    private func hasRoom(_ now: Timestamp) -> Bool {
        guard requests.count >= limits.slowRequestsMax else { return true }
        let isSlow = requests.values.contains { now - $0.sentAt > limits.slowMilliseconds }
        return requests.count < (isSlow ? limits.slowRequestsMax : limits.requestsMax)
    }

    private mutating func failed(
        _ id: RequestID, _ error: ShardError, _ now: Timestamp, _ effects: inout [Effect]
    ) {
        guard let request = requests[id] else { return }
        switch error {
        case .quotaExceeded where pace != nil:
            pace?.throttled(sentAt: request.sentAt, now: now)
            return retry(id, now, &effects)
        case .unavailable, .unknownOutcome: pace?.failed(sentAt: request.sentAt, now: now)
        default: break
        }
        finish(id, &effects) { _ in .failed(error) }
    }

    /// Puts what was refused for its rate before everything else that waits, but for what has waited for too long.
    private mutating func retry(_ id: RequestID, _ now: Timestamp, _ effects: inout [Effect]) {
        guard let request = requests.removeValue(forKey: id) else { return }
        var left: [Part] = []
        for part in request.parts {
            for change in part.changes { handlesUnderWay.remove(change.handle) }
            if now - part.acceptedAt < limits.throttledMilliseconds {
                left.append(part)
                waitingEntries += part.changes.count
            } else {
                end(part, &effects) { _ in .failed(.quotaExceeded(retryAfterMilliseconds: 1_000)) }
            }
        }
        waiting.prepend(contentsOf: left)
    }

    private mutating func refuseWaiting(_ error: ShardError, _ effects: inout [Effect]) {
        let refused = waiting
        waiting.removeAll()
        waitingEntries = 0
        for part in refused { end(part, &effects) { _ in .failed(error) } }
    }

    private mutating func enqueue(
        _ changes: [HandleChange], _ ticket: Ticket, _ now: Timestamp, _ effects: inout [Effect]
    ) {
        guard !changes.isEmpty else { return effects.append(.complete(ticket, [])) }
        guard waiting.isEmpty || waitingEntries + changes.count <= limits.waitingEntriesMax else {
            let refusal = HandleOutcome.failed(.overloaded(retryAfterMilliseconds: 1_000))
            return effects.append(.complete(ticket, Array(repeating: refusal, count: changes.count)))
        }
        calls[nextCall] = Call(
            ticket: ticket, outcomes: Array(repeating: .failed(.unknownOutcome), count: changes.count),
            left: changes.count)
        var part = Part(call: nextCall, start: 0, acceptedAt: now, changes: [])
        for (place, change) in changes.enumerated() {
            let isFull = part.changes.count == limits.requestEntriesMax
            if isFull || part.changes.contains(where: { $0.handle == change.handle }) {
                waiting.append(part)
                part = Part(call: nextCall, start: place, acceptedAt: now, changes: [])
            }
            part.changes.append(change)
        }
        waiting.append(part)
        waitingEntries += changes.count
        nextCall += 1
    }

    /// The next request, if one may leave now.
    private mutating func form() -> [Part]? {
        let isEager = requests.count < limits.eagerRequestsMax
        // Fewer than fill a request: all of them would fit, and leave room.
        guard requests.count < limits.requestsMax, isEager || waitingEntries >= limits.requestEntriesMax else {
            return nil
        }
        var taken: [Part] = []
        var passed: [Part] = []
        var entries = 0
        // What may not go into this request any more: what it has, and what must not be overtaken.
        var handles: Set<ReceiptHandle> = []
        var isFull = false
        for part in waiting.prefix(limits.searchMax) where entries < limits.requestEntriesMax {
            let isFree = part.changes.allSatisfy {
                !handlesUnderWay.contains($0.handle) && !handles.contains($0.handle)
            }
            if isFree, entries + part.changes.count <= limits.requestEntriesMax {
                taken.append(part)
                entries += part.changes.count
            } else {
                passed.append(part)
                isFull = isFull || isFree
            }
            for change in part.changes { handles.insert(change.handle) }
        }
        guard !taken.isEmpty, isEager || isFull || entries == limits.requestEntriesMax else { return nil }
        waiting.removeFirst(taken.count + passed.count)
        waiting.prepend(contentsOf: passed)
        waitingEntries -= entries
        return taken
    }

    private mutating func send(_ parts: [Part], _ now: Timestamp, _ effects: inout [Effect]) {
        let changes = parts.flatMap(\.changes)
        for change in changes { handlesUnderWay.insert(change.handle) }
        requests[nextRequest] = Request(parts: parts, sentAt: now)
        effects.append(.send(nextRequest, changes))
        nextRequest += 1
    }

    private mutating func finish(_ id: RequestID, _ effects: inout [Effect], _ outcome: (Int) -> HandleOutcome) {
        // An answer that comes twice finds nothing the second time.
        guard let request = requests.removeValue(forKey: id) else { return }
        var place = 0
        for part in request.parts {
            for change in part.changes { handlesUnderWay.remove(change.handle) }
            end(part, &effects) { outcome(place + $0) }
            place += part.changes.count
        }
    }

    /// Notes what became of a part; its call is completed with its last one.
    private mutating func end(_ part: Part, _ effects: inout [Effect], _ outcome: (Int) -> HandleOutcome) {
        for offset in part.changes.indices { calls[part.call]?.outcomes[part.start + offset] = outcome(offset) }
        calls[part.call]?.left -= part.changes.count
        if let call = calls[part.call], call.left == 0 {
            calls[part.call] = nil
            effects.append(.complete(call.ticket, call.outcomes))
        }
    }
}
