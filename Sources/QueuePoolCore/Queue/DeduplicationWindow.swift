// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule

// Ids accepted within the last five minutes (I3). The interval runs from the first accepted send; a duplicate does not
// extend it (SQS developer guide, "exactly-once processing"; that duplicates do not extend it is how emulators read it).
//
// Millions of keys come and go, so no operation may copy them all. They stand in line by age, in chunks; 256 hash
// tables hold their numbers in the line, each with 31 bits of the key, so that a look-up touches one cache line and a
// rebuild touches no key. Nothing is ever taken out of a table: a number that has left the line is dead, and a table
// that fills up is rebuilt from its live ones, a 256th of all at a time.

/// Which deduplication keys count at a moment.
public struct DeduplicationBound: Sendable {
    /// The newest message that was there when the queue was opened.
    let lastRestored: SequenceNumber
    /// The lowest sequence number that counts: of those that were there, and of later ones.
    let oldestRestored: SequenceNumber
    let oldest: SequenceNumber

    public func counts(_ sequence: SequenceNumber) -> Bool {
        sequence >= (sequence <= lastRestored ? oldestRestored : oldest)
    }
}

/// Deduplication keys by the sequence number of the message that brought them first.
struct DeduplicationWindow: Sendable {
    private struct Item: Sendable {
        let key: Hash128
        let sequence: SequenceNumber
    }

    private static var chunkBits: Int { 12 }
    private static var tableCount: Int { 256 }
    private var chunks: Deque<[Item]> = []
    /// Number of the oldest key in the line, and the number of the next to come.
    private var oldest = 0
    private var next = 0
    private var tables = Array(repeating: KeyTable(), count: DeduplicationWindow.tableCount)
    private var lastRestored = SequenceNumber(rawValue: 0)
    private var gapMilliseconds: Int64 = 0
    /// Of no meaning.
    private var fetched: UInt64 = 0

    /// The message that brought `key` first, if that was within the interval before `now`.
    func first(_ key: Hash128, now: Timestamp) -> SequenceNumber? {
        let bound = bound(now)
        let table = DeduplicationWindow.table(of: key)
        var position = tables[table].start(key)
        while let distance = tables[table].distance(position, from: oldest) {
            // A key whose interval has passed may be here a second time.
            if distance < next - oldest, tables[table].mayHold(key, position) {
                let item = self[oldest + distance]
                if item.key == key, bound.counts(item.sequence) { return item.sequence }
            }
            position = tables[table].after(position)
        }
        return nil
    }

    /// Has the processor fetch the places where keys would be, all at the same time: each lies in another line of memory,
    /// and to wait for them one by one is most of what a look-up costs.
    mutating func fetch(_ keys: [Hash128]) {
        guard keys.count > 1 else { return }
        var sum: UInt64 = 0
        for key in keys { sum &+= tables[DeduplicationWindow.table(of: key)].first(key) }
        // Kept, so that the loads are not left out.
        fetched = sum
    }

    /// - Important: sequence numbers grow from call to call.
    mutating func insert(_ key: Hash128, _ sequence: SequenceNumber) {
        if next & (1 << DeduplicationWindow.chunkBits - 1) == 0 {
            var chunk: [Item] = []
            // The first one grows as it is filled: most of a thousand shards may have a few keys each.
            if !chunks.isEmpty { chunk.reserveCapacity(1 << DeduplicationWindow.chunkBits) }
            chunks.append(chunk)
        }
        chunks[chunks.count - 1].append(Item(key: key, sequence: sequence))
        tables[DeduplicationWindow.table(of: key)].insert(key, number: next, alive: oldest..<next)
        next += 1
    }

    /// Forgets what is older than the interval; at most `limit` keys a call, so that no caller waits for a large sweep.
    mutating func expire(now: Timestamp, limit: Int = 16_384) {
        let bound = bound(now)
        var left = limit
        while left > 0, oldest < next, !bound.counts(self[oldest].sequence) {
            oldest += 1
            left -= 1
            if oldest & (1 << DeduplicationWindow.chunkBits - 1) == 0 { chunks.removeFirst() }
        }
        if oldest == next, next > 0 { forgetPlaces() }
    }

