// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule

// Which requests were answered already, by the key that their sender gave them. An answer is remembered only after it was
// given, so a request that failed leaves its key free. One whose message may be stored in spite of the failure leaves the
// fingerprint behind: the same request may try again, and its deduplication id makes it safe, but another one would be
// taken for its duplicate and lost.
//
// Memory is bounded: each key costs `recordBytes` and its answer, and the oldest are dropped for new ones. Keys of
// requests under way are not counted; there are never more of them than connections.

/// The idempotency keys of all pools.
public struct IdempotencyKeys: Sendable {
    /// What is to be done with a request.
    public enum Decision: Hashable, Sendable {
        /// Carry it out; then call `finish` or `abandon`.
        case run
        /// It was carried out before, with this answer.
        case replay([UInt8])
        /// The key came with another request before.
        case reused
        /// The same request is being carried out.
        case running
    }

    private enum Entry {
        /// - Parameter uncertain: the number of the record of an earlier try whose message may be stored.
        case running(fingerprint: Hash128, uncertain: Int64?)
        case kept(fingerprint: Hash128, answer: [UInt8]?, number: Int64)
    }

    /// A record's place among all, the oldest first.
    private struct Age {
        let key: Hash128
        let number: Int64
        let at: Timestamp
        let bytes: Int
    }

    /// Bytes that a key costs beside its answer: its places in the table and in the order, and the array's head.
    public static let recordBytes = 256

    private let windowMilliseconds: Int64
    private let bytesMax: Int
    private var entries: [Hash128: Entry] = [:]
    private var ages: Deque<Age> = []
    private var lastNumber: Int64 = 0
    /// The greatest number of those that were remembered; records with greater ones may be being written.
    private var lastKept: Int64 = 0
    /// Bytes of all that is remembered.
    public private(set) var bytes = 0
    /// Keys that were dropped before their window was over, to make room.
    public private(set) var droppedEarly = 0

    /// - Parameters:
    ///   - windowMilliseconds: how long an answer is remembered.
    ///   - bytesMax: bytes of all that is remembered.
    public init(windowMilliseconds: Int64, bytesMax: Int) {
        self.windowMilliseconds = windowMilliseconds
        self.bytesMax = bytesMax
    }

    /// Records that are remembered.
    public var count: Int { ages.count }

    /// Records with a lower number are not remembered, and never will be.
    public var oldest: Int64 { ages.first?.number ?? lastKept + 1 }

    /// Decides on a request that arrives.
    public mutating func begin(key: Hash128, fingerprint: Hash128, now: Timestamp) -> Decision {
        expire(now)
        switch entries[key] {
        case nil: entries[key] = .running(fingerprint: fingerprint, uncertain: nil)
        case .running(let first, _): return first == fingerprint ? .running : .reused
        case .kept(let first, _, _) where first != fingerprint: return .reused
        case .kept(_, let answer?, _): return .replay(answer)
        case .kept(_, nil, let number): entries[key] = .running(fingerprint: fingerprint, uncertain: number)
        }
        return .run
    }

    /// Makes the record of a request that is under way; it counts from `finish` on.
    /// - Parameter answer: `nil` if the request failed and its message may be stored all the same.
    /// - Returns: `nil` if no such request is under way.
    public mutating func record(key: Hash128, answer: [UInt8]?, now: Timestamp) -> IdempotencyRecord? {
        guard case .running(let fingerprint, _) = entries[key] else { return nil }
        lastNumber += 1
        return IdempotencyRecord(number: lastNumber, key: key, fingerprint: fingerprint, at: now, answer: answer)
    }

    /// Remembers the record of a request that was under way; to be called in the order of numbers.
    public mutating func finish(_ record: IdempotencyRecord) {
        keep(record)
        makeRoom()
    }

    /// A request failed, and nothing was stored: its key is as free as before it began.
    public mutating func abandon(key: Hash128) {
        guard case .running(let fingerprint, let uncertain) = entries[key] else { return }
        entries[key] = uncertain.map { .kept(fingerprint: fingerprint, answer: nil, number: $0) }
    }

    /// Takes up a record that an earlier process wrote; to be called in the order of numbers.
    public mutating func restore(_ record: IdempotencyRecord, now: Timestamp) {
        var record = record
        // The clock may have stood later then: no record lasts longer than the window.
        record.at = min(record.at, now)
        lastNumber = max(lastNumber, record.number)
        keep(record)
        expire(now)
        makeRoom()
    }

    private mutating func keep(_ record: IdempotencyRecord) {
        let bytes = IdempotencyKeys.recordBytes + (record.answer?.count ?? 0)
        lastKept = max(lastKept, record.number)
        entries[record.key] = .kept(fingerprint: record.fingerprint, answer: record.answer, number: record.number)
        ages.append(Age(key: record.key, number: record.number, at: record.at, bytes: bytes))
        self.bytes += bytes
    }

    private mutating func expire(_ now: Timestamp) {
        while let first = ages.first, now - first.at >= windowMilliseconds { dropFirst() }
    }

    private mutating func makeRoom() {
        while bytes > bytesMax, !ages.isEmpty {
            dropFirst()
            droppedEarly += 1
        }
    }

    private mutating func dropFirst() {
        guard let age = ages.popFirst() else { return }
        bytes -= age.bytes
        switch entries[age.key] {
        case .kept(_, _, age.number): entries[age.key] = nil
        case .running(let fingerprint, age.number):
            entries[age.key] = .running(fingerprint: fingerprint, uncertain: nil)
        default: break
        }
    }
}
