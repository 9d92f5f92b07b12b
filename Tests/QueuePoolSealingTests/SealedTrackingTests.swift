// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import Testing

@testable import QueuePoolEmbedded

private let name = SQLiteTrackingStore.fileName
private let start = Timestamp(milliseconds: 1_800_000_000_000)
private let canary = "canary"

private func id(_ number: Int) -> String {
    MessageID(shard: ShardTag(rawValue: 77), sequence: SequenceNumber(rawValue: Int64(number))).description
}

/// A record that says all that one can say.
private func record(_ id: String) -> TrackingRecord {
    var record = TrackingRecord(id: id, state: .retrying, at: start + 5)
    record.acceptedAt = start
    record.attempt = 3
    record.nextAttemptAt = start + 9
    record.target = "\(canary)-target"
    record.reason = "\(canary)-reason"
    record.errorClass = "\(canary)-class"
    record.recipients = [0, 4, 99]
    record.tags = "{\"campaign\":\"\(canary)\\u0000 ü\"}"
    return record
}

extension SealedFiles {
    fileprivate func store(sealed: Bool = true, told: Told = Told()) throws -> SQLiteTrackingStore {
        try SQLiteTrackingStore(path: path(name), keys: sealed ? try keys() : nil) { told.tell(Int64($0)) }
    }
}

extension SQLiteTrackingStore {
    private func pool() throws -> PoolName { try #require(PoolName("a.fifo")) }
    fileprivate func save(_ records: [TrackingRecord]) async throws {
        try await save(records, ofPool: pool(), expiresAt: start + 1_000_000)
    }
    fileprivate func find(_ id: String) async throws -> TrackingRecord? {
        try await record(id, ofPool: pool(), now: start)
    }
}

@Suite struct `Sealed tracking records` {
    private let files: SealedFiles

    init() throws { files = try SealedFiles() }

    @Test func `are in no file as they are, and come back whole, also after a restart`() async throws {
        let little = TrackingRecord(id: id(2), state: .queued, at: start)
        let known = [record(id(1)), little, record("canary/of a caller's")]
        let told = Told()
        let store = try files.store(told: told)
        try await store.save(known)
        #expect(try files.filesWith(canary).isEmpty)
        store.close()
        let again = try files.store(told: told)
        for record in known { #expect(try await again.find(record.id) == record) }
        #expect(try await again.find("another") == nil)
        again.close()
        #expect(try files.filesWith(canary).isEmpty && told.all.isEmpty)
    }

    @Test func `keep what a later state does not say`() async throws {
        let store = try files.store()
        try await store.save([record(id(1))])
        try await store.save([TrackingRecord(id: id(1), state: .sent, at: start + 20)])
        let found = try await store.find(id(1))
        #expect(found?.state == .sent && found?.tags == record(id(1)).tags)
        store.close()
        #expect(try files.filesWith(canary).isEmpty)
    }

    // Otherwise the tests above could look for something that is in no file anyway.
    @Test func `would be in the file as they are without a key`() async throws {
        let store = try files.store(sealed: false)
        try await store.save([record(id(1))])
        store.close()
        #expect(try files.filesWith(canary) == [name])
    }

    @Test(arguments: [
        "UPDATE records SET tags = zeroblob(200)", "UPDATE records SET tags = NULL",
        // A state that a record could have, in the place of what is sealed.
        "UPDATE records SET state = 4",
        // Another message's record.
        "UPDATE records SET tags = (SELECT tags FROM records ORDER BY id DESC LIMIT 1)",
    ])
    func `that were changed are as if they were not there, and are told by their number`(change: String) async throws {
        let store = try files.store()
        try await store.save([record(id(1)), record(id(2))])
        store.close()
        try files.change(name, change)
        let told = Told()
        let again = try files.store(told: told)
        #expect(try await again.find(id(1)) == nil)
        #expect(told.all == [1])
        // What comes next takes their place.
        try await again.save([record(id(1))])
        #expect(try await again.find(id(1)) == record(id(1)))
        again.close()
    }

    @Test func `do not open with a bit flipped`() async throws {
        let store = try files.store()
        try await store.save([record(id(1))])
        store.close()
        try files.flip(name, "records", "tags")
        let again = try files.store()
        #expect(try await again.find(id(1)) == nil)
        again.close()
    }

    @Test func `have those of before the key beside them, each of which is sealed when it changes`() async throws {
        let plain = try files.store(sealed: false)
        let foreign = "of a caller's"
        try await plain.save([record(id(1)), record(id(2)), record(foreign)])
        plain.close()
        let told = Told()
        let store = try files.store(told: told)
        for known in [id(1), id(2), foreign] { #expect(try await store.find(known) == record(known)) }
        try await store.save([id(1), foreign].map { TrackingRecord(id: $0, state: .sent, at: start + 20) })
        store.close()
        let again = try files.store(told: told)
        for known in [id(1), foreign] {
            #expect(try await again.find(known)?.state == .sent)
            #expect(try await again.find(known)?.tags == record(known).tags)
        }
        #expect(try await again.find(id(2)) == record(id(2)))
        #expect(told.all.isEmpty)
        again.close()
        let database = try Database(path: files.path(name))
        defer { database.close() }
        #expect(try database.integer("SELECT count(*) FROM records WHERE state = 16") == 2)
        #expect(try database.integer("SELECT count(*) FROM records") == 3)
    }
}
