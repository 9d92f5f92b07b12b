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
//
// Nothing is tried again here: a delete that failed is its receiver's to repeat, who knows how long the handle is good.
// No time comes in, since nothing is decided by it.

/// What is asked of one receipt handle.
package struct HandleChange: Hashable, Sendable {
    package var handle: ReceiptHandle
    /// The new visibility timeout; unused by deletes.
    package var seconds: Int

    package init(handle: ReceiptHandle, seconds: Int = 0) {
        self.handle = handle
        self.seconds = seconds
    }
}

/// What became of it.
package enum HandleOutcome: Hashable, Sendable {
    case done
    /// The handle is no longer that of a message in flight.
    case lost
    case failed(ShardError)
}

/// Deletes, or changes of visibility, on their way to one remote queue. `Ticket` is what the driver completes a call by.
package struct HandleCollector<Ticket: Sendable>: Sendable {
    package struct Limits: Hashable, Sendable {
        package var requestEntriesMax = QueueLimits.batchEntriesMax
        /// Requests under way below which one leaves although it has room.
        package var eagerRequestsMax = 4
        /// Requests under way in all. With answers after 20 milliseconds, 64 of ten carry 32,000 handles a second.
        package var requestsMax = 64
        package var waitingEntriesMax = Defaults.waitingEntriesMax
        /// Calls that are looked at to fill one request.
        package var searchMax = 64

        package init() {}
    }

    package enum Event: Sendable {
        /// A call comes in; all of it is taken in, or all refused.
        case enqueue([HandleChange], Ticket)
        /// A request was answered, for each of its changes in order. What is missing was carried out or not.
        case answered(RequestID, [HandleOutcome])
        case failed(RequestID, ShardError)
    }

    /// What the driver is to do, in this order and outside of any lock.
    package enum Effect: Sendable {
        case send(RequestID, [HandleChange])
        /// One outcome for each change of the call, in order.
        case complete(Ticket, [HandleOutcome])
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
        var changes: [HandleChange]
    }

    package let limits: Limits
    private var calls: [Int: Call] = [:]
    private var nextCall = 0
    private var waiting: Deque<Part> = []
    private var requests: [RequestID: [Part]] = [:]
    private var nextRequest: RequestID = 0
    private var handlesUnderWay: Set<ReceiptHandle> = []
    /// Changes that are in no request yet.
    package private(set) var waitingEntries = 0

    package init(limits: Limits = Limits()) { self.limits = limits }

    package var requestsUnderWay: Int { requests.count }

    package mutating func handle(_ event: Event) -> [Effect] {
        var effects: [Effect] = []
        switch event {
        case .enqueue(let changes, let ticket): enqueue(changes, ticket, &effects)
        case .answered(let id, let outcomes):
            finish(id, &effects) { outcomes.indices.contains($0) ? outcomes[$0] : .failed(.unknownOutcome) }
        case .failed(let id, let error): finish(id, &effects) { _ in .failed(error) }
        }
        while let parts = form() { send(parts, &effects) }
        return effects
    }

    private mutating func enqueue(_ changes: [HandleChange], _ ticket: Ticket, _ effects: inout [Effect]) {
        guard !changes.isEmpty else { return effects.append(.complete(ticket, [])) }
        guard waiting.isEmpty || waitingEntries + changes.count <= limits.waitingEntriesMax else {
            let refusal = HandleOutcome.failed(.overloaded(retryAfterMilliseconds: 1_000))
            return effects.append(.complete(ticket, Array(repeating: refusal, count: changes.count)))
        }
        calls[nextCall] = Call(
            ticket: ticket, outcomes: Array(repeating: .failed(.unknownOutcome), count: changes.count),
            left: changes.count)
        var part = Part(call: nextCall, start: 0, changes: [])
        for (place, change) in changes.enumerated() {
            let isFull = part.changes.count == limits.requestEntriesMax
            if isFull || part.changes.contains(where: { $0.handle == change.handle }) {
                waiting.append(part)
                part = Part(call: nextCall, start: place, changes: [])
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

    private mutating func send(_ parts: [Part], _ effects: inout [Effect]) {
        let changes = parts.flatMap(\.changes)
        for change in changes { handlesUnderWay.insert(change.handle) }
        requests[nextRequest] = parts
        effects.append(.send(nextRequest, changes))
        nextRequest += 1
    }

    private mutating func finish(_ id: RequestID, _ effects: inout [Effect], _ outcome: (Int) -> HandleOutcome) {
        // An answer that comes twice finds nothing the second time.
        guard let parts = requests.removeValue(forKey: id) else { return }
        var place = 0
        for part in parts {
            for (offset, change) in part.changes.enumerated() {
                handlesUnderWay.remove(change.handle)
                calls[part.call]?.outcomes[part.start + offset] = outcome(place)
                place += 1
            }
            calls[part.call]?.left -= part.changes.count
            if let call = calls[part.call], call.left == 0 {
                calls[part.call] = nil
                effects.append(.complete(call.ticket, call.outcomes))
            }
        }
    }
}
