// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

@testable import QueuePoolCore

// What a FIFO queue must do, said as plainly as possible: an array of messages in the order in which they were
// accepted, and loops over it. Slow, and with nothing to get wrong.

struct ModelMessage {
    let sequence: SequenceNumber
    let group: Int
    let body: String
    let sentAt: Timestamp
    var receiveCount: UInt32 = 0
    /// End of the visibility timeout while in flight.
    var visibleAt: Timestamp?
    var receivedAt: Timestamp
    /// The handle of its last delivery, unless a crash forgot it.
    var handle: ReceiptHandle?
    enum Hold { case deletion, leaving }
    /// A deletion or a move is being written.
    var hold: Hold?
}

struct QueueModel {
    var messages: [ModelMessage] = []
    var accepted: [String: (sequence: SequenceNumber, at: Timestamp)] = [:]
    var attributes = QueueAttributes()

    /// The first message with the id, if it was accepted within five minutes.
    func first(_ id: String, _ now: Timestamp) -> SequenceNumber? {
        guard let found = accepted[id], now - found.at <= 300_000 else { return nil }
        return found.sequence
    }

    mutating func advance(_ now: Timestamp) {
        for index in messages.indices {
            if let end = messages[index].visibleAt, end <= now, messages[index].hold == nil {
                messages[index].visibleAt = nil
            }
        }
    }

    func isAvailable(_ message: ModelMessage, _ now: Timestamp) -> Bool {
        message.visibleAt == nil && message.hold == nil && !isDelayed(message, now)
    }

    func isDelayed(_ message: ModelMessage, _ now: Timestamp) -> Bool {
        message.sentAt + Int64(attributes.delaySeconds) * 1_000 > now
    }

    func isPastRetention(_ message: ModelMessage, _ now: Timestamp) -> Bool {
        message.sentAt + Int64(attributes.retentionSeconds) * 1_000 < now
    }

    /// The messages of a group that may be delivered now: from the oldest until the first that is not available;
    /// those past retention leave instead.
    func deliverable(_ group: Int, _ now: Timestamp) -> [ModelMessage] {
        Array(messages.filter { $0.group == group }.prefix { isAvailable($0, now) })
    }

    var groups: Set<Int> { Set(messages.map(\.group)) }

    func index(_ sequence: SequenceNumber) -> Int? { messages.firstIndex { $0.sequence == sequence } }

    var inFlight: Int { messages.count { $0.visibleAt != nil || $0.hold != nil } }

    func delayed(_ now: Timestamp) -> Int {
        messages.count { isDelayed($0, now) && $0.visibleAt == nil && $0.hold == nil }
    }

    /// What a delete by `handle` must come to.
    func deletion(_ handle: ReceiptHandle) -> DeleteDecision {
        guard let index = index(handle.sequence) else { return .alreadyDeleted }
        let message = messages[index]
        guard message.handle == handle else { return .expired }
        switch message.hold {
        case .deletion: return .underWay
        case .leaving: return .expired
        case nil: return message.visibleAt == nil ? .expired : .write(message.sequence)
        }
    }

    /// What a change of visibility must come to.
    func change(_ handle: ReceiptHandle, _ milliseconds: Int64, _ now: Timestamp) -> VisibilityDecision {
        guard let index = index(handle.sequence) else { return .unavailable }
        let message = messages[index]
        guard message.handle == handle, message.hold == nil, message.visibleAt != nil else {
            return .unavailable
        }
        return now + milliseconds - message.receivedAt <= 43_200_000 ? .changed : .beyondLimit
    }
}
