// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

// A sealed record lies in one column, and the others say nothing: the state is a number that is none of a state, so that a
// program without the key takes the row for one of which nothing is known. The pool's number and the message's key are
// sealed with it, so that it opens in its own row only. When it ends stays readable, because rows go by it.

/// What seals tracking records.
struct TrackingSealing: Sendable {
    private let sealing: StoreSealing

    /// What the column `state` says of a sealed record.
    static let state: Int64 = 16

    init(_ sealing: StoreSealing) { self.sealing = sealing }

    /// Records may be there that are older than the file's data key.
    var mayHavePlainRecords: Bool { sealing.mayHavePlainRows }

    /// What stands for a message's id in the file. A UUID that the queue made says nothing; any other text may come from a
    /// caller, and only a keyed digest of it is stored.
    func key(of id: String) -> [UInt8] {
        let key = TrackingKey.bytes(of: id)
        return key.count == TrackingKey.uuidBytes ? key : sealing.rows.digest(of: key)
    }

    func seal(_ record: TrackingRecord, pool: Int64, key: [UInt8]) throws(DatabaseError) -> [UInt8] {
        var fields = TrackingFields()
        fields.put(key)
        fields.put(record.state.code)
        fields.put(record.at.milliseconds)
        fields.put(record.acceptedAt?.milliseconds)
        fields.put(record.attempt.map { Int64($0) })
        fields.put(record.nextAttemptAt?.milliseconds)
        for text in [record.target, record.reason, record.errorClass, record.tags] {
            fields.put(text.map { Array($0.utf8) })
        }
        fields.put((record.recipients?.count).map { Int64($0) })
        for place in record.recipients ?? [] { fields.put(Int64(place)) }
        return try sealing.sealed(fields.bytes, nil, at: TrackingSealing.place(pool)).head
    }

    /// - Returns: `nil` if it is not what was sealed for this row.
    func open(_ sealed: [UInt8], id: String, pool: Int64, key: [UInt8]) -> TrackingRecord? {
        guard let opened = try? sealing.rows.open(head: sealed, row: 0), opened.place == TrackingSealing.place(pool)
        else { return nil }
        var fields = TrackingFields(bytes: opened.head)
        guard fields.takeBytes() == key, let state = fields.take().flatMap({ TrackingState(code: $0) }),
            let at = fields.take()
        else { return nil }
        var record = TrackingRecord(id: id, state: state, at: Timestamp(milliseconds: at))
        record.acceptedAt = fields.take().map { Timestamp(milliseconds: $0) }
        record.attempt = fields.take().map { Int($0) }
        record.nextAttemptAt = fields.take().map { Timestamp(milliseconds: $0) }
        record.target = fields.takeText()
        record.reason = fields.takeText()
        record.errorClass = fields.takeText()
        record.tags = fields.takeText()
        if let count = fields.take() {
            record.recipients = (0..<max(0, min(Int(count), TrackingRecord.recipientsMax))).compactMap { _ in
                fields.take().map { Int($0) }
            }
        }
        return fields.isWhole ? record : nil
    }

    /// The row has no number of its own; its key is in what is sealed.
    private static func place(_ pool: Int64) -> RowPlace { RowPlace(shard: pool, row: 0, kind: SealedKind.tracking) }
}

/// Numbers and texts one behind the other, each of which may be missing. Little-endian.
private struct TrackingFields {
    private(set) var bytes: [UInt8] = []
    private var next = 0
    private var isShort = false

    init(bytes: [UInt8] = []) { self.bytes = bytes }

    /// All of it was taken, and nothing more.
    var isWhole: Bool { !isShort && next == bytes.count }

    mutating func put(_ value: Int64?) {
        bytes.append(value == nil ? 0 : 1)
        if let value { append(value) }
    }

    mutating func put(_ text: [UInt8]?) {
        put((text?.count).map { Int64($0) })
        bytes += text ?? []
    }

    mutating func take() -> Int64? {
        guard let mark = takeSlice(1)?.first, mark == 1, let value = takeSlice(8) else { return nil }
        return Int64(bitPattern: value.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
    }

    mutating func takeBytes() -> [UInt8]? {
        guard let count = take() else { return nil }
        return takeSlice(Int(count)).map { Array($0) }
    }

    mutating func takeText() -> String? { takeBytes().map { String(decoding: $0, as: UTF8.self) } }

    private mutating func append(_ value: Int64) {
        for byte in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: value >> (8 * byte))) }
    }

    private mutating func takeSlice(_ count: Int) -> ArraySlice<UInt8>? {
        guard count >= 0, count <= bytes.count - next else {
            isShort = true
            return nil
        }
        defer { next += count }
        return bytes[next..<next + count]
    }
}
