// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Crypto
import QueuePoolCore
import QueuePoolSealing
import Testing

private let dataKey = SymmetricKey(data: (0..<32).map { UInt8($0) })
private let place = RowPlace(shard: 3, row: 41, kind: 1)
private let head = Array("directory and keys".utf8)
private let body = Array("what nobody else may read".utf8)

/// Whether neither part of a row opens at a number.
private func isClosed(_ row: SealedRow, _ sealer: RowSealer, row number: Int64 = place.row) -> Bool {
    (try? sealer.open(head: row.head, row: number)) == nil
        && (try? sealer.open(body: row.body ?? [], besideSealed: row.head, row: number)) == nil
}

@Suite struct `Sealed rows` {
    private let sealer = RowSealer(dataKey: dataKey)
    private let row: SealedRow

    init() throws { row = try sealer.seal(head: head, body: body, at: place) }

    @Test func `open as they were, in this opening of the store and in the next`() throws {
        for opener in [sealer, RowSealer(dataKey: dataKey)] {
            let opened = try opener.open(head: row.head, row: place.row)
            #expect(opened.head == head && opened.place == place)
            let stored = try #require(row.body)
            #expect(try opener.open(body: stored, besideSealed: row.head, row: place.row) == body)
        }
        #expect(row.head.count == head.count + sealer.headOverheadBytes)
        #expect(row.body?.count == body.count + sealer.bodyOverheadBytes)
    }

    @Test(arguments: [0, 1, 15, 16, 17, 100_000])
    func `may be of any length`(length: Int) throws {
        let bytes = (0..<length).map { UInt8(truncatingIfNeeded: $0) }
        let row = try sealer.seal(head: bytes, body: bytes, at: place)
        #expect(try sealer.open(head: row.head, row: place.row).head == bytes)
        #expect(try sealer.open(body: row.body ?? [], besideSealed: row.head, row: place.row) == bytes)
        #expect(try sealer.seal(head: bytes, body: nil, at: place).body == nil)
    }

    @Test func `do not open with one bit of the head flipped, wherever it is`() throws {
        for byte in row.head.indices {
            for bit in 0..<8 {
                var changed = row.head
                changed[byte] ^= 1 << UInt8(bit)
                #expect(throws: RowFault()) { try sealer.open(head: changed, row: place.row) }
            }
        }
    }

    @Test func `do not open with one bit of the body flipped, wherever it is`() throws {
        let stored = try #require(row.body)
        for byte in stored.indices {
            for bit in 0..<8 {
                var changed = stored
                changed[byte] ^= 1 << UInt8(bit)
                #expect(throws: RowFault()) {
                    try sealer.open(body: changed, besideSealed: row.head, row: place.row)
                }
            }
        }
    }

    @Test func `do not open shorter or longer than they were`() throws {
        let stored = try #require(row.body)
        for count in 0..<row.head.count {
            #expect(throws: RowFault()) { try sealer.open(head: Array(row.head.prefix(count)), row: place.row) }
        }
        for count in 0..<stored.count {
            #expect(throws: RowFault()) {
                try sealer.open(body: Array(stored.prefix(count)), besideSealed: row.head, row: place.row)
            }
        }
        #expect(isClosed(SealedRow(head: row.head + [0], body: stored + [0]), sealer))
    }

    @Test(arguments: [Int64(0), 40, 42, -41, .max])
    func `do not open under another number`(number: Int64) { #expect(isClosed(row, sealer, row: number)) }

    @Test func `do not open with another key`() {
        #expect(isClosed(row, RowSealer(dataKey: SymmetricKey(size: .bits256))))
    }

    @Test func `have their head and body of one sealing`() throws {
        let again = try sealer.seal(head: head, body: body, at: place)
        #expect(throws: RowFault()) {
            try sealer.open(body: row.body ?? [], besideSealed: again.head, row: place.row)
        }
        #expect(throws: RowFault()) { try sealer.open(body: row.head, besideSealed: row.head, row: place.row) }
    }

    @Test func `differ in every part although they say the same, in one opening and in two`() throws {
        let rows = try [sealer, sealer, RowSealer(dataKey: dataKey)].map {
            try $0.seal(head: head, body: body, at: place)
        }
        #expect(Set(rows.map { $0.head.dropFirst(33) }).count == 3)
        #expect(Set(rows.map { $0.body ?? [] }).count == 3)
        // The salt and the count together are the nonce: no two rows may share them.
        #expect(Set(rows.map { $0.head[9..<33] }).count == 3)
    }

    @Test func `are found by digests that are the same in each opening, and another key's are others`() {
        let text = Array("of a caller's".utf8)
        #expect(sealer.digest(of: text) == RowSealer(dataKey: dataKey).digest(of: text))
        #expect(sealer.digest(of: text).count == 32)
        #expect(sealer.digest(of: text) != sealer.digest(of: text + [0]))
        #expect(sealer.digest(of: text) != RowSealer(dataKey: SymmetricKey(size: .bits256)).digest(of: text))
    }
}
