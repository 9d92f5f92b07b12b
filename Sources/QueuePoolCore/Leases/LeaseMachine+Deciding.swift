// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// What a worker does with the table as it sees it.
extension LeaseMachine {
    /// Who is alive, as the table shows it, should have which shard.
    mutating func makePlan() {
        let workers = heartbeats.values.filter { heartbeat in
            (!heartbeat.isLeaving || Mutation.leavingIsIgnored.isOn) && (heartbeat.worker != life.id || leaving == .no)
        }
        let alive = Set(workers.map(\.worker))
        var holders: [ShardIndex: WorkerID] = [:]
        for lease in leases.values {
            if let next = lease.next, alive.contains(next), !Mutation.nextIsIgnored.isOn {
                holders[lease.shard] = next
            } else if let owner = lease.owner, alive.contains(owner) {
                holders[lease.shard] = owner
            }
        }
        wishes = LeasePlan.wishes(workers: Array(alive), shards: Array(shards), holders: holders)
    }

    mutating func goOn(_ now: Timestamp, _ effects: inout [Effect]) {
        leaveIfDone(now, &effects)
        guard leaving != .left else { return }
        beginAndDrain(now, &effects)
        renewIfDue(now, &effects)
        callIfFree(now, &effects)
    }

    private mutating func renewIfDue(_ now: Timestamp, _ effects: inout [Effect]) {
        guard renewing == nil, now >= life.renewAt else { return }
        var isLeaving = false
        switch leaving {
        case .no: break
        case .givingUp: isLeaving = true
        case .removing, .left: return
        }
        let heartbeat = WorkerHeartbeat(
            worker: life.id, beat: life.leave(now), renewedAt: now + wallOffset, isLeaving: isLeaving)
        renewing = heartbeat
        effects.append(.renew(heartbeat))
    }

    // MARK: - Leaving

    private mutating func leaveIfDone(_ now: Timestamp, _ effects: inout [Effect]) {
        switch leaving {
        case .no, .left: return
        case .givingUp(let deadline):
            // A life of which nothing was ever sent owns nothing, and has nothing to remove.
            let isUnborn = life.latestBeat == 0
            let isTimeUp = now >= deadline + limits.renewMilliseconds
            let isGivenUp =
                !isViewStale && holds.isEmpty && call == nil && !leases.values.contains { $0.owner == life.id }
            guard isUnborn || isTimeUp || isGivenUp else { return }
            beginRemoving(deadline: deadline, now)
            guard isUnborn || isTimeUp else { return }
            endLife(now, &effects)
            leaving = .left
            effects.append(.left)
        case .removing(let deadline):
            let isGone = !isViewStale && call == nil && renewing == nil && heartbeats[life.id] == nil
            guard isGone || now >= deadline + limits.renewMilliseconds else { return }
            leaving = .left
            effects.append(.left)
        }
    }

    /// What was sent last is most likely what is stored; if it is not, a read tells.
    mutating func beginRemoving(deadline: Timestamp, _ now: Timestamp) {
        leaving = .removing(deadline: deadline)
        isViewStale = false
        heartbeats[life.id] = nil
        guard life.latestBeat > 0 else { return }
        heartbeats[life.id] = WorkerHeartbeat(worker: life.id, beat: life.latestBeat, renewedAt: now + wallOffset)
    }

    // MARK: - Holds

    /// Begins what is this life's and wished to be, and drains what is wished elsewhere.
    private mutating func beginAndDrain(_ now: Timestamp, _ effects: inout [Effect]) {
        guard !isSettled, !isViewStale, life.isValid(now), leaving == .no else { return }
        for lease in leases.values.filter({ $0.owner == life.id }).sorted(by: { $0.shard < $1.shard }) {
            let wish = wishes[lease.shard]
            if let held = holds[lease.shard] {
                guard held.drainUntil == nil, wish != life.id, wish == lease.next else { continue }
                drain(held, until: now + limits.drainMilliseconds, &effects)
            } else if wish == life.id, lease.next == nil, !isInDoubt(lease) {
                holdsBegun += 1
                counts.begun += 1
                let hold = ShardHold(shard: lease.shard, number: holdsBegun)
                holds[lease.shard] = Held(hold: hold)
                effects.append(.begin(hold))
            }
        }
    }

    /// Whether a write of this worker may still change the lease behind its back: one of unknown outcome, or one whose
    /// answer is still to come, while what was wished when it left is not wished any more.
    private func isInDoubt(_ lease: ShardLease) -> Bool {
        if Mutation.begunBeforeAnswer.isOn { return false }
        if case .write(let written) = call, written.shard == lease.shard { return true }
        return doubts[lease.shard].map { lease.version <= $0 } ?? false
    }

    // MARK: - Calls

    private mutating func callIfFree(_ now: Timestamp, _ effects: inout [Effect]) {
        guard call == nil else { return }
        if case .removing = leaving {
            guard renewing == nil else { return }
            if !isViewStale, let own = heartbeats[life.id] {
                start(.remove(life.id, beat: own.beat), &effects)
            } else if now >= readAt {
                start(.read(leftAt: now), &effects)
            }
            return
        }
        if !removals.isEmpty {
            let removal = removals.removeFirst()
            start(.remove(removal.worker, beat: removal.beat), &effects)
        } else if now >= readAt {
            start(.read(leftAt: now), &effects)
        } else if !isSettled, !isViewStale, life.isValid(now) {
            if let lease = nextWrite(now) { start(.write(lease), &effects) } else { isSettled = true }
        }
    }

    private mutating func start(_ call: Call, _ effects: inout [Effect]) {
        self.call = call
        switch call {
        case .read: effects.append(.read)
        case .remove(let worker, let beat): effects.append(.remove(worker, beat: beat))
        case .write(let lease):
            effects.append(.write(lease))
            if Mutation.begunBeforeAnswer.isOn { leases[lease.shard] = lease }
        }
    }

    /// The first write that brings the table nearer to what is wished.
    private func nextWrite(_ now: Timestamp) -> ShardLease? {
        guard leaving == .no || isLeavingTold else { return nil }
        for shard in shards.union(leases.keys).sorted() {
            var lease = leases[shard] ?? ShardLease(shard: shard, acquiredAt: now + wallOffset)
            let wish = wishes[shard]
            if lease.owner == life.id {
                if let held = holds[shard], held.drainUntil == nil || !Mutation.givenAwayUndrained.isOn {
                    // Announced before it is drained, so that everybody counts it as the next worker's.
                    guard held.drainUntil == nil, leaving == .no else { continue }
                    let next = wish == life.id ? nil : wish
                    guard lease.next != next else { continue }
                    lease.next = next
                } else if wish == life.id {
                    // Written anew, so that no earlier write of unknown outcome can give it away any more.
                    guard lease.next != nil || isInDoubt(lease) else { continue }
                    lease.next = nil
                } else {
                    lease.owner = wish
                    lease.next = nil
                    lease.acquiredAt = now + wallOffset
                }
                return lease
            }
            let isFree = lease.owner.map(dead.contains) ?? true
            guard leaving == .no, wish == life.id, isFree || Mutation.livingOwnerRobbed.isOn else { continue }
            lease.owner = life.id
            lease.next = nil
            lease.acquiredAt = now + wallOffset
            return lease
        }
        return nil
    }
}
