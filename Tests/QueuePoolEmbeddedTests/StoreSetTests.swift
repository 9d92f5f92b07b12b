// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import Testing

@testable import QueuePoolEmbedded

@Suite("The set of stores in a directory")
struct StoreSetTests {
    private func decide(_ files: [Int: StoreFacts], wanted: Int = 4) throws(StoreSetError) -> StoreSet {
        try StoreSet(files, wanted: wanted, name: { "store-\($0)" }) { shard, count in
            (Int(shard.dropFirst()) ?? 0) % count
        }
    }

    private func file(_ number: Int?, of count: Int = 4, id: Int64 = 7, _ shards: String...) -> StoreFacts {
        StoreFacts(
            label: number.map { StoreLabel(directory: id, number: $0, count: count) }, shards: Set(shards))
    }

    private var whole: [Int: StoreFacts] {
        [0: file(0, "s0", "s4"), 1: file(1, "s1"), 2: file(2, "s2"), 3: file(3, "s3")]
    }

    private func error(_ files: [Int: StoreFacts]) -> StoreSetError? {
        do throws(StoreSetError) { _ = try decide(files) } catch { return error }
        return nil
    }

    @Test("makes a new directory from the last file to the first, files before labels")
    func new() throws {
        let set = try decide([:])
        #expect(set.count == 4)
        #expect(set.making == [3, 2, 1, 0] && set.labelling == [3, 2, 1, 0])
    }

    @Test("keeps the count a directory was made with, and writes nothing")
    func known() throws {
        let set = try decide(whole, wanted: 9)
        #expect(set.count == 4 && set.making.isEmpty && set.labelling.isEmpty)
    }

    @Test("misses each file that is gone", arguments: 0..<4)
    func missing(_ number: Int) {
        var files = whole
        files[number] = nil
        #expect(error(files) == .missing(file: "store-\(number)", count: 4))
    }

    @Test("refuses a file that was not made with the others", arguments: 0..<4)
    func foreign(_ number: Int) {
        let name = "store-\(number)"
        func isForeign(_ facts: StoreFacts) -> Bool {
            var files = whole
            files[number] = facts
            guard case .foreign(let file, _)? = error(files) else { return false }
            // With another id in the first file, nobody can say which one is right.
            return file == name || number == 0
        }
        #expect(isForeign(file(number, id: 8)))
        #expect(isForeign(file(number, of: 5, id: 8)))
        #expect(isForeign(file((number + 1) % 4)))
        #expect(isForeign(file(nil)), "an empty file in its place")
    }

    @Test("refuses a file behind the last one, and two files that changed places")
    func outside() {
        var files = whole
        files[4] = file(4)
        #expect(error(files) == .foreign(file: "store-4", reason: "the directory has 4 stores"))
        files = whole
        (files[1], files[2]) = (files[2], files[1])
        #expect(error(files) == .foreign(file: "store-1", reason: "it was made as store-2"))
    }

    @Test("refuses a shard that lies in two files")
    func twice() {
        var files = whole
        files[2]?.shards.insert("s1")
        #expect(error(files) == .twice(shard: "s1", files: ["store-1", "store-2"]))
    }

    @Test("goes on with a making that was interrupted, at each step")
    func interrupted() throws {
        var files: [Int: StoreFacts] = [:]
        for number in (0..<4).reversed() {
            let set = try decide(files)
            #expect(set.count == 4 && set.making == (0...number).reversed().map { $0 })
            files[number] = file(nil)
        }
        for number in (0..<4).reversed() {
            let set = try decide(files, wanted: 9)
            #expect(set.making.isEmpty || number == 3)
            if number < 3 { #expect(set.directory == 7 && set.labelling == (0...number).reversed().map { $0 }) }
            files[number] = file(number)
        }
        #expect(try decide(files).labelling.isEmpty)
    }

    @Test("takes over a directory from before there were labels, unless a file of it is gone")
    func old() throws {
        let files = whole.mapValues { StoreFacts(shards: $0.shards) }
        let set = try decide(files, wanted: 9)
        #expect(set.count == 4 && set.making.isEmpty && set.labelling == [3, 2, 1, 0])
        for number in 0..<4 {
            var less = files
            less[number] = nil
            #expect(error(less) != nil, "store-\(number) is gone")
        }
    }

    @Test("a directory that lost a file does not start, and makes none in its place")
    func directory() async throws {
        let disk = try FaultyDisk()
        let names = (0..<3).map { "a-000\($0).fifo" }
        var factory = try disk.factory(stores: 3)
        for name in names {
            let shard = try factory.open(name: name, attributes: QueueAttributes())
            _ = try await shard.put(name)
            shard.close()
        }
        for number in 0..<3 {
            let file = disk.store(number)
            try FileManager.default.moveItem(atPath: file, toPath: file + ".away")
            let failure = #expect(throws: ShardOpenError.self) { _ = try disk.factory(stores: 3) }
            #expect(failure == .stores(.missing(file: file, count: 3)))
            #expect(!FileManager.default.fileExists(atPath: file))
            try FileManager.default.moveItem(atPath: file + ".away", toPath: file)
        }
        factory = try disk.factory(stores: 5)
        for name in names {
            let shard = try factory.open(name: name, attributes: QueueAttributes())
            #expect(try await shard.get().map(\.body) == [name])
            shard.close()
        }
    }
}
