// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

/// Why a shard cannot be opened.
package enum ShardOpenError: Error, Hashable, CustomStringConvertible {
    case database(DatabaseError)
    /// The file with the shard's store cannot be used.
    case store(file: String, DatabaseError)
    /// The files of a directory are no whole set of stores.
    case stores(StoreSetError)
    /// A row of the log does not parse.
    case damagedRow(Int64)

    package var description: String {
        switch self {
        case .database(let error): error.description
        case .store(let file, let error): "\(file): \(error)"
        case .stores(let error): error.description
        case .damagedRow(let row): "row \(row) of the log is damaged"
        }
    }
}

/// The rebuilding of an index from its log.
struct LogRecovery {
    var index: FIFOQueue
    var books = LogBooks()
    private(set) var damagedRow: Int64?
    private let now: Timestamp
    private let oldestKey: SequenceNumber
    private var states: [DeliveryState] = []
    /// Rows of deliveries, which a clean stop wrote.
    private(set) var deliveryRows: [Int64] = []

    init(_ identity: LogIdentity, _ options: EmbeddedShardOptions) {
        // The attributes come when the shard is opened.
        index = FIFOQueue(
            tag: identity.tag, deduplicationHash: identity.deduplicationHash, attributes: QueueAttributes(),
            cacheBytesMax: options.cacheBytesMax, incarnation: UInt32(truncatingIfNeeded: options.random()))
        now = options.now()
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
            books.keyRows.append(
                LogBooks.KeyRow(row: row, newest: keys.map(\.sequence).max() ?? SequenceNumber(rawValue: 0)))
            restore(keys)
        case LogKind.deletions:
            guard let deletions = LogEncoding.deletions(head) else { return damaged(row) }
            books.deletionRows.append(row)
            for sequence in deletions { index.restoreDeletion(of: sequence, row: row, now: now) }
        case LogKind.deliveries, LogKind.deliveriesOfOpenings:
            guard let kept = LogEncoding.states(head, kind: kind) else { return damaged(row) }
            deliveryRows.append(row)
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

    mutating func finish(_ attributes: QueueAttributes) {
        index.setAttributes(attributes, now: now)
        // Rows of keys are written when their blocks go, later than other blocks: the window wants them by age.
        keys.sort { $0.sequence < $1.sequence }
        for entry in keys { index.restore(key: entry.key, sequence: entry.sequence) }
        for state in states { index.restore(state, now: now) }
    }
}
