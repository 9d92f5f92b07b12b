// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule

// Reading for people: nobody is handed anything, no count changes, no message is hidden. And handing out by number: a
// message of somebody's choice, wherever in its group it stands.

/// An undeleted message as a walk over a shard meets it.
public struct BrowsedEntry: Sendable {
    /// Names the message; it was not given to anybody, and deletes nothing.
    public let entry: ReceivedEntry
    /// A receiver has it, or it is about to leave.
    public let isInFlight: Bool
}

/// What became of a message that was asked for by its number.
public enum Claim: Sendable {
    case handedOut(ReceivedEntry)
    /// There is no such message any more.
    case gone
    /// A receiver has it, or one of its group that was asked for before it.
    case held
}

extension FIFOQueue {
    /// Undeleted messages in the order of their numbers.
    /// - Parameter start: those behind this number; `nil`: all.
    /// - Complexity: O(log blocks + messages of one commit + limit + empty blocks met).
    public func browse(after start: SequenceNumber?, limit: Int) -> [BrowsedEntry] {
        var found: [BrowsedEntry] = []
        for position in firstBlock(after: start)..<blockOrder.count {
            for place in livePlaces(blockOrder[position]) {
                if found.count >= limit { return found }
                if let start, entries[place].sequence <= start { continue }
                found.append(BrowsedEntry(entry: browsedEntry(place), isInFlight: isInFlight(place)))
            }
        }
        return found
    }

    /// The position of the first block that may hold what comes behind a number.
    private func firstBlock(after start: SequenceNumber?) -> Int {
        guard let start else { return 0 }
        var low = 0
        var high = blockOrder.count
        while low < high {
            let middle = (low + high) / 2
            if blocks[blockOrder[middle]].first <= start { low = middle + 1 } else { high = middle }
        }
        return max(0, low - 1)
    }

    private func browsedEntry(_ place: UInt32) -> ReceivedEntry {
        let entry = entries[place]
        let block = blocks[entry.block]
        let delivery = entry.delivery == noPlace ? nil : deliveries[entry.delivery]
        return ReceivedEntry(
            handle: ReceiptHandle(
                shard: tag, sequence: entry.sequence, receiveCount: delivery?.receiveCount ?? 0,
                incarnation: delivery?.incarnation ?? 0, place: place),
            firstReceivedAt: delivery?.firstReceivedAt ?? entry.sequence.sentAt, row: block.row,
            offset: Int(entry.offset), length: Int(entry.length), body: block.body)
    }

    /// Hands out messages by their numbers, ascending; others of their groups may lie before them. Once one is held, those
    /// of its group that come after it are held too, so that what is handed out of a group keeps its order.
    /// - Parameter heldGroups: hashes of groups of which one was held, from call to call.
    /// - Important: call `advance(to:)` first.
    public mutating func claim(
        _ sequences: [SequenceNumber], visibilityMilliseconds: Int64, heldGroups: inout Set<UInt64>, now: Timestamp
    ) -> [Claim] {
        var claims: [Claim] = []
        for sequence in sequences {
            guard sequence.rawValue > 0, let place = place(of: sequence) else {
                claims.append(.gone)
                continue
            }
            let group = entries[place].group
            guard !heldGroups.contains(groups[group].hash), !isInFlight(place), inFlightCount < QueueLimits.inFlightMax
            else {
                heldGroups.insert(groups[group].hash)
                claims.append(.held)
                continue
            }
            deliver(place, visibilityMilliseconds, now)
            refresh(group, now)
            claims.append(.handedOut(receivedEntry(place)))
        }
        return claims
    }

    /// Takes back a message that was handed out by its number and cannot be read. Of its group, what was handed out after it
    /// is taken back too, and what is asked for later is held.
    /// - Parameter rest: handles of what was handed out after it, in their order.
    /// - Returns: the numbers of those of the rest that were taken back.
    public mutating func takeBack(
        _ handle: ReceiptHandle, rest: [ReceiptHandle], heldGroups: inout Set<UInt64>, now: Timestamp
    ) -> Set<SequenceNumber> {
        guard let place = place(of: handle) else { return [] }
        heldGroups.insert(groups[entries[place].group].hash)
        return putAside(handle, rest: rest, milliseconds: 0, now: now)
    }
}
