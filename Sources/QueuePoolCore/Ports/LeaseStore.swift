// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Who works on which shard, as all workers of a pool see it. A worker is alive as long as its heartbeat goes on; a lease
// names its owner, and holds as long as the owner's heartbeat is stored. So a renewal is one write for a worker, however
// many shards it owns.
//
// Why a take-over cannot meet an owner that only was slow: who sees the same beat for a whole term removes the heartbeat,
// and the store does so only if the beat is still that one. From then on the owner's renewals fail, and it had stopped by
// its own clock before, since its last renewal left earlier than it was seen. Only leases of workers without a heartbeat
// are taken. No two clocks are compared; they only have to run at about the same rate.

/// One life of a worker: never used again after its heartbeat was removed. 1 to 80 bytes of letters, digits, `.`, `_`, `-`.
public struct WorkerID: Hashable, Sendable, Comparable, CustomStringConvertible {
    public static let bytesMax = 80

    public let text: String

    /// - Returns: `nil` if `text` has other characters, none, or too many.
    public init?(_ text: String) {
        let isAllowed = text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
                true
            default: false
            }
        }
        guard isAllowed, (1...WorkerID.bytesMax).contains(text.utf8.count) else { return nil }
        self.text = text
    }

    public var description: String { text }
    public static func < (a: WorkerID, b: WorkerID) -> Bool { a.text < b.text }
}

/// The sign of life of a worker.
public struct WorkerHeartbeat: Hashable, Sendable {
    public let worker: WorkerID
    /// Counts from 1; each renewal is one more.
    public var beat: Int
    /// The worker's wall clock at the renewal: shown to people, compared with nothing.
    public var renewedAt: Timestamp
    /// The worker gives up what it owns and takes nothing more: nobody hands it a shard, and none is kept for it.
    public var isLeaving: Bool

    public init(worker: WorkerID, beat: Int, renewedAt: Timestamp, isLeaving: Bool = false) {
        self.worker = worker
        self.beat = beat
        self.renewedAt = renewedAt
        self.isLeaving = isLeaving
    }
}

/// A worker's time-bounded ownership of a shard. It holds while the owner's heartbeat is stored.
public struct ShardLease: Hashable, Sendable {
    public let shard: ShardIndex
    /// `nil`: given up, anybody may take it.
    public var owner: WorkerID?
    /// To whom the owner gives the shard as soon as it has finished or released what it holds.
    public var next: WorkerID?
    /// The owner's wall clock when it got the shard: shown to people, compared with nothing.
    public var acquiredAt: Timestamp
    /// Writes of this lease so far, as of the read that gave this value; 0 if it was never stored.
    public var version: Int

    public init(
        shard: ShardIndex, owner: WorkerID? = nil, next: WorkerID? = nil, acquiredAt: Timestamp, version: Int = 0
    ) {
        self.shard = shard
        self.owner = owner
        self.next = next
        self.acquiredAt = acquiredAt
        self.version = version
    }
}

/// Everything that is stored of a pool's workers and leases.
public struct LeaseTable: Hashable, Sendable {
    /// Sorted by worker.
    public var heartbeats: [WorkerHeartbeat]
    /// Sorted by shard. Shards that nobody ever owned are missing.
    public var leases: [ShardLease]

    public init(heartbeats: [WorkerHeartbeat] = [], leases: [ShardLease] = []) {
        self.heartbeats = heartbeats
        self.leases = leases
    }
}

/// Why the lease store did not do what it was asked.
public enum LeaseStoreError: Error, Hashable, Sendable {
    /// What is stored is not what the write was made from; nothing was written.
    case conflict
    /// The store knows no such pool: its leases went with it.
    case noPool
    /// The store failed, or did not answer: a write may have been done, or may be done later.
    /// `code` is a code of the store's own, without secrets.
    case failed(code: String)
}

/// Where leases live. Calls may block, for some seconds at most; they are never made from an event loop. Reads see every
/// write that was answered before they began.
public protocol LeaseStore: Sendable {
    func table(ofPool pool: PoolName) throws(LeaseStoreError) -> LeaseTable
    /// Stores a heartbeat, if the one that is stored is the beat before it (none, for beat 1) or this very one, whose
    /// answer was lost.
    /// - Throws: `LeaseStoreError.conflict` if it was removed meanwhile: the worker owns nothing any more.
    func renew(_ heartbeat: WorkerHeartbeat, ofPool pool: PoolName) throws(LeaseStoreError)
    /// Removes a heartbeat, if it is still this beat. Nothing happens if none is stored.
    /// - Throws: `LeaseStoreError.conflict` if it went on.
    func remove(_ worker: WorkerID, beat: Int, ofPool pool: PoolName) throws(LeaseStoreError)
    /// Writes a lease, if what is stored still has the version that `lease` carries; 0: if none is stored.
    /// - Returns: the version that is stored now.
    /// - Throws: `LeaseStoreError.conflict` if it has another one.
    func write(_ lease: ShardLease, ofPool pool: PoolName) throws(LeaseStoreError) -> Int
    /// Removes everything of a pool, for its deletion.
    func removeAll(ofPool pool: PoolName) throws(LeaseStoreError)
}
