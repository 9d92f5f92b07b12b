// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

public import QueuePoolCore
public import QueuePoolJSON

extension SQSAnswer {
    /// The account that sent every message here.
    public static let senderID: StaticString = "000000000000"

    /// ReceiveMessage.
    /// - Parameters:
    ///   - messages: their `receiveCount` is that of the queue they are in; deliveries before a move are added here.
    ///   - request: whose filters say what is shown.
    ///   - sourceArn: the ARN of the queue from which a message was moved to this dead-letter queue; asked for only if
    ///     the receiver wants it, `nil` if it is not known any more.
    public static func receiveMessage(
        _ messages: [ReceivedMessage], for request: ReceiveMessageRequest,
        sourceArn: (ReceivedMessage) -> String? = { _ in nil }, to json: inout JSONWriter
    ) {
        json.beginObject()
        if !messages.isEmpty {
            json.reserve(messages.reduce(64) { $0 + $1.length + $1.length / 8 + 640 })
            json.key("Messages")
            json.beginArray()
            for message in messages {
                message.withView { write(message, $0, request, sourceArn, to: &json) }
            }
            json.endArray()
        }
        json.endObject()
    }

    private static func write(
        _ message: ReceivedMessage, _ view: RecordView, _ request: ReceiveMessageRequest,
        _ sourceArn: (ReceivedMessage) -> String?, to json: inout JSONWriter
    ) {
        let origin = view.origin
        json.beginObject()
        json.key("MessageId")
        // A message keeps its id when it is moved to a dead-letter queue.
        json.string(plain: (origin?.messageID ?? message.messageID).write)
        json.key("ReceiptHandle")
        if let pointer = message.pointer {
            json.string(BodyPointer.handle(pointer, message.handle.text))
        } else {
            json.string(plain: message.handle.write)
        }
        json.key("MD5OfBody")
        json.string(plain: (view.bodyMD5 ?? MD5Digest(of: view.body)).writeHex)
        json.key("Body")
        json.string(view.body)
        if !request.systemAttributes.isEmpty {
            writeSystem(message, view, origin, request.systemAttributes, sourceArn, to: &json)
        }
        if view.hasAttributes, !request.attributes.isEmpty {
            writeAttributes(request.attributes.subset(of: view.attributes), to: &json)
        }
        json.endObject()
    }

    private static func writeSystem(
        _ message: ReceivedMessage, _ view: RecordView, _ origin: MessageOrigin?, _ names: SystemAttributeNames,
        _ sourceArn: (ReceivedMessage) -> String?, to json: inout JSONWriter
    ) {
        let trace = names.contains(.traceHeader) && view.hasSystemAttributes ? view.systemAttributes : []
        let wasMoved = origin != nil || message.remote?.sourceARN != nil
        let arn = wasMoved && names.contains(.deadLetterQueueSourceArn) ? sourceArn(message) : nil
        // All others are always there; these two may be all that was asked for, and be absent.
        guard names.subtracting([.traceHeader, .deadLetterQueueSourceArn]) != [] || !trace.isEmpty || arn != nil else {
            return
        }
        json.key("Attributes")
        json.beginObject()
        if names.contains(.senderID) {
            json.key("SenderId")
            if let remote = message.remote { json.string(remote.senderID) } else { json.string(literal: senderID) }
        }
        if names.contains(.sentTimestamp) {
            json.key("SentTimestamp")
            json.string(number: (message.remote?.sentAt ?? message.handle.sequence.sentAt).milliseconds)
        }
        if names.contains(.approximateReceiveCount) {
            json.key("ApproximateReceiveCount")
            json.string(number: Int64(message.receiveCount) + Int64(origin?.receiveCount ?? 0))
        }
        if names.contains(.approximateFirstReceiveTimestamp) {
            json.key("ApproximateFirstReceiveTimestamp")
            json.string(number: message.firstReceivedAt.milliseconds)
        }
        if names.contains(.sequenceNumber) {
            json.key("SequenceNumber")
            if let remote = message.remote {
                json.string(remote.sequence)
            } else {
                json.string(plain: message.handle.sequence.write)
            }
        }
        if names.contains(.messageDeduplicationID) {
            json.key("MessageDeduplicationId")
            json.string(view.deduplicationID)
        }
        if names.contains(.messageGroupID) {
            json.key("MessageGroupId")
            json.string(view.group)
        }
        for attribute in trace {
            json.key(text: attribute.name)
            json.string(attribute.value)
        }
        if let arn {
            json.key("DeadLetterQueueSourceArn")
            json.string(arn)
        }
        json.endObject()
    }

    /// - Parameter attributes: those that are shown; the digest is over them alone.
    private static func writeAttributes(_ attributes: [MessageAttribute], to json: inout JSONWriter) {
        guard let digest = MD5Digest(of: attributes) else { return }
        json.key("MD5OfMessageAttributes")
        json.string(plain: digest.writeHex)
        json.key("MessageAttributes")
        json.beginObject()
        for attribute in attributes {
            json.key(text: attribute.name)
            json.beginObject()
            if attribute.isBinary {
                json.key("BinaryValue")
                json.string { out in Base64.encode(attribute.value, to: &out) }
            } else {
                json.key("StringValue")
                json.string(attribute.value)
            }
            json.key("DataType")
            json.string(attribute.dataType)
            json.endObject()
        }
        json.endObject()
    }
}
