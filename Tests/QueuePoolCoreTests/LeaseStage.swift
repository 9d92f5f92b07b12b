// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

@testable import QueuePoolCore

/// One machine whose calls a test answers one by one, over a store of its own.
struct LeaseStage {
    typealias Effects = [LeaseMachine.Effect]

    var machine: LeaseMachine
    let start = Timestamp(milliseconds: 5_000)
    private(set) var now = Timestamp(milliseconds: 5_000)
    private var rows = LeaseRows()
    private(set) var pendingWrite: ShardLease?
    private var pendingRenewal: WorkerHeartbeat?

    init(shards: Int) {
        let all = (0..<shards).map { ShardIndex($0) }
        guard let machine = LeaseMachine(name: "stage", shards: all, seed: 1) else {
            preconditionFailure("the name is one")
        }
        self.machine = machine
    }

    /// A tick so many milliseconds after the start.
    mutating func tick(_ milliseconds: Int64) -> Effects {
        now = start + milliseconds
        return noting(machine.tick(now: now, wallTime: now))
    }

    /// Up to the first take: the heartbeat is stored and the table read.
    mutating func begin() {
        _ = tick(0)
        guard let renewal = pendingRenewal else { return }
        pendingRenewal = nil
        now = now + 10
        _ = noting(machine.renewed(renewal, rows.renew(renewal), now: now))
        // The first read was under way before the heartbeat was stored; it does not show it.
        now = now + 10
        _ = noting(machine.tableRead(.success(LeaseTable()), now: now))
        _ = answerRead()
    }

    mutating func answerRead() -> Effects { noting(machine.tableRead(.success(rows.table), now: now)) }

    mutating func answerWrite() -> Effects {
        guard let write = pendingWrite else { return [] }
        pendingWrite = nil
        return noting(machine.written(write, rows.write(write), now: now))
    }

    /// The caller hears that it failed; a second later a read leaves.
    mutating func loseWrite() {
        guard let write = pendingWrite else { return }
        pendingWrite = nil
        _ = noting(machine.written(write, .failure(.failed(code: "timeout")), now: now))
        _ = tick(now - start + 1_000)
    }

    mutating func failRenewal(_ error: LeaseStoreError) -> Effects {
        if pendingRenewal == nil { _ = tick(now - start + 2_000) }
        guard let renewal = pendingRenewal else { return [] }
        pendingRenewal = nil
        return noting(machine.renewed(renewal, .failure(error), now: now))
    }

    @discardableResult mutating func resize(to count: Int) -> Effects {
        noting(machine.shardsChanged((0..<count).map { ShardIndex($0) }, now: now))
    }

    func sameBeat(_ heartbeat: WorkerHeartbeat, at milliseconds: Int64) -> WorkerHeartbeat {
        WorkerHeartbeat(worker: heartbeat.worker, beat: heartbeat.beat, renewedAt: start + milliseconds)
    }

    private mutating func noting(_ effects: Effects) -> Effects {
        for effect in effects {
            switch effect {
            case .write(let lease): pendingWrite = lease
            case .renew(let heartbeat): pendingRenewal = heartbeat
            default: break
            }
        }
        return effects
    }
}
