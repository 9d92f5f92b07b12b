// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

// One commit in a journal: a header of 40 bytes, then what the commit does, then zeros up to a whole page, so that no later
// record shares a page with it: a write that power cuts off spoils its own record only. All numbers are little-endian.
//
//   0  magic          UInt32
//   4  0              UInt32
//   8  generation     UInt64   which use of a journal it belongs to; every use has a higher one
//  16  number         UInt64   0 for the first record of a generation
//  24  byte count     UInt64   of what follows the header, without the zeros
//  32  digest         UInt64   XXH64 of the 32 bytes before and of what follows
//
//   1  append    row, shard, kind (Int64 each), head count, body count (UInt32 each; none: no body), head, body
//   2  remove    count (UInt32), rows (Int64 each)
//   3  replace   row (Int64), head count, body count (UInt32 each), head, body

/// Where a row's head lies, and its body right behind it: in a record, or in a journal once the record's own place is added.
struct JournalPlace: Equatable {
    var offset: Int
    let headCount: UInt32
    /// `nil` if the row has none.
    let bodyCount: UInt32?

    var bodyOffset: Int { offset + Int(headCount) }
    /// About what the row takes.
    var byteCount: Int { Int(headCount) + Int(bodyCount ?? 0) + 64 }
}

/// A new row of the log.
struct JournalRow: Equatable {
    let shard: Int64
    let kind: Int64
    var place: JournalPlace
}

/// What a commit does to one row, or to several.
enum JournalStep: Equatable {
    case append(row: Int64, JournalRow)
    case remove([Int64])
    case replace(row: Int64, JournalPlace)

    /// The same with places in the journal.
    func placed(at start: Int) -> JournalStep {
        switch self {
        case .append(let number, var row):
            row.place.offset += start
            return .append(row: number, row)
        case .replace(let row, var place):
            place.offset += start
            return .replace(row: row, place)
        case .remove: return self
        }
    }
}

/// A record that is being written, in memory that is used again for the next.
struct JournalRecord: ~Copyable {
    static let pageBytes = 4_096
    static let headerBytes = 40
    private static let magic: UInt32 = 0x4C4A_5051
    fileprivate static let noBody = UInt32.max
    private static let keptBytesMax = 8 << 20

    private var memory: UnsafeMutableRawBufferPointer
    private var count = JournalRecord.headerBytes

    init() { memory = .allocate(byteCount: 1 << 20, alignment: JournalRecord.pageBytes) }

    deinit { memory.deallocate() }

    var isEmpty: Bool { count == JournalRecord.headerBytes }
    /// What it takes in a journal.
    var pagedByteCount: Int { JournalRecord.paged(count) }

    static func paged(_ count: Int) -> Int { (count + pageBytes - 1) / pageBytes * pageBytes }

    mutating func clear() {
        count = JournalRecord.headerBytes
        guard memory.count > JournalRecord.keptBytesMax else { return }
        memory.deallocate()
        memory = .allocate(byteCount: 1 << 20, alignment: JournalRecord.pageBytes)
    }

    mutating func append(row: Int64, shard: Int64, kind: Int64, head: [UInt8], body: [UInt8]?) -> JournalStep {
        reserve(1 + 32 + head.count + (body?.count ?? 0))
        put(UInt8(1))
        put(row)
        put(shard)
        put(kind)
        let place = put(head, body)
        return .append(row: row, JournalRow(shard: shard, kind: kind, place: place))
    }

    mutating func remove(_ rows: [Int64]) -> JournalStep {
        reserve(5 + rows.count * 8)
        put(UInt8(2))
        put(UInt32(rows.count))
        for row in rows { put(row) }
        return .remove(rows)
    }

    mutating func replace(row: Int64, head: [UInt8], body: [UInt8]) -> JournalStep {
        reserve(1 + 16 + head.count + body.count)
        put(UInt8(3))
        put(row)
        return .replace(row: row, put(head, body))
    }

    private mutating func put(_ head: [UInt8], _ body: [UInt8]?) -> JournalPlace {
        let (headCount, bodyCount) = (UInt32(head.count), body.map { UInt32($0.count) })
        put(headCount)
        put(bodyCount ?? JournalRecord.noBody)
        let place = JournalPlace(offset: count, headCount: headCount, bodyCount: bodyCount)
        put(head)
        if let body { put(body) }
        return place
    }

    /// The whole record, with its header and zeros at its end.
    mutating func finished(generation: UInt64, number: UInt64) -> UnsafeRawBufferPointer {
        let end = pagedByteCount
        reserve(end - count)
        memory.storeBytes(of: JournalRecord.magic.littleEndian, toByteOffset: 0, as: UInt32.self)
        memory.storeBytes(of: 0, toByteOffset: 4, as: UInt32.self)
        memory.storeBytes(of: generation.littleEndian, toByteOffset: 8, as: UInt64.self)
        memory.storeBytes(of: number.littleEndian, toByteOffset: 16, as: UInt64.self)
        let content = UInt64(count - JournalRecord.headerBytes)
        memory.storeBytes(of: content.littleEndian, toByteOffset: 24, as: UInt64.self)
        let digest = JournalRecord.digest(UnsafeRawBufferPointer(rebasing: memory[..<count]))
        memory.storeBytes(of: digest.littleEndian, toByteOffset: 32, as: UInt64.self)
        memory[count..<end].initializeMemory(as: UInt8.self, repeating: 0)
        return UnsafeRawBufferPointer(rebasing: memory[..<end])
    }

