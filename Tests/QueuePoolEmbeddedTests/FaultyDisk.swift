// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CFaultyVFS
import Foundation
import QueuePoolCore
import QueuePoolTestSupport
import Synchronization

@testable import QueuePoolEmbedded

/// A disk that fails when told, with folders of its own, and a clock that stands until it is moved.
/// - Important: the disk has a lock of its own. That is what makes it Sendable.
final class FaultyDisk: @unchecked Sendable {
    let directory: String
    let clock = ManualClock()
    let pool: CommitPool
    private let disk: OpaquePointer

    /// - Parameter seconds: counts the seconds after which every store has a turn, apart from the shards' own time.
    init(seconds: any Clock = RealClock()) throws {
        guard let disk = faulty_disk_make() else { throw CocoaError(.featureUnsupported) }
        self.disk = disk
        pool = CommitPool(width: 2, clock: seconds)
        directory = FileManager.default.temporaryDirectory.path + "/queuepool-disk-\(UUID().uuidString)"
        try makeFolder("own")
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    var vfs: String { String(cString: faulty_disk_name(disk)) }
    /// Orders to fail that were carried out.
    var failures: Int { Int(faulty_disk_failures(disk)) }

    func folder(_ name: String) -> String { "\(directory)/\(name)" }
    func store(_ number: Int, in name: String = "own") -> String { "\(folder(name))/store-\(number).sqlite" }

    private func makeFolder(_ name: String) throws {
        try FileManager.default.createDirectory(atPath: folder(name), withIntermediateDirectories: true)
    }

    func pass(seconds: Int64) { clock.advance(milliseconds: Int(seconds) * 1_000) }

    /// Fails the nth operation from now, once.
    func fail(_ operation: faulty_operation, of file: faulty_file = FAULTY_ANY, nth: Int = 1) {
        faulty_disk_fail(disk, operation, file, Int32(nth))
    }

    /// What a loss of power now would leave of a folder, in another one.
    func losePower(_ from: String = "own", to: String) throws {
        try makeFolder(to)
        guard faulty_disk_lose_power(disk, folder(from), folder(to)) == 0 else { throw CocoaError(.fileWriteUnknown) }
    }

    /// What a kill of the process now would leave of a folder, in another one.
    func kill(_ from: String = "own", to: String) throws {
        try makeFolder(to)
        guard faulty_disk_kill(disk, folder(from), folder(to)) == 0 else { throw CocoaError(.fileWriteUnknown) }
    }

    func factory(_ name: String = "own", stores: Int = 1) throws -> EmbeddedShardFactory {
        var options = EmbeddedShardOptions(pool: pool, clock: clock)
        options.storeCount = stores
        options.vfs = vfs
        options.cacheBytesMax = 0
        return try EmbeddedShardFactory(directory: folder(name), options: options)
    }

    func open(_ name: String = "own") throws -> any Shard {
        try factory(name).open(name: "a-0000.fifo", attributes: QueueAttributes())
    }
}

/// A message whose deduplication id is its body.
func letter(_ body: String, group: String = "g") -> OutgoingMessage {
    let record = Array(body.utf8).withUnsafeBytes {
        MessageRecord(group: Array(group.utf8), deduplicationID: Array(body.utf8), body: $0)
    }
    return OutgoingMessage(record: record, groupHash: XXHash64.hash(group))
}

extension Shard {
    func put(_ bodies: String...) async throws -> [SendReceipt] {
        try await put(bodies.map { letter($0) })
    }

    func put(_ messages: [OutgoingMessage]) async throws -> [SendReceipt] {
        try await withCheckedContinuation { done in send(messages) { done.resume(returning: $0) } }.get()
    }

    func get(_ limit: Int = 10) async throws -> [(body: String, handle: ReceiptHandle)] {
        try await receive(ReceiveCommand(limit: limit)).get().map { message in
            (message.withView { String(decoding: $0.body, as: UTF8.self) }, message.handle)
        }
    }

    /// - Returns: whether the delete was acknowledged.
    func drop(_ handle: ReceiptHandle) async -> Bool {
        let outcomes = await withCheckedContinuation { done in delete([handle]) { done.resume(returning: $0) } }
        if case .deleted? = outcomes.first { return true }
        return false
    }
}
