// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolJSON
import QueuePoolSQS

// The event that AWS Lambda hands to a function for messages of a FIFO queue, and the function's answer with
// ReportBatchItemFailures. Source: AWS Lambda Developer Guide, "Using Lambda with Amazon SQS" and "Handling errors for an
// SQS event source in Lambda".

/// `{"Records": [...]}`
enum LambdaEvent {
    /// The region and account by which a queuepool server names its queues.
    private static let region: StaticString = "us-east-1"
    private static let account = "000000000000"

    /// The event of some messages, in their order.
    /// - Parameters:
    ///   - now: in the worker's clock, by which a message's first receive is known.
    ///   - wall: what the machine's clock shows, by which it is said.
    static func body(_ messages: [WorkMessage], now: Timestamp, wall: Timestamp) -> [UInt8] {
        var json = JSONWriter(capacity: messages.reduce(64) { $0 + 1_024 + $1.byteCount })
        json.beginObject()
        json.key("Records")
        json.beginArray()
        for message in messages { write(message, now, wall, to: &json) }
        json.endArray()
        json.endObject()
        return json.take()
    }

    private static func write(_ message: WorkMessage, _ now: Timestamp, _ wall: Timestamp, to json: inout JSONWriter) {
        json.beginObject()
        json.key("messageId")
        json.string(message.id)
        json.key("receiptHandle")
        json.string(message.handle)
        json.key("body")
        json.string(message.body)
        json.key("attributes")
        json.beginObject()
        json.key("ApproximateReceiveCount")
        json.string(number: Int64(message.receiveCount))
        json.key("ApproximateFirstReceiveTimestamp")
        json.string(number: wall.milliseconds - (message.firstReceivedAt.map { max(0, now - $0) } ?? 0))
        if let sending = message.sending {
            json.key("SentTimestamp")
            json.string(number: sending.sentAt.milliseconds)
            json.key("SequenceNumber")
            json.string(sending.sequence)
            json.key("MessageDeduplicationId")
            json.string(sending.deduplicationID)
        }
        json.key("MessageGroupId")
        json.string(message.group)
        json.key("SenderId")
        json.string(account)
        json.endObject()
        json.key("messageAttributes")
        json.beginObject()
        for attribute in message.attributes { write(attribute, to: &json) }
        json.endObject()
        json.key("md5OfBody")
        json.string(message.body.withUnsafeBytes { MD5Digest(of: $0) }.hex)
        json.key("eventSource")
        json.string(literal: "aws:sqs")
        json.key("eventSourceARN")
        json.string("arn:aws:sqs:\(region):\(account):\(message.shardName)")
        json.key("awsRegion")
        json.string(literal: region)
        json.endObject()
    }

    private static func write(_ attribute: MessageAttribute, to json: inout JSONWriter) {
        json.key(text: attribute.name)
        json.beginObject()
        if attribute.isBinary {
            json.key("binaryValue")
            json.string(plain: { Base64.encode(attribute.value, to: &$0) })
        } else {
            json.key("stringValue")
            json.string(attribute.value)
        }
        json.key("stringListValues")
        json.beginArray()
        json.endArray()
        json.key("binaryListValues")
        json.beginArray()
        json.endArray()
        json.key("dataType")
        json.string(attribute.dataType)
        json.endObject()
    }
}

/// What a function says of the records of its event.
enum LambdaAnswer {
    /// What became of each message. A list that is not understood, or that names a message which was not in the event, is no
    /// answer: all of them failed.
    /// - Parameters:
    ///   - body: of an answer whose status says that the function ended well.
    ///   - ids: of the messages, in the event's order.
    static func outcomes(_ body: [UInt8], of ids: [String]) -> [DeliveryOutcome] {
        let failed = body.withUnsafeBytes { bytes -> Set<String>? in
            do throws(JSONFault) { return try failures(bytes) } catch { return nil }
        }
        guard let failed else { return ids.map { _ in .failed(errorClass: "lambda-answer") } }
        guard failed.isSubset(of: ids) else { return ids.map { _ in .failed(errorClass: "lambda-unknown-item") } }
        return ids.map { failed.contains($0) ? .failed(errorClass: "lambda-item-failed") : .delivered }
    }

    /// The `itemIdentifier` of each of the `batchItemFailures`; `nil` if one has none.
    private static func failures(_ body: UnsafeRawBufferPointer) throws(JSONFault) -> Set<String>? {
        var json = JSONReader(body)
        var failed: Set<String> = []
        var isWhole = true
        if json.peekKind() == .null {
            try json.readNull()
        } else {
            try json.beginObject()
            while let key = try json.nextKey() {
                if key.equals("batchItemFailures"), json.peekKind() == .array {
                    try json.beginArray()
                    while try json.nextElement() {
                        if let id = try item(&json) { failed.insert(id) } else { isWhole = false }
                    }
                } else if key.equals("batchItemFailures") {
                    try json.readNull()
                } else {
                    try json.skipValue()
                }
            }
        }
        try json.finish()
        return isWhole ? failed : nil
    }

    private static func item(_ json: inout JSONReader) throws(JSONFault) -> String? {
        var id: String?
        try json.beginObject()
        while let key = try json.nextKey() {
            if key.equals("itemIdentifier"), json.peekKind() == .string {
                id = try json.readString().text
            } else {
                try json.skipValue()
            }
        }
        return id?.isEmpty == false ? id : nil
    }
}
