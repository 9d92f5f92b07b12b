// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolAWS
import QueuePoolCore
import QueuePoolCurl
import QueuePoolEmbedded
import QueuePoolRuntime
import QueuePoolTestSupport
import Synchronization
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
    private static let engine = CurlEngine()
    private static let clock = SystemClock()

    private let table: DynamoDBTable
    /// The same table, by other calls.
    private let leaseTable: DynamoDBTable
    private let time = ServiceClock(DynamoDBStage.clock)

    /// - Parameters:
    ///   - wrap: what stands between the lease store and the service.
    ///   - pauses: by which clock the lease store waits between attempts.
    init(wrap: (any AWSCaller) -> any AWSCaller = { $0 }, pauses: (any Clock)? = nil) throws {
        let caller = SignedCaller(
            engine: DynamoDBStage.engine, provider: CredentialProvider(source: FixedCredentials(), clock: time),
            clock: time)
        let (name, endpoint) = ("conformance-\(UUID().uuidString)", try Moto.endpoint())
        func table(_ caller: any AWSCaller, _ clock: any Clock) -> DynamoDBTable {
            DynamoDBTable(
                name: name,
                service: DynamoDBTable.service(caller: caller, region: "us-east-1", endpoint: endpoint, clock: clock))
        }
        self.table = table(caller, DynamoDBStage.clock)
        leaseTable = table(wrap(caller), pauses ?? DynamoDBStage.clock)
        try DynamoDBControlStore(table: self.table).makeTable { Thread.sleep(forTimeInterval: 0.05) }
    }

    func open() throws -> any ControlStore { DynamoDBControlStore(table: table) }
    func openLeases() throws -> any LeaseStore { DynamoDBLeaseStore(table: leaseTable, now: time.now) }

    func damage(_ pool: PoolName) throws {
        guard var item = try table.get(ItemKey("POOLS", "POOL#" + pool.text)) else { throw NothingStored() }
        item["slots"] = .bytes([1, 2])
        try table.write(.put(item, if: nil))
    }

    private struct NothingStored: Error {}
}

/// One rule's working place: two writers of the same pools, and what was found.
final class ControlBench: Sendable {
    let one: any ControlStore
    let other: any ControlStore
    let stage: any ControlStage
    let findings = Findings()

    private init(_ stage: any ControlStage, wrap: (any ControlStore) -> any ControlStore) throws {
        self.stage = stage
        one = wrap(try stage.open())
        other = wrap(try stage.open())
    }

    /// Runs a rule against an implementation, on a thread of its own: the calls block.
    /// - Parameter wrap: what a broken implementation puts around a sound one.
    static func run(
        _ rule: @escaping ControlRule, on subject: ControlSubject,
        wrap: @escaping @Sendable (any ControlStore) -> any ControlStore = { $0 }
    ) async throws -> Findings {
        try await withCheckedThrowingContinuation { (done: CheckedContinuation<Findings, any Error>) in
            Thread.detachNewThread {
                done.resume(
                    with: Result {
                        let bench = try ControlBench(try subject.stage(), wrap: wrap)
                        do { try rule(bench) } catch {
                            bench.check(false, "the rule ended early: \(error)")
                        }
                        return bench.findings
                    })
            }
        }
    }

    func check(_ holds: Bool, _ text: @autoclosure () -> String, _ place: SourceLocation = #_sourceLocation) {
        findings.check(holds, text(), place)
    }

    /// Checks that a call fails as it must.
    func check(
        _ wanted: ControlStoreError, _ text: String, _ place: SourceLocation = #_sourceLocation,
        _ body: () throws -> Void
    ) {
        do {
            try body()
            check(false, "\(text): it was done, and should have been \(wanted)", place)
        } catch {
            check(error as? ControlStoreError == wanted, "\(text): \(error), should have been \(wanted)", place)
        }
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
