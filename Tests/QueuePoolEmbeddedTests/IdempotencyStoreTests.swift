// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import QueuePoolEmbedded
import Synchronization
import Testing

@Suite struct `The file of idempotency keys` {
    private let path = NSTemporaryDirectory() + "queuepool-idempotency-\(UUID().uuidString).sqlite"

    private func record(_ number: Int64, answer: [UInt8]? = [1, 2, 3]) -> IdempotencyRecord {
        IdempotencyRecord(
            number: number, key: Hash128(high: UInt64.max - UInt64(number), low: UInt64(number)),
            fingerprint: Hash128(high: 1 << 63, low: 5), at: Timestamp(milliseconds: 7 * number), answer: answer)
    }

    /// Saves, and waits until all of it is answered.
    private func save(_ records: [IdempotencyRecord], oldest: Int64 = 0, to store: SQLiteIdempotencyStore) async
        -> [Bool]
    {
        await withTaskGroup(of: Bool.self) { group in
            for record in records {
                let done = AsyncStream<Bool>.makeStream()
                store.save(record, oldest: oldest) {
                    done.continuation.yield($0)
                    done.continuation.finish()
                }
                group.addTask {
                    for await isSaved in done.stream { return isSaved }
                    return false
                }
            }
            var all: [Bool] = []
            for await isSaved in group { all.append(isSaved) }
            return all
        }
    }

    private func remove() {
        for suffix in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: path + suffix) }
    }

    @Test func `what was saved is read back once, in its order`() async throws {
        defer { remove() }
        let records = (1...500).map { record($0, answer: $0.isMultiple(of: 3) ? nil : [UInt8($0 & 255)]) }
        do {
            let store = try SQLiteIdempotencyStore(path: path)
            #expect(store.takeRecords().isEmpty)
            #expect(await save(records, to: store).allSatisfy { $0 })
        }
        let store = try SQLiteIdempotencyStore(path: path)
        #expect(store.takeRecords() == records)
        #expect(store.takeRecords().isEmpty)
    }

    @Test func `what is of no more use goes as others come`() async throws {
        defer { remove() }
        do {
            let store = try SQLiteIdempotencyStore(path: path)
            _ = await save((1...2_000).map { record($0) }, to: store)
            for number in 2_001...2_020 as ClosedRange<Int64> {
                _ = await save([record(number)], oldest: 1_990, to: store)
            }
        }
        #expect(try SQLiteIdempotencyStore(path: path).takeRecords().map(\.number) == Array(1_990...2_020))
    }

    @Test func `a number that is there already is not saved, and what came before stays`() async throws {
        defer { remove() }
        let store = try SQLiteIdempotencyStore(path: path)
        #expect(await save([record(1)], to: store) == [true])
        #expect(await save([record(1)], to: store) == [false])
        #expect(await save([record(2)], to: store) == [true])
    }

    @Test func `a file that is no database is refused`() throws {
        defer { remove() }
        try Data(repeating: 65, count: 8_192).write(to: URL(fileURLWithPath: path))
        #expect(throws: DatabaseError.self) { try SQLiteIdempotencyStore(path: path) }
    }
}
