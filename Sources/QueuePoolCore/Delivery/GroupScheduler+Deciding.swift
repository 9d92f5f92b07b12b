// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule

// What follows from what is known: which deliveries begin and where, what an attempt that ended leads to.

extension GroupScheduler {
    mutating func go(_ now: Timestamp) -> [Effect] {
        var effects: [Effect] = []
        startDeliveries(now, &effects)
        for shard in shards.indices { flushDeletes(shard, &effects) }
        startReceives(now, &effects)
        for shard in shards.indices { leave(shard, now, &effects) }
        finish(now, &effects)
        return effects
    }

    // MARK: - Deliveries

    private mutating func startDeliveries(_ now: Timestamp, _ effects: inout [Effect]) {
        startLimited(now, &effects)
        // Those keep their turn.
        var passedOver: [GroupKey] = []
        defer { turns.prepend(contentsOf: passedOver) }
        while delivering < limits.concurrency, let key = turns.popFirst() {
            guard let line = lines[key], line.phase == .waiting, let head = line.messages.first else { continue }
            guard !finished.contains(head) else {
                delete(key)
                continue
            }
            // It is given back soon, or gets its turn when the shard is begun again.
            guard shards[key.shard].isOurs else { continue }
            if let verdict = line.head.verdict {
                move(key, verdict.reason, verdict.errorClass, &effects)
                continue
            }
            guard !shards[key.shard].areDeletesFailing else {
                passedOver.append(key)
                continue
            }
            guard line.visibleAt > now || Mutation.lapsedGroupGoesOn.isOn else {
                drop(key)
                continue
            }
            if isSuspect(line, head) { suspect(key, now) } else { begin(key, now, &effects) }
        }
        startSuspects(now, &effects)
    }

    /// Begins the delivery of a group's head, if there is a target for it.
    mutating func begin(_ key: GroupKey, _ now: Timestamp, _ effects: inout [Effect]) {
        guard let line = lines[key], let head = line.messages.first else { return }
        guard let target = target(of: line.head, from: line.head.nextTarget, now) else {
            // The stand-ins failed before it was its turn: the attempt is over, and the next begins at the first target.
            guard line.head.nextTarget == 0 else { return endAttempt(key, now, &effects) }
            guard !hasWaitedLong(line.head, head, now) else {
                return move(key, "attempts-exhausted", "unknown-outcome", &effects)
            }
            return change(key) { $0.phase = .targetless }
        }
        if let limit = gates[target].limit(now: now) { return wait(key, for: target, limit) }
        breakers[target].began(head.id)
        gates[target].began(now: now)
        change(key) { $0.phase = .delivering(target: target) }
        delivering += 1
        let attempt = line.head.attempts + line.head.earlierReceives(of: head) + 1
        effects.append(.deliver(head, attempt: attempt, target: target))
    }

    /// The first target from there on that takes deliveries, at once or in their turn.
    private func target(of head: HeadState, from first: Int, _ now: Timestamp) -> Int? {
        if let pinned = head.pinnedTarget { return takes(pinned, now) ? pinned : nil }
        return breakers.indices.dropFirst(first).first { takes($0, now) }
    }

    /// What an outcome says of its target.
    mutating func judge(
        _ target: Int, of id: String, _ outcome: DeliveryOutcome, _ now: Timestamp, _ effects: inout [Effect]
    ) {
        switch outcome {
        case .delivered, .failed, .refused, .partial:
            guard breakers[target].answered(id, now: now) else { return }
            effects.append(.targetFails(target, errorClass: nil))
            wakeTargetless(now)
        case .unavailable(let errorClass), .unknown(let errorClass):
            let chance = jitter()
            if breakers[target].failed(now: now, jitter: chance) {
                effects.append(.targetFails(target, errorClass: errorClass))
            }
        case .cancelled, .incomplete: break
        case .ended(let errorClass):
            breakers[target].cancelled(now: now)
            effects.append(.targetEnded(target, errorClass: errorClass))
        }
    }

    private mutating func wakeTargetless(_ now: Timestamp) {
        for key in lines.keys {
            guard let line = lines[key], line.phase == .targetless, target(of: line.head, from: 0, now) != nil
            else { continue }
            change(key) { $0.phase = .waiting }
            turns.append(key)
        }
    }

    /// All recipients are done with.
    mutating func settle(_ key: GroupKey, _ now: Timestamp, _ effects: inout [Effect]) {
        guard let head = lines[key]?.head, !head.refusedRecipients.isEmpty else { return delete(key) }
        lines[key]?.narrow(toRecipients: [])
        move(key, "recipients-refused", head.refusal, &effects)
    }

    /// Goes on with the same attempt at the next target, or ends it.
    mutating func tryNextTarget(
        _ key: GroupKey, after target: Int, _ now: Timestamp, _ effects: inout [Effect]
    ) {
        guard let line = lines[key] else { return }
        guard !line.isLost, shards[key.shard].isOurs, line.head.pinnedTarget == nil,
            let next = self.target(of: line.head, from: target + 1, now)
        else { return endAttempt(key, now, &effects) }
        change(key) { line in
            line.head.nextTarget = next
            line.phase = .waiting
        }
        turns.prepend(key)
    }

