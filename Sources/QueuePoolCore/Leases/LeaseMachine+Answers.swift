// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// What an answer of the store means for this worker.
extension LeaseMachine {
    /// The frame of every event: what is over ends first, and what can be done is begun last.
    mutating func handle(
        _ now: Timestamp, isTick: Bool = false, _ event: (inout LeaseMachine, inout [Effect]) -> Void
    ) -> [Effect] {
        guard leaving != .left else { return [] }
        if !isTick { isSettled = false }
        var effects: [Effect] = []
        if life.isOver(now, limits), !Mutation.lapseIsOverlooked.isOn { endLife(now, &effects) }
        endDrains(now, &effects)
        event(&self, &effects)
        goOn(now, &effects)
        return effects
    }

    /// The answer to the latest renewal of this life.
    mutating func take(_ result: Result<Void, LeaseStoreError>, _ now: Timestamp, _ effects: inout [Effect]) {
        switch result {
        case .success:
            // Others see this worker from now on, and so should its own plan.
            if life.beat == 0 { readAt = now }
            renewFailures = 0
            life.acknowledged(now: now, limits)
            // The renewal that was under way when the worker was asked to leave did not say so.
            if leaving != .no, !isLeavingTold { life.renew(at: now) }
        case .failure(.failed):
            renewFailures += 1
            life.renew(at: now + renewJitter.delay(failures: renewFailures))
        case .failure(let error):
            // After a life that came to something the next one begins at once. Where there is none to begin, as in a pool
            // that is gone, tries are spaced out.
            let isFirst = life.beat == 0 || error == .noPool
            renewFailures = isFirst ? renewFailures + 1 : 0
            endLife(now, &effects)
            if isFirst { life.renew(at: now + renewJitter.delay(failures: renewFailures)) }
        }
    }

    /// The view of the table begins anew with each read.
    mutating func take(_ table: LeaseTable, leftAt: Timestamp, _ now: Timestamp, _ effects: inout [Effect]) {
        readFailures = 0
        isViewStale = false
        readAt = now + limits.renewMilliseconds
        let still = sightings.note(table, readLeftAt: leftAt, now: now, termMilliseconds: limits.termMilliseconds)
        heartbeats = Dictionary(table.heartbeats.map { ($0.worker, $0) }, uniquingKeysWith: { first, _ in first })
        leases = Dictionary(table.leases.map { ($0.shard, $0) }, uniquingKeysWith: { first, _ in first })
        let absent = Set(table.leases.compactMap(\.owner)).filter { heartbeats[$0] == nil }
        dead = absent.filter(sightings.isKnown)
        // What this read could not tell yet, the next one does.
        if dead.count < absent.count { readAt = now }
        if let since = life.acknowledgedFirstAt, since >= leftAt { readAt = now }
        sightings.remember(table)
        // A heartbeat that was acknowledged and is not shown was removed. It cannot be, unless clocks run wild.
        if let since = life.acknowledgedFirstAt, since < leftAt, heartbeats[life.id] == nil { endLife(now, &effects) }
        // Earlier lives of this very worker are over; the others need not wait for their terms.
        let earlier = heartbeats.values.filter { heartbeat in
            WorkerLife.number(of: heartbeat.worker, name: name).map { $0 < life.number } ?? false
        }
        removals = Set(still.filter { $0.worker != life.id }).union(earlier).sorted { $0.worker < $1.worker }
        for held in holds.values.sorted(by: { $0.hold.shard < $1.hold.shard })
        where !isOwn(leases[held.hold.shard]?.owner) {
            holds[held.hold.shard] = nil
            counts.lost += 1
            effects.append(.drop(held.hold))
        }
        makePlan()
    }

    private func isOwn(_ owner: WorkerID?) -> Bool {
        guard Mutation.newLifeKeepsLeases.isOn, let owner else { return owner == life.id }
        return WorkerLife.number(of: owner, name: name) != nil
    }

    mutating func readFailed(_ error: LeaseStoreError, _ now: Timestamp, _ effects: inout [Effect]) {
        isViewStale = true
        readFailures += 1
        if error == .noPool, life.beat > 0 { endLife(now, &effects) }
        readAt = now + readJitter.delay(failures: readFailures)
    }

    /// The heartbeat counts no longer: everything is dropped, and another life begins unless the worker is leaving.
    mutating func endLife(_ now: Timestamp, _ effects: inout [Effect]) {
        let keepsLeases = Mutation.newLifeKeepsLeases.isOn && leaving == .no
        let lost = keepsLeases ? [] : holds.values.map(\.hold).sorted { $0.shard < $1.shard }
        effects += lost.map(Effect.drop)
        counts.lost += lost.count
        if life.beat > 0 { counts.livesLost += 1 }
        if !keepsLeases { holds = [:] }
        isSettled = false
        switch leaving {
        case .no:
            life = WorkerLife(name: name, number: life.number + 1, renewAt: now)
            isViewStale = true
            readAt = now
        case .givingUp(let deadline): beginRemoving(deadline: deadline, now)
        case .removing, .left: break
        }
    }

    /// Ends drains that were not reported in time, so that the shard can go on elsewhere.
    private mutating func endDrains(_ now: Timestamp, _ effects: inout [Effect]) {
        let late = holds.values.filter { held in
            held.drainUntil.map { now >= $0 + limits.graceMilliseconds } ?? false
        }
        guard !late.isEmpty else { return }
        isSettled = false
        for held in late.sorted(by: { $0.hold.shard < $1.hold.shard }) {
            holds[held.hold.shard] = nil
            effects.append(.drop(held.hold))
        }
    }

    /// Begins a drain, or makes one end earlier.
    mutating func drain(_ held: Held, until deadline: Timestamp, _ effects: inout [Effect]) {
        if let until = held.drainUntil, until <= deadline { return }
        holds[held.hold.shard]?.drainUntil = deadline
        effects.append(.drain(held.hold, deadline: deadline))
    }
}
