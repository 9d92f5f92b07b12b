// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

// How records are read and written, as they are or sealed.

extension TrackingFile {
    /// What is known of a message whose time is not over.
    func record(_ id: String, ofPool pool: String, now: Timestamp) throws(DatabaseError) -> TrackingRecord? {
        guard let number = pools[pool], let row = try row(id, number) else { return nil }
        return row.expiresAt > now ? row.record : nil
    }

    /// Reads that found a row that is not as it was sealed, since this was called the last time.
    func takeDamaged() -> Int {
        defer { damaged = 0 }
        return damaged
    }

    /// What stands for an id in a row that is to be made.
    private func key(of id: String) -> [UInt8] { sealing?.key(of: id) ?? TrackingKey.bytes(of: id) }

    /// A row that is there.
    private struct Row {
        /// `nil` if nothing is known, or nothing that opens.
        var record: TrackingRecord?
        let expiresAt: Timestamp
        let key: [UInt8]
    }

    private func row(_ id: String, _ pool: Int64) throws(DatabaseError) -> Row? {
        let key = key(of: id)
        if let row = try row(id, pool, key) { return row }
        // One of before the data key has the id as it is.
        let plain = TrackingKey.bytes(of: id)
        guard let sealing, sealing.mayHavePlainRecords, plain != key else { return nil }
        return try row(id, pool, plain)
    }

    private func row(_ id: String, _ pool: Int64, _ key: [UInt8]) throws(DatabaseError) -> Row? {
        select.bind(1, pool)
        select.bind(2, copying: key)
        guard try select.next("find a record") else { return nil }
        defer { select.reset() }
        let expiresAt = Timestamp(milliseconds: select.integer(10))
        var found = Row(record: nil, expiresAt: expiresAt, key: key)
        let code = select.integer(0)
        if let sealing, code == TrackingSealing.state || !sealing.mayHavePlainRecords {
            if code == TrackingSealing.state {
                found.record = sealing.open(select.bytes(9), id: id, pool: pool, key: key)
            }
            if found.record == nil { damaged += 1 }
            return found
        }
        // A row without a state that is known says nothing, and anything may replace it.
        guard let state = TrackingState(code: code) else { return found }
        func time(_ column: Int32) -> Timestamp? {
            select.optionalInteger(column).map { Timestamp(milliseconds: $0) }
        }
        var record = TrackingRecord(id: id, state: state, at: Timestamp(milliseconds: select.integer(1)))
        record.acceptedAt = time(2)
        record.attempt = select.optionalInteger(3).map { Int($0) }
        record.nextAttemptAt = time(4)
        record.target = select.optionalText(5)
        record.reason = select.optionalText(6)
        record.errorClass = select.optionalText(7)
        record.recipients = select.optionalNumbers(8)
        record.tags = select.optionalText(9)
        found.record = record
        return found
    }

    func write(_ record: TrackingRecord, _ pool: Int64, _ expiresAt: Timestamp) throws(DatabaseError) {
        let found = try row(record.id, pool)
        var next = record
        if let earlier = found?.record {
            guard let merged = record.replacing(earlier) else { return }
            next = merged
        }
        let key = found?.key ?? key(of: record.id)
        let statement = found == nil ? insert : update
        if let sealing {
            statement.bind(1, TrackingSealing.state)
            statement.bind(2, 0)
            for column in Int32(3)...9 { statement.bindNull(column) }
            statement.bind(10, copying: try sealing.seal(next, pool: pool, key: key))
        } else {
            bind(next, to: statement)
        }
        statement.bind(11, expiresAt.milliseconds)
        statement.bind(12, pool)
        statement.bind(13, copying: key)
        try statement.run("write a record")
    }

    private func bind(_ next: TrackingRecord, to statement: Statement) {
        statement.bind(1, next.state.code)
        statement.bind(2, next.at.milliseconds)
        statement.bind(3, optional: next.acceptedAt?.milliseconds)
        statement.bind(4, optional: next.attempt.map { Int64($0) })
        statement.bind(5, optional: next.nextAttemptAt?.milliseconds)
        statement.bind(6, optional: next.target)
        statement.bind(7, optional: next.reason)
        statement.bind(8, optional: next.errorClass)
        statement.bind(9, optional: next.recipients)
        statement.bind(10, optional: next.tags)
    }
}
