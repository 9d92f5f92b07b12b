// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolAWS
import QueuePoolCore
import QueuePoolEmbedded
import QueuePoolTestSupport
import Testing

/// An implementation of the port that the suite is run against.
enum ControlSubject: CaseIterable, Sendable, CustomTestStringConvertible {
    case sqlite
    case dynamoDB
    case simulated

    /// All, unless the environment says that the service that stands for DynamoDB is to be left out.
    static var tested: [ControlSubject] { Moto.isLeftOut ? [.sqlite, .simulated] : allCases }

    var testDescription: String {
        switch self {
        case .sqlite: "SQLite"
        case .dynamoDB: "DynamoDB, for which moto stands"
        case .simulated: "the simulation's"
        }
    }

    func stage() throws -> any ControlStage {
        switch self {
        case .sqlite: try SQLiteStage()
        case .dynamoDB: try DynamoDBStage()
        case .simulated: SimulatedStage()
        }
    }
}

/// Where one test's pools are kept.
protocol ControlStage: Sendable {
    /// Another writer of the same pools, as another server has one.
    func open() throws -> any ControlStore
    /// Another user of the leases beside them.
    func openLeases() throws -> any LeaseStore
    /// Spoils what is stored under a name, so that it does not parse.
    func damage(_ pool: PoolName) throws
}

private final class SQLiteStage: ControlStage {
    private let directory: ScratchDirectory
    private var path: String { directory.path + "/control.sqlite" }

    init() throws { directory = try ScratchDirectory() }

    func open() throws -> any ControlStore { try SQLiteControlStore(path: path) }
    func openLeases() throws -> any LeaseStore { try SQLiteControlStore(path: path) }

    func damage(_ pool: PoolName) throws {
        let database = try Database(path: path)
        defer { database.close() }
        try database.execute("UPDATE pools SET slots = x'0102' WHERE name = '\(pool.text)'")
    }
}

private struct SimulatedStage: ControlStage {
    private let store = SimulatedControlStore()
    private let leases: SimulatedLeaseStore

    init() { leases = SimulatedLeaseStore(beside: store) }

    func open() throws -> any ControlStore { store }
    func openLeases() throws -> any LeaseStore { leases }
    func damage(_ pool: PoolName) throws { store.spoil(pool) }
}

final class DynamoDBStage: ControlStage {
    private let table: MotoTable

    /// - Parameters:
    ///   - wrap: what stands between the lease store and the service.
    ///   - pauses: by which clock the lease store waits between attempts.
    init(wrap: (any AWSCaller) -> any AWSCaller = { $0 }, pauses: (any Clock)? = nil) throws {
        table = try MotoTable(wrap: wrap, pauses: pauses)
    }

    func open() throws -> any ControlStore { DynamoDBControlStore(table: table.plain) }
    func openLeases() throws -> any LeaseStore { DynamoDBLeaseStore(table: table.tested, now: table.time.now) }

    func damage(_ pool: PoolName) throws {
        guard var item = try table.plain.get(ItemKey("POOLS", "POOL#" + pool.text)) else { throw NothingStored() }
        item["slots"] = .bytes([1, 2])
        try table.plain.write(.put(item, if: nil))
    }

    private struct NothingStored: Error {}
}

/// One rule's working place: two writers of the same pools, and what was found.
final class ControlBench: StoreBench {
    typealias Failure = ControlStoreError

    let one: any ControlStore
    let other: any ControlStore
    let stage: any ControlStage
    let findings = Findings()

    private init(_ stage: any ControlStage, wrap: (any ControlStore) -> any ControlStore) throws {
        self.stage = stage
        one = wrap(try stage.open())
        other = wrap(try stage.open())
    }

    /// Runs a rule against an implementation.
    /// - Parameter wrap: what a broken implementation puts around a sound one.
    static func run(
        _ rule: @escaping ControlRule, on subject: ControlSubject,
        wrap: @escaping @Sendable (any ControlStore) -> any ControlStore = { $0 }
    ) async throws -> Findings {
        try await findings(of: rule) { try ControlBench(try subject.stage(), wrap: wrap) }
    }

    // MARK: - Pools

    func name(_ text: String = "emails.fifo") throws -> PoolName { try #require(PoolName(text)) }

    /// A pool with something in each of its parts.
    func pool(_ text: String = "emails.fifo", shards: Int = 2) throws -> PoolDefinition {
        let name = try name(text)
        var pool = PoolDefinition(
            name: name,
            topology: try Topology(pool: name, shardCount: shards).adding(name: name.shardName(shards), weight: 250),
            backend: .sqs,
            addresses: [
                ShardIndex(0): ShardAddress(region: "eu-central-1", queueURL: "https://x/1/a.fifo"),
                ShardIndex(shards): ShardAddress(
                    endpoint: "http://y", region: "us-east-1", queueURL: "https://x/2/b.fifo", roleARN: "arn",
                    account: "2"),
            ], attributes: "{\"VisibilityTimeout\":\"60\"}", tags: ["team": "mail", "empty": ""], quota: 300,
            createdAt: Timestamp(milliseconds: 1_800_000_000_007))
        pool.modifiedAt = Timestamp(milliseconds: 1_800_000_000_009)
        return pool
    }

    /// Saves a pool and gives it back with the version that is stored now.
    func saved(_ pool: PoolDefinition, by store: (any ControlStore)? = nil) throws -> PoolDefinition {
        var pool = pool
        pool.version = try (store ?? one).save(pool)
        return pool
    }
}

/// A rule of the port.
typealias ControlRule = @Sendable (ControlBench) throws -> Void
