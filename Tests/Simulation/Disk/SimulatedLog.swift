// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

@testable import QueuePoolEmbedded

// It keeps to what `LogFile` does, failures included: what makes it useless for good, what is undone, what nobody knows.

/// A store's log on a simulated disk.
/// - Important: used by the thread of the simulation only.
final class SimulatedLog: StoreLog {
    private static let checkpointWrites = 1_024

    private let disk: SimulatedDisk
    private let file: SimulatedFile
    private let life: Int
    private var isOpen = true
    private var writesSinceCheckpoint = 0
    private(set) var nextRow: Int64
    private(set) var identities: [String: LogIdentity]
    private(set) var leaving: [Int64: Int64]
    private(set) var brokenBy: DatabaseError?

    /// Opens a log, or makes it.
    init(path: String, on disk: SimulatedDisk) throws(DatabaseError) {
        self.disk = disk
        file = disk.file(path)
        life = disk.life
        guard file.user != life else { throw DatabaseError(code: SimulatedDisk.busy, operation: "open a file") }
        // What the process before wrote and did not flush must not be served before it is on stable storage.
        try disk.flush()
        file.flushed()
        file.user = life
        nextRow = (file.rows.keys.max() ?? 0) + 1
        identities = file.identities
        leaving = [:]
        for number in file.leaving { leaving[number] = 0 }
    }

    deinit { close() }

    func close() {
        guard isOpen else { return }
        isOpen = false
        if file.user == life { file.user = nil }
    }

    private func checkUsable() throws(DatabaseError) {
        if let brokenBy { throw brokenBy }
        guard isOpen, disk.life == life else {
            throw DatabaseError(code: SimulatedDisk.cut, operation: "use what an ended process had open")
        }
    }

    // MARK: - Transactions

    func commit(on line: (any CommitLine)?, _ body: () throws(DatabaseError) -> Void) throws(DatabaseError) {
        try checkUsable()
        guard !file.isInTransaction else { throw DatabaseError(code: 1, operation: "begin") }
        let bytes = disk.bytes
        file.begin()
        do throws(DatabaseError) {
            try body()
            try disk.write(growth: disk.bytes - bytes)
        } catch {
            file.rollBack()
            if error.isFatal { brokenBy = error }
            throw error
        }
        file.wrote()
        writesSinceCheckpoint += 1
        do throws(DatabaseError) { try disk.flush() } catch {
            brokenBy = error
            throw error
        }
        file.flushed()
    }

    func append(shard: Int64, kind: Int64, head: [UInt8], body: [UInt8]?) throws(DatabaseError) -> Int64 {
        try checkUsable()
        let row = nextRow
        file.set(SimulatedRow(shard: shard, kind: kind, head: head, body: body), at: row)
        nextRow = row + 1
        return row
    }

    func delete(row: Int64) throws(DatabaseError) {
        try checkUsable()
        if file.rows[row] != nil { file.set(nil, at: row) }
    }

    func replace(row: Int64, head: [UInt8], body: [UInt8]) throws(DatabaseError) {
        try checkUsable()
        guard var changed = file.rows[row] else { return }
        changed.head = head
        changed.body = body
        file.set(changed, at: row)
    }

    func removeSlice(of rows: some Collection<Int64>) throws(DatabaseError) -> Int {
        var (count, bytes) = (0, 0)
        for row in rows.prefix(LogFile.sliceRowsMax) where bytes < LogFile.sliceBytesMax {
            bytes += file.rows[row]?.body?.count ?? 0
            try delete(row: row)
            count += 1
        }
        return count
    }

    // MARK: - Reading

    func head(row: Int64) throws(DatabaseError) -> [UInt8]? {
        try checkUsable()
        try disk.read()
        return file.rows[row]?.head
    }

    func body(row: Int64) throws(DatabaseError) -> [UInt8]? {
        try checkUsable()
        try disk.read()
        return file.rows[row]?.body
    }

    func scan(_ visit: LogVisit) throws(DatabaseError) {
        try checkUsable()
        try disk.read()
        for number in file.rowNumbers { try show(number, visit) }
    }

    func scanSlice(of shard: Int64, after: Int64, _ visit: LogVisit) throws(DatabaseError) -> Int64? {
        try checkUsable()
        try disk.read()
        let slice = numbers(after: after)
        for number in slice where file.rows[number]?.shard == shard { try show(number, visit) }
        return slice.count < LogFile.sliceRowsMax ? nil : slice.last
    }

    private func numbers(after: Int64) -> [Int64] {
        Array(file.rows.keys.filter { $0 > after }.sorted().prefix(LogFile.sliceRowsMax))
    }

    private func show(_ number: Int64, _ visit: LogVisit) throws(DatabaseError) {
        if let row = file.rows[number] { try visit(row.shard, number, row.kind, row.head, row.body?.count ?? 0) }
    }

    func rows() throws(DatabaseError) -> [String: Int] {
        try checkUsable()
        return identities.mapValues { identity in file.rows.values.count { $0.shard == identity.number } }
    }

    // MARK: - Shards

    func identity(of name: String, random: () -> UInt64) throws(DatabaseError) -> LogIdentity {
        if let known = identities[name] { return known }
        let identity = LogIdentity(
            number: (identities.values.map(\.number) + leaving.keys).reduce(0, max) + 1,
            tag: ShardTag(rawValue: random()),
            deduplicationHash: SipHash128(key0: random(), key1: random()))
        try commit { () throws(DatabaseError) in file.set(identity, of: name) }
        identities[name] = identity
        return identity
    }

    func beginRemoval(of name: String) throws(DatabaseError) {
        guard let identity = identities[name] else { return }
        try commit { () throws(DatabaseError) in
            file.setLeaving(identity.number, true)
            file.set(nil, of: name)
        }
        identities[name] = nil
        leaving[identity.number] = 0
    }

    func removeSlice() throws(DatabaseError) -> Bool {
        guard let (number, after) = leaving.min(by: { $0.key < $1.key }) else { return false }
        let slice = numbers(after: after)
        let isLast = slice.count < LogFile.sliceRowsMax
        try commit { () throws(DatabaseError) in
            for row in slice where file.rows[row]?.shard == number { try delete(row: row) }
            if isLast { file.setLeaving(number, false) }
        }
        leaving[number] = isLast ? nil : slice.last
        return !leaving.isEmpty
    }

    func label() throws(DatabaseError) -> StoreLabel? { file.label }

    func write(_ label: StoreLabel) throws(DatabaseError) {
        try commit { () throws(DatabaseError) in file.set(label) }
    }

    // MARK: - Upkeep

    var isCheckpointDue: Bool { writesSinceCheckpoint >= SimulatedLog.checkpointWrites }

    func checkpoint() {
        guard brokenBy == nil, isOpen, disk.life == life, writesSinceCheckpoint > 0 else { return }
        writesSinceCheckpoint = 0
        do throws(DatabaseError) { try disk.flush() } catch {
            if error.isFatal { brokenBy = error }
        }
    }

    func shrink() {}

    func checkPlace() {
        guard brokenBy == nil, file.isMoved else { return }
        brokenBy = DatabaseError(code: ShardError.codeOfMovedFile, operation: "find the file where it was")
    }

    func room() -> StoreRoom? {
        StoreRoom(free: Int64(max(0, disk.bytesMax - disk.bytes)), total: Int64(disk.bytesMax))
    }
}
