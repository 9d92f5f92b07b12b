// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolTestSupport

@testable import QueuePoolCore

// Workers, each with a clock of its own, and a store that they reach over ways that fail. Time is the world's own. Two
// workers hold a shard at one moment only if one begins while the other holds it, so that is where it is looked for.

/// A pool's workers over one lease store.
final class LeaseWorld {
    struct Worker {
        var machine: LeaseMachine
        let origin: Int64
        /// Parts of a thousand by which its clock is fast.
        let drift: Int64
        var isCrashed = false
        var hasLeft = false
        var isLeaving = false
        var pausedUntil = 0
        var cutOffUntil = 0
        var inbox: [Answer] = []
        /// What it was told to begin, and not to drop; whether it was told to drain it.
        var holds: [ShardHold: Bool] = [:]
        var isPresent: Bool { !isCrashed && !hasLeft }
    }

    enum Answer {
        case tick
        case renewed(WorkerHeartbeat, Result<Void, LeaseStoreError>)
        case read(Result<LeaseTable, LeaseStoreError>)
        case removed(WorkerID, Int, Result<Void, LeaseStoreError>)
        case written(ShardLease, Result<Int, LeaseStoreError>)
        case drained(ShardHold)
    }

    private enum Happening {
        case tick(Int)
        case arrives(Int, call: Int, LeaseMachine.Effect)
        /// The second half of a read.
        case readsOn(Int, call: Int, LeaseTable, needsHeartbeats: Bool)
        case answer(Int, call: Int, Answer)
        case drained(Int, ShardHold)
        case resumes(Int)
    }

    private(set) var now = 0
    private(set) var workers: [Worker] = []
    var rows = LeaseRows()
    var faults = LeaseFaults()
    var outageUntil = 0
    var tickMilliseconds = 100
    let limits: LeaseLimits
    var shards: [ShardIndex]
    var random: SplitMix64
    /// What must never be, and was.
    private(set) var faultsSeen: [String] = []
    /// When a shard was begun last, and by whom; when it was last given up.
    private(set) var begun: [ShardIndex: (at: Int, worker: Int)] = [:]
    private(set) var ended: [ShardIndex: Int] = [:]
    private(set) var beginnings = 0

    private var agenda: [(at: Int, turn: Int, what: Happening)] = []
    private var turn = 0
    private var openCalls: Set<Int> = []
    private var calls = 0
    /// The hold whose drain is being reported.
    private var reported: ShardHold?

    init(shards count: Int, seed: UInt64, limits: LeaseLimits = LeaseLimits()) {
        shards = (0..<count).map { ShardIndex($0) }
        random = SplitMix64(seed: seed)
        self.limits = limits
    }

    // MARK: - What a test does

    @discardableResult func join(drift: Int64 = 0) -> Int {
        let number = workers.count
        let machine = LeaseMachine(name: "host-\(number)", shards: shards, limits: limits, seed: random.next())
        guard let machine else { return number }
        workers.append(Worker(machine: machine, origin: Int64(random.below(1_000_000)), drift: drift))
        plan(0, .tick(number))
        return number
    }

    func crash(_ worker: Int) {
        workers[worker].isCrashed = true
        for hold in workers[worker].holds.keys { ended[hold.shard] = now }
        workers[worker].holds = [:]
    }

    func leave(_ worker: Int, within milliseconds: Int) {
        workers[worker].isLeaving = true
        let local = clock(worker)
        let deadline = local + Int64(milliseconds)
        carryOut(worker, workers[worker].machine.leave(deadline: deadline, now: local))
    }

    func pause(_ worker: Int, for milliseconds: Int) {
        workers[worker].pausedUntil = max(workers[worker].pausedUntil, now + milliseconds)
        plan(milliseconds, .resumes(worker))
    }

    func cutOff(_ worker: Int, for milliseconds: Int) {
        workers[worker].cutOffUntil = max(workers[worker].cutOffUntil, now + milliseconds)
    }

    func resize(to count: Int) {
        shards = (0..<count).map { ShardIndex($0) }
        for worker in workers.indices where workers[worker].isPresent {
            carryOut(worker, workers[worker].machine.shardsChanged(shards, now: clock(worker)))
        }
    }