    /// Gives back the memory of keys that are all gone: a shard that rests must not keep what it needed at its busiest.
    private mutating func forgetPlaces() {
        chunks = []
        oldest = 0
        next = 0
        tables = Array(repeating: KeyTable(), count: DeduplicationWindow.tableCount)
    }

    /// Takes note of an opening: what was restored counts as if no time had passed since `newest`.
    mutating func reopen(newest: SequenceNumber, now: Timestamp) {
        lastRestored = newest
        gapMilliseconds = newest.rawValue > 0 && !Mutation.stopsCountForIDs.isOn ? max(0, now - newest.sentAt) : 0
    }

    /// Which keys count at `now`.
    func bound(_ now: Timestamp) -> DeduplicationBound {
        DeduplicationBound(
            lastRestored: lastRestored, oldestRestored: DeduplicationWindow.oldest(now + -gapMilliseconds),
            oldest: DeduplicationWindow.oldest(now))
    }

    mutating func removeAll() { self = DeduplicationWindow() }

    /// Keys in the line.
    var count: Int { next - oldest }

    /// Places in all tables.
    var placeCount: Int { tables.reduce(0) { $0 + $1.placeCount } }

    /// The lowest sequence number that still counts at `now`.
    static func oldest(_ now: Timestamp) -> SequenceNumber {
        SequenceNumber(
            firstOf: now + -Int64(QueueLimits.deduplicationSeconds) * (Mutation.deduplicationTooShort.isOn ? 10 : 1_000)
        )
    }

    private static func table(of key: Hash128) -> Int { Int(key.low >> 56) }

    private subscript(number: Int) -> Item {
        let bits = DeduplicationWindow.chunkBits
        return chunks[number >> bits - oldest >> bits][number & (1 << bits - 1)]
    }
}

/// Numbers in the line by key: open addressing, linear probing, at most three quarters full.
private struct KeyTable: Sendable {
    /// Bit 63 set, 31 bits of the key, the lower 32 bits of the number; 0 where nothing is.
    private var places: [UInt64] = []
    private var used = 0

    var placeCount: Int { places.count }

    /// Where the search for a key begins.
    func start(_ key: Hash128) -> Int { Int(KeyTable.mark(key) >> 32) & (places.count - 1) }

    /// What lies where the search for a key begins; 0 in an empty table.
    func first(_ key: Hash128) -> UInt64 { places.isEmpty ? 0 : places[start(key)] }

    func after(_ position: Int) -> Int { (position + 1) & (places.count - 1) }

    /// How many numbers after `oldest` the one at `position` stands; `nil` if nothing is there.
    func distance(_ position: Int, from oldest: Int) -> Int? {
        guard !places.isEmpty, places[position] != 0 else { return nil }
        return Int(UInt32(truncatingIfNeeded: places[position]) &- UInt32(truncatingIfNeeded: oldest))
    }

    func mayHold(_ key: Hash128, _ position: Int) -> Bool { places[position] >> 32 == KeyTable.mark(key) >> 32 }

    mutating func insert(_ key: Hash128, number: Int, alive: Range<Int>) {
        if (used + 1) * 4 > places.count * 3 { rebuild(alive) }
        put(KeyTable.mark(key) | UInt64(UInt32(truncatingIfNeeded: number)))
    }

    private mutating func rebuild(_ alive: Range<Int>) {
        let first = UInt32(truncatingIfNeeded: alive.lowerBound)
        let kept = places.filter { $0 != 0 && Int(UInt32(truncatingIfNeeded: $0) &- first) < alive.count }
        var size = 16
        while size < 2 * kept.count { size *= 2 }
        places = Array(repeating: 0, count: size)
        used = 0
        for place in kept { put(place) }
    }

    private mutating func put(_ place: UInt64) {
        var position = Int(place >> 32) & (places.count - 1)
        while places[position] != 0 { position = after(position) }
        places[position] = place
        used += 1
    }

    private static func mark(_ key: Hash128) -> UInt64 { key.low << 32 | 1 << 63 }
}
