// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolJSON
import QueuePoolSQS

/// What an answer of ReceiveMessage holds, as a shard's receivers get it.
struct ReceivedMessages {
    var messages: [(message: ReceivedMessage, group: UInt64)] = []
    /// Those that are not whole; the id is `nil` where it is none of ours to tell.
    var damaged: [MessageID?] = []

    init(_ body: [UInt8], tag: ShardTag) throws(JSONFault) {
        let found = try AnsweredMessages.read(body) { ReceivedMessages.message($0, bodyMD5: $1, tag) }
        messages = found.messages
        damaged = found.damaged.map { MessageID($0) }
    }

    private static func message(
        _ entry: AnsweredMessage, bodyMD5: MD5Digest, _ tag: ShardTag
    ) -> (message: ReceivedMessage, group: UInt64)? {
        guard let id = MessageID(entry.id) else { return nil }
        let system = entry.trace.map { [MessageAttribute(name: "AWSTraceHeader", dataType: "String", value: $0)] } ?? []
        let record = entry.body.withUnsafeBytes {
            MessageRecord(
                group: entry.group, deduplicationID: entry.deduplicationID, body: $0, attributes: entry.attributes,
                systemAttributes: system, bodyMD5: bodyMD5)
        }
        let handle = ReceiptHandle(
            shard: tag, sequence: SequenceNumber(rawValue: 0), receiveCount: UInt32(clamping: entry.receiveCount),
            place: 0, remote: RemoteText(entry.handle))
        let message = ReceivedMessage(
            handle: handle, messageID: id, receiveCount: entry.receiveCount,
            firstReceivedAt: entry.firstReceivedAt ?? Timestamp(milliseconds: 0), storage: record.bytes, offset: 0,
            length: record.bytes.count,
            remote: RemoteFacts(
                sentAt: entry.sentAt, sequence: entry.sequence, senderID: entry.senderID, sourceARN: entry.sourceARN))
        return (message, entry.group.withUnsafeBytes { XXHash64.hash($0) })
    }
}
