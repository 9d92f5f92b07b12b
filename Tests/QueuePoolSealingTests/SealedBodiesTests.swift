// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import QueuePoolTestSupport
import Testing

@testable import QueuePoolEmbedded

private let name = SQLiteBodies.fileName
private let canary = "what nobody else may read "

private func body(_ count: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    var number = 0
    while bytes.count < count {
        bytes += Array("\(canary)\(number) ".utf8)
        number += 1
    }
    return Array(bytes.prefix(count))
}

extension SealedFiles {
    fileprivate func bodies(sealed: Bool = true, told: Told = Told()) throws -> SQLiteBodies {
        var options = BodiesOptions(clock: ManualClock())
        options.room = { _ in nil }
        options.keys = sealed ? try keys() : nil
        options.reportDamaged = { told.tell($0) }
        return try SQLiteBodies(directory: directory, options: options)
    }
}

extension SQLiteBodies {
    private func pool() throws -> SQLiteBodyStore {
        store(for: try #require(PoolName("a.fifo")), lifetimeMilliseconds: nil)
    }

    fileprivate func put(_ body: [UInt8]) async throws -> String {
        let store = try pool()
        let key = store.newKey()
        try await withCheckedContinuation { done in
            store.put(body, key: key) { done.resume(returning: $0) }
        }.get()
        return key
    }

    fileprivate func get(_ key: String) async throws -> Result<[UInt8], BodyStoreError> {
        let store = try pool()
        return await withCheckedContinuation { done in
            store.get(key: key, bytesMax: .max) { done.resume(returning: $0) }
        }
    }
}

private let damaged: Result<[UInt8], BodyStoreError> = .failure(.refused(code: "Damaged"))

@Suite struct `Sealed large bodies` {
    private let files: SealedFiles

    init() throws { files = try SealedFiles() }

    @Test func `are in no file as they are, and come back byte for byte, also after a restart`() async throws {
        let part = BodyFile.partBytes
        let sizes = [0, 1, 100, part - 1, part, part + 1, 3 * part + 7]
        let bodies = try files.bodies()
        var keys: [String] = []
        for size in sizes { keys.append(try await bodies.put(body(size))) }
        #expect(try files.filesWith(canary).isEmpty)
        bodies.close()
        let again = try files.bodies()
        for (size, key) in zip(sizes, keys) { #expect(try await again.get(key) == .success(body(size)), "\(size)") }
        #expect(again.counts().bytes == Int64(sizes.reduce(0, +)))
        again.close()
        #expect(try files.filesWith(canary).isEmpty)
        // What this says of the search itself.
        let plain = try SealedFiles()
        let open = try plain.bodies(sealed: false)
        _ = try await open.put(body(100))
        open.close()
        #expect(try plain.filesWith(canary) == [name])
    }

    @Test(arguments: [8, 20, 80, 120])
    func `that were changed are given to nobody, and are told by their number`(place: Int) async throws {
        let bodies = try files.bodies()
        let (key, other) = (try await bodies.put(body(1_000)), try await bodies.put(body(2_000)))
        bodies.close()
        try files.flip(name, "parts", "bytes", at: { _ in place })
        let told = Told()
        let again = try files.bodies(told: told)
        #expect(try await again.get(key) == damaged)
        #expect(try await again.get(other) == .success(body(2_000)))
        #expect(told.all == [1])
        again.close()
    }

    @Test(arguments: [
        // Cut short, made empty, told to be of before the key.
        "UPDATE bodies SET bytes = 100", "UPDATE bodies SET bytes = 0", "UPDATE bodies SET sealed = 0",
        "UPDATE bodies SET sealed = 2",
        // Another body's parts, and parts in another order.
        "UPDATE parts SET bytes = (SELECT bytes FROM parts WHERE number = 2 << 16) WHERE number = 1 << 16",
        "UPDATE bodies SET number = 9 WHERE number = 1; UPDATE bodies SET number = 1 WHERE number = 2",
        """
        UPDATE parts SET number = 9 WHERE number = 1 << 16; UPDATE parts SET number = 1 << 16
        WHERE number = (1 << 16) + 1; UPDATE parts SET number = (1 << 16) + 1 WHERE number = 9
        """,
    ])
    func `open in their own place only, and whole`(change: String) async throws {
        let bodies = try files.bodies()
        let size = 2 * BodyFile.partBytes
        let keys = [try await bodies.put(body(size)), try await bodies.put(body(size))]
        bodies.close()
        try files.change(name, change)
        let again = try files.bodies()
        let first = try await again.get(keys[0])
        let second = try await again.get(keys[1])
        // What was not touched may open; nothing opens as anything but itself.
        #expect(first == damaged || second == damaged)
        for result in [first, second] {
            if case .success(let opened) = result { #expect(opened == body(size)) }
        }
        again.close()
    }

    @Test func `have those of before the key beside them, which stay as they are`() async throws {
        let plain = try files.bodies(sealed: false)
        let before = try await plain.put(body(600_000))
        plain.close()
        let bodies = try files.bodies()
        let after = try await bodies.put(body(700_000))
        bodies.close()
        let again = try files.bodies()
        #expect(try await again.get(before) == .success(body(600_000)))
        #expect(try await again.get(after) == .success(body(700_000)))
        again.close()
        // Without the key what is sealed stays closed, and what is not opens.
        let open = try files.bodies(sealed: false)
        #expect(try await open.get(before) == .success(body(600_000)))
        #expect(try await open.get(after) == damaged)
        open.close()
    }

    @Test func `do not open with a new data key`() async throws {
        let bodies = try files.bodies()
        let key = try await bodies.put(body(10))
        bodies.close()
        try FileManager.default.removeItem(atPath: files.path("keys.json"))
        let again = try files.bodies()
        #expect(try await again.get(key) == damaged)
        again.close()
    }
}
