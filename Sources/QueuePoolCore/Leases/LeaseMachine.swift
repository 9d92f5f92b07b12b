// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// A worker's part in sharing out a pool's shards (Ports/LeaseStore.swift has the protocol of safety). Guarantees:
// - A shard is begun only after an answer showed that it is this life's, and only while this life's heartbeat counts.
// - Every event first looks whether the heartbeat still counts; if not, everything is dropped before anything else.
// - A write whose outcome is unknown may still be done later. A shard is begun, or begun again, only from a version that
//   such a write cannot change any more.
// - Only leases of nobody, or of a worker whose heartbeat was removed, are taken.
// Renewals have a lane of their own, so that neither a slow read nor a slow write delays them. Everything else goes one
// after another in a second lane, so that a read shows all writes that were answered before.

/// Which shards a worker works on. Pure: times and answers in, calls to the lease store and orders to the worker out.
public struct LeaseMachine: Sendable {
    public enum Effect: Hashable, Sendable {
        /// To be answered by `tableRead`.
        case read
        /// To be answered by `renewed`.
        case renew(WorkerHeartbeat)
        /// To be answered by `removed`.
        case remove(WorkerID, beat: Int)
        /// To be answered by `written`.
        case write(ShardLease)
        /// The shard is this worker's: receive and deliver.
        case begin(ShardHold)
        /// Receive nothing more, finish what is being delivered, and release the rest, last of a group first; to be
        /// answered by `drained`. May come again with an earlier deadline.
        case drain(ShardHold, deadline: Timestamp)
        /// The shard may be another's from now on: receive, deliver and delete nothing more of it. No answer.
        case drop(ShardHold)
        /// Everything is given up after `leave`; the machine does nothing more.
        case left
    }

    /// What is under way in the lane of reads and writes.
    enum Call: Hashable, Sendable {
        case read(leftAt: Timestamp)
        case remove(WorkerID, beat: Int)
        case write(ShardLease)
    }

    enum Leaving: Hashable, Sendable {
        case no
        /// Drains and gives away.
        case givingUp(deadline: Timestamp)
        /// Owns nothing more, and removes its heartbeat.
        case removing(deadline: Timestamp)
        case left
    }

    struct Held: Hashable, Sendable {
        let hold: ShardHold
        /// `nil`: not drained.
        var drainUntil: Timestamp?
    }

    let name: WorkerID
    let limits: LeaseLimits
    var shards: Set<ShardIndex>
    var life: WorkerLife
    var leaving = Leaving.no
    /// A heartbeat that says so was acknowledged. Nothing is given away before: others would take the worker with few
    /// shards for one that has room.
    var isLeavingTold = false

    var renewing: WorkerHeartbeat?
    var call: Call?
    var renewJitter: FullJitter
    var renewFailures = 0
    var readJitter: FullJitter
    var readFailures = 0
    var readAt = Timestamp.distantPast
    /// Nothing is written before the next read.
    var isViewStale = true
    var wallOffset: Int64 = 0
    /// The view was looked through, and nothing is to be begun, drained or written before something else happens.
    var isSettled = false

    // The table, as of the last read and the writes since.
    var heartbeats: [WorkerID: WorkerHeartbeat] = [:]
    var leases: [ShardIndex: ShardLease] = [:]
    /// Owners whose heartbeat was removed: for ever, since a life does not come back.
    var dead: Set<WorkerID> = []
    var wishes: [ShardIndex: WorkerID] = [:]
    var removals: [WorkerHeartbeat] = []
    var sightings = WorkerSightings()

    var holds: [ShardIndex: Held] = [:]
    var holdsBegun = 0
    /// Versions from which this worker made writes of unknown outcome, the highest of each shard.
    var doubts: [ShardIndex: Int] = [:]
    var counts = LeaseFigures()

    /// - Parameters:
    ///   - name: another one for every start of every process, since a life must never come again. At most 60 bytes.
    ///   - shards: all of which messages may have to be delivered.
    ///   - seed: of the pauses between tries; best another one for each worker.
    /// - Returns: `nil` if the name is not one.
    public init?(name: String, shards: [ShardIndex], limits: LeaseLimits = LeaseLimits(), seed: UInt64) {
        guard let name = WorkerID(name), name.text.utf8.count <= WorkerLife.nameBytesMax else { return nil }
        self.name = name
        self.limits = limits
        self.shards = Set(shards)
        life = WorkerLife(name: name, number: 1, renewAt: .distantPast)
        let pause = max(1, limits.renewMilliseconds / 8)
        renewJitter = FullJitter(base: pause, cap: pause * 4, seed: seed)
        readJitter = FullJitter(base: pause, cap: pause * 8, seed: ~seed)
    }

    // MARK: - What is asked

    /// Whether a message of this hold may be delivered now. Cheap, and to be asked before each delivery: a process that
    /// stood still learns by it that its time is over, before any event could tell.
    public func mayDeliver(_ hold: ShardHold, now: Timestamp) -> Bool {
        life.isValid(now) && holds[hold.shard]?.hold == hold
    }

