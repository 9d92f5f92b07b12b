// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolAWS
import QueuePoolCore
import QueuePoolEmbedded
import QueuePoolTestSupport
import Testing

/// An implementation of the port of tracking records that the suite is run against.
enum TrackingSubject: CaseIterable, Sendable, CustomTestStringConvertible {
    case sqlite
    case dynamoDB
    /// Each write is done, its first answer is lost, and the client makes it again.
    case dynamoDBLosingAnswers
    case inMemory

    /// All, unless the environment says that the service that stands for DynamoDB is to be left out.
    static var tested: [TrackingSubject] { Moto.isLeftOut ? [.sqlite, .inMemory] : allCases }

    var testDescription: String {
        switch self {
        case .sqlite: "SQLite"
        case .dynamoDB: "DynamoDB, for which moto stands"
        case .dynamoDBLosingAnswers: "DynamoDB, for which moto stands, when answers are lost"
        case .inMemory: "the tests' own"
        }
    }

    /// Whether what was removed is gone at once; else it goes by itself.
    var removesAtOnce: Bool { self == .sqlite || self == .inMemory }

    func stage(_ fault: TrackingFault?) throws -> any TrackingStage {
        switch self {
        case .sqlite: try SQLiteStage()
        case .dynamoDB: try TableStage()
        case .dynamoDBLosingAnswers:
            try TableStage(wrap: { ForgetfulCaller($0, losing: ["UpdateItem"]) }, pauses: HastyClock())
        case .inMemory: MemoryStage(store: MemoryTrackingStore(fault))
        }
    }
}

/// Where one test's records are kept.
protocol TrackingStage: Sendable {
    /// A user of the records, as another process is one where several may.
    func open() throws -> any TrackingStore
}

private struct MemoryStage: TrackingStage {
    let store: MemoryTrackingStore

    func open() throws -> any TrackingStore { store }
}

private final class SQLiteStage: TrackingStage {
    private let directory: ScratchDirectory
    private let store: SQLiteTrackingStore

    init() throws {
        directory = try ScratchDirectory()
        store = try SQLiteTrackingStore(path: directory.path + "/" + SQLiteTrackingStore.fileName)
    }

    deinit { store.close() }

    func open() throws -> any TrackingStore { store }
}

/// A table of its own.
private struct TableStage: TrackingStage {
    private let table: MotoTable

    /// - Parameters:
    ///   - wrap: what stands between the store and the service.
    ///   - pauses: by which clock the store waits between attempts.
    init(wrap: (any AWSCaller) -> any AWSCaller = { $0 }, pauses: (any Clock)? = nil) throws {
        table = try MotoTable(wrap: wrap, pauses: pauses)
    }

    func open() throws -> any TrackingStore { DynamoDBTrackingStore(table: table.tested) }
}

/// One rule's working place: a pool, two users of its records, and what was found.
final class TrackingBench: RuleBench {
    /// When records are written.
    static let now = Timestamp(milliseconds: 1_800_000_000_007)
    /// When their time is over; not at a full second.
    static let end = now + 86_400_123

    let one: any TrackingStore
    let other: any TrackingStore
    let removesAtOnce: Bool
    let pool: PoolName
    let secondPool: PoolName
    let findings = Findings()
    // Its files go with it.
    private let stage: any TrackingStage

    private init(_ subject: TrackingSubject, _ fault: TrackingFault?) throws {
        stage = try subject.stage(fault)
        one = try stage.open()
        other = try stage.open()
        removesAtOnce = subject.removesAtOnce
        pool = try #require(PoolName("emails.fifo"))
        secondPool = try #require(PoolName("emails2.fifo"))
    }

    /// Runs a rule against an implementation.
    /// - Parameter fault: what the tests' own does wrong.
    static func run(
        _ rule: TrackingRule, on subject: TrackingSubject, fault: TrackingFault? = nil
    ) async throws -> Findings {
        // Making a table blocks.
        let bench = try await onOwnThread { try TrackingBench(subject, fault) }
        do { try await rule(bench) } catch { bench.noteEnd(error) }
        return bench.findings
    }

    func save(_ records: [TrackingRecord], expiresAt: Timestamp = TrackingBench.end) async throws {
        try await one.save(records, ofPool: pool, expiresAt: expiresAt)
    }

    /// Checks what is stored, as the other one sees it, byte for byte.
    func check(
        _ id: String, of pool: PoolName? = nil, is wanted: TrackingRecord?, at now: Timestamp = TrackingBench.now,
        _ text: String, _ place: SourceLocation = #_sourceLocation
    ) async throws {
        let found = try await other.record(id, ofPool: pool ?? self.pool, now: now)
        let isSame = found == wanted && found.map(TrackingBench.texts) == wanted.map(TrackingBench.texts)
        check(isSame, "\(text): found \(TrackingBench.shown(found)), not \(TrackingBench.shown(wanted))", place)
    }

    /// Texts that look the same are equal to Swift.
    private static func texts(_ record: TrackingRecord) -> [[UInt8]?] {
        [record.id, record.target, record.reason, record.errorClass, record.tags].map { $0.map { Array($0.utf8) } }
    }

    private static func shown(_ record: TrackingRecord?) -> String { record.map { "\($0)" } ?? "none" }

    func record(_ id: String, _ state: TrackingState, after milliseconds: Int64 = 0) -> TrackingRecord {
        TrackingRecord(id: id, state: state, at: TrackingBench.now + milliseconds)
    }

    /// One that says everything.
    func full(_ id: String, _ state: TrackingState, after milliseconds: Int64 = 0, _ mark: Int = 1) -> TrackingRecord {
        var record = record(id, state, after: milliseconds)
        record.acceptedAt = TrackingBench.now + Int64(-1_000 - mark)
        record.attempt = mark
        record.nextAttemptAt = TrackingBench.now + Int64(5_000 + mark)
        record.target = "smtp://mail\(mark).example:25"
        record.reason = "reason \(mark)"
        record.errorClass = "class-\(mark)"
        record.recipients = [0, mark, 99]
        record.tags = "{\"mark\":\"\(mark)\"}"
        return record
    }
}

/// A rule of the port.
typealias TrackingRule = @Sendable (TrackingBench) async throws -> Void
