// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Synchronization

// The rule of one request (I2): once an entry of a request failed, its later entries of the same group fail too. The
// sender then repeats the failed entries in their order, and none of them stands behind one that it should precede.
//
// Every entry of a request that has more than one carries the same `RequestOrder`. Whoever fails an entry notes its
// group here before anything else of that group may leave, and whoever lets an entry leave asks here first. An NDJSON
// stream is one request for as long as it lasts, however many pieces it comes in.

/// The groups of one request of which an entry failed.
public final class RequestOrder: Sendable {
    private struct Failure {
        var position: Int
        var error: ShardError
    }

    private let failures = Mutex<[UInt64: Failure]>([:])
    /// Read before the lock is taken, so that a request of which nothing failed pays one load for an entry.
    private let hasFailures = Atomic(false)

    public init() {}

    /// Notes that an entry failed; the earliest one of its group is the reason for those after it.
    /// - Parameters:
    ///   - position: of the entry in its request.
    ///   - hash: of the entry's message group.
    public func fail(_ position: Int, group hash: UInt64, because error: ShardError) {
        failures.withLock { failures in
            if let known = failures[hash], known.position <= position { return }
            failures[hash] = Failure(position: position, error: error.root)
            hasFailures.store(true, ordering: .releasing)
        }
    }

    /// What an entry is answered instead of being sent; `nil` if no earlier entry of its group failed.
    public func failure(before position: Int, group hash: UInt64) -> ShardError? {
        guard hasFailures.load(ordering: .acquiring), !Mutation.laterEntriesLeave.isOn else { return nil }
        return failures.withLock { $0[hash] }.flatMap { $0.position < position ? .earlierEntryFailed($0.error) : nil }
    }
}