    /// There is no body to be delivered: no other target would help.
    mutating func failWithoutBody(
        _ key: GroupKey, _ errorClass: String, _ now: Timestamp, _ effects: inout [Effect]
    ) {
        lines[key]?.head.failure = (errorClass, nil)
        lines[key]?.head.isBodyMissing = true
        endAttempt(key, now, &effects)
    }

    /// Where the body lies nobody answers.
    mutating func waitForBody(_ key: GroupKey, _ now: Timestamp) {
        lines[key]?.head.unreached += 1
        let until = now + backOff(attempt: lines[key]?.head.unreached ?? 1)
        change(key) { $0.phase = .backingOff(until: until) }
    }

    /// No target took the message this time.
    mutating func endAttempt(_ key: GroupKey, _ now: Timestamp, _ effects: inout [Effect]) {
        guard var line = lines[key], let message = line.messages.first else { return }
        line.head.nextTarget = 0
        var phase = HeldGroup.Phase.targetless
        if let failure = line.head.failure {
            let reason = line.head.isBodyMissing ? "body-missing" : "attempts-exhausted"
            line.head.failure = nil
            line.head.isBodyMissing = false
            line.head.attempts += 1
            line.head.unreached = 0
            lines[key]?.head = line.head
            guard !isSpent(line.head, message, now) else {
                return move(key, reason, failure.errorClass, &effects)
            }
            let asked = min(failure.retryAfterMilliseconds ?? 0, limits.backOffCapMilliseconds)
            phase = .backingOff(until: now + max(backOff(attempt: line.head.attempts), asked))
        } else {
            line.head.unreached += 1
            lines[key]?.head = line.head
            guard !hasWaitedLong(line.head, message, now) else {
                return move(key, "attempts-exhausted", "unknown-outcome", &effects)
            }
            if target(of: line.head, from: 0, now) != nil {
                phase = .backingOff(until: now + backOff(attempt: line.head.unreached))
            }
        }
        change(key) { $0.phase = phase }
        if line.isLost || !shards[key.shard].isKeeping { giveUp(key, &effects) }
    }

    /// Whether it may have arrived at a target that has not been reached for so long since that its group need wait no more.
    private func hasWaitedLong(_ head: HeadState, _ message: WorkMessage, _ now: Timestamp) -> Bool {
        head.pinnedTarget != nil
            && now - (message.firstReceivedAt ?? now) >= max(limits.retryMilliseconds, limits.unknownMilliseconds)
    }

    /// Deliveries by other workers count too: their outcomes are not known, but a message must not begin anew with each.
    private func isSpent(_ head: HeadState, _ message: WorkMessage, _ now: Timestamp) -> Bool {
        if Mutation.givenUpAtOnce.isOn || Mutation.neverGivenUp.isOn { return Mutation.givenUpAtOnce.isOn }
        return head.attempts + head.earlierReceives(of: message) >= limits.maxAttempts
            && now - (message.firstReceivedAt ?? now) >= limits.retryMilliseconds
    }

    // MARK: - Deletes and timeouts

    private mutating func flushDeletes(_ shard: Int, _ effects: inout [Effect]) {
        if Mutation.deletesOverlap.isOn, !shards[shard].deletes.isEmpty { shards[shard].deletesUnderWay = [] }
        // While they fail each is a probe, and one is enough.
        let countMax = shards[shard].areDeletesFailing ? 1 : max(1, limits.deletesMax)
        while let batch = shards[shard].nextDeletes(countMax: countMax) {
            effects.append(.delete(shard: shard, batch))
        }
    }

    /// Retries that are due go back into the line; timeouts that are half over are begun anew.
    mutating func keep(_ key: GroupKey, _ line: HeldGroup, _ now: Timestamp, _ effects: inout [Effect]) {
        switch line.phase {
        case .backingOff(let until) where until <= now && !Mutation.retryForgotten.isOn: wake(key)
        case .targetless where target(of: line.head, from: 0, now) != nil: wake(key)
        default: break
        }
        guard !line.isExtending, !line.isLost, !Mutation.extensionForgotten.isOn, line.extendsFrom <= now,
            line.visibleAt - now <= limits.visibilityMilliseconds / 2
        else { return }
        lines[key]?.isExtending = true
        effects.append(.extend(shard: key.shard, Array(line.messages)))
    }

    private mutating func wake(_ key: GroupKey) {
        change(key) { $0.phase = .waiting }
        turns.append(key)
    }
}

extension HeadState {
    /// The first answer of an attempt counts: later targets are stand-ins.
    mutating func noteFailure(_ errorClass: String, _ retryAfterMilliseconds: Int64?) {
        failure = failure ?? (errorClass, retryAfterMilliseconds)
    }

    mutating func refuse(_ partial: PartialDelivery) {
        if refusedRecipients.isEmpty, !partial.refused.isEmpty { refusal = partial.errorClass }
        refusedRecipients += partial.refused
    }
}
