// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule

/// What a receipt handle comes to when its message is to be deleted.
public enum DeleteDecision: Hashable, Sendable {
    /// The message is held now; write its deletion, then call `finishDelete`.
    case write(SequenceNumber)
    /// There is nothing to do: it was deleted before.
    case alreadyDeleted
    /// The same message's deletion is being written; answer as that one is answered.
    case underWay
    /// The visibility timeout of this delivery has ended: a FIFO queue refuses.
    case expired
    /// The handle is of another queue, or nobody gave it.
    case notOurs
}

/// What became of a change of visibility.
public enum VisibilityDecision: Hashable, Sendable {
    case changed
    /// The handle is of another queue, or nobody gave it.
    case notOurs
    /// Deleted, or not in flight by this handle.
    case unavailable
    /// Beyond 12 hours from the receive.
    case beyondLimit
    /// Nobody knows: the shard did not answer, or not now.
    case failed(ShardError)
}

extension FIFOQueue {
    /// - Important: call `advance(to:)` first.
    public mutating func beginDelete(_ handle: ReceiptHandle) -> DeleteDecision {
        switch origin(of: handle) {
        case .ours: break
        case .notOurs: return .notOurs
        case .unsealed: return .expired
        }
        guard let place = place(of: handle) else { return .alreadyDeleted }
        let delivery = entries[place].delivery
        guard delivery != noPlace, deliveries[delivery].gave(handle) else { return .expired }
        if deliveries[delivery].isHeld, !deliveries[delivery].isLeaving { return .underWay }
        guard deliveries[delivery].heapIndex != noPlace else { return .expired }
        // The timeout stops while the deletion is on its way to the disk, and is put back if that fails.
        timeouts.remove(delivery, &deliveries)
        deliveries[delivery].isHeld = true
        heldCount += 1
        return .write(entries[place].sequence)
    }

    /// Ends what `beginDelete` (or a move to the dead-letter queue) began.
    /// - Parameters:
    ///   - isDurable: whether the deletion was written; if not, the message is as before.
    ///   - until: when a message that was not deleted may be looked at again; `nil`: when its timeout ends.
    public mutating func finishDelete(
        _ handle: ReceiptHandle, isDurable: Bool, isExpiry: Bool = false, deletionRow: Int64, now: Timestamp,
        until: Timestamp? = nil
    ) {
        guard let place = place(of: handle), entries[place].delivery != noPlace else { return }
        let delivery = entries[place].delivery
        guard deliveries[delivery].isHeld else { return }
        if isDurable || Mutation.failedDeleteIsDone.isOn {
            remove(place, deletionRow: deletionRow, now: now)
            if isExpiry { expiredCount += 1 } else { deletedCount += 1 }
            return
        }
        deliveries[delivery].isHeld = false
        deliveries[delivery].isLeaving = false
        heldCount -= 1
        if let until { deliveries[delivery].visibleAt = until }
        if deliveries[delivery].visibleAt > now { timeouts.insert(delivery, &deliveries) }
        refresh(entries[place].group, now)
    }

    /// Takes out a message whose deletion is durable.
    mutating func remove(_ place: UInt32, deletionRow: Int64, now: Timestamp) {
        let block = entries[place].block
        unlink(place, deletionRow: deletionRow, now: now)
        guard blocks[block].live > 0, blocks[block].firstDeletionRow == 0 else { return }
        blocks[block].firstDeletionRow = deletionRow
        // Rows grow from deletion to deletion, so the pins are in order.
        pins.append(Pin(block: block, row: blocks[block].row, deletionRow: deletionRow))
        pinCount += 1
        if pins.count > 2 * pinCount + 1_024 { pins = pins.filter(isHolding) }
    }

    /// Sets when a message in flight becomes visible, counted from now.
    /// - Parameter milliseconds: 0...43,200,000; less counts as 0.
    /// - Important: call `advance(to:)` first.
    public mutating func changeVisibility(
        _ handle: ReceiptHandle, milliseconds: Int64, now: Timestamp
    ) -> VisibilityDecision {
        switch origin(of: handle) {
        case .ours: break
        case .notOurs: return .notOurs
        case .unsealed: return .unavailable
        }
        guard let place = place(of: handle), entries[place].delivery != noPlace else { return .unavailable }
        let delivery = entries[place].delivery
        guard deliveries[delivery].gave(handle), deliveries[delivery].heapIndex != noPlace else { return .unavailable }
        let limit = deliveries[delivery].receivedAt + Int64(QueueLimits.visibilitySecondsMax) * 1_000
        guard milliseconds <= limit - now else { return .beyondLimit }
        if Mutation.extensionIsIgnored.isOn { return .changed }
        deliveries[delivery].isChanged = true
        if milliseconds > 0 {
            setVisibleAt(delivery, now + milliseconds)
        } else {
            timeouts.remove(delivery, &deliveries)
            deliveries[delivery].visibleAt = now
            refresh(entries[place].group, now)
        }
        return .changed
    }

    /// The place of an undeleted message.
    func place(of handle: ReceiptHandle) -> UInt32? {
        // A handle may name any number; free places hold -1.
        guard handle.sequence.rawValue > 0 else { return nil }
        if entries.contains(handle.place), entries[handle.place].sequence == handle.sequence { return handle.place }
        return place(of: handle.sequence)
    }

    /// The place of an undeleted message, found through its block: the way for handles from before a restart.
    /// - Complexity: O(log blocks + messages of one commit).
    public func place(of sequence: SequenceNumber) -> UInt32? {
        var low = 0
        var high = blockOrder.count
        while low < high {
            let middle = (low + high) / 2
            if blocks[blockOrder[middle]].first <= sequence { low = middle + 1 } else { high = middle }
        }
        guard low > 0 else { return nil }
        return livePlaces(blockOrder[low - 1]).first { entries[$0].sequence == sequence }
    }
}
