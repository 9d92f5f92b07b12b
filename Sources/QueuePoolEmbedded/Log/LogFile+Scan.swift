// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

extension LogFile {
    /// Visits the head of every row, oldest first. Bodies stay on disk.
    func scan(_ visit: LogVisit) throws(DatabaseError) {
        _ = try scan("", visit)
    }

    /// Visits the heads of one shard's rows, among a bounded number of all that come after a row.
    /// - Returns: the last row that was looked at; `nil` if there are no more.
    func scanSlice(of shard: Int64, after: Int64, _ visit: LogVisit) throws(DatabaseError) -> Int64? {
        let (count, last) = try scan("WHERE id > \(after)", limit: LogFile.sliceRowsMax) {
            (found, row, kind, head, bodyBytes) throws(DatabaseError) in
            if found == shard { try visit(found, row, kind, head, bodyBytes) }
        }
        return count < LogFile.sliceRowsMax ? nil : last
    }

    private func scan(
        _ condition: String, limit: Int = -1, _ visit: LogVisit
    ) throws(DatabaseError) -> (count: Int, last: Int64) {
        try checkUsable()
        // length() of a blob is answered from the row's header; the overflow pages of the body are not read.
        let rows = try database.prepare(
            "SELECT id, kind, head, length(body), shard FROM log \(condition) ORDER BY id LIMIT \(limit)")
        var (count, last) = (0, Int64(0))
        while try rows.next("scan the log") {
            count += 1
            last = rows.integer(0)
            try visit(rows.integer(4), last, rows.integer(1), rows.bytes(2), Int(rows.integer(3)))
        }
        return (count, last)
    }
}
