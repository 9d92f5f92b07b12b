// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking
import QueuePoolCore
import QueuePoolTestSupport

// What everybody tells the checker, and what messages look like.

extension World {
    // MARK: - Messages

    /// A message that a sender means to send once.
    func newMessage(in group: Int) -> Int {
        groups.append(group)
        return groups.count - 1
    }

    func record(of message: Int, group: Int) -> OutgoingMessage {
        let name = "g\(group)"
        let record = Array(String(message).utf8).withUnsafeBytes { body in
            MessageRecord(group: name.utf8, deduplicationID: "m\(message)".utf8, body: body)
        }
        return OutgoingMessage(record: record, groupHash: XXHash64.hash(name))
    }

    /// The number in a body; -1 for what nobody sent.
    static func number(_ message: WorkMessage) -> Int {
        Int(String(decoding: message.body, as: UTF8.self)) ?? -1
    }

    static func number(_ message: ReceivedMessage) -> Int {
        message.withView { Int(String(decoding: $0.body, as: UTF8.self)) ?? -1 }
    }

    static func number(_ message: OutgoingMessage) -> Int {
        message.record.withView { Int(String(decoding: $0.body, as: UTF8.self)) ?? -1 }
    }

    private static func number(_ id: MessageID?) -> UInt64 { id.map { $0.high &* 31 &+ $0.low } ?? 0 }

    // MARK: - Sending

    /// - Returns: the request's number.
    func began(_ entries: [(message: Int, group: Int)]) -> Int {
        requestCount += 1
        checker.began(request: requestCount, entries: entries, now: time.now)
        for entry in entries { note("sent", entry.message, requestCount) }
        return requestCount
    }

    func answered(_ request: Int, _ place: Int, _ message: Int, _ result: Result<SendReceipt, ShardError>) {
        switch result {
        case .success(let receipt):
            note("accepted", message, request)
            if service?.damaged.contains(message) == true {
                checker.broke(
                    .durable, message: message, now: time.now, "was accepted, and every answer told of another one")
            }
            // SQS does not tell whether it knew the id; the world does.
            let isKnown = !accepted.insert(message).inserted
            if !finished.contains(message) { open.insert(message) }
            checker.accepted(
                request: request, entry: place, messageID: World.number(receipt.messageID),
                isDuplicate: receipt.isDuplicate || plan.isRemote && isKnown,
                shard: plan.definition.topology.slots[
                    Slot(groupHash: XXHash64.hash("g\(groups[message])"))
                ].number, now: time.now)
        case .failure(let error):
            note("refused", message, request)
            checker.refused(request: request, entry: place, isUnknown: World.isUnknown(error), now: time.now)
        }
    }

    private static func isUnknown(_ error: ShardError) -> Bool {
        switch error.root {
        case .unknownOutcome, .storageFailed: true
        default: false
        }
    }

    // MARK: - Receiving

    /// A target has the message.
    func handed(_ message: WorkMessage, by worker: SimulatedWorker) { handed(message, by: worker.host) }

    func handed(_ message: WorkMessage, by host: Host) {
        let number = World.number(message)
        // A server that was killed has forgotten who holds what. What a worker still holds from before comes again at once,
        // to anybody; order holds among what was received since.
        if let at = receivedAt[message.handle], at <= openedAt {
            staleHands[number] = message.id
            return note("stale", number, host.number)
        }
        note("handed", number, host.number)
        tellHanded(number, message.id, by: host.number)
    }

    /// Held from before, and received again while it was delivered: that delivery counts.
    func tellOfStaleHand(_ message: Int) {
        guard let id = staleHands[message], !finished.contains(message) else { return }
        checker.lapsed(message: message)
        tellHanded(message, id, by: -1)
    }

    private func tellHanded(_ number: Int, _ id: String, by worker: Int) {
        staleHands[number] = nil
        // Also what nobody was told to be accepted comes to an end.
        if !finished.contains(number) { open.insert(number) }
        checker.handed(message: number, messageID: World.number(MessageID(id)), worker: worker, now: time.now)
    }

    /// A queue gave messages out: whoever had one before has it no more.
    func received(_ messages: [ReceivedMessage], seconds: Int) {
        settleFailedDeletes(messages)
        if isCalm { calmlyReceived(messages, seconds: seconds) }
        if !plan.isRemote { for message in messages { receivedAt[message.handle.text] = time.now } }
        gave(messages)
        for message in messages where message.receiveCount > 1 || isAnyRouterRestarted {
            checker.lapsed(message: World.number(message))
        }
    }

    /// A delete that failed may have been done all the same. A shard that gives out messages of the group without this one,
    /// which came first, does not have it any more; were it to come again, it would be told twice.
    private func settleFailedDeletes(_ messages: [ReceivedMessage]) {
        guard !maybeDeleted.isEmpty else { return }
        let given = Set(messages.map(World.number))
        maybeDeleted.subtract(given)
        let givenGroups = Set(given.map { groups[$0] })
        for message in maybeDeleted.sorted() where givenGroups.contains(groups[message]) {
            maybeDeleted.remove(message)
            deleted(message)
        }
    }

    func deleteAsked(_ messages: [WorkMessage]) {
        for message in messages { rules.asksDelete(message, World.number(message), now: time.now) }
        asked.formUnion(messages.map(World.number))
    }

    func deleteAnswered(_ messages: [WorkMessage], _ outcomes: [DeleteOutcome]) {
        for (message, outcome) in zip(messages, outcomes) {
            if case .failed = outcome, !plan.isRemote { maybeDeleted.insert(World.number(message)) }
            // Of the service's queues it is known when they delete.
            if case .deleted = outcome, !plan.isRemote { deleted(World.number(message)) }
        }
    }

    func deleted(_ message: Int) {
        note("deleted", message, 0)
        tellOfStaleHand(message)
        finish(message) { checker.deleted(message: $0, now: time.now) }
    }

    func finish(_ message: Int, _ tell: (Int) -> Void) {
        tell(message)
        finished.insert(message)
        open.remove(message)
    }

    /// What happened to the group of a message until a promise broke, and the faults between.
    func story(of message: Int, until time: Timestamp, last count: Int) -> String {
        let group = groups.indices.contains(message) ? groups[message] : -1
        let lines = trace.lines.filter { line in
            guard line.time <= time else { return false }
            return switch "\(line.what)" {
            case "fault", "quiet": true
            default: groups.indices.contains(line.a) && groups[line.a] == group
            }
        }
        return lines.suffix(count).map { line in
            let what = "\(line.what)" == "fault" ? Fault.Kind.allCases[line.a].rawValue : "message \(line.a)"
            return "\(line.time - SimulatedTime.start) ms \(line.what) \(what) \(line.b)"
        }.joined(separator: "\n")
    }

    /// What a worker does with what it holds.
    func note(_ what: StaticString, _ messages: [WorkMessage], of worker: SimulatedWorker) {
        for message in messages { note(what, World.number(message), worker.host.number) }
    }

    func note(_ what: StaticString, _ message: Int, _ more: Int) {
        trace.note(what, message, more, now: time.now)
    }
}
