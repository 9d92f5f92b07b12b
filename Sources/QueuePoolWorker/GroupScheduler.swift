// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule
package import QueuePoolCore

// Which message a worker works on next. Guarantees: groups run side by side, up to a limit; a group's messages run one
// after another, in order, and message k+1 is not begun while k is unfinished or lost (I2); a failing message is tried
// again in place while its followers are held, so that their receive counts do not climb; when it cannot be delivered it
// goes to the dead-letter queue and the group goes on (I5, I7); what is held stays invisible to others, and what could
// not be kept so is dropped undelivered. While a shard's deletes fail, nothing more of it is received or delivered: it
// could not be deleted either, and would be delivered again after every restart. Pure: events in, effects out, the time is an argument.
//
// Back-off is exponential with full jitter: a random time up to min(cap, base * 2^(attempt-1)); 0.5 s, 1 s, 2 s, 4 s,
// 8 s, ... up to 30 s. Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog (2015).

/// How a worker treats messages.
package struct SchedulerLimits: Hashable, Sendable {
    /// Deliveries under way at one time.
    package var concurrency = 64
    package var visibilityMilliseconds: Int64 = 60_000
    package var maxAttempts = 5
    package var backOffBaseMilliseconds: Int64 = 500
    package var backOffCapMilliseconds: Int64 = 30_000
    /// Messages of one shard held at one time, beyond which it is not asked for more.
    package var heldPerShardMax = 200

    package init() {}
}

