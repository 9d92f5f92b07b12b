// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolTestSupport

@testable import QueuePoolEmbedded

// A disk in memory, which outlives the processes that write to it. What a process wrote is there for the next one; only
// what it flushed is there after a loss of power. It fails where it is told to, or by chance, drawn from the generator it
// was given, so that a seed replays a run exactly.

/// What of a disk fails.
struct DiskFaults {
    /// Chances, in millionths, of each operation.
    var readsPerMillion = 0
    var writesPerMillion = 0
    var flushesPerMillion = 0
    /// Of a write that finds no room although the figures say there is some.
    var fullPerMillion = 0
    // The nth from now fails, once.
    var readToFail: Int?
    var writeToFail: Int?
    var flushToFail: Int?
    var writeToBeFull: Int?
    /// The nth write or flush from now is not carried out, nor anything after it: the process or the power is gone.
    var operationToHaltAt: Int?

    /// Counts a fault down.
    /// - Returns: whether it is its turn.
    static func isDue(_ countdown: inout Int?) -> Bool {
        guard let left = countdown else { return false }
        countdown = left > 1 ? left - 1 : nil
        return left <= 1
    }
}

/// A disk with the logs of a few stores.
/// - Important: used by the thread of the simulation only. That is what makes it Sendable.
final class SimulatedDisk: @unchecked Sendable {
    // Codes of SQLite's, whose meaning the stores know.
    static let full: Int32 = 13
    static let failedRead: Int32 = 266
    static let failedWrite: Int32 = 778
    static let failedFlush: Int32 = 1_034
    static let busy: Int32 = 5
    static let cut: Int32 = 10

    var faults = DiskFaults()
    /// Room of all files together.
    var bytesMax: Int
    /// Bytes in all files.
    fileprivate(set) var bytes = 0
    private(set) var writes = 0
    private(set) var flushes = 0
    /// Faults that were carried out.
    private(set) var failures = 0
    /// Transactions that a loss of power cut through; recovery drops them whole.
    private(set) var torn = 0
    /// The process or the power is gone: whatever is asked fails, and what it answers now, nobody hears.
    private(set) var isHalted = false
    /// Counts the processes. What an earlier one opened is of no use any more.
    private(set) var life = 1
    private var files: [String: SimulatedFile] = [:]
    private var random: SplitMix64

    /// - Parameter random: decides what fails by chance.
    init(random: SplitMix64, bytesMax: Int = 1 << 40) {
        self.random = random
        self.bytesMax = bytesMax
    }

    /// The file at a path, which is made if there is none.
    func file(_ path: String) -> SimulatedFile {
        if let file = files[path] { return file }
        let file = SimulatedFile(self)
        files[path] = file
        return file
    }

    /// Transactions that a loss of power may take.
    var unflushed: Int { files.values.reduce(0) { $0 + $1.unflushed.count } }

    // MARK: - Ends of a process

    /// Ends the process; what it wrote is there.
    func kill() {
        life += 1
        isHalted = false
        faults.operationToHaltAt = nil
        for file in files.values { file.lose(transactions: 0) }
    }

    /// Cuts the power: of what was not flushed, a random part from the front stays, none and all included.
    func crash(_ random: inout some RandomNumberGenerator) {
        kill()
        for (_, file) in files.sorted(by: { $0.key < $1.key }) where !file.unflushed.isEmpty {
            let lost = Int.random(in: 0...file.unflushed.count, using: &random)
            // Checksums tell a half-written transaction from a whole one, so it is lost like one that was not begun.
            if lost > 0, Bool.random(using: &random) { torn += 1 }
            file.lose(transactions: lost)
        }
    }

    // MARK: - What a log asks for

    func read() throws(DatabaseError) {
        guard !isHalted else { throw DatabaseError(code: SimulatedDisk.cut, operation: "read") }
        if DiskFaults.isDue(&faults.readToFail) || chance(faults.readsPerMillion) {
            failures += 1
            throw DatabaseError(code: SimulatedDisk.failedRead, operation: "read")
        }
    }

    /// - Parameter growth: bytes that the write adds.
    func write(growth: Int) throws(DatabaseError) {
        try count()
        writes += 1
        if DiskFaults.isDue(&faults.writeToFail) || chance(faults.writesPerMillion) {
            failures += 1
            throw DatabaseError(code: SimulatedDisk.failedWrite, operation: "write")
        }
        if growth > 0, bytes > bytesMax || DiskFaults.isDue(&faults.writeToBeFull) || chance(faults.fullPerMillion) {
            failures += 1
            throw DatabaseError(code: SimulatedDisk.full, operation: "write")
        }
    }

