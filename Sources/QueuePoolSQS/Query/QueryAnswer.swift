// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolJSON

// Answers of the JSON protocol in the words of the Query protocol: members keep their names, lists and maps are flattened.

/// Bodies of answers of the Query protocol.
public enum QueryAnswer {
    public static let contentType: StaticString = "text/xml"

    /// A successful answer.
    /// - Parameter json: the JSON protocol's answer.
    /// - Returns: `nil` if that is no JSON object.
    public static func xml(_ action: SQSAction, json: [UInt8], requestID: String) -> [UInt8]? {
        json.withUnsafeBytes { bytes in
            var writer = QueryAnswerWriter(action: action, capacity: bytes.count + bytes.count / 4 + 512)
            do throws(JSONFault) { try writer.write(bytes, requestID: requestID) } catch { return nil }
            return writer.xml.bytes
        }
    }

    /// An error as the Query protocol has it: the legacy code, and texts that do not speak of JSON.
    public static func error(_ error: SQSError, requestID: String) -> (status: Int, body: [UInt8]) {
        if error.kind == .unknownOperation { return (404, Array("<UnknownOperationException/>\n".utf8)) }
        var xml = XMLWriter(capacity: 320 + error.message.utf8.count)
        xml.begin("ErrorResponse")
        xml.open("Error")
        xml.element("Type", error.isSenderFault ? "Sender" : "Receiver")
        xml.element("Code", error.kind == .serialization ? "InvalidParameterValue" : error.code)
        xml.element("Message", error == .noSuchQueue ? noSuchQueue : error.message)
        xml.empty("Detail")
        xml.close("Error")
        xml.element("RequestId", requestID)
        xml.close("ErrorResponse")
        // The other uses of this code are in the JSON protocol.
        return (error.kind == .invalidAddress ? 404 : error.status, xml.bytes)
    }

    /// Reads the JSON protocol's error answer.
    /// - Parameter header: its `x-amzn-query-error`.
    public static func error(json: [UInt8], header: String) -> SQSError {
        let code = header.split(separator: ";").first ?? ""
        guard let kind = SQSError.Kind.allCases.first(where: { SQSError($0, "").code == code }) else {
            return SQSError(.internalFailure, "")
        }
        let message = json.withUnsafeBytes { bytes -> String? in
            var reader = JSONReader(bytes)
            do throws(JSONFault) {
                try reader.beginObject()
                while let key = try reader.nextKey() {
                    if key.equals("message") { return try reader.readString().text }
                    try reader.skipValue()
                }
            } catch {}
            return nil
        }
        return SQSError(kind, message ?? "")
    }

    private static let noSuchQueue = "The specified queue does not exist for this wsdl version."
}

private struct QueryAnswerWriter {
    let action: SQSAction
    var xml: XMLWriter

    /// What a member with parts becomes.
    private enum Element {
        /// One element for each.
        case list(StaticString)
        /// One element for each, with the key in an element of its own beside `Value`.
        case map(StaticString, key: StaticString)
    }

    init(action: SQSAction, capacity: Int) {
        self.action = action
        xml = XMLWriter(capacity: capacity)
    }

    mutating func write(_ json: UnsafeRawBufferPointer, requestID: String) throws(JSONFault) {
        var reader = JSONReader(json)
        xml.begin("\(action.rawValue)Response")
        try reader.beginObject()
        if let first = try reader.nextKey() {
            xml.open("\(action.rawValue)Result")
            try write(member: first, &reader)
            try writeMembers(&reader)
            xml.close("\(action.rawValue)Result")
        } else if hasResult {
            xml.empty("\(action.rawValue)Result")
        }
        try reader.finish()
        xml.open("ResponseMetadata")
        xml.element("RequestId", requestID)
        xml.close("ResponseMetadata")
        xml.close("\(action.rawValue)Response")
    }

    private mutating func writeMembers(_ reader: inout JSONReader) throws(JSONFault) {
        while let key = try reader.nextKey() { try write(member: key, &reader) }
    }

    private mutating func write(member: JSONString, _ reader: inout JSONReader) throws(JSONFault) {
        let name = member.text
        switch element(name) {
        case .list(let element):
            try reader.beginArray()
            while try reader.nextElement() { try writeValue("\(element)", &reader) }
        case .map(let element, let key):
            try reader.beginObject()
            while let text = try reader.nextKey() {
                xml.open("\(element)")
                xml.element("\(key)", text)
                try writeValue("Value", &reader)
                xml.close("\(element)")
            }
        case nil: try writeValue(name, &reader)
        }
    }

    private mutating func writeValue(_ element: String, _ reader: inout JSONReader) throws(JSONFault) {
        switch reader.peekKind() {
        case .string: xml.element(element, try reader.readString())
        case .boolean: xml.element(element, try reader.readBool() ? "true" : "false")
        case .number: xml.element(element, String(try reader.readInt()))
        default:
            xml.open(element)
            try reader.beginObject()
            try writeMembers(&reader)
            xml.close(element)
        }
    }

    private func element(_ member: String) -> Element? {
        switch member {
        case "Messages": .list("Message")
        case "QueueUrls", "queueUrls": .list("QueueUrl")
        case "Failed": .list("BatchResultErrorEntry")
        case "Results": .list("ListMessageMoveTasksResultEntry")
        case "Successful":
            switch action {
            case .sendMessageBatch: .list("SendMessageBatchResultEntry")
            case .deleteMessageBatch: .list("DeleteMessageBatchResultEntry")
            default: .list("ChangeMessageVisibilityBatchResultEntry")
            }
        case "Attributes": .map("Attribute", key: "Name")
        case "MessageAttributes": .map("MessageAttribute", key: "Name")
        case "Tags": .map("Tag", key: "Key")
        default: nil
        }
    }

    /// Whether the answer has a result, be it an empty one.
    private var hasResult: Bool {
        switch action {
        case .deleteMessage, .changeMessageVisibility, .deleteQueue, .purgeQueue, .setQueueAttributes, .tagQueue,
            .untagQueue, .addPermission, .removePermission:
            false
        default: true
        }
    }
}