package struct GroupScheduler: Sendable {
    package enum Effect: Sendable {
        case receive(shard: Int)
        case deliver(WorkMessage, attempt: Int)
        case moveToDeadLetter(WorkMessage, DeadLetterReason)
        case delete(shard: Int, [WorkMessage])
        /// Begin the visibility timeout of these anew.
        case extend(shard: Int, [WorkMessage])
        /// Make these visible, in this order.
        case release(shard: Int, [WorkMessage])
        /// The shard's deletes began to fail, or work again.
        case deletesFail(shard: Int, Bool)
        /// Break the receives off that are out; each still ends with its event.
        case cancelReceives
        /// Nothing is held or under way any more.
        case finished
    }

    private struct Key: Hashable {
        let shard: Int
        let group: String
    }

    private enum Phase: Equatable {
        case waiting
        case delivering
        case backingOff(until: Timestamp)
        case moving
        /// The head is done with, and its delete is on its way: what follows waits, for a delete that comes too late means
        /// that the queue delivers the head again.
        case deleting
    }

    private struct Line {
        var messages: Deque<WorkMessage>
        var phase = Phase.waiting
        var attempts = 0
        /// When the queue may give the messages to somebody else.
        var visibleAt: Timestamp
        var isExtending = false
        /// The head is being worked on, but it is not ours any more: its outcome counts, its followers are gone.
        var isLost = false
    }

    private struct ShardState {
        var isReceiving = false
        var notBefore = Timestamp.distantPast
        var failures = 0
        var deletes: Deque<WorkMessage> = []
        var deletesUnderWay: [WorkMessage] = []
        /// The last batch of deletes had entries that failed.
        var areDeletesFailing = false
        var held = 0
    }

    private let limits: SchedulerLimits
    private var shards: [ShardState]
    private var lines: [Key: Line] = [:]
    /// Groups that wait for their turn, oldest first.
    private var turns: Deque<Key> = []
    private var delivering = 0
    private var random: UInt64
    private var stopAt: Timestamp?
    /// What is held is being given back; begins when no receive is out any more, which could take it again.
    private var isReleasing = false
    private var isFinished = false

    package private(set) var deliveredCount = 0
    package private(set) var lostCount = 0
    package private(set) var deadLetterCount = 0
    /// Attempts to delete a message that failed.
    package private(set) var failedDeleteCount = 0

    /// Messages that were delivered, or are in the dead-letter queue, and are not deleted yet.
    package var undeletedCount: Int { shards.reduce(0) { $0 + $1.deletes.count + $1.deletesUnderWay.count } }

    /// - Parameter seed: of the jitter.
    package init(shardCount: Int, limits: SchedulerLimits, seed: UInt64) {
        self.limits = limits
        shards = Array(repeating: ShardState(), count: shardCount)
        random = seed
    }

    // MARK: - Events -

    /// Time has passed: retries that are due, timeouts to be extended, shards to be asked.
    package mutating func tick(now: Timestamp) -> [Effect] {
        var effects: [Effect] = []
        for key in lines.keys {
            guard let line = lines[key] else { continue }
            if line.visibleAt <= now { drop(key) } else { keep(key, line, now, &effects) }
        }
        return effects + go(now)
    }

    /// - Parameter visibleAt: when the messages become visible to others unless they are extended.
    package mutating func received(
        _ messages: [WorkMessage], from shard: Int, visibleAt: Timestamp, now: Timestamp
    ) -> [Effect] {
        shards[shard].isReceiving = false
        shards[shard].failures = 0
        for message in messages {
            let key = Key(shard: shard, group: message.group)
            // What is held and comes again was lost without our seeing it: nothing behind it may be begun.
            if let line = lines[key], !line.isLost, line.messages.contains(where: { $0.id == message.id }) {
                lostCount += 1
                drop(key)
            }
            shards[shard].held += 1
            if lines[key] != nil, lines[key]?.isLost == false {
                lines[key]?.messages.append(message)
            } else if lines[key] != nil {
                // Its former delivery still runs: what comes again waits behind it.
                lines[key]?.messages.append(message)
                lines[key]?.visibleAt = visibleAt
                lines[key]?.isLost = false
            } else {
                lines[key] = Line(messages: [message], visibleAt: visibleAt)
                turns.append(key)
            }
        }
        return go(now)
    }

    package mutating func receiveFailed(from shard: Int, now: Timestamp) -> [Effect] {
        shards[shard].isReceiving = false
        shards[shard].failures += 1
        shards[shard].notBefore = now + backOff(attempt: shards[shard].failures)
        return go(now)
    }

    package mutating func attempted(_ message: WorkMessage, _ outcome: DeliveryOutcome, now: Timestamp) -> [Effect] {
        let key = Key(shard: message.shard, group: message.group)
        delivering -= 1
        guard var line = lines[key], line.phase == .delivering, let head = line.messages.first,
            head.handle == message.handle
        else { return go(now) }
        var effects: [Effect] = []
        switch DeliveryOutcome.settled(outcome) {
        case .delivered:
            deliveredCount += 1
            lines[key]?.phase = .deleting
            shards[message.shard].deletes.append(message)
        case .failed(let errorClass, _) where line.attempts >= limits.maxAttempts:
            effects.append(move(key, head, "attempts-exhausted", errorClass, line.attempts))
        case .failed(_, let retryAfter):
            let pause = max(backOff(attempt: line.attempts), min(retryAfter ?? 0, limits.backOffCapMilliseconds))
            line.phase = .backingOff(until: now + pause)
            lines[key] = line
            if line.isLost || isReleasing { giveUp(key, &effects) }
        case .refused(let errorClass):
            effects.append(move(key, head, "permanent-failure", errorClass, line.attempts))
        default: break
        }
        return effects + go(now)
    }

    /// The dead-letter queue took the message, or did not.
    package mutating func moved(_ message: WorkMessage, isStored: Bool, now: Timestamp) -> [Effect] {
        let key = Key(shard: message.shard, group: message.group)
        guard lines[key]?.phase == .moving else { return go(now) }
        var effects: [Effect] = []
        if isStored {
            deadLetterCount += 1
            lines[key]?.phase = .deleting
            shards[message.shard].deletes.append(message)
        } else {
            // It stays at the head: better late in the dead-letter queue than lost.
            lines[key]?.phase = .backingOff(until: now + limits.backOffCapMilliseconds / 4)
            if isReleasing { giveUp(key, &effects) }
        }
        return effects + go(now)
    }

    /// What became of a batch of deletes.
    /// - Parameters:
    ///   - lost: their visibility had run out; they will be delivered again.
    ///   - failed: to be tried again.
    package mutating func deleted(shard: Int, lost: [WorkMessage], failed: [WorkMessage], now: Timestamp) -> [Effect] {
        let underWay = shards[shard].deletesUnderWay
        shards[shard].deletesUnderWay = []
        let unfinished = Set((lost + failed).map(\.handle))
        for message in underWay where !unfinished.contains(message.handle) {
            let key = Key(shard: shard, group: message.group)
            if lines[key]?.phase == .deleting, lines[key]?.messages.first?.handle == message.handle { finishHead(key) }
        }
        lostCount += lost.count
        // The queue delivers a lost message again before its followers: they must not overtake it here.
        for message in lost {
            let key = Key(shard: shard, group: message.group)
            if lines[key]?.messages.first?.handle == message.handle { drop(key) }
        }
        shards[shard].deletes.prepend(contentsOf: failed)
        failedDeleteCount += failed.count
        guard shards[shard].areDeletesFailing != !failed.isEmpty else { return go(now) }
        shards[shard].areDeletesFailing.toggle()
        return [.deletesFail(shard: shard, !failed.isEmpty)] + go(now)
    }

    /// Visibility timeouts began anew, but not those of `lost`.
    package mutating func extended(
        shard: Int, _ messages: [WorkMessage], lost: [WorkMessage], visibleAt: Timestamp, now: Timestamp
    ) -> [Effect] {
        for group in Set(messages.map(\.group)) {
            let key = Key(shard: shard, group: group)
            lines[key]?.isExtending = false
            guard let line = lines[key] else { continue }
            // A head whose delete is on its way may be gone because the delete came first: the delete's answer tells.
            let deleting = line.phase == .deleting ? line.messages.first?.handle : nil
            let held = Set(line.messages.map(\.handle))
            if lost.contains(where: { held.contains($0.handle) && $0.handle != deleting }) {
                lostCount += 1
                drop(key)
            } else {
                lines[key]?.visibleAt = visibleAt
            }
        }
        return go(now)
    }

    /// An extension came to nothing; it is tried again at the next tick.
    package mutating func extensionFailed(shard: Int, _ messages: [WorkMessage]) -> [Effect] {
        for message in messages { lines[Key(shard: shard, group: message.group)]?.isExtending = false }
        return []
    }

    /// Stop: receive nothing more, give back what was not begun, and what is not finished by `deadline`.
    package mutating func stop(deadline: Timestamp, now: Timestamp) -> [Effect] {
        stopAt = deadline
        return [.cancelReceives] + go(now)
    }

    // MARK: - Decisions -

    private mutating func go(_ now: Timestamp) -> [Effect] {
        var effects: [Effect] = []
        startDeliveries(now, &effects)
        for shard in shards.indices { flushDeletes(shard, &effects) }
        guard let stopAt else {
            for shard in shards.indices { startReceive(shard, now, &effects) }
            return effects
        }
        guard now >= stopAt || !shards.contains(where: \.isReceiving) else { return effects }
        if !isReleasing { beginRelease(&effects) }
        let isDone =
            delivering == 0 && !isMoving && shards.allSatisfy { $0.deletes.isEmpty && $0.deletesUnderWay.isEmpty }
        if !isFinished, isDone || now >= stopAt {
            isFinished = true
            for key in lines.keys { giveUp(key, &effects) }
            effects.append(.finished)
        }
        return effects
    }

    private mutating func beginRelease(_ effects: inout [Effect]) {
        isReleasing = true
        for key in lines.keys {
            guard let line = lines[key] else { continue }
            switch line.phase {
            case .waiting, .backingOff: giveUp(key, &effects)
            case .delivering, .moving, .deleting: giveUpFollowers(key, &effects)
            }
        }
    }

    private var isMoving: Bool { lines.values.contains { $0.phase == .moving } }

    private mutating func startDeliveries(_ now: Timestamp, _ effects: inout [Effect]) {
        guard stopAt == nil else { return }
        // Those keep their turn.
        var passedOver: [Key] = []
        defer { turns.prepend(contentsOf: passedOver) }
        while delivering < limits.concurrency, let key = turns.popFirst() {
            guard let line = lines[key], line.phase == .waiting, let head = line.messages.first else { continue }
            guard !shards[key.shard].areDeletesFailing else {
                passedOver.append(key)
                continue
            }
            guard line.visibleAt > now else {
                drop(key)
                continue
            }
            lines[key]?.phase = .delivering
            lines[key]?.attempts += 1
            delivering += 1
            effects.append(.deliver(head, attempt: line.attempts + 1))
        }
    }

    private mutating func startReceive(_ shard: Int, _ now: Timestamp, _ effects: inout [Effect]) {
        let state = shards[shard]
        guard !state.isReceiving, state.notBefore <= now, state.held < limits.heldPerShardMax, !state.areDeletesFailing
        else { return }
        // Enough waits for its turn already: more would only run out of its visibility timeout.
        guard turns.count < 2 * limits.concurrency else { return }
        shards[shard].isReceiving = true
        effects.append(.receive(shard: shard))
    }

    private mutating func flushDeletes(_ shard: Int, _ effects: inout [Effect]) {
        guard shards[shard].deletesUnderWay.isEmpty, !shards[shard].deletes.isEmpty else { return }
        let batch = Array(shards[shard].deletes.prefix(QueueLimits.batchEntriesMax))
        shards[shard].deletes.removeFirst(batch.count)
        shards[shard].deletesUnderWay = batch
        effects.append(.delete(shard: shard, batch))
    }

    /// Retries that are due go back into the line; timeouts that are half over are begun anew.
    private mutating func keep(_ key: Key, _ line: Line, _ now: Timestamp, _ effects: inout [Effect]) {
        if case .backingOff(let until) = line.phase, until <= now {
            lines[key]?.phase = .waiting
            turns.append(key)
        }
        guard !line.isExtending, !line.isLost, line.visibleAt - now <= limits.visibilityMilliseconds / 2 else { return }
        lines[key]?.isExtending = true
        effects.append(.extend(shard: key.shard, Array(line.messages)))
    }

    private mutating func finishHead(_ key: Key) {
        guard var line = lines[key] else { return }
        line.messages.removeFirst()
        shards[key.shard].held -= 1
        line.attempts = 0
        line.phase = .waiting
        if line.messages.isEmpty {
            lines[key] = nil
        } else {
            lines[key] = line
            turns.append(key)
        }
    }

    private mutating func move(
        _ key: Key, _ head: WorkMessage, _ reason: String, _ errorClass: String, _ attempts: Int
    ) -> Effect {
        lines[key]?.phase = .moving
        return .moveToDeadLetter(
            head, DeadLetterReason(reason: reason, errorClass: errorClass, attempts: attempts))
    }

    /// The group's messages are not ours any more. One that is being delivered is left to end.
    private mutating func drop(_ key: Key) {
        guard let line = lines[key] else { return }
        let isBusy = line.phase == .delivering || line.phase == .moving
        let gone = line.messages.count - (isBusy ? 1 : 0)
        shards[key.shard].held -= gone
        if isBusy {
            lines[key]?.messages.removeLast(gone)
            lines[key]?.isLost = true
            // Nothing is left to be kept; its own delete will tell whether it is still ours.
            lines[key]?.visibleAt = .distantFuture
        } else {
            lines[key] = nil
        }
    }

    /// Gives a group back: the last message first, because the first one is delivered again as soon as it is visible.
    private mutating func giveUp(_ key: Key, _ effects: inout [Effect]) {
        guard let line = lines.removeValue(forKey: key) else { return }
        shards[key.shard].held -= line.messages.count
        if !line.isLost { effects.append(.release(shard: key.shard, line.messages.reversed())) }
    }

    private mutating func giveUpFollowers(_ key: Key, _ effects: inout [Effect]) {
        guard let line = lines[key], line.messages.count > 1 else { return }
        let followers = line.messages.dropFirst()
        shards[key.shard].held -= followers.count
        lines[key]?.messages.removeLast(followers.count)
        effects.append(.release(shard: key.shard, followers.reversed()))
    }

    private mutating func backOff(attempt: Int) -> Int64 {
        // Capped before it could overflow.
        let doublings = min(max(0, attempt - 1), 16)
        let ceiling = min(limits.backOffCapMilliseconds, limits.backOffBaseMilliseconds << Int64(doublings))
        random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int64((random >> 33) % UInt64(max(1, ceiling)))
    }
}

extension DeliveryOutcome {
    /// In the three words that are decided on.
    static func settled(_ outcome: DeliveryOutcome) -> DeliveryOutcome {
        switch outcome {
        case .delivered, .failed, .refused: outcome
        case .unavailable(let errorClass), .unknown(let errorClass), .ended(let errorClass):
            .failed(errorClass: errorClass)
        case .partial(let partial):
            partial.deferred.isEmpty
                ? .refused(errorClass: partial.errorClass) : .failed(errorClass: partial.errorClass)
        }
    }
}
