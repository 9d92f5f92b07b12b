// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Synchronization

// What a key uses of this server, and what it is told when that is too much. A request is counted once it is known whose
// it is, and before anything is done for it, so nothing of one that is refused is stored. The bytes of an answer, and of
// a body that says not beforehand how long it is, are counted as they go: they make later requests wait. A connection is
// the key's whose request came last on it, from that request until its end.

/// Why a request of a key was not let in.
struct CallerRefusal: Hashable, Sendable {
    let keyID: String
    let limit: CallerLimit
    /// What the limit is.
    let value: Int
    /// What is left of it: too little for the request.
    let left: Int
    let retryAfterMilliseconds: Int64

    var retryAfterSeconds: Int { Int(clamping: max(1, (retryAfterMilliseconds + 999) / 1_000)) }

    /// The limit's name beside those of other policies.
    private var policy: String { "key-\(limit.rawValue)" }

    var text: String {
        let most =
            switch limit {
            case .requests: "\(value) requests a second"
            case .bytes: "\(value) bytes a second of requests and answers"
            case .connections: "\(value) connections at one time"
            }
        return "The key \(keyID) may have \(most) at a server. Nothing was stored. Try again after Retry-After."
    }

    /// Source: draft-ietf-httpapi-ratelimit-headers-09, sections 3 and 4. A connection carries one request at a time,
    /// so its limit has the unit that the draft has for these.
    var fields: [(name: String, value: String)] {
        let (unit, reset) = ("\(retryAfterSeconds)", "\"\(policy)\";r=\(left);t=\(retryAfterSeconds)")
        let rule =
            switch limit {
            case .requests: "\"\(policy)\";q=\(value);w=1"
            case .bytes: "\"\(policy)\";q=\(value);qu=\"content-bytes\";w=1"
            case .connections: "\"\(policy)\";q=\(value);qu=\"concurrent-requests\""
            }
        return [("Retry-After", unit), ("RateLimit-Policy", rule), ("RateLimit", reset)]
    }

    /// Over REST.
    var problem: Problem {
        var problem = Problem(
            "key-limit-exceeded", status: 429, title: "The key is over a limit", detail: text)
        problem.limit = Problem.Limit(name: limit.rawValue, value: value, policy: policy)
        return problem
    }

    /// Over every protocol: whoever has too many connections is to have one less.
    func complete(_ answer: Answer) -> Answer {
        var answer = answer
        answer.headers.removeAll { $0.name == "Retry-After" }
        answer.headers += fields
        answer.closes = limit == .connections
        return answer
    }
}

/// How often callers were refused by their limits, of all keys together.
package final class CallerRefusalCounts: Sendable {
    private let requests = Atomic(0)
    private let bytes = Atomic(0)
    private let connections = Atomic(0)

    package init() {}

    func count(_ limit: CallerLimit) { _ = counter(limit) { $0.wrappingAdd(1, ordering: .relaxed) } }

    func value(_ limit: CallerLimit) -> Int { counter(limit) { $0.load(ordering: .relaxed) } }

    private func counter<R>(_ limit: CallerLimit, _ body: (borrowing Atomic<Int>) -> R) -> R {
        switch limit {
        case .requests: body(requests)
        case .bytes: body(bytes)
        case .connections: body(connections)
        }
    }
}

/// The use of one key, shared by all its passes. Other keys share nothing with it; one without limits takes no lock.
final class CallerAccount: Sendable {
    private let meter: Mutex<CallerMeter>
    // What may be asked without the lock. They follow the meter; a request beside a change may see either.
    private let hasLimits: Atomic<Bool>
    private let hasBytes: Atomic<Bool>
    private let hasConnections: Atomic<Bool>

    init(_ limits: CallerLimits, now: Timestamp) {
        meter = Mutex(CallerMeter(limits, now: now))
        hasLimits = Atomic(limits != .none)
        hasBytes = Atomic(limits.bytesPerSecond != nil)
        hasConnections = Atomic(limits.connections != nil)
    }

    /// Takes other limits; what was used counts on.
    func change(to limits: CallerLimits, now: Timestamp) {
        meter.withLock { meter in
            guard meter.limits != limits else { return }
            meter.change(to: limits, now: now)
            hasLimits.store(limits != .none, ordering: .relaxed)
            hasBytes.store(limits.bytesPerSecond != nil, ordering: .relaxed)
            hasConnections.store(limits.connections != nil, ordering: .relaxed)
        }
    }

    /// Whether bytes are counted.
    var countsBytes: Bool { hasBytes.load(ordering: .relaxed) }

    /// Whether connections are counted.
    var countsConnections: Bool { hasConnections.load(ordering: .relaxed) }

    // MARK: - Requests

    /// Lets a request in, or says why not.
    /// - Parameters:
    ///   - size: bytes of its body, as far as they are known.
    ///   - life: its connection's; `nil`: nobody knows it.
    func refusal(keyID: String, bytes size: Int, life: ConnectionLife?, now: Timestamp) -> CallerRefusal? {
        guard hasLimits.load(ordering: .relaxed) else { return nil }
        if countsConnections, let life, !life.count(for: self) {
            return refusal(keyID, CallerMeter.connectionRetryMilliseconds, .connections, now)
        }
        switch meter.withLock({ $0.admit(bytes: size, now: now) }) {
        case .admitted: return nil
        case .refused(let milliseconds, let limit): return refusal(keyID, milliseconds, limit, now)
        }
    }

    private func refusal(_ keyID: String, _ wait: Int64, _ limit: CallerLimit, _ now: Timestamp) -> CallerRefusal? {
        meter.withLock { meter in
            // Lifted meanwhile.
            guard let value = meter.limits[limit] else { return nil }
            return CallerRefusal(
                keyID: keyID, limit: limit, value: value, left: meter.left(of: limit, now: now),
                retryAfterMilliseconds: wait)
        }
    }

    /// Counts bytes that are on their way already.
    func charge(bytes size: Int, now: Timestamp) { meter.withLock { $0.charge(bytes: size, now: now) } }

    /// Milliseconds until the bytes that were counted are paid for.
    func debtMilliseconds(now: Timestamp) -> Int64 { meter.withLock { $0.byteDebtMilliseconds(now: now) } }

    // MARK: - Connections

    /// Counts one more, if it may be.
    func connect() -> Bool { meter.withLock { $0.connect() == .admitted } }

    /// Counts one less.
    func disconnect() { meter.withLock { $0.disconnect() } }
}

extension AccessGate {
    /// Counts a request of a caller who is known.
    /// - Throws: `AccessFault.limited`.
    func admit(_ caller: Caller, bytes size: Int, life: ConnectionLife?) throws(AccessFault) {
        guard let pass = caller.pass else { return }
        let now = clock.now()
        guard let refusal = pass.account.refusal(keyID: pass.keyID, bytes: size, life: life, now: now) else { return }
        refusals.count(refusal.limit)
        throw .limited(refusal)
    }
}
