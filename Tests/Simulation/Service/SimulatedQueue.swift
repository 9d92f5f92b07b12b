// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

// A FIFO queue of a service far away: it never fails by itself, and keeps what it stored. What lies between it and whoever
// asks fails instead, see `SimulatedService`.

/// One queue of the service.
final class SimulatedQueue: @unchecked Sendable {
    let name: String
    private let time: SimulatedTime
    private var index: FIFOQueue
    private var bodies: [Int64: [UInt8]] = [:]
    private var nextRow: Int64 = 1
    private var numbers: [SequenceNumber: Int] = [:]
    private var groups: [SequenceNumber: UInt64] = [:]
    private var invisible: [Int: Timestamp] = [:]
    /// Called for each message that retention dropped.
    var onExpired: ((Int) -> Void)?
    /// Called for each message that was deleted.
    var onDeleted: ((Int) -> Void)?

    init(_ name: String, number: Int, _ attributes: QueueAttributes, _ time: SimulatedTime) {
        self.name = name
        self.time = time
        let tag = ShardTag(rawValue: 0x5151_0000 + UInt64(number))
        index = FIFOQueue(
            tag: tag, deduplicationHash: SipHash128(key0: 3, key1: UInt64(number)), attributes: attributes,
            cacheBytesMax: 1 << 16)
    }

    /// The numbers in the bodies of what is stored.
    var queuedMessages: [Int] { Array(numbers.values) }

    /// When a message may become visible by itself.
    var nextVisibleAt: Timestamp? {
        index.advance(to: time.now)
        return index.nextVisibleAt
    }

    func send(_ messages: [OutgoingMessage]) -> [SendReceipt] {
        index.advance(to: time.now)
        var draft = BlockDraft()
        var keys = index.keys(of: [messages], count: messages.count, now: time.now)
        let receipts = messages.map { index.draft($0, into: &draft, keys: &keys, now: time.now) }
        if !draft.isEmpty {
            bodies[nextRow] = draft.body
            index.publish(draft, row: nextRow, now: time.now)
            nextRow += 1
        }
        for (message, receipt) in zip(messages, receipts) where !receipt.isDuplicate {
            numbers[receipt.sequence] = World.number(message)
            groups[receipt.sequence] = message.groupHash
        }
        return receipts
    }

    func receive(limit: Int, visibilitySeconds: Int?, attemptID: String?) -> [ReceivedMessage] {
        index.advance(to: time.now)
        let seconds = visibilitySeconds ?? index.attributes.visibilityTimeoutSeconds
        let decision = index.receive(
            limit: limit, visibilityMilliseconds: Int64(seconds) * 1_000, attemptID: attemptID, now: time.now)
        expire(decision.expired)
        for entry in decision.received {
            if let number = numbers[entry.sequence] { invisible[number] = time.now + Int64(seconds) * 1_000 }
        }
        return decision.received.map { entry in
            ReceivedMessage(
                handle: entry.handle, messageID: MessageID(shard: entry.handle.shard, sequence: entry.sequence),
                receiveCount: Int(entry.receiveCount), firstReceivedAt: entry.firstReceivedAt,
                storage: entry.body ?? bodies[entry.row] ?? [], offset: entry.offset, length: entry.length)
        }
    }

    /// - Returns: whether the message is gone.
    func delete(_ handle: ReceiptHandle) -> DeleteOutcome {
        index.advance(to: time.now)
        switch index.beginDelete(handle) {
        case .write:
            let number = numbers[handle.sequence]
            finish(handle, isExpiry: false)
            if let number { onDeleted?(number) }
            return .deleted
        case .alreadyDeleted, .underWay: return .deleted
        case .expired: return .expired
        case .notOurs: return .notOurs
        }
    }

    func changeVisibility(_ handle: ReceiptHandle, seconds: Int) -> VisibilityDecision {
        index.advance(to: time.now)
        let decision = index.changeVisibility(handle, milliseconds: Int64(seconds) * 1_000, now: time.now)
        if decision == .changed, let number = numbers[handle.sequence] {
            invisible[number] = time.now + Int64(seconds) * 1_000
        }
        return decision
    }

    /// Until when nobody else receives a message that was received; `nil` for one that is not here.
    func invisibleUntil(_ number: Int) -> Timestamp? { invisible[number] }

    /// Two messages of a group of which the earlier one is made visible before the later one.
    func wrongOrder(_ released: [ReceiptHandle]) -> (earlier: Int, later: Int)? {
        for (place, handle) in released.enumerated() {
            guard let group = groups[handle.sequence], let number = numbers[handle.sequence] else { continue }
            for later in released[(place + 1)...] where groups[later.sequence] == group {
                if later.sequence > handle.sequence, let other = numbers[later.sequence] { return (number, other) }
            }
        }
        return nil
    }

    /// Drops what is past retention.
    func upkeep() {
        index.advance(to: time.now)
        expire(index.takeExpired(now: time.now, limit: 1_000))
    }

    private func expire(_ handles: [ReceiptHandle]) {
        for handle in handles {
            let number = numbers[handle.sequence]
            finish(handle, isExpiry: true)
            if let number { onExpired?(number) }
        }
    }

    private func finish(_ handle: ReceiptHandle, isExpiry: Bool) {
        if let number = numbers.removeValue(forKey: handle.sequence) { invisible[number] = nil }
        groups[handle.sequence] = nil
        nextRow += 1
        index.finishDelete(handle, isDurable: true, isExpiry: isExpiry, deletionRow: nextRow, now: time.now)
        for row in index.takeFinishedBlocks().map(\.row) { bodies[row] = nil }
    }
}
