// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import QueuePoolEmbedded
import QueuePoolRuntime
import QueuePoolSealing
import QueuePoolTestSupport
import Synchronization

/// What of the border differs by the nature of an implementation. A rule asks for it by name and checks what it says.
struct SubjectTraits: Sendable {
    /// What the shard itself must say.
    var shard = ShardTraits(storesWholeBatches: true, pullsLate: true)
    /// Whether a receipt says that its message was a duplicate. Amazon SQS does not.
    var tellsDuplicates = true
    /// Whether a handle of another shard is known as such, and not only as one that is good for nothing.
    var tellsForeignHandles = true
    /// Whether it knows when a message will become visible by itself.
    var knowsNextVisible = true
    /// Whether the receipt's number has its place in `sequence`, and not in `remoteSequence`.
    var numbersItself = true
    /// Whether ages, duplicates and expiries are counted.
    var countsEverything = true
}

/// Where shards of one kind live while a test runs. Time stands still until the test moves it.
protocol ShardStage: Sendable {
    var clock: ManualClock { get }
    /// Opens a shard that is made when it is opened first.
    func open(_ name: String, _ attributes: QueueAttributes) async throws -> any Shard
    /// Everything stops in good order and begins anew from what is stored. Every shard is closed before.
    func restart() async throws
    /// Waits until the counts of every shard are as of now.
    func refreshCounts(of shard: any Shard) async
    func end() async throws
}

/// A directory of its own for a test, in memory where there is such a file system.
final class ScratchDirectory: Sendable {
    let path: String

    init() throws {
        let base = FileManager.default.fileExists(atPath: "/dev/shm") ? "/dev/shm" : NSTemporaryDirectory()
        path = "\(base)/queuepool-conformance-\(UInt64.random(in: 0...UInt64.max))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// A sealed stage has rows that are not sealed.
private struct PlainRows: Error {}

/// Embedded shards, as they are, sealed, or behind a factory that wraps them.
final class EmbeddedStage: ShardStage {
    /// The threads live as long as the process: one set for all tests.
    static let pool = CommitPool(width: 2, clock: SystemClock())
    private static let storeCount = 2

    let clock = ManualClock()
    private let directory: ScratchDirectory
    private let wrap: @Sendable (any ShardFactory, ManualClock) -> any ShardFactory
    private let factory: Mutex<any ShardFactory>
    private let isSealed: Bool

    init(
        isSealed: Bool = false,
        wrap: @escaping @Sendable (any ShardFactory, ManualClock) -> any ShardFactory = { factory, _ in factory }
    ) throws {
        directory = try ScratchDirectory()
        self.wrap = wrap
        self.isSealed = isSealed
        factory = Mutex(wrap(try EmbeddedStage.factory(directory.path, clock, isSealed: isSealed), clock))
    }

    func open(_ name: String, _ attributes: QueueAttributes) throws -> any Shard {
        try factory.withLock { $0 }.open(name: name, attributes: attributes, address: nil)
    }

    /// Nothing is remembered but what is in the files.
    func restart() throws {
        let anew = wrap(try EmbeddedStage.factory(directory.path, clock, isSealed: isSealed), clock)
        factory.withLock { $0 = anew }
    }

    func refreshCounts(of shard: any Shard) {}

    /// Rules prove nothing of sealing if rows are not sealed.
    func end() throws {
        guard isSealed else { return }
        for store in 0..<EmbeddedStage.storeCount {
            let database = try Database(path: "\(directory.path)/store-\(store).sqlite")
            defer { database.close() }
            let plain = try database.prepare("SELECT count(*) FROM log WHERE kind < 16")
            defer { plain.finalize() }
            guard try plain.next("count plain rows"), plain.integer(0) == 0 else { throw PlainRows() }
        }
        guard try DataKeys.masterKeyID(of: directory.path) != nil else { throw PlainRows() }
    }

    static func factory(
        _ directory: String, _ clock: ManualClock, isSealed: Bool = false
    ) throws -> EmbeddedShardFactory {
        var options = EmbeddedShardOptions(pool: pool, clock: clock)
        options.storeCount = storeCount
        if isSealed {
            guard let master = MasterKey(text: String(repeating: "a", count: 64)) else { throw PlainRows() }
            options.seal(with: try DataKeys(directory: directory, master: master))
        }
        return try EmbeddedShardFactory(directory: directory, options: options)
    }
}
