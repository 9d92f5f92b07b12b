// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

public import QueuePoolCore
import QueuePoolJSON

// Bodies of requests as a client of the service writes them (AWS JSON 1.0). Entries of a batch are named by their
// positions, so that an answer in any order finds its way back.

/// A request of the SQS protocol, ready to be sent.
public struct ClientRequest: Sendable {
    public let action: SQSAction
    public let body: [UInt8]
    /// Messages or receipt handles in it.
    public let entryCount: Int

    /// One change of a message in flight; a batch holds up to ten.
    public struct HandleEntry: Sendable {
        public var handle: String
        /// The new visibility timeout; unused by deletes.
        public var seconds: Int

        public init(handle: String, seconds: Int = 0) {
            self.handle = handle
            self.seconds = seconds
        }
    }

    private init(
        _ action: SQSAction, queue: String, entries: Int = 0, capacity: Int = 512, _ write: (inout JSONWriter) -> Void
    ) {
        var json = JSONWriter(capacity: capacity)
        json.beginObject()
        json.key("QueueUrl")
        json.string(queue)
        write(&json)
        json.endObject()
        self.action = action
        entryCount = entries
        body = json.take()
    }

    // MARK: Sending

    /// - Parameter queue: as the service gave its URL; services that say so take a bare name too. The same below.
    public static func send(
        body: [UInt8], group: String, deduplicationID: String, attributes: [MessageAttribute], to queue: String
    ) -> ClientRequest {
        ClientRequest(
            .sendMessage, queue: queue, entries: 1, capacity: 1_024 + body.count + body.count / 8
        ) { json in
            json.key("MessageBody")
            json.string(body)
            json.key("MessageGroupId")
            json.string(group)
            json.key("MessageDeduplicationId")
            json.string(deduplicationID)
            guard !attributes.isEmpty else { return }
            json.key("MessageAttributes")
            json.messageAttributes(attributes)
        }
    }

    public static func send(_ messages: [OutgoingMessage], to queue: String) -> ClientRequest {
        let bytes = messages.reduce(512) { $0 + $1.byteCount + $1.byteCount / 8 + 256 }
        return ClientRequest(.sendMessageBatch, queue: queue, entries: messages.count, capacity: bytes) { json in
            json.key("Entries")
            json.beginArray()
            for (position, message) in messages.enumerated() {
                message.record.withView { write($0, position, to: &json) }
            }
            json.endArray()
        }
    }

    private static func write(_ view: RecordView, _ position: Int, to json: inout JSONWriter) {
        json.beginObject()
        json.key("Id")
        json.string(String(position))
        json.key("MessageBody")
        json.string(view.body)
        json.key("MessageGroupId")
        json.string(view.group)
        json.key("MessageDeduplicationId")
        json.string(view.deduplicationID)
        if view.hasAttributes {
            json.key("MessageAttributes")
            json.messageAttributes(view.attributes)
        }
        if view.hasSystemAttributes {
            json.key("MessageSystemAttributes")
            json.messageAttributes(view.systemAttributes)
        }
        json.endObject()
    }

    // MARK: Receiving

    /// Asks for all attributes. System attributes are asked for by `AttributeNames`, which every version of the service's
    /// model knows and takes for the same as the newer `MessageSystemAttributeNames`.
    public static func receive(
        limit: Int, visibilitySeconds: Int, waitSeconds: Int, attemptID: String? = nil, from queue: String
    ) -> ClientRequest {
        ClientRequest(.receiveMessage, queue: queue) { json in
            json.key("MaxNumberOfMessages")
            json.int(limit)
            json.key("WaitTimeSeconds")
            json.int(waitSeconds)
            json.key("VisibilityTimeout")
            json.int(visibilitySeconds)
            for key: StaticString in ["AttributeNames", "MessageAttributeNames"] {
                json.key(key)
                json.beginArray()
                json.string("All")
                json.endArray()
            }
            if let attemptID {
                json.key("ReceiveRequestAttemptId")
                json.string(attemptID)
            }
        }
    }

    public static func delete(_ entries: [HandleEntry], from queue: String) -> ClientRequest {
        handles(.deleteMessageBatch, entries, queue, withSeconds: false)
    }

    public static func changeVisibility(_ entries: [HandleEntry], in queue: String) -> ClientRequest {
        handles(.changeMessageVisibilityBatch, entries, queue, withSeconds: true)
    }

    private static func handles(
        _ action: SQSAction, _ entries: [HandleEntry], _ queue: String, withSeconds: Bool
    ) -> ClientRequest {
        let bytes = entries.reduce(256) { $0 + $1.handle.utf8.count + 64 }
        return ClientRequest(action, queue: queue, entries: entries.count, capacity: bytes) { json in
            json.key("Entries")
            json.beginArray()
            for (position, entry) in entries.enumerated() {
                json.beginObject()
                json.key("Id")
                json.string(String(position))
                json.key("ReceiptHandle")
                json.string(entry.handle)
                if withSeconds {
                    json.key("VisibilityTimeout")
                    json.int(entry.seconds)
                }
                json.endObject()
            }
            json.endArray()
        }
    }

    // MARK: The queue

    /// Asks for all attributes of the queue.
    public static func attributes(ofQueue queue: String) -> ClientRequest {
        ClientRequest(.getQueueAttributes, queue: queue) { json in
            json.key("AttributeNames")
            json.beginArray()
            json.string("All")
            json.endArray()
        }
    }

    public static func purge(_ queue: String) -> ClientRequest {
        ClientRequest(.purgeQueue, queue: queue) { _ in }
    }
}

extension JSONWriter {
    /// Writes message attributes as SQS takes them.
    fileprivate mutating func messageAttributes(_ attributes: [MessageAttribute]) {
        beginObject()
        for attribute in attributes {
            key(text: attribute.name)
            beginObject()
            key("DataType")
            string(attribute.dataType)
            if attribute.isBinary {
                key("BinaryValue")
                string(plain: { Base64.encode(attribute.value, to: &$0) })
            } else {
                key("StringValue")
                string(attribute.value)
            }
            endObject()
        }
        endObject()
    }
}
