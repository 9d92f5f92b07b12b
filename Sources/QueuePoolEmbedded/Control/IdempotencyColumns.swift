// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

// How a record lies in its columns, as it is or sealed.

extension SQLiteIdempotencyStore {
    /// What a record's row holds beside its number and its time.
    struct Columns {
        var key: [UInt8]
        var fingerprint: [UInt8]
        var answer: [UInt8]?
    }

    private static let hashBytes = 16
    private static let headBytes = 2 * hashBytes + 9

    /// What is to be written of a record.
    static func columns(of record: IdempotencyRecord, _ sealing: StoreSealing?) throws(DatabaseError) -> Columns {
        guard let sealing else {
            return Columns(key: encode(record.key), fingerprint: encode(record.fingerprint), answer: record.answer)
        }
        let sealed = try sealing.sealed(head(of: record), record.answer, at: place(record.number))
        return Columns(key: sealed.head, fingerprint: [], answer: sealed.body)
    }

    /// The record of a row.
    /// - Returns: `nil` if the row holds none, or none that was sealed there.
    static func record(
        _ number: Int64, _ columns: Columns, at: Int64, _ sealing: StoreSealing?
    ) -> IdempotencyRecord? {
        if let sealing, !sealing.mayHavePlainRows || columns.fingerprint.isEmpty {
            return opened(number, columns, sealing)
        }
        guard let key = decode(columns.key[...]), let fingerprint = decode(columns.fingerprint[...]) else {
            return nil
        }
        return IdempotencyRecord(
            number: number, key: key, fingerprint: fingerprint, at: Timestamp(milliseconds: at),
            answer: columns.answer)
    }

    private static func opened(
        _ number: Int64, _ columns: Columns, _ sealing: StoreSealing
    ) -> IdempotencyRecord? {
        guard let opened = try? sealing.rows.open(head: columns.key, row: number), opened.place == place(number),
            opened.head.count == headBytes, let key = decode(opened.head[..<hashBytes]),
            let fingerprint = decode(opened.head[hashBytes..<2 * hashBytes])
        else { return nil }
        let at = opened.head[(2 * hashBytes)..<(headBytes - 1)].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        var answer: [UInt8]?
        // Whether there is an answer decides whether a request is carried out again, so that is sealed too.
        if opened.head.last == 1 {
            guard let stored = columns.answer,
                let body = try? sealing.rows.open(body: stored, besideSealed: columns.key, row: number)
            else { return nil }
            answer = body
        }
        return IdempotencyRecord(
            number: number, key: key, fingerprint: fingerprint,
            at: Timestamp(milliseconds: Int64(bitPattern: at)), answer: answer)
    }

    private static func place(_ number: Int64) -> RowPlace {
        RowPlace(shard: 0, row: number, kind: SealedKind.idempotency)
    }

    private static func head(of record: IdempotencyRecord) -> [UInt8] {
        let at = (0..<8).map { UInt8(truncatingIfNeeded: record.at.milliseconds >> (8 * $0)) }
        return encode(record.key) + encode(record.fingerprint) + at + [record.answer == nil ? 0 : 1]
    }

    private static func encode(_ hash: Hash128) -> [UInt8] {
        [hash.high, hash.low].flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> (56 - 8 * $0)) } }
    }

    private static func decode(_ bytes: ArraySlice<UInt8>) -> Hash128? {
        guard bytes.count == hashBytes else { return nil }
        let words = [bytes.prefix(8), bytes.suffix(8)].map { $0.reduce(UInt64(0)) { $0 << 8 | UInt64($1) } }
        return Hash128(high: words[0], low: words[1])
    }
}
