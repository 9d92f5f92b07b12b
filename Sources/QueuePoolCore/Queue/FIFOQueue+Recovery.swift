// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule

/// A delivery as it is kept over a clean restart.
public struct DeliveryState: Hashable, Sendable {
    public var sequence: SequenceNumber
    public var receiveCount: UInt32
    /// In the past if the message is not in flight.
    public var visibleAt: Timestamp
    public var receivedAt: Timestamp
    public var firstReceivedAt: Timestamp
    /// The opening of the shard in which it was received last: handles from before the stop stay valid.
    public var incarnation: UInt32

    public init(
        sequence: SequenceNumber, receiveCount: UInt32, visibleAt: Timestamp, receivedAt: Timestamp,
        firstReceivedAt: Timestamp, incarnation: UInt32
    ) {
        self.sequence = sequence
        self.receiveCount = receiveCount
        self.visibleAt = visibleAt
        self.receivedAt = receivedAt
        self.firstReceivedAt = firstReceivedAt
        self.incarnation = incarnation
    }
}

extension FIFOQueue {
    /// The highest sequence number given so far.
    public var highestSequence: SequenceNumber { lastSequence }

    /// Keeps sequence numbers growing although the messages that had the highest are gone.
    public mutating func raise(lastSequence: SequenceNumber) {
        self.lastSequence = max(self.lastSequence, lastSequence)
    }

    /// Every message that was received at least once, to be written at a clean stop.
    public func deliveryStates() -> [DeliveryState] {
        blockOrder.flatMap { livePlaces($0).compactMap(deliveryState) }
    }

    /// The same of some messages, to be written before they are moved elsewhere.
    public func deliveryStates(of handles: [ReceiptHandle]) -> [DeliveryState] {
        handles.compactMap { place(of: $0).flatMap(deliveryState) }
    }

    private func deliveryState(_ place: UInt32) -> DeliveryState? {
        guard entries[place].delivery != noPlace else { return nil }
        let delivery = deliveries[entries[place].delivery]
        return DeliveryState(
            sequence: entries[place].sequence, receiveCount: delivery.receiveCount, visibleAt: delivery.visibleAt,
            receivedAt: delivery.receivedAt, firstReceivedAt: delivery.firstReceivedAt,
            incarnation: delivery.incarnation)
    }

    /// Takes up a delivery from before a clean restart.
    public mutating func restore(_ state: DeliveryState, now: Timestamp) {
        guard let place = place(of: state.sequence), entries[place].delivery == noPlace else { return }
        let delivery = deliveries.insert(
            Delivery(
                entry: place, receiveCount: state.receiveCount, visibleAt: state.visibleAt,
                receivedAt: state.receivedAt, firstReceivedAt: state.firstReceivedAt,
                incarnation: state.incarnation))
        entries[place].delivery = delivery
        if state.visibleAt > now { timeouts.insert(delivery, &deliveries) }
        refresh(entries[place].group, now)
    }

    /// Takes out a message whose deletion was found in the log.
    public mutating func restoreDeletion(of sequence: SequenceNumber, row: Int64, now: Timestamp) {
        guard let place = place(of: sequence) else { return }
        remove(place, deletionRow: row, now: now)
    }

    /// Forgets everything: messages and deduplication memory, as a purge does.
    /// - Returns: the number of messages that were there.
    public mutating func removeAll() -> Int {
        let count = messageCount
        var empty = FIFOQueue(
            tag: tag, deduplicationHash: deduplicationHash, attributes: attributes, cacheBytesMax: cache.bytesMax,
            incarnation: incarnation, lastSequence: lastSequence)
        empty.sentCount = sentCount
        empty.receivedCount = receivedCount
        empty.deletedCount = deletedCount
        empty.duplicateCount = duplicateCount
        empty.expiredCount = expiredCount
        self = empty
        return count
    }

    /// Rows to rewrite so that deletion rows older than `row` can go: at most `limit` of them, or about `bytesMax`.
    public func blocksPinning(
        deletionsBefore row: Int64, limit: Int, bytesMax: Int = .max
    ) -> [(row: Int64, live: [DirectoryEntry])] {
        var found: [(row: Int64, live: [DirectoryEntry])] = []
        var bytes = 0
        for pin in pins {
            if pin.deletionRow >= row || found.count >= limit || bytes >= bytesMax { break }
            guard isHolding(pin) else { continue }
            found.append((pin.row, liveDirectory(pin.block)))
            bytes += Int(blocks[pin.block].byteCount)
        }
        return found
    }

    /// The oldest deletion row that some block still needs; `nil` if none is needed.
    public mutating func oldestNeededDeletionRow() -> Int64? {
        while let front = pins.first, !isHolding(front) { pins.removeFirst() }
        return pins.first?.deletionRow
    }

    func isHolding(_ pin: Pin) -> Bool {
        let block = blocks[pin.block]
        return block.row == pin.row && block.live > 0 && block.firstDeletionRow == pin.deletionRow
    }

    /// Takes note of an opening at `now`, once everything is restored. Ids from before it count as if no time had passed
    /// since the newest message: nobody knows how long the queue was closed, only what the wall clock says, and a clock
    /// that was set forward must not let a repeated send through (I3). So they count for at most five minutes of running.
    public mutating func reopen(now: Timestamp) {
        window.reopen(newest: lastSequence, now: now)
        scopes = DeduplicationScopes(attributes.deduplicationScope)
        if window.count > 0 { scopes.restored(now: now) }
    }

    /// Which deduplication ids count at `now`.
    public func deduplicationBound(_ now: Timestamp) -> DeduplicationBound { window.bound(now) }

    /// Takes note that a row was rewritten to hold only `directory`.
    public mutating func rewrote(row: Int64, directory: [DirectoryEntry], body: [UInt8]) {
        let places = directory.map { place(of: $0.sequence) }
        guard let known = places.compactMap({ $0 }).first, blocks[entries[known].block].row == row else { return }
        let block = entries[known].block
        drop(cached: block)
        for case (let item, let place?) in zip(directory, places) {
            entries[place].offset = item.offset
            entries[place].length = item.length
        }
        blocks[block].byteCount = UInt32(body.count)
        // A message deleted while its row was rewritten is in the new row too: its deletion must be kept.
        guard !places.contains(nil), blocks[block].firstDeletionRow > 0 else { return }
        blocks[block].firstDeletionRow = 0
        pinCount -= 1
    }

    private func liveDirectory(_ block: UInt32) -> [DirectoryEntry] {
        livePlaces(block).map { place in
            let entry = entries[place]
            return DirectoryEntry(
                sequence: entry.sequence, offset: entry.offset, length: entry.length,
                groupHash: groups[entry.group].hash)
        }
    }
}
