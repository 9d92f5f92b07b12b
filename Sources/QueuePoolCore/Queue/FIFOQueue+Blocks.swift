// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule

// Blocks are the log's rows seen from the index: a row may be deleted once none of its messages is left, and a row
// that keeps few of many messages is worth rewriting. What the log must keep of deletions follows from it: a deletion
// row can go when every block that had a message in it is gone or was rewritten since.

/// A row of the log none of whose messages is left.
public struct FinishedBlock: Hashable, Sendable {
    public let row: Int64
    /// The first deletion row that names a message of it. As long as the block is in the log, none from there on may go.
    public let firstDeletionRow: Int64
    /// Bytes of its body.
    public let byteCount: UInt32
}

/// Bodies of recent rows, oldest out first.
struct BlockCache: Sendable {
    var bytesMax: Int
    var bytes = 0
    /// Blocks that have their body.
    var blockCount = 0
    /// Cached blocks in the order in which they came; may name blocks that are gone.
    var order: Deque<(block: UInt32, row: Int64)> = []

    var nameCount: Int { order.count }

    init(bytesMax: Int) { self.bytesMax = bytesMax }
}

extension FIFOQueue {
    /// Puts a row's body into the cache.
    mutating func keep(_ body: [UInt8], of block: UInt32) {
        guard body.count <= cache.bytesMax, blocks[block].body == nil else { return }
        blocks[block].body = body
        cache.bytes += body.count
        cache.blockCount += 1
        cache.order.append((block, blocks[block].row))
        // Rows that are deleted before the cache is full leave their names behind.
        if cache.order.count > 2 * cache.blockCount + 1_024 {
            cache.order.removeAll { blocks[$0.block].row != $0.row || blocks[$0.block].body == nil }
        }
        trimCache()
    }

    /// Keeps bodies of at most so many bytes from now on; the oldest go first.
    public mutating func limitCache(toBytes bytesMax: Int) {
        cache.bytesMax = bytesMax
        trimCache()
    }

    /// Bytes of bodies in memory.
    public var cachedBytes: Int { cache.bytes }

    private mutating func trimCache() {
        while cache.bytes > cache.bytesMax, let oldest = cache.order.popFirst() {
            if blocks[oldest.block].row == oldest.row { drop(cached: oldest.block) }
        }
    }

    /// Puts a row's body, read from disk, into the cache if the row is still there.
    public mutating func keep(_ body: [UInt8], row: Int64, for handle: ReceiptHandle) {
        guard let place = place(of: handle), blocks[entries[place].block].row == row else { return }
        keep(body, of: entries[place].block)
    }

    mutating func drop(cached block: UInt32) {
        guard let body = blocks[block].body else { return }
        cache.bytes -= body.count
        cache.blockCount -= 1
        blocks[block].body = nil
    }

    mutating func unlinkFromBlock(_ place: UInt32, deletionRow: Int64) {
        let block = entries[place].block
        blocks[block].places[Int(entries[place].indexInBlock)] = noPlace
        blocks[block].live -= 1
        guard blocks[block].live == 0 else { return }
        blocks[block].places = []
        if blocks[block].firstDeletionRow > 0 { pinCount -= 1 }
        drop(cached: block)
        finishedBlocks.append(
            FinishedBlock(
                row: blocks[block].row,
                firstDeletionRow: blocks[block].firstDeletionRow > 0 ? blocks[block].firstDeletionRow : deletionRow,
                byteCount: blocks[block].byteCount))
        popEmptyBlocks()
    }

    private mutating func popEmptyBlocks() {
        emptyBlocks += 1
        while let front = blockOrder.first, blocks[front].live == 0 { releaseFront(front) }
        // Stragglers at the front would keep the places of every empty block behind them.
        if emptyBlocks > 1_024, emptyBlocks > blockOrder.count / 2 {
            for block in blockOrder where blocks[block].live == 0 { release(block) }
            blockOrder.removeAll { blocks[$0].row == 0 }
            emptyBlocks = 0
        }
    }

    private mutating func releaseFront(_ block: UInt32) {
        blockOrder.removeFirst()
        release(block)
        emptyBlocks -= 1
    }

    private mutating func release(_ block: UInt32) {
        blocks[block].row = 0
        blocks.remove(block)
    }

    /// Blocks none of whose messages is left, since the last call.
    public mutating func takeFinishedBlocks() -> [FinishedBlock] {
        defer { finishedBlocks = [] }
        return finishedBlocks
    }

    /// Blocks that hold messages.
    public var blockCount: Int { blockOrder.count - emptyBlocks }

    /// Rows that hold messages.
    public func blockRows() -> [Int64] { blockOrder.lazy.filter { blocks[$0].live > 0 }.map { blocks[$0].row } }

    /// Milliseconds since the send of the oldest undeleted message; `nil` if there is none.
    public func oldestAge(_ now: Timestamp) -> Int64? {
        guard let front = blockOrder.first(where: { blocks[$0].live > 0 }), let oldest = livePlaces(front).first
        else { return nil }
        return max(0, now - entries[oldest].sequence.sentAt)
    }

    /// Messages in flight.
    public var inFlightCount: Int { timeouts.count + heldCount }

    /// Places of a block's undeleted messages, oldest first.
    func livePlaces(_ block: UInt32) -> LazyFilterSequence<[UInt32]> {
        blocks[block].places.lazy.filter { $0 != noPlace }
    }

    /// Messages whose delay has not passed and which are not in flight; they are the newest ones.
    public func delayedCount(_ now: Timestamp) -> Int {
        guard attributes.delaySeconds > 0 else { return 0 }
        var count = 0
        for block in blockOrder.reversed() {
            guard let newest = livePlaces(block).last else { continue }
            if availableAt(entries[newest]) <= now { break }
            for place in livePlaces(block) where availableAt(entries[place]) > now && !isInFlight(place) { count += 1 }
        }
        return count
    }

    /// Messages older than the retention period, oldest first; those in flight are left until they are visible again.
    /// - Returns: handles by which `finishDelete` can take them out once their deletion is written; they are held.
    public mutating func takeExpired(now: Timestamp, limit: Int = 1_000) -> [ReceiptHandle] {
        let oldest = oldestKept(now)
        var handles: [ReceiptHandle] = []
        for block in blockOrder {
            if blocks[block].first >= oldest || handles.count >= limit { break }
            for place in livePlaces(block) {
                if handles.count >= limit || entries[place].sequence >= oldest { break }
                if let handle = hold(place, now) { handles.append(handle) }
            }
        }
        return handles
    }

    func isInFlight(_ place: UInt32) -> Bool {
        let delivery = entries[place].delivery
        return delivery != noPlace && (deliveries[delivery].heapIndex != noPlace || deliveries[delivery].isHeld)
    }

    /// Holds a message that retention drops; `nil` if it is in flight.
    mutating func hold(_ place: UInt32, _ now: Timestamp) -> ReceiptHandle? {
        var delivery = entries[place].delivery
        if isInFlight(place) { return nil }
        if delivery == noPlace {
            delivery = deliveries.insert(
                Delivery(entry: place, receiveCount: 0, visibleAt: now, receivedAt: now, firstReceivedAt: now))
            entries[place].delivery = delivery
        }
        deliveries[delivery].isHeld = true
        deliveries[delivery].isLeaving = true
        heldCount += 1
        refresh(entries[place].group, now)
        return ReceiptHandle(
            shard: tag, sequence: entries[place].sequence, receiveCount: deliveries[delivery].receiveCount,
            incarnation: deliveries[delivery].incarnation, place: place)
    }
}
