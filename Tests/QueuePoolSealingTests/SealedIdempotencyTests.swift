// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import Testing

@testable import QueuePoolEmbedded

private let name = "idempotency.sqlite"
private let canary = "canary of an answer"

private func record(_ number: Int64, answer: String? = canary) -> IdempotencyRecord {
    // The digest is a text here, so that it can be searched for.
    let digest = Array("digestOfAKey".utf8).prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    return IdempotencyRecord(
        number: number, key: Hash128(high: digest, low: UInt64(number)), fingerprint: Hash128(high: digest, low: 5),
        at: Timestamp(milliseconds: 7 * number), answer: answer.map { Array($0.utf8) })
}

extension SealedFiles {
    fileprivate func store(sealed: Bool = true) throws -> SQLiteIdempotencyStore {
        try SQLiteIdempotencyStore(path: path(name), keys: sealed ? try keys() : nil)
    }

    /// Saves records, and closes the file.
    fileprivate func save(_ records: [IdempotencyRecord], sealed: Bool = true) async throws {
        let store = try store(sealed: sealed)
        for record in records {
            let isSaved = await withCheckedContinuation { done in
                store.save(record, oldest: 0) { done.resume(returning: $0) }
            }
            #expect(isSaved)
        }
        #expect(try filesWith(canary).isEmpty == sealed)
        #expect(try filesWith("digestOf").isEmpty == sealed)
    }
}

@Suite struct `Sealed idempotency keys` {
    private let files: SealedFiles
    private let records = [record(1), record(2, answer: nil), record(3, answer: ""), record(4)]

    init() throws { files = try SealedFiles() }

    @Test func `are in no file as they are, and come back as they were`() async throws {
        try await files.save(records)
        let store = try files.store()
        #expect(store.takeRecords() == records)
        #expect(store.damagedCount == 0)
    }

    @Test(arguments: [
        "UPDATE keys SET key = zeroblob(90) WHERE number = 1", "UPDATE keys SET answer = NULL WHERE number = 1",
        "UPDATE keys SET answer = zeroblob(40) WHERE number = 1",
        "UPDATE keys SET answer = (SELECT answer FROM keys WHERE number = 4) WHERE number = 1",
        "UPDATE keys SET key = (SELECT key FROM keys WHERE number = 4) WHERE number = 1",
        // As one of before the key.
        "UPDATE keys SET key = zeroblob(16), fingerprint = zeroblob(16) WHERE number = 1",
        "UPDATE keys SET number = 0 WHERE number = 1",
    ])
    func `that were changed are forgotten, and counted`(change: String) async throws {
        try await files.save(records)
        try files.change(name, change)
        let store = try files.store()
        #expect(store.takeRecords() == Array(records.dropFirst()))
        #expect(store.damagedCount == 1)
    }

    @Test(arguments: ["key", "answer"])
    func `do not open with a bit flipped`(column: String) async throws {
        try await files.save(records)
        try files.flip(name, "keys", column)
        let store = try files.store()
        #expect(store.takeRecords() == Array(records.dropFirst()))
    }

    @Test func `have those of before the key beside them`() async throws {
        try await files.save([record(1), record(2, answer: nil)], sealed: false)
        let store = try files.store()
        #expect(store.takeRecords() == [record(1), record(2, answer: nil)])
        let isSaved = await withCheckedContinuation { done in
            store.save(record(3, answer: "a later one")) { done.resume(returning: $0) }
        }
        #expect(isSaved)
        #expect(try files.filesWith("a later one").isEmpty)
        let again = try files.store()
        #expect(again.takeRecords() == [record(1), record(2, answer: nil), record(3, answer: "a later one")])
    }
}

extension SQLiteIdempotencyStore {
    fileprivate func save(_ record: IdempotencyRecord, done: @escaping @Sendable (Bool) -> Void) {
        save(record, oldest: 0, done: done)
    }
}
