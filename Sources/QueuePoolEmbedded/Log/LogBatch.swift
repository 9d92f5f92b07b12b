// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

/// What commits of one file of a journal did that SQLite does not have yet: the state of rows, not how they got there. Heads and bodies
/// stay in the journal.
struct LogBatch {
    /// What is known of a row.
    enum Found {
        /// The row is new, or has another head and body than SQLite or an earlier batch knows.
        case at(JournalPlace)
        case removed
    }

    /// New rows; `nil` where one is gone again. The first is number `first`.
    private var rows: ContiguousArray<JournalRow?> = []
    private var first: Int64 = 0
    private var replaced: [Int64: JournalPlace] = [:]
    /// Rows of SQLite, or of an earlier batch, that are gone.
    private(set) var removed: Set<Int64> = []
    /// Whether SQLite may have a part of it: it was on its way there, and did not come to its end. New rows that are gone again
    /// are removed there then.
    var isPartlySettled = false
    /// About what its new and replaced rows take.
    private(set) var byteCount = 0

    /// Whether SQLite need not know of it.
    var isEmpty: Bool { byteCount == 0 && removed.isEmpty }
    var newest: Int64? { rows.isEmpty ? nil : first + Int64(rows.count) - 1 }

    mutating func append(_ row: Int64, _ added: JournalRow) {
        if rows.isEmpty { first = row }
        // Numbers only rise; those of transactions that failed are left out.
        while first + Int64(rows.count) < row { rows.append(nil) }
        rows.append(added)
        byteCount += added.place.byteCount
    }

    /// Forgets what it knows of a row.
    /// - Returns: whether nobody else needs to: the row was new here.
    mutating func forget(_ row: Int64) -> Bool {
        if let place = place(of: row) {
            byteCount -= rows[place]?.place.byteCount ?? 0
            rows[place] = nil
            if isPartlySettled { removed.insert(row) }
            return true
        }
        if let old = replaced.removeValue(forKey: row) { byteCount -= old.byteCount }
        return false
    }

    /// Takes note that a row is gone which SQLite has, or will have.
    mutating func remove(_ row: Int64) { removed.insert(row) }

    mutating func replace(_ row: Int64, _ new: JournalPlace) {
        if let place = place(of: row) {
            guard let old = rows[place] else { return }
            byteCount -= old.place.byteCount
            rows[place] = JournalRow(shard: old.shard, kind: old.kind, place: new)
        } else if let old = replaced.updateValue(new, forKey: row) {
            byteCount -= old.byteCount
        }
        byteCount += new.byteCount
    }

    private func place(of row: Int64) -> Int? {
        let place = row - first
        return place >= 0 && place < rows.count ? Int(place) : nil
    }

    /// - Returns: `nil` if it knows nothing of the row.
    func find(_ row: Int64) -> Found? {
        if let place = place(of: row) { return rows[place].map { .at($0.place) } ?? .removed }
        if let place = replaced[row] { return .at(place) }
        return removed.contains(row) ? .removed : nil
    }

    // MARK: - Into SQLite

    /// One change of SQLite's rows.
    enum Change {
        case remove(Int64)
        case replace(Int64, JournalPlace)
        case add(Int64, JournalRow)

        /// About what it writes, in bytes.
        var weight: Int {
            switch self {
            // A part of the page that has its neighbours, too, and of lists of unused pages.
            case .remove: 4_096
            case .replace(_, let place): place.byteCount
            case .add(_, let row): row.place.byteCount
            }
        }
    }

    /// What SQLite must do to have it, in pieces of about a weight, of which the last may be empty. Each may be done twice.
    func forEachPiece(
        _ weightMax: Int, _ body: (_ piece: [Change], _ isLast: Bool) throws(DatabaseError) -> Void
    ) throws(DatabaseError) {
        var piece: [Change] = []
        var weight = 0
        func add(_ change: Change) throws(DatabaseError) {
            piece.append(change)
            weight += change.weight
            guard weight >= weightMax else { return }
            try body(piece, false)
            piece = []
            weight = 0
        }
        // First what gives room. In order, so that pages are met once.
        for row in removed.sorted() { try add(.remove(row)) }
        for (row, place) in replaced.sorted(by: { $0.key < $1.key }) { try add(.replace(row, place)) }
        for (index, row) in rows.enumerated() {
            if let row { try add(.add(first + Int64(index), row)) }
        }
        try body(piece, true)
    }
}