    /// Of a record without what comes after it: the header's first part, then its content.
    private static func digest(_ record: UnsafeRawBufferPointer) -> UInt64 {
        let header = XXHash64.hash(UnsafeRawBufferPointer(rebasing: record[..<32]))
        return header ^ XXHash64.hash(UnsafeRawBufferPointer(rebasing: record[headerBytes...]))
    }

    private mutating func reserve(_ more: Int) {
        guard count + more + JournalRecord.pageBytes > memory.count else { return }
        let grown = UnsafeMutableRawBufferPointer.allocate(
            byteCount: max(2 * memory.count, JournalRecord.paged(count + more) + JournalRecord.pageBytes),
            alignment: JournalRecord.pageBytes)
        grown.copyMemory(from: UnsafeRawBufferPointer(rebasing: memory[..<count]))
        memory.deallocate()
        memory = grown
    }

    // Room was reserved by the caller.

    private mutating func put(_ value: UInt8) {
        memory[count] = value
        count += 1
    }

    private mutating func put(_ value: some FixedWidthInteger) {
        withUnsafeBytes(of: value.littleEndian) { memory.baseAddress?.advanced(by: count).copyMemory($0) }
        count += value.bitWidth / 8
    }

    private mutating func put(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { memory.baseAddress?.advanced(by: count).copyMemory($0) }
        count += bytes.count
    }
}

extension UnsafeMutableRawPointer {
    fileprivate func copyMemory(_ bytes: UnsafeRawBufferPointer) {
        if let base = bytes.baseAddress { copyMemory(from: base, byteCount: bytes.count) }
    }
}

// MARK: - Reading

extension JournalRecord {
    /// What a record's header says, if it is one.
    struct Header: Equatable {
        let generation: UInt64
        let number: UInt64
        let byteCount: Int
    }

    /// - Returns: `nil` if no record begins so.
    static func header(_ bytes: [UInt8]) -> Header? {
        bytes.withUnsafeBytes { bytes in
            guard bytes.count >= headerBytes,
                UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt32.self)) == magic
            else { return nil }
            let number = { (offset: Int) in
                UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            }
            guard let count = Int(exactly: number(24)), count <= 1 << 40 else { return nil }
            return Header(generation: number(8), number: number(16), byteCount: count)
        }
    }

    /// What a whole record does, with places in the record.
    /// - Parameter bytes: header and content, without the zeros.
    /// - Returns: `nil` if it is not as it was written.
    static func steps(_ bytes: [UInt8]) -> [JournalStep]? {
        bytes.withUnsafeBytes { bytes in
            guard bytes.count >= headerBytes,
                digest(bytes) == UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 32, as: UInt64.self))
            else { return nil }
            var reader = JournalReader(bytes, from: headerBytes)
            var steps: [JournalStep] = []
            while !reader.isAtEnd {
                guard let step = reader.step() else { return nil }
                steps.append(step)
            }
            return steps
        }
    }
}

/// Reads what `JournalRecord` wrote.
private struct JournalReader {
    private let bytes: UnsafeRawBufferPointer
    private var offset: Int

    init(_ bytes: UnsafeRawBufferPointer, from offset: Int) {
        self.bytes = bytes
        self.offset = offset
    }

    var isAtEnd: Bool { offset == bytes.count }

    mutating func step() -> JournalStep? {
        switch integer(UInt8.self) {
        case 1:
            guard let row = integer(Int64.self), let shard = integer(Int64.self), let kind = integer(Int64.self),
                let place = place()
            else { return nil }
            return .append(row: row, JournalRow(shard: shard, kind: kind, place: place))
        case 2:
            guard let count = integer(UInt32.self), Int(count) <= (bytes.count - offset) / 8 else { return nil }
            return .remove((0..<count).compactMap { _ in integer(Int64.self) })
        case 3:
            guard let row = integer(Int64.self), let place = place() else { return nil }
            return .replace(row: row, place)
        default: return nil
        }
    }

    private mutating func place() -> JournalPlace? {
        guard let headCount = integer(UInt32.self), let bodyCount = integer(UInt32.self) else { return nil }
        let hasBody = bodyCount != JournalRecord.noBody
        let count = Int(headCount) + (hasBody ? Int(bodyCount) : 0)
        guard bytes.count - offset >= count else { return nil }
        defer { offset += count }
        return JournalPlace(offset: offset, headCount: headCount, bodyCount: hasBody ? bodyCount : nil)
    }

    private mutating func integer<Value: FixedWidthInteger>(_ type: Value.Type) -> Value? {
        let count = Value.bitWidth / 8
        guard bytes.count - offset >= count else { return nil }
        defer { offset += count }
        return Value(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Value.self))
    }
}
