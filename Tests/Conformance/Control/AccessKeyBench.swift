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

/// An implementation of the port of keys that the suite is run against.
enum AccessKeySubject: CaseIterable, Sendable, CustomTestStringConvertible {
    case sqlite
    case dynamoDB
    /// Each write is done, its first answer is lost, and the client makes it again.
    case dynamoDBLosingAnswers

    /// All, unless the environment says that the service that stands for DynamoDB is to be left out.
    static var tested: [AccessKeySubject] { Moto.isLeftOut ? [.sqlite] : allCases }

    var testDescription: String {
        switch self {
        case .sqlite: "SQLite"
        case .dynamoDB: "DynamoDB, for which moto stands"
        case .dynamoDBLosingAnswers: "DynamoDB, for which moto stands, when answers are lost"
        }
    }

    func stage() throws -> any AccessKeyStage {
        switch self {
        case .sqlite: try SQLiteKeyStage()
        case .dynamoDB: try DynamoDBKeyStage(losesAnswers: false)
        case .dynamoDBLosingAnswers: try DynamoDBKeyStage(losesAnswers: true)
        }
    }
}

/// Where one test's keys are kept.
protocol AccessKeyStage: Sendable {
    /// Another user of the same keys, as another server has one.
    func open() throws -> any AccessKeyStore
    /// Spoils what is stored of a key, so that it does not parse.
    func damage(_ id: String) throws
}

private final class SQLiteKeyStage: AccessKeyStage {
    private let directory: ScratchDirectory
    private var path: String { directory.path + "/control.sqlite" }

    init() throws { directory = try ScratchDirectory() }

    func open() throws -> any AccessKeyStore { SQLiteAccessKeyStore(try SQLiteControlStore(path: path)) }

    func damage(_ id: String) throws {
        let database = try Database(path: path)
        defer { database.close() }
        try database.execute("UPDATE access_keys SET rights = '*:everything' WHERE id = '\(id)'")
    }
}

private final class DynamoDBKeyStage: AccessKeyStage {
    private static let engine = CurlEngine()
    private static let clock = SystemClock()

    private let table: DynamoDBTable
    private let keyTable: DynamoDBTable

    init(losesAnswers: Bool) throws {
        let time = ServiceClock(DynamoDBKeyStage.clock)
        let caller = SignedCaller(
            engine: DynamoDBKeyStage.engine, provider: CredentialProvider(source: FixedCredentials(), clock: time),
            clock: time)
        let (name, endpoint) = ("conformance-\(UUID().uuidString)", try Moto.endpoint())
        func table(_ caller: any AWSCaller, _ clock: any Clock) -> DynamoDBTable {
            DynamoDBTable(
                name: name,
                service: DynamoDBTable.service(caller: caller, region: "us-east-1", endpoint: endpoint, clock: clock))
        }
        self.table = table(caller, DynamoDBKeyStage.clock)
        keyTable = losesAnswers ? table(ForgetfulWriter(caller), HastyClock()) : self.table
        try DynamoDBControlStore(table: self.table).makeTable { Thread.sleep(forTimeInterval: 0.05) }
    }

    func open() throws -> any AccessKeyStore { DynamoDBAccessKeyStore(table: keyTable) }

    func damage(_ id: String) throws {
        guard var item = try table.get(ItemKey("KEYS", "KEY#" + id)) else { throw NothingStored() }
        item["rights"] = .text("*:everything")
        try table.write(.put(item, if: nil))
    }

    private struct NothingStored: Error {}
}

/// Loses the first answer to each write, transactions among them, which was done.
private final class ForgetfulWriter: AWSCaller {
    private let inner: any AWSCaller
    /// Bodies of writes whose answers were lost.
    private let lost = Mutex<Set<[UInt8]>>([])

    init(_ inner: any AWSCaller) { self.inner = inner }

    func perform(_ request: AWSRequest) async throws(AWSError) -> HTTPResponse {
        let result = await withCheckedContinuation { done in perform(request) { done.resume(returning: $0) } }
        return try result.get()
    }

    func perform(_ request: AWSRequest, completion: @escaping @Sendable (Result<HTTPResponse, AWSError>) -> Void) {
        let action = request.headers.first { $0.name == "X-Amz-Target" }?.value ?? ""
        let isWrite = [".TransactWriteItems", ".UpdateItem"].contains { action.hasSuffix($0) }
        // The second attempt has the same bytes; a later call of the same bytes is a new one, and loses again.
        let isLost = isWrite && lost.withLock { $0.remove(request.body) == nil && $0.insert(request.body).inserted }
        inner.perform(request) { completion(isLost ? .failure(.unknownOutcome(code: "lost")) : $0) }
    }
}

/// One rule's working place: two users of the same keys, and what was found.
final class AccessKeyBench: Sendable {
    let one: any AccessKeyStore
    let other: any AccessKeyStore
    let stage: any AccessKeyStage
    let findings = Findings()

    private init(_ stage: any AccessKeyStage) throws {
        self.stage = stage
        one = try stage.open()
        other = try stage.open()
    }

    /// Runs a rule against an implementation, on a thread of its own: the calls block.
    static func run(_ rule: @escaping AccessKeyRule, on subject: AccessKeySubject) async throws -> Findings {
        try await withCheckedThrowingContinuation { (done: CheckedContinuation<Findings, any Error>) in
            Thread.detachNewThread {
                done.resume(
                    with: Result {
                        let bench = try AccessKeyBench(try subject.stage())
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
        _ wanted: AccessKeyStoreError, _ text: String, _ place: SourceLocation = #_sourceLocation,
        _ body: () throws -> Void
    ) {
        do {
            try body()
            check(false, "\(text): it was done, and should have been \(wanted)", place)
        } catch {
            check(error as? AccessKeyStoreError == wanted, "\(text): \(error), should have been \(wanted)", place)
        }
    }

    /// Checks what is stored, as the other one sees it.
    func check(has keys: [AccessKey], _ text: String, _ place: SourceLocation = #_sourceLocation) throws {
        let found = try other.contents()
        check(found == StoredAccessKeys(keys: keys), "\(text): \(found) is stored", place)
    }

    // MARK: - Keys

    let start = Timestamp(milliseconds: 1_800_000_000_007)

    func credentials(_ byte: UInt8) throws -> AccessCredentials {
        try #require(AccessCredentials(random: Array(repeating: byte, count: AccessCredentials.randomBytes)))
    }

    func hash(_ byte: UInt8) -> [UInt8] { (0..<32).map { byte &+ $0 } }

    /// A key whose id is made of this byte.
    func key(_ byte: UInt8 = 1, name: String = "api", lifetime: Int64? = nil) throws -> AccessKey {
        let id = try #require(AccessKey.makeID(random: Array(repeating: byte, count: AccessKey.idRandomBytes)))
        return AccessKey(
            new: id, name: name, rights: try #require(AccessRights(text: "emails.fifo:send,receive *:admin")),
            credentials: try credentials(byte), tokenHash: hash(byte), lifetime: lifetime, now: start)
    }

    /// Stores a key and gives it back with the revision that is stored now.
    func created(_ key: AccessKey) throws -> AccessKey {
        var key = key
        key.revision = try one.create(key)
        return key
    }
}

/// A rule of the port.
typealias AccessKeyRule = @Sendable (AccessKeyBench) throws -> Void
