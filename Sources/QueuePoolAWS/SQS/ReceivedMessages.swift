// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolJSON
import QueuePoolSQS

/// A received message on its way from JSON to a record.
private struct Draft {
    var id = ""
    var handle = ""
    var body: [UInt8] = []
    var bodyMD5 = ""
    var attributesMD5: String?
    var group: [UInt8] = []
    var deduplicationID: [UInt8] = []
    var sentAt = Timestamp(milliseconds: 0)
    var sequence = ""
    var senderID = ""
    var receiveCount = 1
    var firstReceivedAt = Timestamp(milliseconds: 0)
    var trace: [UInt8]?
    var attributes: [MessageAttribute] = []
}

enum ReceivedMessages {
    /// What an answer holds.
    struct Found {
        var messages: [(message: ReceivedMessage, group: UInt64)] = []
        /// Those that are not whole; the id is `nil` where it is none of ours to tell.
        var damaged: [MessageID?] = []
    }

    /// Reads the answer of ReceiveMessage.
    ///
    /// Digests of bodies and attributes are verified. A message that is not whole, and those behind it in its group, are
    /// left out; they come back when their visibility timeout ends, and others are not held up (I5).
    static func read(_ body: [UInt8], tag: ShardTag) throws(JSONFault) -> Found {
        var found = Found()
        var spoilt: Set<[UInt8]> = []
        for draft in try QueueClient.parse(body, messages) where !spoilt.contains(draft.group) {
            if let message = message(draft, tag) {
                found.messages.append(message)
            } else {
                spoilt.insert(draft.group)
                found.damaged.append(MessageID(draft.id))
            }
        }
        return found
    }

    private static func message(
        _ draft: Draft, _ tag: ShardTag
    ) -> (message: ReceivedMessage, group: UInt64)? {
        guard let id = MessageID(draft.id), !draft.handle.isEmpty, !draft.group.isEmpty else { return nil }
        let digest = draft.body.withUnsafeBytes { MD5Digest(of: $0) }
        guard digest.hex == draft.bodyMD5 else { return nil }
        if let expected = draft.attributesMD5, MD5Digest(of: draft.attributes)?.hex != expected { return nil }
        let system = draft.trace.map { [MessageAttribute(name: "AWSTraceHeader", dataType: "String", value: $0)] } ?? []
        let record = draft.body.withUnsafeBytes {
            MessageRecord(
                group: draft.group, deduplicationID: draft.deduplicationID, body: $0, attributes: draft.attributes,
                systemAttributes: system, bodyMD5: digest)
        }
        let handle = ReceiptHandle(
            shard: tag, sequence: SequenceNumber(rawValue: 0), receiveCount: UInt32(clamping: draft.receiveCount),
            place: 0, remote: RemoteText(draft.handle))
        let message = ReceivedMessage(
            handle: handle, messageID: id, receiveCount: draft.receiveCount, firstReceivedAt: draft.firstReceivedAt,
            storage: record.bytes, offset: 0, length: record.bytes.count,
            remote: RemoteFacts(sentAt: draft.sentAt, sequence: draft.sequence, senderID: draft.senderID))
        return (message, draft.group.withUnsafeBytes { XXHash64.hash($0) })
    }

    private static func messages(_ json: inout JSONReader) throws(JSONFault) -> [Draft] {
        var drafts: [Draft] = []
        try json.beginObject()
        while let key = try json.nextKey() {
            guard key.equals("Messages") else {
                try json.skipValue()
                continue
            }
            try json.beginArray()
            while try json.nextElement() { drafts.append(try draft(&json)) }
        }
        return drafts
    }

    private static func draft(_ json: inout JSONReader) throws(JSONFault) -> Draft {
        var draft = Draft()
        try json.beginObject()
        while let key = try json.nextKey() {
            if key.equals("MessageId") {
                draft.id = try json.readString().text
            } else if key.equals("ReceiptHandle") {
                draft.handle = try json.readString().text
            } else if key.equals("Body") {
                draft.body = try json.readString().array
            } else if key.equals("MD5OfBody") {
                draft.bodyMD5 = try json.readString().text
            } else if key.equals("MD5OfMessageAttributes") {
                draft.attributesMD5 = try json.readString().text
            } else if key.equals("Attributes") {
                try readSystem(&draft, &json)
            } else if key.equals("MessageAttributes") {
                try readAttributes(&draft, &json)
            } else {
                try json.skipValue()
            }
        }
        return draft
    }

    private static func readSystem(_ draft: inout Draft, _ json: inout JSONReader) throws(JSONFault) {
        try json.beginObject()
        while let key = try json.nextKey() {
            if key.equals("MessageGroupId") {
                draft.group = try json.readString().array
            } else if key.equals("MessageDeduplicationId") {
                draft.deduplicationID = try json.readString().array
            } else if key.equals("ApproximateReceiveCount") {
                draft.receiveCount = Int(try json.readString().text) ?? 1
            } else if key.equals("ApproximateFirstReceiveTimestamp") {
                draft.firstReceivedAt = try time(&json)
            } else if key.equals("SentTimestamp") {
                draft.sentAt = try time(&json)
            } else if key.equals("SequenceNumber") {
                draft.sequence = try json.readString().text
            } else if key.equals("SenderId") {
                draft.senderID = try json.readString().text
            } else if key.equals("AWSTraceHeader") {
                draft.trace = try json.readString().array
            } else {
                try json.skipValue()
            }
        }
    }

    private static func time(_ json: inout JSONReader) throws(JSONFault) -> Timestamp {
        Timestamp(milliseconds: Int64(try json.readString().text) ?? 0)
    }

    private static func readAttributes(_ draft: inout Draft, _ json: inout JSONReader) throws(JSONFault) {
        try json.beginObject()
        while let key = try json.nextKey() {
            var attribute = MessageAttribute(name: key.text, dataType: "String", value: [])
            try json.beginObject()
            while let key = try json.nextKey() {
                if key.equals("DataType") {
                    attribute.dataType = try json.readString().text
                } else if key.equals("StringValue") {
                    attribute.value = try json.readString().array
                } else if key.equals("BinaryValue") {
                    attribute.value = try json.readString().withBytes { Base64.decode($0) } ?? []
                } else {
                    try json.skipValue()
                }
            }
            draft.attributes.append(attribute)
        }
    }
}
