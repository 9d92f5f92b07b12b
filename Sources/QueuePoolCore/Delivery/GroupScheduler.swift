// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule

// Which message a worker works on next. Guarantees: groups run side by side, up to a limit; a group's messages run one
// after another, in order, and message k+1 is not begun while k is unfinished or lost (I2); a failing message is tried
// again in place while its followers are held, so that their receive counts do not climb; when it cannot be delivered it
// goes to the dead-letter queue and the group goes on (I5, I7); what is held stays invisible to others, and what could
// not be kept so is dropped undelivered. A target that cannot be reached costs no message anything: nothing begins there
// but one probe at a time, and while there is no other target nothing more is received. A target that takes no more just
// now is waited for. While a shard's deletes fail,
// nothing more of it is received or delivered: it could not be deleted either, and would be delivered again after every
// restart. Pure: events in, effects out, the time is an argument.
//
// Back-off is exponential with full jitter: a random time up to min(cap, base * 2^(attempt-1)); 0.5 s, 1 s, 2 s, 4 s,
// 8 s, ... up to 30 s. Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog (2015).

public struct GroupScheduler: Sendable {
    public enum Effect: Sendable {
        /// Ends with its event, which names its number. It waits at the queue for messages to come, or does not.
        case receive(shard: Int, number: Int = 0, waits: Bool = true)
        case deliver(WorkMessage, attempt: Int, target: Int)
        case moveToDeadLetter(WorkMessage, DeadLetterReason)
        /// Ends with its event, which names its messages.
        case delete(shard: Int, [WorkMessage])
        /// Begin the visibility timeout of these anew.
        case extend(shard: Int, [WorkMessage])
        /// Make these visible, in this order.
        case release(shard: Int, [WorkMessage])
        /// The shard's deletes began to fail, or work again.
        case deletesFail(shard: Int, Bool)
        /// Nothing begins at this target but probes, and why; `nil`: it answers again.
        case targetFails(Int, errorClass: String?)
        /// This target is gone for good: the worker is to stop.
        case targetEnded(Int, errorClass: String)
        /// Break the receives off that are out at this shard, `nil`: at all; each still ends with its event.
        case cancelReceives(shard: Int?)
        /// Nothing of a shard that was to be given away is held or under way any more, or its time is over. What was given
        /// back before this may still be on its way: the queue keeps it from others until it arrives.
        case drained(shard: Int)
        /// Nothing is held or under way any more.
        case finished
    }

    let limits: SchedulerLimits
    var shards: [ShardState]
    var breakers: [TargetBreaker]
    var gates: [TargetGate]
    var lines: [GroupKey: HeldGroup] = [:]
    /// Groups that wait for their turn, oldest first.
    var turns: Deque<GroupKey> = []
    /// Groups whose heads may have killed workers; begun one at a time, from then on.
    var suspects: Set<GroupKey> = []
    var suspectsFrom = Timestamp.distantPast
    /// The latest that was begun, by group and message.
    var suspectUnderWay: (key: GroupKey, id: String)?
    /// One of them was given up untried; the others, which may have been held beside it, have their try first.
    var hasCulprit = false
    var delivering = 0
    /// Groups that wait for a limit of the first target that takes deliveries.
    var limitedGroups = 0
    /// Groups of which deliveries are under way or to begin.
    var groupsWithWork = 0
    var heldBytes = 0
    /// A running mean, of what a receive may bring.
    var meanMessageBytes = 1_024
    var finished = FinishedMessages()
    /// What must not be forgotten of messages that were dropped before it was known whether they arrived, by id.
    var unsettled: [String: (head: HeadState, recipients: [Int]?)] = [:]
    private var random: UInt64
    var stopAt: Timestamp?
    var isFinished = false
    /// Of the latest receive.
    var receiveNumber = 0
    /// When it was last known to run.
    var runningAt = Timestamp.distantPast

    public private(set) var deliveredCount = 0
    /// Messages that were held, or came, and are given out again without having been given back: their visibility timeout
    /// ran out, or their shard was taken away.
    public internal(set) var lapsedCount = 0
    public private(set) var deadLetterCount = 0
    /// Attempts to delete a message that failed.
    public private(set) var failedDeleteCount = 0

    /// Messages that were delivered, or are in the dead-letter queue, and are not deleted yet.
    public var undeletedCount: Int { shards.reduce(0) { $0 + $1.undeletedCount } }

