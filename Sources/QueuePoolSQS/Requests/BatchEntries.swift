// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolJSON

// A batch is at most ten entries however many are sent: what is beyond them is counted and stepped over, so that a
// request of a million entries costs no memory.

/// An entry of a batch while it is read.
protocol BatchEntry {
    init()
}

extension SendEntry: BatchEntry {}

/// Entries of a batch request as they are read.
struct BatchEntries<Entry: BatchEntry> {
    private(set) var entries: [Entry] = []
    private(set) var count = 0
    private(set) var isPresent = false

    /// Reads `Entries`.
    @inline(__always)
    mutating func read(
        _ reader: inout RequestReader,
        member: (inout Entry, JSONString, inout RequestReader) throws(SQSError) -> Void
    ) throws(SQSError) {
        guard try reader.beginArray("Entries") else { return }
        isPresent = true
        while try reader.nextElement() {
            count += 1
            if count == 1 { entries.reserveCapacity(QueueLimits.batchEntriesMax) }
            guard count <= QueueLimits.batchEntriesMax else {
                try reader.skip()
                continue
            }
            var entry = Entry()
            if try reader.beginObject("Entries") {
                while let key = try reader.nextKey() { try member(&entry, key, &reader) }
            }
            entries.append(entry)
        }
    }
}

/// What every batch is held to as a whole.
enum BatchRules {
    /// - Parameters:
    ///   - count: entries that the request had.
    ///   - ids: of the entries kept.
    ///   - shape: what SQS calls such an entry.
    static func check(count: Int, ids: some Collection<String>, shape: String) throws(SQSError) {
        guard count > 0 else { throw .emptyBatch(shape) }
        guard count <= QueueLimits.batchEntriesMax else { throw .tooManyEntries(count) }
        for id in ids where !isValid(id) { throw .invalidBatchEntryID }
        // At most ten: comparing all pairs beats building a set.
        for (position, id) in ids.enumerated() where ids.prefix(position).contains(id) {
            throw .repeatedID(at: position)
        }
    }

    private static func isValid(_ id: String) -> Bool {
        !id.isEmpty && id.utf8.count <= QueueLimits.queueNameBytesMax && id.utf8.allSatisfy(PoolName.isAllowed)
    }
}
