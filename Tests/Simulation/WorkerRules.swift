// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking
import QueuePoolCore

// What a worker must do with what it knows, and a queue with what it answered. The promises of the whole follow from these
// in most histories only: a message that goes to two targets is delivered twice where the first had taken it. Here it is
// judged where it is done.

/// Judges workers and handles.
struct WorkerRules {
    /// A worker between two of its starts.
    struct Life: Hashable {
        let worker: Int
        let life: Int
    }

    private struct Known: Hashable {
        let life: Life
        /// An id or a handle.
        let text: String
    }

    private struct TargetOfLife: Hashable {
        let life: Life
        let target: Int
    }

    /// What a worker knows of a target that it cannot reach.
    private struct Silence {
        var failures = 0
        var since: Timestamp?
        var isProbing = false
    }

    /// Failures in a row after which a worker must leave a target alone, and for how long at least.
    private static let failuresMax = 3
    private static let restMilliseconds: Int64 = 200

    private(set) var violations: [Violation] = []
    /// Messages that a target may have taken, and those that the dead-letter queue has.
    private var taken: Set<Int> = []
    private var dead: Set<Int> = []
    private var tries: [Int: Int] = [:]
    /// The most deliveries that the queue told of a message, by its id: a server that restarts may count anew, and what a
    /// worker decided by the former count stays decided.
    private var mostReceives: [String: Int] = [:]
    private var givenUp: Set<Int> = []
    private var refused: Set<Int> = []
    private var delivered: Set<Known> = []
    private var doubts: [Known: Int] = [:]
    private var lost: Set<Known> = []
    private var places: [Known: Int] = [:]
    private var silences: [TargetOfLife: Silence] = [:]

    // Handles.
    private(set) var latest: [String: String] = [:]
    private var claims: [String: Timestamp] = [:]
    private var extending: [String: Int] = [:]
    private var released: Set<String> = []
    private var holders: [String: (life: Life, since: Timestamp)] = [:]
    private var asked: Set<String> = []

    private mutating func report(_ promise: Promise, _ message: Int, _ now: Timestamp, _ text: String) {
        guard violations.count < 20 else { return }
        violations.append(Violation(promise: promise, time: now, group: -1, message: message, text: text))
    }

    // MARK: - Deliveries

    /// A worker received messages, in this order.
    mutating func received(_ messages: [WorkMessage], by life: Life, now: Timestamp) {
        for message in messages {
            places[Known(life: life, text: message.handle)] = places.count
            holders[message.id] = (life, now)
            mostReceives[message.id] = max(mostReceives[message.id] ?? 0, message.receiveCount)
        }
    }

    mutating func begins(_ message: WorkMessage, _ number: Int, at target: Int, by life: Life, now: Timestamp) {
        let known = Known(life: life, text: message.id)
        if delivered.contains(known) {
            report(.noDuplicate, number, now, "was delivered again by the worker that had delivered it")
        }
        if let other = doubts[known], other != target {
            report(.noDuplicate, number, now, "may have arrived at target \(other) and goes to target \(target)")
        }
        if lost.contains(Known(life: life, text: message.handle)) {
            report(.order, number, now, "was delivered by a worker that had been told that it lost it")
        }
        let place = TargetOfLife(life: life, target: target)
        guard var silence = silences[place], let since = silence.since else { return }
        if silence.isProbing || now - since < WorkerRules.restMilliseconds {
            report(.liveness, number, now, "was tried at target \(target), which is known to be down")
        }
        silence.isProbing = true
        silences[place] = silence
    }

    mutating func ended(
        _ message: WorkMessage, _ number: Int, at target: Int, _ outcome: DeliveryOutcome, by life: Life, now: Timestamp
    ) {
        let place = TargetOfLife(life: life, target: target)
        switch outcome {
        case .delivered, .failed, .refused, .partial: silences[place] = nil
        case .unavailable, .unknown:
            var silence = silences[place] ?? Silence()
            silence.failures += 1
            if silence.failures >= WorkerRules.failuresMax, silence.since == nil || silence.isProbing {
                silence.since = now
                silence.isProbing = false
            }
            silences[place] = silence
        case .cancelled, .incomplete, .ended: break
        }
        let known = Known(life: life, text: message.id)
        switch outcome {
        case .delivered: delivered.insert(known)
        case .unknown:
            doubts[known] = target
            tries[number, default: 0] += 1
        case .failed: tries[number, default: 0] += 1
        case .refused: refused.insert(number)
        case .unavailable, .cancelled, .incomplete, .ended, .partial: break
        }
    }

