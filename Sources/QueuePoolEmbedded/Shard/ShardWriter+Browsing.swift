// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolSQLite
package import QueuePoolCore
import Synchronization

// Read in a turn of the writer, where no row moves. Bodies that are read for people are not kept: they would push out
// those that receivers are about to get. A row that is damaged hides none of the others: people look at a queue, and
// name messages of it, to find out and to save what there is.

extension ShardWriter {
    /// What the rows of one page may take in memory.
    private static let pageBytesMax = 8 << 20

    func browse(after start: SequenceNumber?, limit: Int) -> Result<BrowsedPage, ShardError> {
        let now = shard.now()
        let entries = shard.index.withLock { index in
            index.advance(to: now)
            // One more than is wanted tells whether the page is the last.
            return index.browse(after: start, limit: limit + 1)
        }
        var page = BrowsedPage()
        var bodies: [Int64: [UInt8]] = [:]
        var bytes = 0
        for entry in entries {
            if page.messages.count + page.unreadable >= limit || bytes >= ShardWriter.pageBytesMax {
                page.isLast = false
                break
            }
            let row = entry.entry.row
            do throws(DatabaseError) {
                var known = bodies[row] ?? entry.entry.body
                if known == nil { known = try readForPeople(row: row) }
                let body = known ?? []
                if bodies.updateValue(body, forKey: row) == nil { bytes += body.count }
                let message = entry.entry.message(in: body)
                if message.isSound {
                    page.messages.append(BrowsedMessage(message: message, isInFlight: entry.isInFlight))
                } else {
                    page.unreadable += 1
                }
            } catch { return .failure(.storageFailed(code: error.code)) }
            page.through = entry.entry.sequence
        }
        return .success(page)
    }

    /// The body of a row; nothing, in which no record is whole, if it is not there or damaged.
    private func readForPeople(row: Int64) throws(DatabaseError) -> [UInt8] {
        do throws(DatabaseError) { return try store.file.body(row: row) ?? [] } catch {
            guard error.isOfOneRow else { throw error }
            if error.isUnopenedRow { noteUnopened(row: row) }
            return []
        }
    }

    func claim(_ sequences: [SequenceNumber], seconds: Int, heldGroups: Set<UInt64>) -> Result<Claims, ShardError> {
        let now = shard.now()
        var claims = Claims()
        claims.heldGroups = heldGroups
        let found = shard.index.withLock { index in
            index.advance(to: now)
            return index.claim(
                sequences, visibilityMilliseconds: Int64(seconds) * 1_000, heldGroups: &claims.heldGroups, now: now)
        }
        var bodies: [Int64: [UInt8]] = [:]
        var takenBack: Set<SequenceNumber> = []
        for (place, claim) in found.enumerated() {
            switch claim {
            case .gone: claims.gone += 1
            case .held: claims.held += 1
            case .handedOut(let entry) where takenBack.contains(entry.sequence): claims.held += 1
            case .handedOut(let entry):
                switch find(entry, &bodies) {
                case .success(let message?) where message.isSound: claims.messages.append(message)
                case .success(nil): claims.gone += 1
                // What was handed out becomes visible again when its timeout ends.
                case .failure(let error) where !error.isOfOneRow: return .failure(error)
                case .success, .failure:
                    claims.unreadable += 1
                    takenBack.formUnion(takeBack(entry, found[(place + 1)...], &claims.heldGroups))
                }
            }
        }
        return .success(claims)
    }

    private func takeBack(
        _ entry: ReceivedEntry, _ rest: some Sequence<Claim>, _ heldGroups: inout Set<UInt64>
    ) -> Set<SequenceNumber> {
        let now = shard.now()
        let handles = rest.compactMap { claim in
            if case .handedOut(let entry) = claim { entry.handle } else { nil }
        }
        let (taken, isReady) = shard.index.withLock { index in
            let taken = index.takeBack(entry.handle, rest: handles, heldGroups: &heldGroups, now: now)
            return (taken, index.hasReadyGroup)
        }
        if isReady, waiting.isEmpty { shard.notifyReady() }
        return taken
    }
}

extension EmbeddedShard: BrowsableShard {
    package func browse(
        after start: SequenceNumber?, limit: Int,
        completion: @escaping @Sendable (Result<BrowsedPage, ShardError>) -> Void
    ) {
        if post(.browse(after: start, limit: limit, completion)) { return }
        later { completion(.failure(.closed)) }
    }

    package func claim(
        _ sequences: [SequenceNumber], seconds: Int, heldGroups: Set<UInt64>,
        completion: @escaping @Sendable (Result<Claims, ShardError>) -> Void
    ) {
        if post(.claim(sequences, seconds: seconds, heldGroups: heldGroups, completion)) { return }
        later { completion(.failure(.closed)) }
    }
}

extension DatabaseError {
    fileprivate var isOfOneRow: Bool { ShardError.storageFailed(code: code).isOfOneRow }
}

extension ShardError {
    /// Whether it may be that one row alone cannot be read: it does not open, it or its page is damaged or shorter than
    /// what is to be in it, or the disk fails to read that place.
    fileprivate var isOfOneRow: Bool {
        guard case .storageFailed(let code) = self else { return false }
        return code == DatabaseError.unopenedRow || code & 0xFF == SQLITE_CORRUPT || code == SQLITE_IOERR | (1 << 8)
    }
}
