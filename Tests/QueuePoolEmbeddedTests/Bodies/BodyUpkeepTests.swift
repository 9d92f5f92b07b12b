// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import QueuePoolTestSupport
import Testing

@testable import QueuePoolEmbedded

@Suite struct `Large bodies that nobody removed` {
    @Test func `go when their lifetime is over, and not before`() async throws {
        let bench = try BodyBench()
        let bodies = try bench.open()
        let (short, endless) = (try bodies.pool(lifetimeMilliseconds: 1_000), try bodies.pool("b"))
        let old = try await short.put(pattern(2 << 20))
        bench.clock.advance(milliseconds: 500)
        let young = try await short.put([1])
        let kept = try await endless.put([2])
        bench.clock.advance(milliseconds: 499)
        #expect(try await bodies.sweep(bench.clock.now()) == 0)
        bench.clock.advance(milliseconds: 1)
        #expect(try await bodies.sweep(bench.clock.now()) == 1)
        await #expect(throws: BodyStoreError.missing) { try await short.get(old) }
        #expect(try await short.get(young) == [1])
        bodies.close()
        bench.clock.advance(milliseconds: 1_000_000)
        let again = try bench.open()
        #expect(try await again.sweep(bench.clock.now()) == 1)
        #expect(try await again.pool("b").get(kept) == [2])
        #expect(again.counts() == BodyCounts(bodies: 1, bytes: 1))
        again.close()
    }

    @Test func `go in as many steps as it takes`() async throws {
        let bench = try BodyBench()
        let bodies = try bench.open()
        let store = try bodies.pool(lifetimeMilliseconds: 1)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<700 { group.addTask { _ = try await store.put([7]) } }
            try await group.waitForAll()
        }
        bench.clock.advance(milliseconds: 1)
        #expect(try await bodies.sweep(bench.clock.now()) == 700)
        #expect(bodies.counts() == BodyCounts(bodies: 0, bytes: 0))
        bodies.close()
    }

    @Test func `go with their pool, but not those of others, nor those that are put after the call`() async throws {
        let bench = try BodyBench()
        let bodies = try bench.open()
        let (store, other) = (try bodies.pool("a"), try bodies.pool("ab"))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<600 { group.addTask { _ = try await store.put([7]) } }
            try await group.waitForAll()
        }
        let kept = try await other.put([8])
        // The removal takes three steps, and this put comes between them.
        let late = store.newKey()
        let (answers, answer) = AsyncStream<Bool>.makeStream()
        let pool = try #require(PoolName("a.fifo"))
        let removed = try await withCheckedContinuation { done in
            bodies.removeAll(pool: pool) { done.resume(returning: $0) }
            store.put([9], key: late) { result in
                answer.yield((try? result.get()) != nil)
                answer.finish()
            }
        }.get()
        #expect(removed == 600)
        for await isStored in answers { #expect(isStored) }
        #expect(try await store.get(late) == [9])
        #expect(try await other.get(kept) == [8])
        #expect(bodies.counts() == BodyCounts(bodies: 2, bytes: 2))
        bodies.close()
    }

    @Test func `stay in a purge if they are younger than it asks for`() async throws {
        let bench = try BodyBench()
        let bodies = try bench.open()
        let store = try bodies.pool()
        _ = try await store.put([1])
        bench.clock.advance(milliseconds: 10)
        let young = try await store.put([2])
        #expect(try await bodies.removeAll(madeBefore: bench.clock.now()) == 1)
        #expect(try await store.get(young) == [2])
        #expect(try await bodies.removeAll() == 1)
        bodies.close()
    }

    @Test func `give their room back to the disk`() async throws {
        let bench = try BodyBench()
        let bodies = try bench.open { $0.unusedBytesKept = 1 << 20 }
        let store = try bodies.pool()
        var keys: [String] = []
        for index in 0..<12 { keys.append(try await store.put(pattern(4 << 20, seed: UInt8(index)))) }
        let last = keys.removeLast()
        for key in keys { try await store.remove(key) }
        bodies.close()
        // Closing waits for no upkeep, but the next removal in an open file does what is left.
        #expect(bench.fileBytes > 4 << 20)
        let again = try bench.open { $0.unusedBytesKept = 1 << 20 }
        let next = try again.pool()
        _ = try await again.sweep(bench.clock.now())
        while bench.fileBytes > 8 << 20 { try await Task.sleep(for: .milliseconds(5)) }
        // What was moved to the front of the file is whole.
        #expect(try await next.get(last) == pattern(4 << 20, seed: 11))
        again.close()
        let database = try Database(path: bench.path)
        #expect(try database.integer("SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'") == 1)
        #expect(bench.fileBytes <= 6 << 20)
        database.close()
    }
}

@Suite struct `The file of large bodies` {
    @Test func `of a later version is refused by name, and stays as it is`() throws {
        let bench = try BodyBench()
        try bench.open().close()
        let known = BodyFile.formatVersion
        let database = try Database(path: bench.path)
        try database.execute("PRAGMA user_version = \(known + 1)")
        database.close()
        let error = BodyFileError.newer(file: "bodies.sqlite", version: known + 1, known: known)
        #expect(throws: error) { try bench.open() }
        let after = try Database(path: bench.path)
        #expect(try after.integer("PRAGMA user_version") == known + 1)
        after.close()
        #expect(error.description.contains("bodies.sqlite"))
    }

    @Test(arguments: ["CREATE TABLE t (a)", "PRAGMA application_id = 5; CREATE TABLE t (a)", "PRAGMA user_version = 1"])
    func `is not another program's`(_ sql: String) throws {
        let bench = try BodyBench()
        let database = try Database(path: bench.path)
        try database.execute(sql)
        database.close()
        let before = try Data(contentsOf: URL(fileURLWithPath: bench.path))
        #expect(throws: BodyFileError.foreign(file: "bodies.sqlite")) { try bench.open() }
        #expect(try Data(contentsOf: URL(fileURLWithPath: bench.path)) == before)
    }

    @Test func `is a database`() throws {
        let bench = try BodyBench()
        try Data(repeating: 65, count: 8_192).write(to: URL(fileURLWithPath: bench.path))
        #expect(throws: BodyFileError.foreign(file: "bodies.sqlite")) { try bench.open() }
    }

    @Test func `flushes what it commits, and can give pages back`() throws {
        let bench = try BodyBench()
        let file = try BodyFile(path: bench.path, vfs: nil)
        #expect(try file.database.integer("PRAGMA synchronous") == 2)
        #expect(try file.database.integer("PRAGMA auto_vacuum") == 2)
        #expect(try file.database.integer("PRAGMA page_size") == BodyFile.pageBytes)
        #expect(try file.database.integer("SELECT count(*) FROM pragma_journal_mode WHERE journal_mode = 'wal'") == 1)
        file.close()
    }
}