    /// Shards that this worker works on; those that it drains included.
    public var owned: [ShardHold] { holds.values.map(\.hold).sorted { $0.shard < $1.shard } }

    /// This life of the worker.
    public var worker: WorkerID { life.id }

    /// Whether the worker is well and there is no shard for it.
    public var isStandBy: Bool {
        leaving == .no && life.beat > 0 && !isViewStale && holds.isEmpty && !wishes.values.contains(life.id)
    }

    public var figures: LeaseFigures {
        var figures = counts
        figures.owned = holds.count
        figures.draining = holds.values.count { $0.drainUntil != nil }
        figures.workersSeen = heartbeats.count
        return figures
    }

    // MARK: - What happens

    /// To be called every 100 ms or so.
    /// - Parameters:
    ///   - now: of a clock that never stands still or jumps.
    ///   - wallTime: stored for people to read.
    public mutating func tick(now: Timestamp, wallTime: Timestamp) -> [Effect] {
        wallOffset = wallTime - now
        return handle(now, isTick: true) { _, _ in }
    }

    /// The pool was resized.
    public mutating func shardsChanged(_ shards: [ShardIndex], now: Timestamp) -> [Effect] {
        handle(now) { machine, _ in
            machine.shards = Set(shards)
            machine.makePlan()
        }
    }

    /// A drain is done: nothing of the hold is being delivered, and nothing is kept.
    public mutating func drained(_ hold: ShardHold, now: Timestamp) -> [Effect] {
        handle(now) { machine, _ in
            guard let held = machine.holds[hold.shard], held.hold == hold, held.drainUntil != nil else { return }
            machine.holds[hold.shard] = nil
        }
    }

    /// The process is to end: drains all, gives it away and removes its heartbeat. `left` comes one renewal interval after
    /// the deadline at the latest, whether or not the store answers.
    /// - Parameter deadline: of the drains.
    public mutating func leave(deadline: Timestamp, now: Timestamp) -> [Effect] {
        handle(now) { machine, effects in
            guard machine.leaving == .no else { return }
            machine.leaving = .givingUp(deadline: deadline)
            // The others are told at once, so that they give nothing more to this worker.
            machine.life.renew(at: now)
            machine.makePlan()
            for held in machine.holds.values.sorted(by: { $0.hold.shard < $1.hold.shard }) {
                machine.drain(held, until: deadline, &effects)
            }
        }
    }

    public mutating func renewed(
        _ heartbeat: WorkerHeartbeat, _ result: Result<Void, LeaseStoreError>, now: Timestamp
    ) -> [Effect] {
        handle(now) { machine, effects in
            guard machine.renewing == heartbeat else { return }
            machine.renewing = nil
            // The answer to an earlier life changes nothing.
            guard heartbeat.worker == machine.life.id, heartbeat.beat == machine.life.latestBeat else { return }
            if case .success = result, heartbeat.isLeaving { machine.isLeavingTold = true }
            machine.take(result, now, &effects)
        }
    }

    public mutating func tableRead(_ result: Result<LeaseTable, LeaseStoreError>, now: Timestamp) -> [Effect] {
        handle(now) { machine, effects in
            guard case .read(let leftAt) = machine.call else { return }
            machine.call = nil
            switch result {
            case .success(let table): machine.take(table, leftAt: leftAt, now, &effects)
            case .failure(let error): machine.readFailed(error, now, &effects)
            }
        }
    }

    public mutating func removed(
        _ worker: WorkerID, beat: Int, _ result: Result<Void, LeaseStoreError>, now: Timestamp
    ) -> [Effect] {
        handle(now) { machine, effects in
            guard machine.call == .remove(worker, beat: beat) else { return }
            machine.call = nil
            if case .removing = machine.leaving, worker == machine.life.id, case .success = result {
                machine.leaving = .left
                effects.append(.left)
                return
            }
            machine.isViewStale = true
            switch result {
            case .success:
                if WorkerLife.number(of: worker, name: machine.name) == nil { machine.counts.removed += 1 }
                machine.readAt = now
            case .failure(.conflict): machine.readAt = now
            case .failure(let error): machine.readFailed(error, now, &effects)
            }
        }
    }

    public mutating func written(
        _ lease: ShardLease, _ result: Result<Int, LeaseStoreError>, now: Timestamp
    ) -> [Effect] {
        handle(now) { machine, effects in
            guard machine.call == .write(lease) else { return }
            machine.call = nil
            switch result {
            case .success(let version):
                machine.leases[lease.shard] = lease
                machine.leases[lease.shard]?.version = version
                if lease.owner != machine.life.id { machine.counts.given += 1 }
            case .failure(let error):
                machine.isViewStale = true
                if error == .conflict {
                    machine.readAt = now
                } else {
                    let doubt = machine.doubts[lease.shard] ?? 0
                    machine.doubts[lease.shard] = max(doubt, lease.version)
                    machine.readFailed(error, now, &effects)
                }
            }
        }
    }
}
