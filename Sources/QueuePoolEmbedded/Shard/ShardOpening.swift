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
    /// The newest sequence number in the log, of messages and keys that are gone too.
    private(set) var newest = SequenceNumber(rawValue: 0)
    private var states: [DeliveryState] = []
    /// Rows of deliveries, which a clean stop wrote.
    private(set) var deliveryRows: [Int64] = []

    init(_ identity: LogIdentity, _ options: EmbeddedShardOptions) {
        // The attributes come when the shard is opened.
        index = FIFOQueue(
            tag: identity.tag, deduplicationHash: identity.deduplicationHash, attributes: QueueAttributes(),
            cacheBytesMax: options.cacheBytesMax, incarnation: UInt32(truncatingIfNeeded: options.random()))
    }

    mutating func take(_ row: Int64, _ kind: Int64, _ head: [UInt8], _ bodyBytes: Int) {
        switch kind {
        case LogKind.block:
            guard let block = LogEncoding.blockHead(head) else { return damaged(row) }
            guard block.directory.allSatisfy({ Int($0.offset) + Int($0.length) <= bodyBytes }) else {
                return damaged(row)
            }
            index.append(
                row: row, directory: block.directory, byteCount: UInt32(clamping: bodyBytes), now: LogRecovery.early)
            note(block.directory.last?.sequence)
            if !Mutation.keysAreForgotten.isOn { restore(block.keys) }
        case LogKind.keys:
            guard let keys = LogEncoding.keys(head) else { return damaged(row) }
            books.keyRows.append(
                LogBooks.KeyRow(row: row, newest: keys.map(\.sequence).max() ?? SequenceNumber(rawValue: 0)))
            restore(keys)
        case LogKind.deletions:
            guard let deletions = LogEncoding.deletions(head) else { return damaged(row) }
            books.deletionRows.append(row)
            for sequence in deletions where !Mutation.deletionsAreForgotten.isOn {
                index.restoreDeletion(of: sequence, row: row, now: LogRecovery.early)
            }
        case LogKind.deliveries, LogKind.deliveriesOfOpenings:
            guard let kept = LogEncoding.states(head, kind: kind) else { return damaged(row) }
            deliveryRows.append(row)
            states.append(contentsOf: kept.states)
            index.raise(lastSequence: kept.lastSequence)
            note(kept.lastSequence)
        default: damaged(row)
        }
    }

    private mutating func damaged(_ row: Int64) { damagedRow = damagedRow ?? row }

    /// The shard's time is known only when the whole log is; until then nothing is too old.
    private static let early = Timestamp.distantPast

    private mutating func note(_ sequence: SequenceNumber?) { if let sequence { newest = max(newest, sequence) } }

    private var keys: [(key: Hash128, sequence: SequenceNumber)] = []
    /// Keys in the list at which it is looked through for those that no longer count.
    private var keysMax = 65_536

    private mutating func restore(_ found: [(key: Hash128, sequence: SequenceNumber)]) {
        keys.append(contentsOf: found)
        note(found.map(\.sequence).max())
        guard keys.count >= keysMax else { return }
        prune()
        keysMax = max(65_536, 2 * keys.count)
    }

    /// Forgets keys that were past their interval when the newest message came.
    private mutating func prune() {
        let oldest = SequenceNumber(
            firstOf: newest.sentAt + -Int64(QueueLimits.deduplicationSeconds) * 1_000)
        keys.removeAll { $0.sequence < oldest }
    }

    /// Takes up what was found, now that all of it was read.
    /// - Returns: the shard's clock.
    mutating func finish(_ attributes: QueueAttributes, wall: any Clock) -> ShardClock {
        prune()
        // Rows of keys are written when their blocks go, later than other blocks: the window wants them by age.
        keys.sort { $0.sequence < $1.sequence }
        for entry in keys { index.restore(key: entry.key, sequence: entry.sequence) }
        keys = []
        index.raise(lastSequence: newest)
        let clock = ShardClock(wall: wall, newest: newest)
        let now = clock.now()
        index.setAttributes(attributes, now: now)
        for state in states { index.restore(state, now: now) }
        index.reopen(now: now)
        return clock
    }
}