    /// - Parameters:
    ///   - ownsAll: whether every shard is ours from the start, or each is when it is begun.
    ///   - targetCount: at least 1; they are tried in their order.
    ///   - targetLimits: of the first targets; the others have none.
    ///   - seed: of the jitter.
    public init(
        shardCount: Int, ownsAll: Bool = true, targetCount: Int = 1, targetLimits: [TargetLimits] = [],
        limits: SchedulerLimits, seed: UInt64
    ) {
        self.limits = limits
        shards = Array(repeating: ShardState(tenure: ownsAll ? .ours : .lost), count: shardCount)
        breakers = Array(repeating: TargetBreaker(), count: max(1, targetCount))
        gates = (0..<max(1, targetCount)).map { target in
            TargetGate(targetLimits.indices.contains(target) ? targetLimits[target] : TargetLimits())
        }
        random = seed
    }

    // MARK: - Events -

    /// Time has passed: retries that are due, timeouts to be extended, shards to be asked.
    public mutating func tick(now: Timestamp) -> [Effect] {
        noteRunning(now)
        var effects: [Effect] = []
        for key in lines.keys {
            guard let line = lines[key] else { continue }
            if line.visibleAt <= now, !Mutation.lapsedGroupGoesOn.isOn {
                drop(key)
            } else {
                keep(key, line, now, &effects)
            }
        }
        return effects + go(now)
    }

    /// A delivery that was begun has ended.
    public mutating func attempted(
        _ message: WorkMessage, target: Int, _ outcome: DeliveryOutcome, now: Timestamp
    ) -> [Effect] {
        // What we broke off ourselves is as if it had not begun.
        if outcome == .cancelled { return notBegun(message, target: target, now: now) }
        if case .incomplete(let errorClass, let isLasting) = outcome {
            return notBegun(message, target: target, incomplete: (errorClass, isLasting), now: now)
        }
        delivering -= 1
        gates[target].ended()
        var effects: [Effect] = []
        judge(target, of: message.id, outcome, now, &effects)
        let key = GroupKey(shard: message.shard, group: message.group)
        guard let line = lines[key], line.isDelivering, let head = line.messages.first, head.id == message.id
        else { return effects + go(now) }
        switch outcome {
        case .delivered, .refused, .partial: shards[key.shard].recent.add(now, window: prefetchMilliseconds)
        case .failed, .unavailable, .unknown, .cancelled, .incomplete, .ended: break
        }
        if line.isHeadGone {
            if outcome == .delivered { deliveredCount += 1 }
            finishHead(key)
            return effects + go(now)
        }
        switch outcome {
        case .delivered:
            deliveredCount += 1
            lines[key]?.head.attempts += 1
            settle(key, now, &effects)
        case .failed(let errorClass, let retryAfter):
            if Mutation.failureIsDelivery.isOn {
                settle(key, now, &effects)
                break
            }
            lines[key]?.head.noteFailure(errorClass, retryAfter)
            tryNextTarget(key, after: target, now, &effects)
        case .unavailable where Mutation.unreachedIsDelivery.isOn: settle(key, now, &effects)
        case .unavailable, .cancelled, .incomplete, .ended:
            tryNextTarget(key, after: target, now, &effects)
        case .unknown(let errorClass):
            if !Mutation.targetPinForgotten.isOn { lines[key]?.head.pinnedTarget = target }
            lines[key]?.head.noteFailure(errorClass, nil)
            endAttempt(key, now, &effects)
        case .refused(let errorClass):
            lines[key]?.head.attempts += 1
            move(key, "permanent-failure", errorClass, &effects)
        case .partial(let partial):
            lines[key]?.head.refuse(partial)
            lines[key]?.narrow(toRecipients: partial.deferred)
            if partial.deferred.isEmpty {
                lines[key]?.head.attempts += 1
                settle(key, now, &effects)
            } else {
                lines[key]?.head.noteFailure(partial.errorClass, nil)
                tryNextTarget(key, after: target, now, &effects)
            }
        }
        return effects + go(now)
    }

    /// A delivery that was to begin did not, or was broken off by ourselves: the shard may be somebody else's, say. It spends
    /// nothing and says nothing of the target.
    /// - Parameter incomplete: why the message could not be made whole, if that was it.
    public mutating func notBegun(
        _ message: WorkMessage, target: Int, incomplete: (errorClass: String, isLasting: Bool)? = nil, now: Timestamp
    ) -> [Effect] {
        delivering -= 1
        gates[target].ended()
        breakers[target].notBegun(message.id, now: now)
        let key = GroupKey(shard: message.shard, group: message.group)
        guard let line = lines[key], line.isDelivering, line.messages.first?.id == message.id else { return go(now) }
        var effects: [Effect] = []
        if line.isHeadGone {
            finishHead(key)
        } else if line.isLost {
            remove(key)
        } else if let incomplete, incomplete.isLasting {
            failWithoutBody(key, incomplete.errorClass, now, &effects)
        } else if incomplete != nil, shards[key.shard].isKeeping {
            waitForBody(key, now)
        } else if shards[key.shard].isKeeping {
            // Until the next tick: what stopped the driver would stop it again now.
            change(key) { $0.phase = .targetless }
        } else {
            giveUp(key, &effects)
        }
        return effects + go(now)
    }

