// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import QueuePoolTestSupport

@testable import QueuePoolEmbedded

/// A data directory for bodies that is removed after its test.
final class BodyBench: Sendable {
    let directory = NSTemporaryDirectory() + "queuepool-bodies-\(UUID().uuidString)"
    let clock = ManualClock()

    init() throws {
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    var path: String { directory + "/" + SQLiteBodies.fileName }
    var fileBytes: Int64 { SystemFile.byteCount(of: path) ?? 0 }

    func open(_ change: (inout BodiesOptions) -> Void = { _ in }) throws -> SQLiteBodies {
        var options = BodiesOptions(clock: clock)
        // Tests do not depend on how full this machine's disk is.
        options.room = { _ in nil }
        change(&options)
        return try SQLiteBodies(directory: directory, options: options)
    }
}

extension SQLiteBodies {
    /// - Parameter name: of a pool, without its suffix.
    func pool(_ name: String = "a", lifetimeMilliseconds: Int64? = nil) throws -> SQLiteBodyStore {
        guard let name = PoolName(name + ".fifo") else { throw CocoaError(.coderInvalidValue) }
        return store(for: name, lifetimeMilliseconds: lifetimeMilliseconds)
    }

    func removeAll(_ name: String = "a", madeBefore: Timestamp = Timestamp(milliseconds: .max)) async throws -> Int {
        guard let pool = PoolName(name + ".fifo") else { throw CocoaError(.coderInvalidValue) }
        return try await withCheckedContinuation { done in
            removeAll(pool: pool, madeBefore: madeBefore) { done.resume(returning: $0) }
        }.get()
    }

    func sweep(_ time: Timestamp) async throws -> Int {
        try await withCheckedContinuation { done in sweep(before: time) { done.resume(returning: $0) } }.get()
    }
}

extension BodyStore {
    func put(_ body: [UInt8], _ key: String) async throws {
        try await withCheckedContinuation { done in put(body, key: key) { done.resume(returning: $0) } }.get()
    }

    /// Stores a body under a new key.
    func put(_ body: [UInt8]) async throws -> String {
        let key = newKey()
        try await put(body, key)
        return key
    }

    func get(_ key: String, bytesMax: Int = .max) async throws -> [UInt8] {
        try await withCheckedContinuation { done in get(key: key, bytesMax: bytesMax) { done.resume(returning: $0) } }
            .get()
    }

    func remove(_ key: String) async throws {
        try await withCheckedContinuation { done in remove(key: key) { done.resume(returning: $0) } }.get()
    }
}

/// Bytes that differ from place to place, so that parts in a wrong order are seen.
func pattern(_ count: Int, seed: UInt8 = 1) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
        var state = UInt64(seed) | 1
        for index in 0..<count {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            buffer.initializeElement(at: index, to: UInt8(truncatingIfNeeded: state >> 56))
        }
        initialized = count
    }
}