    /// A target may have the message for good: whoever deletes it may do so.
    mutating func took(_ number: Int) { taken.insert(number) }

    mutating func buries(
        _ message: WorkMessage, _ number: Int, _ reason: DeadLetterReason, attempts: Int, now: Timestamp
    ) {
        switch reason.reason {
        case "permanent-failure" where !refused.contains(number):
            report(.nothingLost, number, now, "is given up as refused, and no target refused it")
        // Where it may have arrived at a target that is gone, time alone decides.
        case "attempts-exhausted" where reason.errorClass != "unknown-outcome":
            // One that was given up stays so, also when a server that restarted counts its deliveries anew.
            guard !givenUp.contains(number) else { return }
            givenUp.insert(number)
            let tried = tries[number, default: 0]
            let receives = max(message.receiveCount, mostReceives[message.id] ?? 0)
            guard tried + receives - 1 < attempts else { return }
            report(
                .nothingLost, number, now,
                "is given up after \(tried) attempts and \(receives) deliveries by the queue")
        default: break
        }
    }

    mutating func buried(_ number: Int) { dead.insert(number) }

    // MARK: - Deletes and visibility

    mutating func asksDelete(_ message: WorkMessage, _ number: Int, now: Timestamp) {
        if latest[message.id] == message.handle { asked.insert(message.id) }
        guard !taken.contains(number), !dead.contains(number) else { return }
        report(.nothingLost, number, now, "is to be deleted, and neither a target nor the dead-letter queue has it")
    }

    /// Whether a delete with a handle that is not the last one may have found the message gone.
    func mayBeGone(_ id: String) -> Bool { asked.contains(id) }

    mutating func deletedLate(_ id: String, _ number: Int, now: Timestamp) {
        report(.order, number, now, "was deleted by a handle that was not good any more")
    }

    /// The worker was told that the handle is not good any more.
    mutating func lost(_ messages: [WorkMessage], by life: Life) {
        for message in messages { lost.insert(Known(life: life, text: message.handle)) }
    }

    mutating func releases(_ messages: [WorkMessage], by life: Life, numbers: [Int], now: Timestamp) {
        var last: [String: Int] = [:]
        for (message, number) in zip(messages, numbers) {
            released.insert(message.handle)
            claims[message.handle] = nil
            holders[message.id] = nil
            guard let place = places[Known(life: life, text: message.handle)] else { continue }
            if let before = last[message.group], before < place {
                report(.order, number, now, "was given back after one that stands before it in its group")
            }
            last[message.group] = place
        }
    }

    mutating func asksExtension(_ handles: [String]) { for handle in handles { extending[handle, default: 0] += 1 } }

    /// A queue answered that a handle is good until then.
    mutating func extended(_ handle: String, until: Timestamp?) {
        extending[handle, default: 0] -= 1
        // With another one under way, the last of them counts, whichever that is.
        guard extending[handle] == 0, !released.contains(handle) else { return claims[handle] = nil }
        claims[handle] = until
    }

    /// A queue gave a message out.
    /// - Parameters:
    ///   - isKept: whether that worker lives and had no reason to lose what it received since then.
    /// - Returns: the handle that was good before.
    mutating func gave(
        _ id: String, _ handle: String, _ number: Int, now: Timestamp, isKept: (Life, Timestamp) -> Bool
    ) -> String? {
        let former = latest.updateValue(handle, forKey: id)
        guard let former, former != handle else { return nil }
        if let claim = claims.removeValue(forKey: former), now + 50 < claim {
            report(.order, number, now, "was given out \(claim - now) ms before the end of its extended timeout")
        }
        if let (life, since) = holders[id], isKept(life, since) {
            report(.order, number, now, "was given out again while worker \(life.worker) kept it")
        }
        holders[id] = nil
        return former
    }

    /// A server with embedded shards ended: it keeps no timeouts.
    mutating func serverEnded() {
        claims = [:]
        extending = [:]
    }
}
