// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Two members of one name mean one thing to one parser and another to the next (RFC 8259, 4), so they are refused. Each
// name costs a number of steps that depends on its length only: the first sixteen names that are open are compared by a
// short tag, all at once, without memory of their own; further ones, and those with escapes, go to a hash table. Its
// hashes differ in each process, so nobody can send names that meet in it. Names are not copied: they lie in the input.

/// The names of the members of the objects that are open, the innermost object's last.
struct JSONKeys {
    /// Names of one text that may go to the table: no reader of ours asks for more, and it bounds the memory and the time
    /// that a text of any size takes.
    static let furtherMax = 65_536
    private static let lanes = 16
    private typealias Lanes = SIMD16<UInt64>

    /// The first names: the offset of the opening quote in the upper half; tag and depth in the lower.
    private var first = Lanes(repeating: 0)
    private var count = 0
    private var further: JSONKeyTable?
    private var furtherCount = 0
    /// Names that ever went to the table.
    private var furtherTotal = 0

    /// Notes a name.
    /// - Parameters:
    ///   - place: the offset of its opening quote.
    ///   - depth: of its object.
    ///   - input: the text in which all names lie.
    /// - Returns: what is wrong with it; `nil` if nothing is.
    @inline(__always)
    mutating func insert(
        _ key: JSONString, at place: Int, depth: Int, in input: UnsafeRawBufferPointer
    ) -> JSONFault.Reason? {
        switch key {
        case .slice(let bytes):
            let label = JSONKeys.label(bytes, depth)
            guard !isKnown(bytes, label, input) else { return .duplicateKey }
            guard count < JSONKeys.lanes, furtherCount == 0, place <= UInt32.max else {
                return insertFurther(bytes, at: place, depth: depth, in: input)
            }
            put(UInt64(truncatingIfNeeded: place) << 32 | UInt64(label))
            return nil
        case .decoded(let bytes):
            return bytes.withUnsafeBytes { bytes in
                guard !isKnown(bytes, JSONKeys.label(bytes, depth), input) else { return .duplicateKey }
                return insertFurther(bytes, at: place, depth: depth, in: input)
            }
        }
    }

    /// Forgets the names of an object that has ended.
    /// - Parameter depth: of the object.
    @inline(__always)
    mutating func end(depth: Int) {
        if furtherCount > 0 { endFurther(depth) }
        count = withUnsafeMutableBytes(of: &first) { [count] lanes in
            var count = count
            while count > 0, Int(lanes[8 &* (count &- 1)]) == depth { count &-= 1 }
            return count
        }
    }

    @inline(__always)
    private mutating func put(_ lane: UInt64) {
        withUnsafeMutableBytes(of: &first) { [count] in
            // The depth is the lowest byte in memory on every machine.
            $0.storeBytes(of: lane.littleEndian, toByteOffset: 8 &* count, as: UInt64.self)
        }
        count &+= 1
    }

    /// Depth in the lowest byte; above it length and last bytes, which are what differs in names of one object.
    @inline(__always)
    private static func label(_ key: UnsafeRawBufferPointer, _ depth: Int) -> UInt32 {
        let mixed = (lastBytes(key) ^ UInt64(truncatingIfNeeded: key.count)) &* 0x9E37_79B9_7F4A_7C15
        return UInt32(truncatingIfNeeded: mixed >> 32) & ~0xFF | UInt32(truncatingIfNeeded: depth)
    }

    /// The last eight bytes, or all of a shorter name, some of them twice.
    @inline(__always)
    static func lastBytes(_ key: UnsafeRawBufferPointer) -> UInt64 {
        let count = key.count
        if count >= 8 { return key.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self) }
        if count >= 4 {
            let start = UInt64(key.loadUnaligned(as: UInt32.self))
            return start << 32 | UInt64(key.loadUnaligned(fromByteOffset: count &- 4, as: UInt32.self))
        }
        guard count > 0 else { return 0 }
        return UInt64(key[0]) << 16 | UInt64(key[count >> 1]) << 8 | UInt64(key[count &- 1])
    }

    /// Whether it is one of the first names.
    @inline(__always)
    private mutating func isKnown(
        _ key: UnsafeRawBufferPointer, _ label: UInt32, _ input: UnsafeRawBufferPointer
    ) -> Bool {
        // Mutable, because the lanes would be copied to be looked at otherwise.
        withUnsafeMutableBytes(of: &first) { [count] lanes in
            var lane = 0
            while lane < count {
                let found = UInt64(littleEndian: lanes.load(fromByteOffset: 8 &* lane, as: UInt64.self))
                if UInt32(truncatingIfNeeded: found) == label, JSONKeys.isSame(key, Int(found >> 32), input) {
                    return true
                }
                lane &+= 1
            }
            return false
        }
    }

    /// The first names have no escapes: one is the same if the same bytes stand there, and then its quote.
    @inline(never)
    private static func isSame(_ key: UnsafeRawBufferPointer, _ place: Int, _ input: UnsafeRawBufferPointer) -> Bool {
        let start = place + 1
        let end = start + key.count
        guard end < input.count, input[end] == UInt8(ascii: "\"") else { return false }
        return UnsafeRawBufferPointer(rebasing: input[start..<end]).elementsEqual(key)
    }

    @inline(never)
    private mutating func insertFurther(
        _ key: UnsafeRawBufferPointer, at place: Int, depth: Int, in input: UnsafeRawBufferPointer
    ) -> JSONFault.Reason? {
        guard furtherTotal < JSONKeys.furtherMax else { return .tooManyMembers }
        if further == nil { further = JSONKeyTable() }
        furtherTotal += 1
        furtherCount += 1
        return further?.insert(key, at: place, depth: depth, in: input) == false ? .duplicateKey : nil
    }

    @inline(never)
    private mutating func endFurther(_ depth: Int) {
        furtherCount = further?.end(depth: depth) ?? 0
    }
}

