// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

// A sealed row has a kind of its own, 16 above what it holds, so that neither a program without the key nor this one takes
// it for a plain one. Rows of before the key stay as they are, until their messages are gone and they go with them: they
// are never rewritten only to be sealed, because what was on the disk once is in freed pages anyway.
//
// A row that does not open is shown to whoever scans with the kind that it is stored with, which nobody knows there: it is
// a damaged row of its shard, and told as any other is.

extension LogKind {
    /// What is added to the kind of a row when it is sealed.
    static let sealed: Int64 = 16
}

/// A store's log with its rows sealed.
/// - Important: one thread at a time uses it, as any `StoreLog`.
final class SealedLog: StoreLog {
    private let inner: any StoreLog
    private let sealing: StoreSealing
    /// Rows that are not sealed, of those that were scanned. A row is asked for by number only after it was scanned or
    /// added here. One that is deleted may stay in it: its number comes again in `append` only.
    private var plainRows: Set<Int64> = []

    init(_ inner: any StoreLog, sealing: StoreSealing) {
        self.inner = inner
        self.sealing = sealing
    }

    // MARK: - Rows

    func append(shard: Int64, kind: Int64, head: [UInt8], body: [UInt8]?) throws(DatabaseError) -> Int64 {
        let row = inner.nextRow
        let place = RowPlace(
            shard: shard, row: Mutation.sealedForNextRow.isOn ? row + 1 : row, kind: UInt8(truncatingIfNeeded: kind))
        let sealed = try seal(head, body, place)
        let added = try inner.append(
            shard: shard, kind: kind + LogKind.sealed, head: sealed.head, body: sealed.body)
        // It would not open. The transaction is undone.
        guard added == row else { throw .unopened(added) }
        plainRows.remove(row)
        return added
    }

    func replace(row: Int64, head: [UInt8], body: [UInt8]) throws(DatabaseError) {
        guard !plainRows.contains(row) else { return try inner.replace(row: row, head: head, body: body) }
        guard let stored = try inner.head(row: row) else { return }
        let sealed = try seal(head, body, try open(stored, row).place)
        try inner.replace(row: row, head: sealed.head, body: sealed.body ?? [])
    }

    func head(row: Int64) throws(DatabaseError) -> [UInt8]? {
        guard let stored = try inner.head(row: row) else { return nil }
        return plainRows.contains(row) ? stored : try open(stored, row).head
    }

    func body(row: Int64) throws(DatabaseError) -> [UInt8]? {
        guard let stored = try inner.body(row: row) else { return nil }
        guard !plainRows.contains(row) else { return stored }
        guard let head = try inner.head(row: row) else { return nil }
        do throws(RowFault) { return try sealing.rows.open(body: stored, besideSealed: head, row: row) } catch {
            throw .unopened(row)
        }
    }

    func scan(_ visit: LogVisit) throws(DatabaseError) {
        try inner.scan { (shard, row, kind, head, bodyBytes) throws(DatabaseError) in
            try show(shard, row, kind, head, bodyBytes, visit)
        }
    }

    func scanSlice(of shard: Int64, after: Int64, _ visit: LogVisit) throws(DatabaseError) -> Int64? {
        try inner.scanSlice(of: shard, after: after) { (shard, row, kind, head, bodyBytes) throws(DatabaseError) in
            try show(shard, row, kind, head, bodyBytes, visit)
        }
    }

    private func show(
        _ shard: Int64, _ row: Int64, _ kind: Int64, _ head: [UInt8], _ bodyBytes: Int, _ visit: LogVisit
    ) throws(DatabaseError) {
        if sealing.mayHavePlainRows, kind < LogKind.sealed {
            plainRows.insert(row)
            return try visit(shard, row, kind, head, bodyBytes)
        }
        let overhead = sealing.rows.bodyOverheadBytes
        guard kind >= LogKind.sealed, bodyBytes == 0 || bodyBytes >= overhead, let opened = try? open(head, row),
            opened.place.shard == shard, Int64(opened.place.kind) == kind - LogKind.sealed
        else { return try visit(shard, row, kind < LogKind.sealed ? kind + LogKind.sealed : kind, head, bodyBytes) }
        try visit(shard, row, Int64(opened.place.kind), opened.head, max(0, bodyBytes - overhead))
    }

    private func seal(_ head: [UInt8], _ body: [UInt8]?, _ place: RowPlace) throws(DatabaseError) -> SealedRow {
        try sealing.sealed(head, body, at: place)
    }

    private func open(_ head: [UInt8], _ row: Int64) throws(DatabaseError) -> (head: [UInt8], place: RowPlace) {
        do throws(RowFault) { return try sealing.rows.open(head: head, row: row) } catch { throw .unopened(row) }
    }

    // MARK: - What has nothing to do with content

    var identities: [String: LogIdentity] { inner.identities }
    var leaving: [Int64: Int64] { inner.leaving }
    var nextRow: Int64 { inner.nextRow }
    var brokenBy: DatabaseError? { inner.brokenBy }
    var isCheckpointDue: Bool { inner.isCheckpointDue }

    func commit(on line: (any CommitLine)?, _ body: () throws(DatabaseError) -> Void) throws(DatabaseError) {
        try inner.commit(on: line, body)
    }

    func delete(row: Int64) throws(DatabaseError) { try inner.delete(row: row) }
    func removeSlice(of rows: some Collection<Int64>) throws(DatabaseError) -> Int { try inner.removeSlice(of: rows) }
    func rows() throws(DatabaseError) -> [String: Int] { try inner.rows() }

    func identity(of name: String, random: () -> UInt64) throws(DatabaseError) -> LogIdentity {
        try inner.identity(of: name, random: random)
    }

    func beginRemoval(of name: String) throws(DatabaseError) { try inner.beginRemoval(of: name) }
    func removeSlice() throws(DatabaseError) -> Bool { try inner.removeSlice() }
    func label() throws(DatabaseError) -> StoreLabel? { try inner.label() }
    func write(_ label: StoreLabel) throws(DatabaseError) { try inner.write(label) }
    func checkpoint() { inner.checkpoint() }
    func checkpointIfDue(on line: any CommitLine) { inner.checkpointIfDue(on: line) }
    func shrink() { inner.shrink() }
    func checkPlace() { inner.checkPlace() }
    func room() -> StoreRoom? { inner.room() }
    func close() { inner.close() }
}

extension EmbeddedShardOptions {
    /// Has all stores sealed that are opened with these options. Set `vfs` before.
    package mutating func seal(with keys: any StoreKeys) {
        let vfs = vfs
        openLog = { (path) throws(DatabaseError) in
            let sealing = try keys.sealing(ofFileAt: path)
            return SealedLog(try JournaledLog(path: path, vfs: vfs), sealing: sealing)
        }
    }
}
