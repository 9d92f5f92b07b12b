// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import Crypto
import FoundationEssentials
package import QueuePoolCore
import Synchronization

// AES-256-GCM is broken by a nonce that is used twice with one key, and a store seals enough rows that 96 bits drawn at
// random for each would meet in the end. So nothing is drawn for a row: an opening of the store draws 128 bits, its salt,
// derives from them and the data key a key of its own (HKDF), and counts the rows that it seals. The salt and the count lie
// before the head. Neither a rolled back transaction nor a row's number that comes again turns the count back.
//
//   head:  shard (8) kind (1) salt (16) count (8) | ciphertext | tag (16)
//   body:                                         | ciphertext | tag (16)
//
// Authenticated with the head: row, shard and kind. With the body: row and the head's tag, so that a body opens beside the
// head only that it was sealed with. An older row of the same number, put back whole, opens: that takes somebody who may
// write the file, and is not told from a copy of the file that was put back.

/// Seals the rows of one store, from its opening on.
package final class RowSealer: RowSealing {
    private struct Salt: Hashable {
        let low: UInt64
        let high: UInt64
    }

    private static let prefixBytes = 33
    private static let tagBytes = 16
    /// Keys of other openings that are kept; each is made again in microseconds.
    private static let keysMax = 1_024

    private let dataKey: SymmetricKey
    private let salt: Salt
    private let key: SymmetricKey
    /// The same in each opening, and for nothing but digests.
    private let digestKey: SymmetricKey
    private let count = Atomic<UInt64>(0)
    private let keys = Mutex<[Salt: SymmetricKey]>([:])

    package let headOverheadBytes = prefixBytes + tagBytes
    package let bodyOverheadBytes = tagBytes

    private enum Part: UInt32 {
        case head = 0
        case body = 1
    }

    /// - Parameter dataKey: 32 bytes, of this store alone.
    package init(dataKey: SymmetricKey) {
        self.dataKey = dataKey
        var random = SystemRandomNumberGenerator()
        salt = Salt(low: random.next(), high: random.next())
        key = RowSealer.key(dataKey, salt)
        digestKey = HKDF<SHA256>.deriveKey(
            inputKeyMaterial: dataKey, info: Array("queuepool digests".utf8), outputByteCount: 32)
    }

    private static func key(_ dataKey: SymmetricKey, _ salt: Salt) -> SymmetricKey {
        HKDF<SHA256>.deriveKey(
            inputKeyMaterial: dataKey, salt: bytes(salt.low) + bytes(salt.high),
            info: Array("queuepool rows".utf8), outputByteCount: 32)
    }

    // MARK: - Sealing

    package func seal(head: [UInt8], body: [UInt8]?, at place: RowPlace) throws(RowFault) -> SealedRow {
        let number = count.add(1, ordering: .relaxed).oldValue
        var sealed: [UInt8] = []
        sealed.reserveCapacity(head.count + headOverheadBytes)
        sealed.append(contentsOf: RowSealer.bytes(UInt64(bitPattern: place.shard)))
        sealed.append(place.kind)
        sealed.append(contentsOf: RowSealer.bytes(salt.low))
        sealed.append(contentsOf: RowSealer.bytes(salt.high))
        sealed.append(contentsOf: RowSealer.bytes(number))
        do {
            let box = try AES.GCM.seal(
                head, using: key, nonce: RowSealer.nonce(number, .head), authenticating: RowSealer.context(place))
            sealed.append(contentsOf: box.ciphertext)
            sealed.append(contentsOf: box.tag)
            guard let body else { return SealedRow(head: sealed, body: nil) }
            let bodyBox = try AES.GCM.seal(
                body, using: key, nonce: RowSealer.nonce(number, .body),
                authenticating: RowSealer.context(row: place.row, head: sealed))
            var sealedBody: [UInt8] = []
            sealedBody.reserveCapacity(body.count + bodyOverheadBytes)
            sealedBody.append(contentsOf: bodyBox.ciphertext)
            sealedBody.append(contentsOf: bodyBox.tag)
            return SealedRow(head: sealed, body: sealedBody)
        } catch { throw RowFault() }
    }

    // MARK: - Opening

    package func open(head: [UInt8], row: Int64) throws(RowFault) -> (head: [UInt8], place: RowPlace) {
        let prefix = try prefix(head)
        let place = RowPlace(shard: Int64(bitPattern: prefix.shard), row: row, kind: prefix.kind)
        let opened = try open(
            head[RowSealer.prefixBytes...], prefix, .head, authenticating: RowSealer.context(place))
        return (opened, place)
    }

    package func open(body: [UInt8], besideSealed head: [UInt8], row: Int64) throws(RowFault) -> [UInt8] {
        try open(body[...], prefix(head), .body, authenticating: RowSealer.context(row: row, head: head))
    }

    private typealias Prefix = (shard: UInt64, kind: UInt8, salt: Salt, number: UInt64)

    private func prefix(_ head: [UInt8]) throws(RowFault) -> Prefix {
        guard head.count >= headOverheadBytes else { throw RowFault() }
        return (
            RowSealer.integer(head, 0), head[8],
            Salt(low: RowSealer.integer(head, 9), high: RowSealer.integer(head, 17)), RowSealer.integer(head, 25)
        )
    }

    private func open(
        _ sealed: ArraySlice<UInt8>, _ prefix: Prefix, _ part: Part, authenticating context: [UInt8]
    ) throws(RowFault) -> [UInt8] {
        guard sealed.count >= RowSealer.tagBytes else { throw RowFault() }
        do {
            let box = try AES.GCM.SealedBox(
                nonce: RowSealer.nonce(prefix.number, part), ciphertext: sealed.dropLast(RowSealer.tagBytes),
                tag: sealed.suffix(RowSealer.tagBytes))
            return Array(try AES.GCM.open(box, using: key(of: prefix.salt), authenticating: context))
        } catch { throw RowFault() }
    }

    private func key(of salt: Salt) -> SymmetricKey {
        guard salt != self.salt else { return key }
        return keys.withLock { keys in
            if let known = keys[salt] { return known }
            if keys.count >= RowSealer.keysMax { keys = [:] }
            let key = RowSealer.key(dataKey, salt)
            keys[salt] = key
            return key
        }
    }

    // MARK: - Finding

    package func digest(of text: [UInt8]) -> [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: text, using: digestKey))
    }

    // MARK: - Bytes

    private static func nonce(_ number: UInt64, _ part: Part) throws -> AES.GCM.Nonce {
        try AES.GCM.Nonce(data: bytes(number) + bytes(part.rawValue))
    }

    private static func context(_ place: RowPlace) -> [UInt8] {
        bytes(UInt64(bitPattern: place.row)) + bytes(UInt64(bitPattern: place.shard)) + [place.kind]
    }

    private static func context(row: Int64, head: [UInt8]) -> [UInt8] {
        bytes(UInt64(bitPattern: row)) + head.suffix(tagBytes)
    }

    private static func bytes(_ value: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: value.littleEndian) { Array($0) }
    }

    private static func integer(_ bytes: [UInt8], _ offset: Int) -> UInt64 {
        bytes.withUnsafeBytes { UInt64(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) }
    }
}
