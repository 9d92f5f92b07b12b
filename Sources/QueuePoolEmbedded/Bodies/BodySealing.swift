// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

// A sealed part is a sealed head and a sealed body, one behind the other. Its head says whose part it is: the body's key and
// how long the whole body is. So a part opens in its place, in its body only, and a body that was cut short, or that
// another key was put before, does not open. A sealed body has at least one part: an empty one says so itself.

/// What seals the parts of large bodies.
struct BodySealing: Sendable {
    private let sealing: StoreSealing

    /// What the column `sealed` says of bodies of this form.
    static let form: Int64 = 1

    init(_ sealing: StoreSealing) { self.sealing = sealing }

    /// Bodies may be there that are older than the file's data key.
    var mayHavePlainBodies: Bool { sealing.mayHavePlainRows }

    /// Bytes by which a part is longer when it is sealed.
    func overheadBytes(key: String) -> Int {
        sealing.rows.headOverheadBytes + key.utf8.count + 8 + sealing.rows.bodyOverheadBytes
    }

    /// Seals a part.
    func seal(
        _ part: UnsafeRawBufferPointer, row: Int64, key: String, bodyBytes: Int
    ) throws(DatabaseError) -> [UInt8] {
        let place = RowPlace(shard: row >> BodyFile.partBits, row: row, kind: SealedKind.bodyPart)
        let sealed = try sealing.sealed(BodySealing.head(key, bodyBytes), Array(part), at: place)
        return sealed.head + (sealed.body ?? [])
    }

    /// Opens a part.
    /// - Throws: `DatabaseError.unopened` if it is not this part of this body, as it was sealed.
    func open(_ part: [UInt8], row: Int64, key: String, bodyBytes: Int) throws(DatabaseError) -> [UInt8] {
        let expected = BodySealing.head(key, bodyBytes)
        let headBytes = sealing.rows.headOverheadBytes + expected.count
        guard part.count >= headBytes else { throw .unopened(row) }
        let head = Array(part[..<headBytes])
        do throws(RowFault) {
            let opened = try sealing.rows.open(head: head, row: row)
            let place = RowPlace(shard: row >> BodyFile.partBits, row: row, kind: SealedKind.bodyPart)
            guard opened.place == place, opened.head == expected else { throw RowFault() }
            return try sealing.rows.open(body: Array(part[headBytes...]), besideSealed: head, row: row)
        } catch { throw .unopened(row) }
    }

    private static func head(_ key: String, _ bodyBytes: Int) -> [UInt8] {
        Array(key.utf8) + (0..<8).map { UInt8(truncatingIfNeeded: bodyBytes >> (8 * $0)) }
    }
}