    func run(_ milliseconds: Int) {
        let end = now + milliseconds
        while let last = agenda.last, last.at <= end {
            agenda.removeLast()
            now = last.at
            happen(last.what)
        }
        now = end
    }

    // MARK: - What a test sees

    func clock(_ worker: Int) -> Timestamp {
        let (origin, drift) = (workers[worker].origin, workers[worker].drift)
        return Timestamp(milliseconds: origin + Int64(now) * (1_000 + drift) / 1_000)
    }

    /// Shards that a worker would deliver from now.
    func held(_ worker: Int) -> [ShardIndex] {
        guard workers[worker].isPresent, workers[worker].machine.life.isValid(clock(worker)) else { return [] }
        return workers[worker].holds.keys.map(\.shard).sorted()
    }

    var holders: [ShardIndex: Int] {
        var holders: [ShardIndex: Int] = [:]
        for worker in workers.indices {
            for shard in held(worker) { holders[shard] = worker }
        }
        return holders
    }

    // MARK: - What happens

    private func plan(_ delay: Int, _ what: Happening) {
        turn += 1
        let at = now + delay
        // Sorted with the next at the end; of those due together, the earlier planned goes first.
        var low = 0
        var high = agenda.count
        while low < high {
            let middle = (low + high) / 2
            if agenda[middle].at > at { low = middle + 1 } else { high = middle }
        }
        agenda.insert((at, turn, what), at: low)
    }

    private func happen(_ what: Happening) {
        switch what {
        case .tick(let worker):
            guard workers[worker].isPresent else { return }
            plan(tickMilliseconds, .tick(worker))
            if now >= workers[worker].pausedUntil { handle(worker, .tick) }
        case .arrives(let worker, let call, let effect): arrive(worker, call, effect)
        case .readsOn(let worker, let call, var table, let needsHeartbeats):
            if needsHeartbeats { table.heartbeats = rows.sortedHeartbeats } else { table.leases = rows.sortedLeases }
            answer(worker, call, .read(.success(table)))
        case .answer(let worker, let call, let answer):
            if openCalls.remove(call) != nil { deliver(worker, answer) }
        case .drained(let worker, let hold):
            if workers[worker].holds[hold] != nil { deliver(worker, .drained(hold)) }
        case .resumes(let worker):
            guard workers[worker].isPresent, now >= workers[worker].pausedUntil else { return }
            // Whether a timer or an answer is served first is chance.
            if random.chance(50) { handle(worker, .tick) }
            let inbox = workers[worker].inbox
            workers[worker].inbox = []
            for answer in inbox { handle(worker, answer) }
        }
    }

    private func deliver(_ worker: Int, _ answer: Answer) {
        guard workers[worker].isPresent else { return }
        if now < workers[worker].pausedUntil { workers[worker].inbox.append(answer) } else { handle(worker, answer) }
    }

    private func handle(_ worker: Int, _ answer: Answer) {
        guard workers[worker].isPresent else { return }
        let local = clock(worker)
        switch answer {
        case .tick:
            let wall = Timestamp(milliseconds: Int64(now))
            carryOut(worker, workers[worker].machine.tick(now: local, wallTime: wall))
        case .renewed(let heartbeat, let result):
            carryOut(worker, workers[worker].machine.renewed(heartbeat, result, now: local))
        case .read(let result): carryOut(worker, workers[worker].machine.tableRead(result, now: local))
        case .removed(let other, let beat, let result):
            carryOut(worker, workers[worker].machine.removed(other, beat: beat, result, now: local))
        case .written(let lease, let result):
            carryOut(worker, workers[worker].machine.written(lease, result, now: local))
        case .drained(let hold):
            if workers[worker].holds.removeValue(forKey: hold) != nil { ended[hold.shard] = now }
            reported = hold
            carryOut(worker, workers[worker].machine.drained(hold, now: local))
            reported = nil
        }
    }

    // MARK: - The worker carries out

