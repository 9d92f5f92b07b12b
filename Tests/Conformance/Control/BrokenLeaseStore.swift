// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Synchronization
import Testing

/// One thing that a lease store may do wrong.
enum LeaseFault: CaseIterable, Sendable {
    case forgetsLeaving
    case forgetsNext
    case forgetsTimes
    case listsInReverse
    case renewsWhatWasRemoved
    case renewsAnyBeat
    case refusesTheSameBeat
    case removesAnyBeat
    case removesNoBeat
    case refusesToRemoveNothing
    case ignoresVersions
    case writesBeforeItRefuses
    case needsNoPool
    case keepsThePoolsOfBefore
    case clearsEveryPool
    case clearsNothing
    case clearsHeartbeatsOnly
    case savesThePool
    case keepsAHundred

    /// The rules that must notice it.
    var rules: [LeaseRule] {
        switch self {
        case .forgetsLeaving: [LeaseRules.readBack, LeaseRules.beats]
        case .forgetsNext, .forgetsTimes: [LeaseRules.readBack]
        case .listsInReverse: [LeaseRules.readBack, LeaseRules.many]
        case .renewsWhatWasRemoved: [LeaseRules.removal, LeaseRules.heartbeatRaces]
        case .renewsAnyBeat, .refusesTheSameBeat: [LeaseRules.beats]
        case .removesAnyBeat: [LeaseRules.removal, LeaseRules.heartbeatRaces]
        case .removesNoBeat, .refusesToRemoveNothing: [LeaseRules.removal]
        case .ignoresVersions: [LeaseRules.versions, LeaseRules.writeRaces]
        case .writesBeforeItRefuses: [LeaseRules.versions]
        case .needsNoPool, .keepsThePoolsOfBefore: [LeaseRules.pools]
        case .clearsEveryPool, .clearsNothing, .clearsHeartbeatsOnly: [LeaseRules.clearing]
        case .savesThePool: [LeaseRules.apart]
        case .keepsAHundred: [LeaseRules.many]
        }
    }
}

/// A sound store, and what spoils one thing about it.
private final class BrokenLeaseStore: LeaseStore {
    private let inner: any LeaseStore
    private let fault: LeaseFault
    /// What was last read of each pool.
    private let seen = Mutex<[String: LeaseTable]>([:])

    init(_ inner: any LeaseStore, _ fault: LeaseFault) {
        self.inner = inner
        self.fault = fault
    }

    func table(ofPool pool: PoolName) throws(LeaseStoreError) -> LeaseTable {
        var table = try inner.table(ofPool: pool)
        switch fault {
        case .listsInReverse:
            table.heartbeats.reverse()
            table.leases.reverse()
        case .keepsAHundred: table.leases = Array(table.leases.prefix(100))
        case .keepsThePoolsOfBefore:
            if table == LeaseTable() { return seen.withLock { $0[pool.text] } ?? table }
            seen.withLock { $0[pool.text] = table }
        default: break
        }
        return table
    }

    func renew(_ heartbeat: WorkerHeartbeat, ofPool pool: PoolName) throws(LeaseStoreError) {
        var heartbeat = heartbeat
        let held = try inner.table(ofPool: pool).heartbeats.first { $0.worker == heartbeat.worker }
        switch fault {
        case .forgetsLeaving: heartbeat.isLeaving = false
        case .forgetsTimes: heartbeat.renewedAt = .distantPast
        case .renewsWhatWasRemoved where held == nil: try start(heartbeat, in: pool)
        case .renewsAnyBeat where held != nil: return
        case .refusesTheSameBeat where held?.beat == heartbeat.beat: throw .conflict
        case .savesThePool:
            if let control = inner as? any ControlStore, let found = try? control.pool(pool) {
                _ = try? control.save(found)
            }
        default: break
        }
        do throws(LeaseStoreError) { try inner.renew(heartbeat, ofPool: pool) } catch {
            guard fault == .needsNoPool, error == .noPool else { throw error }
        }
    }

    /// Stores the beats before one.
    private func start(_ heartbeat: WorkerHeartbeat, in pool: PoolName) throws(LeaseStoreError) {
        var before = heartbeat
        for beat in 1..<max(1, heartbeat.beat) {
            before.beat = beat
            try inner.renew(before, ofPool: pool)
        }
    }

    func remove(_ worker: WorkerID, beat: Int, ofPool pool: PoolName) throws(LeaseStoreError) {
        let held = try inner.table(ofPool: pool).heartbeats.first { $0.worker == worker }
        if fault == .removesNoBeat { return }
        if fault == .refusesToRemoveNothing, held == nil { throw .conflict }
        try inner.remove(worker, beat: fault == .removesAnyBeat ? held?.beat ?? beat : beat, ofPool: pool)
    }

    func write(_ lease: ShardLease, ofPool pool: PoolName) throws(LeaseStoreError) -> Int {
        var lease = lease
        switch fault {
        case .forgetsNext: lease.next = nil
        case .forgetsTimes: lease.acquiredAt = .distantPast
        case .ignoresVersions: return try force(lease, in: pool)
        default: break
        }
        do throws(LeaseStoreError) { return try inner.write(lease, ofPool: pool) } catch {
            if fault == .needsNoPool, error == .noPool { return lease.version + 1 }
            if fault == .writesBeforeItRefuses, error == .conflict { _ = try force(lease, in: pool) }
            throw error
        }
    }

    /// Until it is written, whoever else writes.
    private func force(_ lease: ShardLease, in pool: PoolName) throws(LeaseStoreError) -> Int {
        var lease = lease
        while true {
            lease.version = try inner.table(ofPool: pool).leases.first { $0.shard == lease.shard }?.version ?? 0
            do throws(LeaseStoreError) { return try inner.write(lease, ofPool: pool) } catch {
                guard error == .conflict else { throw error }
            }
        }
    }

    func removeAll(ofPool pool: PoolName) throws(LeaseStoreError) {
        switch fault {
        case .clearsNothing: return
        case .clearsHeartbeatsOnly:
            for held in try inner.table(ofPool: pool).heartbeats {
                try inner.remove(held.worker, beat: held.beat, ofPool: pool)
            }
        case .clearsEveryPool:
            for name in ["emails.fifo", "emails-2.fifo"].compactMap(PoolName.init) { try inner.removeAll(ofPool: name) }
        default: try inner.removeAll(ofPool: pool)
        }
    }
}

@Suite(.timeLimit(.minutes(3))) struct `The rules for lease stores` {
    @Test(arguments: LeaseFault.allCases) func `notice a store that does not keep them`(
        fault: LeaseFault
    ) async throws {
        for (number, rule) in fault.rules.enumerated() {
            let findings = try await LeaseBench.run(rule, on: .sqlite) { BrokenLeaseStore($0, fault) }
            #expect(!findings.all.isEmpty, "rule \(number) of this fault found nothing")
        }
    }
}
