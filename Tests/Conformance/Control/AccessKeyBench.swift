// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolAWS
import QueuePoolCore
import QueuePoolEmbedded
import QueuePoolTestSupport
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
        case .dynamoDB: try DynamoDBKeyStage()
        case .dynamoDBLosingAnswers:
            try DynamoDBKeyStage(
                wrap: { ForgetfulCaller($0, losing: ["TransactWriteItems", "UpdateItem"]) }, pauses: HastyClock())
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
    private let table: MotoTable

    /// - Parameters:
    ///   - wrap: what stands between the store and the service.
    ///   - pauses: by which clock the store waits between attempts.
    init(wrap: (any AWSCaller) -> any AWSCaller = { $0 }, pauses: (any Clock)? = nil) throws {
        table = try MotoTable(wrap: wrap, pauses: pauses)
    }

    func open() throws -> any AccessKeyStore { DynamoDBAccessKeyStore(table: table.tested) }

    func damage(_ id: String) throws {
        guard var item = try table.plain.get(ItemKey("KEYS", "KEY#" + id)) else { throw NothingStored() }
        item["rights"] = .text("*:everything")
        try table.plain.write(.put(item, if: nil))
    }

    private struct NothingStored: Error {}
}

/// One rule's working place: two users of the same keys, and what was found.
final class AccessKeyBench: StoreBench {
    typealias Failure = AccessKeyStoreError

    let one: any AccessKeyStore
    let other: any AccessKeyStore
    let stage: any AccessKeyStage
    let findings = Findings()

    private init(_ stage: any AccessKeyStage) throws {
        self.stage = stage
        one = try stage.open()
        other = try stage.open()
    }

    /// Runs a rule against an implementation.
    static func run(_ rule: @escaping AccessKeyRule, on subject: AccessKeySubject) async throws -> Findings {
        try await findings(of: rule) { try AccessKeyBench(try subject.stage()) }
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
