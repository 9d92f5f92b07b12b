// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolTestSupport
import Testing

/// An implementation of the port of leases that the suite is run against.
enum LeaseSubject: CaseIterable, Sendable, CustomTestStringConvertible {
    case sqlite
    case dynamoDB
    /// Each write is done, its first answer is lost, and the client makes it again.
    case dynamoDBLosingAnswers
    case simulated

    /// All, unless the environment says that the service that stands for DynamoDB is to be left out.
    static var tested: [LeaseSubject] { Moto.isLeftOut ? [.sqlite, .simulated] : allCases }

    var testDescription: String {
        switch self {
        case .sqlite: "SQLite"
        case .dynamoDB: "DynamoDB, for which moto stands"
        case .dynamoDBLosingAnswers: "DynamoDB, for which moto stands, when answers are lost"
        case .simulated: "the simulation's"
        }
    }

    func stage() throws -> any ControlStage {
        switch self {
        case .sqlite: try ControlSubject.sqlite.stage()
        case .dynamoDB: try DynamoDBStage()
        case .dynamoDBLosingAnswers:
            try DynamoDBStage(
                wrap: { ForgetfulCaller($0, losing: ["PutItem", "DeleteItem"]) }, pauses: HastyClock())
        case .simulated: try ControlSubject.simulated.stage()
        }
    }
}

/// One rule's working place: a pool, two users of its leases, and what was found.
final class LeaseBench: StoreBench {
    typealias Failure = LeaseStoreError

    let control: any ControlStore
    let one: any LeaseStore
    let other: any LeaseStore
    let findings = Findings()

    private init(
        _ stage: any ControlStage, wrap: (any LeaseStore) -> any LeaseStore
    ) throws {
        control = try stage.open()
        one = wrap(try stage.openLeases())
        other = wrap(try stage.openLeases())
        self.stage = stage
    }

    // Its files go with it.
    private let stage: any ControlStage

    /// Runs a rule against an implementation.
    /// - Parameter wrap: what a broken implementation puts around a sound one.
    static func run(
        _ rule: @escaping LeaseRule, on subject: LeaseSubject,
        wrap: @escaping @Sendable (any LeaseStore) -> any LeaseStore = { $0 }
    ) async throws -> Findings {
        try await findings(of: rule) { try LeaseBench(try subject.stage(), wrap: wrap) }
    }

    /// Checks what is stored, as the other one sees it.
    func check(
        _ pool: PoolName, has heartbeats: [WorkerHeartbeat] = [], and leases: [ShardLease] = [], _ text: String,
        _ place: SourceLocation = #_sourceLocation
    ) throws {
        let found = try other.table(ofPool: pool)
        check(found.heartbeats == heartbeats, "\(text): heartbeats are \(found.heartbeats)", place)
        check(found.leases == leases, "\(text): leases are \(found.leases)", place)
    }

    // MARK: - What is stored

    /// Stores a pool.
    func pool(_ text: String = "emails.fifo", createdAt: Int64 = 7) throws -> PoolDefinition {
        let name = try #require(PoolName(text))
        var pool = PoolDefinition(
            name: name, topology: try Topology(pool: name, shardCount: 2), attributes: "",
            createdAt: Timestamp(milliseconds: createdAt))
        pool.version = try control.save(pool)
        return pool
    }

    func worker(_ text: String) throws -> WorkerID { try #require(WorkerID(text)) }

    func heartbeat(_ text: String, _ beat: Int, isLeaving: Bool = false) throws -> WorkerHeartbeat {
        let time = Timestamp(milliseconds: 1_800_000_000_000 + Int64(beat) * 1_003)
        return WorkerHeartbeat(worker: try worker(text), beat: beat, renewedAt: time, isLeaving: isLeaving)
    }

    /// Stores a heartbeat up to a beat.
    func beats(_ text: String, _ count: Int, of pool: PoolName) throws -> WorkerHeartbeat {
        for beat in 1..<count { try one.renew(heartbeat(text, beat), ofPool: pool) }
        let last = try heartbeat(text, count)
        try one.renew(last, ofPool: pool)
        return last
    }

    func lease(_ shard: Int, owner: String? = nil, next: String? = nil, version: Int = 0) throws -> ShardLease {
        ShardLease(
            shard: ShardIndex(shard), owner: try owner.map(worker), next: try next.map(worker),
            acquiredAt: Timestamp(milliseconds: 1_800_000_000_007), version: version)
    }

    /// Writes a lease and gives it back with the version that is stored now.
    func written(_ lease: ShardLease, of pool: PoolName, by store: (any LeaseStore)? = nil) throws -> ShardLease {
        var lease = lease
        lease.version = try (store ?? one).write(lease, ofPool: pool)
        return lease
    }
}

/// A rule of the port.
typealias LeaseRule = @Sendable (LeaseBench) throws -> Void
