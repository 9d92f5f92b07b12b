// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking

extension LoadLoop {
    /// Fills the connection's template with the next messages and sends it, or waits for its next arrival.
    func startSend(_ connection: Connection, now: UInt64) {
        guard phase.sends != nil, requestsLeft > 0 else { return }
        connection.startedAt = now
        if let schedule {
            let due = schedule.due(connection.arrival)
            guard due <= now else {
                connection.wakeAt = due
                return
            }
            connection.startedAt = due
        }
        guard fill(connection) else {
            lines?.park(connection.index)
            return
        }
        if schedule != nil { connection.arrival += plan.options.senderCount }
        requestsLeft -= 1
        connection.step = .sending
        busySenders += 1
        write(connection)
    }

    /// - Returns: false when the groups under way leave too few.
    private func fill(_ connection: Connection) -> Bool {
        if let chooser = connection.chooser {
            connection.entries.removeAll(keepingCapacity: true)
            for _ in 0..<plan.options.batchSize { add(chooser.next(&random), to: connection) }
            return true
        }
        guard lines?.take(plan.options.batchSize, connection: connection.index, &random) == true else { return false }
        connection.entries.removeAll(keepingCapacity: true)
        for group in lines?.taken ?? [] { add(group, to: connection) }
        return true
    }

    private func add(_ group: Int, to connection: Connection) {
        let sequence = checker.nextSequence(group: group)
        connection.template?.set(
            entry: connection.entries.count, group: group, sequence: sequence, sentAt: connection.startedAt)
        connection.entries.append(Connection.Entry(group: group, sequence: sequence))
    }

    /// A request of a skewed load is over: its groups may be sent again, by connections that found none too.
    func releaseGroups(_ connection: Connection) {
        guard lines != nil else { return }
        lines?.release(connection.entries, connection: connection.index)
        while let index = lines?.unpark() {
            if connections[index].step == .idle { connections[index].wakeAt = 1 }
        }
    }

    func sendAnswered(_ connection: Connection, _ response: Response, now: UInt64) {
        Answers.readSend(response, api: plan.options.api, into: &verdicts)
        var accepted = 0
        for (entry, verdict) in zip(connection.entries, verdicts) {
            switch verdict {
            case .accepted(let shard):
                accepted += 1
                place(entry.group, answered: shard)
            case .refused(let code):
                checker.refused(group: entry.group, sequence: entry.sequence)
                count(error: code)
            case .unanswered:
                checker.outcomeUnknown(group: entry.group, sequence: entry.sequence)
                count(error: "entry without an answer")
            }
        }
        checker.acknowledged(count: accepted)
        let latency = now - min(now, connection.startedAt)
        rows?.record(nanoseconds: latency)
        if windowIsOpen, accepted > 0 {
            outcome.statistics.send.record(nanoseconds: latency, messages: accepted)
            timeline?.record(nanoseconds: latency)
        } else if accepted > 0, countsLate(connection.startedAt) {
            outcome.statistics.send.recordLate(nanoseconds: latency)
        }
        finish(connection)
        if accepted == 0 { connection.wakeAt = now + backOff() }
    }

    /// Counts the message for its shard: the one in the answer, else (SQS answers name none) the ring's.
    private func place(_ group: Int, answered shard: Int?) {
        let expected = group < plan.placement.count ? Int(plan.placement[group]) : nil
        if let shard, let expected, shard != expected { checker.misplacedMessage() }
        if windowIsOpen { groupCounts[group] += 1 }
        if windowIsOpen, let known = shard ?? expected { outcome.statistics.count(shard: known) }
    }
}
