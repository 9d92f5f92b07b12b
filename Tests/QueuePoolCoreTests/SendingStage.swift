// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

@testable import QueuePoolCore

// A queue that stores each entry for itself and knows deduplication ids, as SQS does, and a stage on which a sender
// plays with it. The stage notes whatever breaks a guarantee; tests expect that nothing was noted.

let sendingStart = Timestamp(milliseconds: 1_800_000_000_000)

/// What a queue of SQS holds, in the order of storing.
struct EntryQueue {
    private(set) var order: [UInt64: [Int]] = [:]
    private(set) var receipts: [Int: SendReceipt] = [:]
    private var storedAt: [Int: Timestamp] = [:]
    private var last: Int64 = 0

    /// The number of a message serves as its deduplication id.
    mutating func store(_ message: OutgoingMessage, now: Timestamp) -> SendReceipt {
        let number = message.number
        if let receipt = receipts[number], let at = storedAt[number], now - at < 300_000 { return receipt }
        last += 1
        let receipt = SendReceipt(
            messageID: MessageID(high: 0, low: UInt64(number)), sequence: SequenceNumber(rawValue: last),
            isDuplicate: false)
        order[message.groupHash, default: []].append(number)
        receipts[number] = receipt
        storedAt[number] = now
        return receipt
    }
}

extension OutgoingMessage {
    /// A message whose number is its deduplication id, with so many bytes of body.
    init(number: Int, group: UInt64, bytes: Int = 8) {
        let body = [UInt8](repeating: 0, count: bytes)
        let record = body.withUnsafeBytes {
            MessageRecord(group: "\(group)".utf8, deduplicationID: "\(number)".utf8, body: $0)
        }
        self.init(record: record, groupHash: group)
    }

    var number: Int { record.withView { Int(String(decoding: $0.deduplicationID, as: UTF8.self)) ?? -1 } }
}

struct SendStage {
    struct Told {
        let result: Result<SendReceipt, ShardError>
        let at: Timestamp
    }

    private(set) var sender: RequestSender<Int>
    var now = sendingStart
    var queue = EntryQueue()
    private(set) var accepted: [(number: Int, group: UInt64, at: Timestamp)] = []
    private(set) var told: [Int: Told] = [:]
    private(set) var underWay: [RequestID: [OutgoingMessage]] = [:]
    /// Requests that left and were not looked at by the test.
    var left: [RequestID] = []
    private(set) var timers: [Timestamp] = []
    private(set) var faults: [String] = []
    private var nextNumber = 0
    /// The messages that tickets of later tries stand for.
    private var tries: [Int: Int] = [:]

    init(limits: RequestLimits, quota: AdaptiveQuota.Limits? = nil, seed: UInt64 = 1) {
        sender = RequestSender(
            limits: limits, quota: quota.map { AdaptiveQuota($0, now: sendingStart) }, seed: seed)
    }

    /// Sends a message in each of the groups as one call; their numbers.
    @discardableResult mutating func accept(_ groups: [UInt64], bytes: Int = 8) -> [Int] {
        let numbers = groups.indices.map { nextNumber + $0 }
        nextNumber += groups.count
        for (number, group) in zip(numbers, groups) { accepted.append((number, group, now)) }
        handle(
            .accept(
                zip(numbers, groups).map {
                    BatcherEntry(message: OutgoingMessage(number: $0, group: $1, bytes: bytes), ticket: $0)
                }))
        return numbers
    }

    /// The sender of a message tries it again; the ticket of that.
    mutating func acceptAgain(_ number: Int, group: UInt64) -> Int {
        let ticket = nextNumber
        nextNumber += 1
        accepted.append((number, group, now))
        tries[ticket] = number
        handle(.accept([BatcherEntry(message: OutgoingMessage(number: number, group: group), ticket: ticket)]))
        return ticket
    }

    mutating func answer(_ id: RequestID, _ answers: EntryAnswers) {
        underWay[id] = nil
        handle(.answered(id, answers))
    }

    /// Stores all of a request and says so.
    mutating func answerStored(_ id: RequestID) {
        answer(id, .entries((underWay[id] ?? []).map { .stored(queue.store($0, now: now)) }))
    }

    /// Goes to the next timer, if there is one.
    mutating func wake() -> Bool {
        guard let next = timers.min() else { return false }
        now = max(now, next)
        timers.removeAll { $0 <= now }
        handle(.timer)
        return true
    }

    private mutating func handle(_ event: RequestSender<Int>.Event) {
        for effect in sender.handle(event, now: now) {
            switch effect {
            case .wake(let at): timers.append(at)
            case .complete(let number, let result): tell(number, result)
            case .send(let id, let messages): send(id, messages)
            case .announce, .settle: check(false, "an effect of the other machine")
            }
        }
        check(sender.heldEntries <= max(sender.limits.heldEntriesMax, 10), "too many entries are held")
        check(timers.count < 40, "timers pile up")
    }

    private mutating func send(_ id: RequestID, _ messages: [OutgoingMessage]) {
        let limits = sender.limits
        let groups = messages.map(\.groupHash)
        let busy = Set(underWay.values.joined().map(\.groupHash))
        check(
            !messages.isEmpty && messages.count <= limits.requestEntriesMax, "a request has \(messages.count) entries")
        check(
            messages.count == 1 || messages.reduce(0) { $0 + $1.byteCount } <= limits.requestBytesMax,
            "a request is too large")
        check(Set(groups).count == groups.count, "a group is in a request twice")
        check(busy.isDisjoint(with: groups), "a group is in two requests")
        underWay[id] = messages
        check(underWay.count <= limits.requestsInFlightMax, "too many requests are under way")
        left.append(id)
    }

    private mutating func tell(_ number: Int, _ result: Result<SendReceipt, ShardError>) {
        check(told[number] == nil, "a ticket was told twice")
        told[number] = Told(result: result, at: now)
        let since = accepted[number].at
        check(now - since <= sender.limits.deadlineMilliseconds, "a ticket was told after its deadline")
        switch result {
        case .success(let receipt):
            check(queue.receipts[tries[number] ?? number] == receipt, "I1: success, but not stored")
        case .failure(.unknownOutcome): break
        case .failure: check(queue.receipts[number] == nil, "a stored message was called not stored")
        }
    }

    /// What must hold when nothing is under way and no timer is left.
    mutating func checkEnd() {
        check(underWay.isEmpty, "a request is under way")
        check(sender.isAtRest, "entries are still held")
        check(sender.lines.values.allSatisfy(\.isEmpty), "lines are left")
        for (number, _, _) in accepted { check(told[number] != nil, "ticket \(number) was never told") }
        for (group, order) in queue.order {
            check(Set(order).count == order.count, "I3: stored twice")
            let acknowledged = order.filter { number in
                if case .success = told[number]?.result { true } else { false }
            }
            check(acknowledged == acknowledged.sorted(), "I2: group \(group) is stored as \(order)")
        }
    }

    private mutating func check(_ holds: Bool, _ fault: @autoclosure () -> String) {
        if !holds { faults.append(fault()) }
    }
}
