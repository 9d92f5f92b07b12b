// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

/// Why a shard cannot be opened.
package enum ShardOpenError: Error, Hashable, CustomStringConvertible {
    case database(DatabaseError)
    /// A row of the log does not parse.
    case damagedRow(Int64)

    package var description: String {
        switch self {
        case .database(let error): error.description
        case .damagedRow(let row): "row \(row) of the log is damaged"
        }
    }
}

extension EmbeddedShard {
    /// Opens a shard's file, or makes it, and rebuilds the index from the heads of its rows.
    package static func open(
        path: String, name: String, attributes: QueueAttributes, options: EmbeddedShardOptions
    ) throws(ShardOpenError) -> EmbeddedShard {
        let log: LogFile
        var recovery: LogRecovery
        do throws(DatabaseError) {
            log = try LogFile(path: path, random: options.random)
            recovery = LogRecovery(
                index: FIFOQueue(
                    tag: log.identity.tag, deduplicationHash: log.identity.deduplicationHash, attributes: attributes,
                    cacheBytesMax: options.cacheBytesMax), now: options.now())
            try log.scan { row, kind, head, bodyBytes in recovery.take(row, kind, head, bodyBytes) }
            recovery.finish()
            if recovery.damagedRow == nil { try recovery.forgetDeliveries(in: log) }
        } catch { throw .database(error) }
        if let row = recovery.damagedRow { throw .damagedRow(row) }
        let shard = EmbeddedShard(name: name, index: recovery.index, now: options.now)
        let books = recovery.books
        let writer = ShardWriter(shard: shard, log: log, books: books, pool: options.pool)
        shard.setWriter { writer.poke() }
        options.pool.add(writer)
        return shard
    }
}

/// The log's rows that the index does not know: kept by the writer.
struct LogBooks: Sendable {
    /// Rows of keys whose blocks are gone, with the newest sequence number in each; oldest first.
    var keyRows: [(row: Int64, newest: SequenceNumber)] = []
    /// Rows of deletions, oldest first.
    var deletionRows: [Int64] = []
}

/// The rebuilding of an index from its log.
struct LogRecovery {
    var index: FIFOQueue
    var books = LogBooks()
    private(set) var damagedRow: Int64?
    private let now: Timestamp
    private let oldestKey: SequenceNumber
    private var states: [DeliveryState] = []
    private var stateRows: [Int64] = []

    init(index: consuming FIFOQueue, now: Timestamp) {
        self.index = index
        self.now = now
        oldestKey = SequenceNumber(firstOf: now + -Int64(QueueLimits.deduplicationSeconds) * 1_000)
    }

    mutating func take(_ row: Int64, _ kind: Int64, _ head: [UInt8], _ bodyBytes: Int) {
        switch kind {
        case LogKind.block:
            guard let block = LogEncoding.blockHead(head) else { return damaged(row) }
            guard block.directory.allSatisfy({ Int($0.offset) + Int($0.length) <= bodyBytes }) else {
                return damaged(row)
            }
            index.append(row: row, directory: block.directory, byteCount: UInt32(clamping: bodyBytes), now: now)
            restore(block.keys)
        case LogKind.keys:
            guard let keys = LogEncoding.keys(head) else { return damaged(row) }
            books.keyRows.append((row, keys.map(\.sequence).max() ?? SequenceNumber(rawValue: 0)))
            restore(keys)
        case LogKind.deletions:
            guard let deletions = LogEncoding.deletions(head) else { return damaged(row) }
            books.deletionRows.append(row)
            for sequence in deletions { index.restoreDeletion(of: sequence, row: row, now: now) }
        case LogKind.deliveries:
            guard let kept = LogEncoding.states(head) else { return damaged(row) }
            stateRows.append(row)
            states.append(contentsOf: kept.states)
            index.raise(lastSequence: kept.lastSequence)
        default: damaged(row)
        }
    }

    private mutating func damaged(_ row: Int64) { damagedRow = damagedRow ?? row }

    private var keys: [(key: Hash128, sequence: SequenceNumber)] = []

    private mutating func restore(_ found: [(key: Hash128, sequence: SequenceNumber)]) {
        for entry in found where entry.sequence >= oldestKey { keys.append(entry) }
    }

    mutating func finish() {
        // Rows of keys are written when their blocks go, later than other blocks: the window wants them by age.
        keys.sort { $0.sequence < $1.sequence }
        for entry in keys { index.restore(key: entry.key, sequence: entry.sequence) }
        for state in states { index.restore(state, now: now) }
    }

    /// Takes the delivery states out of the log, so that a later crash does not bring them back.
    mutating func forgetDeliveries(in log: LogFile) throws(DatabaseError) {
        guard !stateRows.isEmpty else { return }
        let rows = stateRows
        try log.commit { () throws(DatabaseError) in for row in rows { try log.delete(row: row) } }
    }
}