    private func carryOut(_ worker: Int, _ effects: [LeaseMachine.Effect]) {
        for effect in effects {
            switch effect {
            case .read, .renew, .remove, .write: call(worker, effect)
            case .begin(let hold): begin(worker, hold)
            case .drain(let hold, _):
                if workers[worker].holds[hold] == nil { note("drain of what \(worker) does not hold") }
                workers[worker].holds[hold] = true
                if !random.chance(faults.endlessDrains) {
                    plan(random.below(faults.drainMax + 1), .drained(worker, hold))
                }
            case .drop(let hold):
                // A drain that is reported when the heartbeat counts no longer is too late to be the machine's.
                if workers[worker].holds.removeValue(forKey: hold) == nil, hold != reported {
                    note("drop of what \(worker) does not hold")
                }
                ended[hold.shard] = now
            case .left:
                if !workers[worker].holds.isEmpty { note("\(worker) left with shards") }
                workers[worker].hasLeft = true
            }
        }
        let told = workers[worker].holds.keys.sorted { $0.shard < $1.shard }
        if told != workers[worker].machine.owned { note("\(worker) was told other shards than the machine's own") }
        // Whatever happened, what does not count any more was dropped before.
        let local = clock(worker)
        for hold in told where !workers[worker].machine.mayDeliver(hold, now: local) {
            note("\(worker) keeps shard \(hold.shard.number) although its heartbeat counts no longer")
        }
    }

    private func begin(_ worker: Int, _ hold: ShardHold) {
        if !workers[worker].machine.mayDeliver(hold, now: clock(worker)) { note("\(worker) began without a heartbeat") }
        for other in workers.indices where held(other).contains(hold.shard) {
            note("shard \(hold.shard.number) is begun by \(worker) while \(other) holds it")
        }
        workers[worker].holds[hold] = false
        begun[hold.shard] = (now, worker)
        beginnings += 1
    }

    private func note(_ fault: String) { faultsSeen.append("at \(now): \(fault)") }

    // MARK: - The way to the store

    private func call(_ worker: Int, _ effect: LeaseMachine.Effect) {
        calls += 1
        openCalls.insert(calls)
        let stall = random.chance(faults.stalls) ? random.below(20_000) : 0
        plan(stall + 3_000, .answer(worker, call: calls, failure(effect)))
        let isLost = random.chance(faults.lostCalls) || now < workers[worker].cutOffUntil
        // Half of what is lost arrives after all, when nobody expects it any more.
        if isLost, random.chance(50) { return }
        let delay = random.below(faults.delayMax + 1) + (isLost ? 3_000 + random.below(20_000) : 0)
        plan(stall + delay, .arrives(worker, call: calls, effect))
    }

    private func failure(_ effect: LeaseMachine.Effect) -> Answer {
        let error = LeaseStoreError.failed(code: "timeout")
        return switch effect {
        case .renew(let heartbeat): .renewed(heartbeat, .failure(error))
        case .remove(let other, let beat): .removed(other, beat, .failure(error))
        case .write(let lease): .written(lease, .failure(error))
        default: .read(.failure(error))
        }
    }

    private func arrive(_ worker: Int, _ call: Int, _ effect: LeaseMachine.Effect) {
        guard now >= outageUntil else { return }
        switch effect {
        case .renew(let heartbeat): answer(worker, call, .renewed(heartbeat, rows.renew(heartbeat)))
        case .remove(let other, let beat): answer(worker, call, .removed(other, beat, rows.remove(other, beat: beat)))
        case .write(let lease): answer(worker, call, .written(lease, rows.write(lease)))
        default:
            // A store may read heartbeats and leases one after the other, either first.
            var table = rows.table
            let needsHeartbeats = random.chance(50)
            if needsHeartbeats { table.heartbeats = [] } else { table.leases = [] }
            plan(
                random.below(faults.delayMax + 1),
                .readsOn(worker, call: call, table, needsHeartbeats: needsHeartbeats))
        }
    }

    private func answer(_ worker: Int, _ call: Int, _ answer: Answer) {
        if random.chance(faults.lostAnswers) || now < workers[worker].cutOffUntil { return }
        plan(random.below(faults.delayMax + 1), .answer(worker, call: call, answer))
    }
}
