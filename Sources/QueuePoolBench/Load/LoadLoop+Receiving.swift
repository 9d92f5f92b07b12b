// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import QueuePoolChecking

extension LoadLoop {
    func startReceive(_ connection: Connection, now: UInt64) {
        guard phase.receives else { return }
        connection.startedAt = now
        connection.step = .receiving
        busyReceivers += 1
        write(connection)
    }

    /// Checks the messages and makes their delete the connection's next request.
    func receiveAnswered(_ connection: Connection, _ response: Response, now: UInt64) {
        finish(connection)
        guard response.status == 200 else {
            count(error: Answers.errorCode(response))
            connection.wakeAt = now + backOff()
            return
        }
        ReceivedMessage.read(response.body, into: &received)
        connection.entries.removeAll(keepingCapacity: true)
        handles.removeAll(keepingCapacity: true)
        for message in received {
            guard let entry = check(message, now), handles.count < ReceiveRequests.entriesMax else { continue }
            connection.entries.append(entry)
            handles.append(message.receiptHandle)
        }
        guard !handles.isEmpty else {
            if windowIsOpen { outcome.statistics.emptyReceives += 1 }
            return
        }
        if windowIsOpen {
            outcome.statistics.receive.record(nanoseconds: now - connection.startedAt, messages: received.count)
        }
        if phase.sends == nil {
            rows?.record(nanoseconds: now - connection.startedAt)
            timeline?.record(nanoseconds: now - connection.startedAt)
        }
        if phase.handles { return startHandling(connection, now: now) }
        connection.requests?.writeDelete(of: handles, to: &connection.deleteOutput)
        connection.startedAt = now
        connection.step = .deleting
        busyDeleters += 1
    }

    /// - Returns: the message's place, or `nil` if it is not this run's and stays where it is.
    private func check(_ message: ReceivedMessage, _ now: UInt64) -> Connection.Entry? {
        guard let payload = Payload(message.body), payload.run == plan.run else {
            checker.foreignMessage()
            return nil
        }
        if !hasFiller(message.body) { checker.corruptedBody() }
        let group = Int(payload.group)
        // A server that was killed may have forgotten that it had handed a message out; until its delete was answered,
        // it may hand it out again.
        let receiveCount = outages.count > 0 ? max(2, message.receiveCount) : message.receiveCount
        checker.delivered(group: group, sequence: payload.sequence, receiveCount: receiveCount)
        if windowIsOpen, phase.sends != nil, message.receiveCount <= 1 {
            outcome.statistics.endToEnd.record(nanoseconds: now - min(now, payload.sentAt), messages: 1)
        }
        return Connection.Entry(group: group, sequence: payload.sequence)
    }

    private func hasFiller(_ body: UnsafeRawBufferPointer) -> Bool {
        guard body.count == plan.options.bodyBytes, let base = body.baseAddress else { return false }
        return filler.withUnsafeBytes { bytes in
            guard let expected = bytes.baseAddress else { return true }
            return memcmp(base + Payload.stampBytes, expected, bytes.count) == 0
        }
    }

    func deleteAnswered(_ connection: Connection, _ response: Response, now: UInt64) {
        deleteVerdicts.removeAll(keepingCapacity: true)
        for _ in connection.entries { deleteVerdicts.append(.unanswered) }
        if response.status == 200 {
            Answers.readBatch(response.body, into: &deleteVerdicts)
        } else {
            count(error: Answers.errorCode(response), connection.entries.count)
        }
        var deleted = 0
        for (entry, verdict) in zip(connection.entries, deleteVerdicts) {
            switch verdict {
            case .accepted:
                deleted += 1
                checker.deleted(group: entry.group, sequence: entry.sequence)
            case .refused(let code): count(error: "delete: " + code)
            case .unanswered: break
            }
        }
        if windowIsOpen {
            outcome.statistics.delete.record(nanoseconds: now - connection.startedAt, messages: deleted)
        }
        finish(connection)
        awaitHandled(connection)
    }
}