    /// The dead-letter queue took the message, or did not.
    public mutating func moved(_ message: WorkMessage, isStored: Bool, now: Timestamp) -> [Effect] {
        let key = GroupKey(shard: message.shard, group: message.group)
        guard lines[key]?.phase == .moving else { return go(now) }
        var effects: [Effect] = []
        if lines[key]?.isHeadGone == true {
            if isStored { deadLetterCount += 1 }
            finishHead(key)
        } else if isStored || Mutation.deadLetterUnstored.isOn {
            deadLetterCount += 1
            delete(key)
        } else {
            // It stays at the head: better late in the dead-letter queue than lost.
            let until = now + limits.backOffCapMilliseconds / 4
            change(key) { $0.phase = .backingOff(until: until) }
            if !shards[key.shard].isKeeping { giveUp(key, &effects) }
        }
        return effects + go(now)
    }

    /// A delete request was answered, or failed.
    /// - Parameters:
    ///   - messages: those of the request; `nil`: the request that left first of those that are under way.
    ///   - lost: their visibility had run out; they will be delivered again.
    ///   - failed: to be tried again.
    ///   - isRequestLost: the whole request failed, which says nothing of its messages.
    public mutating func deleted(
        shard: Int, of messages: [WorkMessage]? = nil, lost: [WorkMessage], failed: [WorkMessage],
        isRequestLost: Bool = false, now: Timestamp
    ) -> [Effect] {
        guard let request = shards[shard].endDeletes(of: messages) else { return go(now) }
        let unfinished = Set((lost + failed).map(\.handle))
        for message in request.messages where !unfinished.contains(message.handle) {
            finished.remove(message)
            if isDeleting(message) { finishHead(GroupKey(shard: shard, group: message.group)) }
        }
        // The queue delivers a lost message again before its followers: they must not overtake it here.
        for message in lost where isDeleting(message) {
            lapsedCount += 1
            let key = GroupKey(shard: shard, group: message.group)
            if Mutation.lateDeleteCountsAsDone.isOn { finishHead(key) } else { drop(key) }
        }
        if !Mutation.failedDeleteForgotten.isOn { shards[shard].deletes.prepend(contentsOf: failed) }
        failedDeleteCount += failed.count
        let isFailing = shards[shard].judgeDeletes(request, failed: failed, isRequestLost: isRequestLost)
        guard shards[shard].areDeletesFailing != isFailing else { return go(now) }
        shards[shard].areDeletesFailing = isFailing
        return [.deletesFail(shard: shard, isFailing)] + go(now)
    }

    /// Visibility timeouts began anew, but not those of `lost`.
    public mutating func extended(
        shard: Int, _ messages: [WorkMessage], lost: [WorkMessage], visibleAt: Timestamp, now: Timestamp
    ) -> [Effect] {
        for group in Set(messages.map(\.group)) {
            let key = GroupKey(shard: shard, group: group)
            lines[key]?.isExtending = false
            guard let line = lines[key], !line.isLost else { continue }
            // A head whose delete is on its way may be gone because the delete came first: the delete's answer tells.
            let deleting = line.phase == .deleting ? line.messages.first?.handle : nil
            let held = Set(line.messages.map(\.handle))
            let isKnown = !Mutation.lostExtensionOverlooked.isOn
            if isKnown, lost.contains(where: { held.contains($0.handle) && $0.handle != deleting }) {
                drop(key)
            } else {
                lines[key]?.visibleAt = visibleAt
            }
        }
        return go(now)
    }

    /// An extension came to nothing; it is tried again after a moment, many times before the timeout: an attempt at every
    /// tick would spend what is left of a quota.
    public mutating func extensionFailed(shard: Int, _ messages: [WorkMessage], now: Timestamp) -> [Effect] {
        let pause = min(1_000, limits.visibilityMilliseconds / 20)
        for group in Set(messages.map(\.group)) {
            let key = GroupKey(shard: shard, group: group)
            lines[key]?.isExtending = false
            let from = now + pause / 2 + Int64(jitter() * Double(pause / 2))
            lines[key]?.extendsFrom = from
        }
        return []
    }

    // MARK: - Chance -

    mutating func backOff(attempt: Int) -> Int64 {
        // Capped before it could overflow.
        let doublings = min(max(0, attempt - 1), 16)
        let ceiling = min(limits.backOffCapMilliseconds, limits.backOffBaseMilliseconds << Int64(doublings))
        return Int64(jitter() * Double(max(1, ceiling)))
    }

    /// 0..<1
    mutating func jitter() -> Double {
        random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Double(random >> 33) / Double(1 << 31)
    }
}
