// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import Synchronization

// Read in a turn of the writer, where no row moves. Bodies that are read for people are not kept: they would push out
// those that receivers are about to get.

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
            if page.messages.count >= limit || bytes >= ShardWriter.pageBytesMax {
                page.isLast = false
                break
            }
            let row = entry.entry.row
            do throws(DatabaseError) {
                var known = bodies[row] ?? entry.entry.body
                if known == nil { known = try store.file.body(row: row) }
                guard let body = known, entry.entry.offset + entry.entry.length <= body.count else {
                    return .failure(.storageFailed(code: 11))
                }
                if bodies.updateValue(body, forKey: row) == nil { bytes += body.count }
                page.messages.append(
                    BrowsedMessage(message: entry.entry.message(in: body), isInFlight: entry.isInFlight))
            } catch { return .failure(.storageFailed(code: error.code)) }
        }
        return .success(page)
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
        for claim in found {
            switch claim {
            case .gone: claims.gone += 1
            case .held: claims.held += 1
            case .handedOut(let entry):
                switch find(entry, &bodies) {
                case .success(let message?): claims.messages.append(message)
                case .success(nil): claims.gone += 1
                // What was handed out becomes visible again when its timeout ends.
                case .failure(let error): return .failure(error)
                }
            }
        }
        return .success(claims)
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