/// Names beyond the first few: open addressing with linear probing. The names that go are always those that came last,
/// and nothing was put behind them, so their slots are just cleared.
struct JSONKeyTable {
    private struct Entry {
        var hash: UInt64
        var place: Int
        var depth: Int
    }

    private static let seed = (UInt64.random(in: .min ... .max), UInt64.random(in: .min ... .max) | 1)

    private let seed = JSONKeyTable.seed
    private var entries: [Entry] = []
    /// Index of an entry plus one; zero is free. A power of two, at most half full.
    private var slots = [UInt32](repeating: 0, count: 64)

    mutating func insert(
        _ key: UnsafeRawBufferPointer, at place: Int, depth: Int, in input: UnsafeRawBufferPointer
    ) -> Bool {
        let hash = JSONKeyTable.hash(key, depth, seed)
        var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
        while slots[slot] != 0 {
            let other = entries[Int(slots[slot]) - 1]
            if other.hash == hash, other.depth == depth, JSONKeyTable.isSame(key, at: other.place, in: input) {
                return false
            }
            slot = (slot + 1) & (slots.count - 1)
        }
        entries.append(Entry(hash: hash, place: place, depth: depth))
        slots[slot] = UInt32(truncatingIfNeeded: entries.count)
        if entries.count * 2 > slots.count { grow() }
        return true
    }

    /// - Returns: how many names are left.
    mutating func end(depth: Int) -> Int {
        while let last = entries.last, last.depth == depth {
            var slot = Int(truncatingIfNeeded: last.hash) & (slots.count - 1)
            while Int(slots[slot]) != entries.count { slot = (slot + 1) & (slots.count - 1) }
            slots[slot] = 0
            entries.removeLast()
        }
        return entries.count
    }

    private mutating func grow() {
        slots = [UInt32](repeating: 0, count: slots.count * 2)
        for (index, entry) in entries.enumerated() {
            var slot = Int(truncatingIfNeeded: entry.hash) & (slots.count - 1)
            while slots[slot] != 0 { slot = (slot + 1) & (slots.count - 1) }
            slots[slot] = UInt32(truncatingIfNeeded: index + 1)
        }
    }

    /// Eight bytes at a time, folded products of 64 x 64 bits as in wyhash (Wang, 2019), under the process's own seed.
    private static func hash(_ key: UnsafeRawBufferPointer, _ depth: Int, _ seed: (UInt64, UInt64)) -> UInt64 {
        var hash = seed.0 ^ UInt64(truncatingIfNeeded: key.count << 8 | depth)
        var place = 0
        while place + 8 <= key.count {
            hash = folded(hash ^ key.loadUnaligned(fromByteOffset: place, as: UInt64.self), seed.1)
            place += 8
        }
        return folded(hash ^ JSONKeys.lastBytes(key), seed.1)
    }

    @inline(__always)
    private static func folded(_ left: UInt64, _ right: UInt64) -> UInt64 {
        let product = left.multipliedFullWidth(by: right)
        return product.high ^ product.low
    }

    /// Whether the name whose opening quote is at `place` has these bytes. It was read before, so it is sound. Asked of
    /// names with equal hashes only, which are the same.
    private static func isSame(_ key: UnsafeRawBufferPointer, at place: Int, in input: UnsafeRawBufferPointer) -> Bool {
        var reader = JSONReader(input)
        reader.offset = place
        guard let other = try? reader.scanString() else { return false }
        return other.withBytes { $0.elementsEqual(key) }
    }
}
