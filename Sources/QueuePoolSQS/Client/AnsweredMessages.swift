// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

public import QueuePoolCore
public import QueuePoolJSON

/// A message as an answer of ReceiveMessage holds it.
public struct AnsweredMessage: Sendable {
    public internal(set) var id = ""
    public internal(set) var handle = ""
    public internal(set) var body: [UInt8] = []
    public internal(set) var bodyMD5 = ""
    public internal(set) var attributesMD5: String?
    public internal(set) var group: [UInt8] = []
    public internal(set) var deduplicationID: [UInt8] = []
    public internal(set) var sentAt = Timestamp(milliseconds: 0)
    public internal(set) var sequence = ""
    public internal(set) var senderID = ""
    /// At least 1.
    public internal(set) var receiveCount = 1
    /// By the service's clock; `nil` if it did not say.
    public internal(set) var firstReceivedAt: Timestamp?
    public internal(set) var trace: [UInt8]?
    /// Of the queue whose redrive policy moved the message here.
    public internal(set) var sourceARN: String?
    public internal(set) var attributes: [MessageAttribute] = []

    /// The body's digest; `nil` if the message is not whole: a digest does not fit, or what no message is without is
    /// missing.
    fileprivate var digest: MD5Digest? {
        guard !id.isEmpty, !handle.isEmpty, !group.isEmpty else { return nil }
        let digest = body.withUnsafeBytes { MD5Digest(of: $0) }
        guard digest.hex == bodyMD5 else { return nil }
        if let attributesMD5, MD5Digest(of: attributes)?.hex != attributesMD5 { return nil }
        return digest
    }
}

/// Answers of ReceiveMessage.
public enum AnsweredMessages {
    /// Reads an answer, and makes a message of each entry.
    ///
    /// The service's digests of bodies and attributes are verified, as its SDKs do. A message that is not whole, and those
    /// behind it in its group, are left out; they come back when their visibility timeout ends, and others are not held up
    /// (I5).
    /// - Parameter make: makes a message of an entry and its body's digest; `nil` if the entry is not whole in its eyes.
    /// - Returns: the messages, and the ids of those that were not whole.
    public static func read<Message>(
        _ body: [UInt8], _ make: (AnsweredMessage, MD5Digest) -> Message?
    ) throws(JSONFault) -> (messages: [Message], damaged: [String]) {
        var found: (messages: [Message], damaged: [String]) = ([], [])
        var spoilt: Set<[UInt8]> = []
        for entry in try ClientJSON.parse(body, entries) where !spoilt.contains(entry.group) {
            if let digest = entry.digest, let message = make(entry, digest) {
                found.messages.append(message)
            } else {
                spoilt.insert(entry.group)
                found.damaged.append(entry.id)
            }
        }
        return found
    }

    private static func entries(_ json: inout JSONReader) throws(JSONFault) -> [AnsweredMessage] {
        var entries: [AnsweredMessage] = []
        try json.beginObject()
        while let key = try json.nextKey() {
            guard key.equals("Messages") else {
                try json.skipValue()
                continue
            }
            try json.beginArray()
            while try json.nextElement() { entries.append(try entry(&json)) }
        }
        return entries
    }

    private static func entry(_ json: inout JSONReader) throws(JSONFault) -> AnsweredMessage {
        var entry = AnsweredMessage()
        try json.beginObject()
        while let key = try json.nextKey() {
            if key.equals("MessageId") {
                entry.id = try json.readString().text
            } else if key.equals("ReceiptHandle") {
                entry.handle = try json.readString().text
            } else if key.equals("Body") {
                entry.body = try json.readString().array
            } else if key.equals("MD5OfBody") {
                entry.bodyMD5 = try json.readString().text
            } else if key.equals("MD5OfMessageAttributes") {
                entry.attributesMD5 = try json.readString().text
            } else if key.equals("Attributes") {
                try readSystem(&entry, &json)
            } else if key.equals("MessageAttributes") {
                try readAttributes(&entry, &json)
            } else {
                try json.skipValue()
            }
        }
        return entry
    }

    private static func readSystem(_ entry: inout AnsweredMessage, _ json: inout JSONReader) throws(JSONFault) {
        try json.beginObject()
        while let key = try json.nextKey() {
            if key.equals("MessageGroupId") {
                entry.group = try json.readString().array
            } else if key.equals("MessageDeduplicationId") {
                entry.deduplicationID = try json.readString().array
            } else if key.equals("ApproximateReceiveCount") {
                entry.receiveCount = max(1, Int(try json.readString().text) ?? 1)
            } else if key.equals("ApproximateFirstReceiveTimestamp") {
                entry.firstReceivedAt = try time(&json)
            } else if key.equals("SentTimestamp") {
                entry.sentAt = try time(&json) ?? Timestamp(milliseconds: 0)
            } else if key.equals("SequenceNumber") {
                entry.sequence = try json.readString().text
            } else if key.equals("SenderId") {
                entry.senderID = try json.readString().text
            } else if key.equals("AWSTraceHeader") {
                entry.trace = try json.readString().array
            } else if key.equals("DeadLetterQueueSourceArn") {
                entry.sourceARN = try json.readString().text
            } else {
                try json.skipValue()
            }
        }
    }

    private static func time(_ json: inout JSONReader) throws(JSONFault) -> Timestamp? {
        Int64(try json.readString().text).map { Timestamp(milliseconds: $0) }
    }

    private static func readAttributes(_ entry: inout AnsweredMessage, _ json: inout JSONReader) throws(JSONFault) {
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
            entry.attributes.append(attribute)
        }
    }
}
