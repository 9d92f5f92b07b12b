// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

public import QueuePoolCore
public import QueuePoolJSON

// Answers are written straight into the bytes of the response, member by member; nothing is gathered first. Empty lists
// and maps are left out, as SQS does. Source: service model sqs/2012-11-05.

/// What a send answers.
public struct SendAnswer: Sendable {
    public var messageID: MessageID
    public var sequence: SequenceNumber
    public var bodyMD5: MD5Digest
    public var attributesMD5: MD5Digest?
    public var systemAttributesMD5: MD5Digest?
    /// The sequence number as a remote queue gave it.
    public var remoteSequence: RemoteText?

    public init(
        messageID: MessageID, sequence: SequenceNumber, bodyMD5: MD5Digest, attributesMD5: MD5Digest? = nil,
        systemAttributesMD5: MD5Digest? = nil
    ) {
        self.messageID = messageID
        self.sequence = sequence
        self.bodyMD5 = bodyMD5
        self.attributesMD5 = attributesMD5
        self.systemAttributesMD5 = systemAttributesMD5
    }

    public init(_ receipt: SendReceipt, _ prepared: PreparedSend) {
        self.init(
            messageID: receipt.messageID, sequence: receipt.sequence, bodyMD5: prepared.bodyMD5,
            attributesMD5: prepared.attributesMD5, systemAttributesMD5: prepared.systemAttributesMD5)
        remoteSequence = receipt.remoteSequence
    }
}

/// An entry of a batch that failed by itself.
public struct BatchFailure: Sendable {
    public var id: String
    public var error: SQSError

    public init(id: String, error: SQSError) {
        self.id = id
        self.error = error
    }
}

/// Bodies of successful answers. Each function appends one whole JSON object.
public enum SQSAnswer {
    /// DeleteMessage, ChangeMessageVisibility, DeleteQueue, PurgeQueue, SetQueueAttributes, TagQueue, UntagQueue,
    /// AddPermission, RemovePermission.
    public static func empty(to json: inout JSONWriter) {
        json.beginObject()
        json.endObject()
    }

    public static func sendMessage(_ answer: SendAnswer, to json: inout JSONWriter) {
        json.beginObject()
        write(answer, to: &json)
        json.endObject()
    }

    /// - Parameter successes: in the order of the request.
    public static func sendMessageBatch(
        successes: [(id: String, answer: SendAnswer)], failures: [BatchFailure], to json: inout JSONWriter
    ) {
        json.beginObject()
        if !successes.isEmpty {
            json.key("Successful")
            json.beginArray()
            for success in successes { json.value { write(success.id, success.answer, to: &$0) } }
            json.endArray()
        }
        write(failures, to: &json)
        json.endObject()
    }

    /// An entry of a batch that was stored, in a few pieces: nearly every answer has ten.
    private static func write(_ id: String, _ answer: SendAnswer, to out: inout [UInt8]) {
        out.append("{\"Id\":\"")
        // Letters, digits, hyphens and underscores: a request with another id is refused.
        out.append(contentsOf: id.utf8)
        out.append("\",\"MessageId\":\"")
        answer.messageID.write(to: &out)
        out.append("\",\"MD5OfMessageBody\":\"")
        answer.bodyMD5.writeHex(to: &out)
        if let digest = answer.attributesMD5 {
            out.append("\",\"MD5OfMessageAttributes\":\"")
            digest.writeHex(to: &out)
        }
        if let digest = answer.systemAttributesMD5 {
            out.append("\",\"MD5OfMessageSystemAttributes\":\"")
            digest.writeHex(to: &out)
        }
        out.append("\",\"SequenceNumber\":\"")
        if let remote = answer.remoteSequence {
            out.append(contentsOf: remote.text.utf8)
        } else {
            answer.sequence.write(to: &out)
        }
        out.append("\"}")
    }

    /// DeleteMessageBatch, ChangeMessageVisibilityBatch.
    public static func handleBatch(
        successes ids: [String], failures: [BatchFailure], to json: inout JSONWriter
    ) {
        json.beginObject()
        if !ids.isEmpty {
            json.key("Successful")
            json.beginArray()
            for id in ids {
                json.beginObject()
                json.key("Id")
                json.string(id)
                json.endObject()
            }
            json.endArray()
        }
        write(failures, to: &json)
        json.endObject()
    }

    private static func write(_ answer: SendAnswer, to json: inout JSONWriter) {
        json.key("MessageId")
        json.string(plain: answer.messageID.write)
        json.key("MD5OfMessageBody")
        json.string(plain: answer.bodyMD5.writeHex)
        if let digest = answer.attributesMD5 {
            json.key("MD5OfMessageAttributes")
            json.string(plain: digest.writeHex)
        }
        if let digest = answer.systemAttributesMD5 {
            json.key("MD5OfMessageSystemAttributes")
            json.string(plain: digest.writeHex)
        }
        json.key("SequenceNumber")
        if let remote = answer.remoteSequence {
            json.string(remote.text)
        } else {
            json.string(plain: answer.sequence.write)
        }
    }

    private static func write(_ failures: [BatchFailure], to json: inout JSONWriter) {
        guard !failures.isEmpty else { return }
        json.key("Failed")
        json.beginArray()
        for failure in failures {
            json.beginObject()
            json.key("Id")
            json.string(failure.id)
            json.key("SenderFault")
            json.bool(failure.error.isSenderFault)
            json.key("Code")
            json.string(failure.error.code)
            json.key("Message")
            json.string(failure.error.message)
            json.endObject()
        }
        json.endArray()
    }
}

extension [UInt8] {
    fileprivate mutating func append(_ piece: StaticString) {
        append(contentsOf: UnsafeBufferPointer(start: piece.utf8Start, count: piece.utf8CodeUnitCount))
    }
}