    func flush() throws(DatabaseError) {
        try count()
        flushes += 1
        if DiskFaults.isDue(&faults.flushToFail) || chance(faults.flushesPerMillion) {
            failures += 1
            throw DatabaseError(code: SimulatedDisk.failedFlush, operation: "flush")
        }
    }

    private func count() throws(DatabaseError) {
        if DiskFaults.isDue(&faults.operationToHaltAt) { isHalted = true }
        guard !isHalted else { throw DatabaseError(code: SimulatedDisk.cut, operation: "reach the disk") }
    }

    private func chance(_ perMillion: Int) -> Bool { perMillion > 0 && random.below(1_000_000) < perMillion }
}

/// A row of a log.
struct SimulatedRow {
    let shard: Int64
    let kind: Int64
    var head: [UInt8]
    var body: [UInt8]?

    /// With what a row takes beside its bytes.
    var byteCount: Int { 32 + head.count + (body?.count ?? 0) }
}

/// What one log has on the disk: all that was written, and how to take back what was not flushed.
/// - Important: used by the thread of the simulation only.
final class SimulatedFile {
    /// How to take back one change.
    fileprivate enum Undo {
        case row(Int64, SimulatedRow?)
        case identity(String, LogIdentity?)
        case leaving(Int64, Bool)
        case label(StoreLabel?)
    }

    /// A transaction that was written and not flushed.
    struct Transaction { fileprivate var changes: [Undo] = [] }

    private let disk: SimulatedDisk
    private(set) var rows: [Int64: SimulatedRow] = [:]
    private(set) var identities: [String: LogIdentity] = [:]
    private(set) var leaving: Set<Int64> = []
    private(set) var label: StoreLabel?
    private(set) var unflushed: [Transaction] = []
    private var open: Transaction?
    /// The process that has it open.
    var user: Int?
    /// Somebody moved it from its path.
    var isMoved = false

    fileprivate init(_ disk: SimulatedDisk) { self.disk = disk }

    var isInTransaction: Bool { open != nil }
    /// The numbers of all rows, in order.
    var rowNumbers: [Int64] { rows.keys.sorted() }

    func begin() { open = Transaction() }

    /// Takes the open transaction back.
    func rollBack() {
        if let open { undo(open) }
        open = nil
    }

    /// The open transaction was written.
    func wrote() {
        if let open, !open.changes.isEmpty { unflushed.append(open) }
        open = nil
    }

    /// What was written is on stable storage.
    func flushed() { unflushed.removeAll(keepingCapacity: true) }

    fileprivate func lose(transactions: Int) {
        rollBack()
        for transaction in unflushed.suffix(transactions).reversed() { undo(transaction) }
        unflushed.removeLast(transactions)
        user = nil
    }

    func set(_ row: SimulatedRow?, at number: Int64) {
        let before = rows[number]
        open?.changes.append(.row(number, before))
        put(row, at: number, before)
    }

    func set(_ identity: LogIdentity?, of name: String) {
        open?.changes.append(.identity(name, identities[name]))
        identities[name] = identity
    }

    func setLeaving(_ number: Int64, _ isLeaving: Bool) {
        open?.changes.append(.leaving(number, leaving.contains(number)))
        if isLeaving { leaving.insert(number) } else { leaving.remove(number) }
    }

    func set(_ label: StoreLabel) {
        open?.changes.append(.label(self.label))
        self.label = label
    }

    /// Cuts a row's head off in the middle, as a page does that was half written.
    func tear(row: Int64) {
        guard var torn = rows[row] else { return }
        torn.head.removeLast((torn.head.count + 1) / 2)
        put(torn, at: row, rows[row])
    }

    /// What of a row is damaged.
    enum Part: CaseIterable { case head, body }

    /// Flips a bit of a row, as a failing disk may at any time.
    func flip(_ part: Part, row: Int64) {
        guard var flipped = rows[row] else { return }
        switch part {
        case .head: flipped.head[flipped.head.count / 2] ^= 1
        case .body: flipped.body?[0] ^= 1
        }
        put(flipped, at: row, rows[row])
    }

    private func put(_ row: SimulatedRow?, at number: Int64, _ before: SimulatedRow?) {
        disk.bytes += (row?.byteCount ?? 0) - (before?.byteCount ?? 0)
        rows[number] = row
    }

    private func undo(_ transaction: Transaction) {
        for change in transaction.changes.reversed() {
            switch change {
            case .row(let number, let before): put(before, at: number, rows[number])
            case .identity(let name, let before): identities[name] = before
            case .leaving(let number, let before):
                if before { leaving.insert(number) } else { leaving.remove(number) }
            case .label(let before): label = before
            }
        }
    }
}
