// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolJSON
import QueuePoolSQS

/// One entry of the answer to a batch.
struct BatchEntryAnswer {
    var position = -1
    var messageID: MessageID?
    var sequence = ""
    var bodyMD5 = ""
    var attributesMD5: String?
    /// Set if the entry failed.
    var code: String?
    var isSenderFault = false
}

enum BatchAnswers {
    /// Reads `Successful` and `Failed`; entries' ids are their positions.
    static func read(_ body: [UInt8]) throws(JSONFault) -> [BatchEntryAnswer] {
        try QueueClient.parse(body) { (json) throws(JSONFault) in
            var found: [BatchEntryAnswer] = []
            try json.beginObject()
            while let key = try json.nextKey() {
                let isFailure = key.equals("Failed")
                guard isFailure || key.equals("Successful") else {
                    try json.skipValue()
                    continue
                }
                try json.beginArray()
                while try json.nextElement() {
                    var entry = try entry(&json)
                    if isFailure { entry.code = entry.code ?? "Unknown" }
                    found.append(entry)
                }
            }
            return found
        }
    }

    private static func entry(_ json: inout JSONReader) throws(JSONFault) -> BatchEntryAnswer {
        var entry = BatchEntryAnswer()
        try json.beginObject()
        while let key = try json.nextKey() {
            if key.equals("Id") {
                entry.position = Int(try json.readString().text) ?? -1
            } else if key.equals("MessageId") {
                entry.messageID = MessageID(try json.readString().text)
            } else if key.equals("SequenceNumber") {
                entry.sequence = try json.readString().text
            } else if key.equals("MD5OfMessageBody") {
                entry.bodyMD5 = try json.readString().text
            } else if key.equals("MD5OfMessageAttributes") {
                entry.attributesMD5 = try json.readString().text
            } else if key.equals("Code") {
                entry.code = try json.readString().text
            } else if key.equals("SenderFault") {
                entry.isSenderFault = try json.readBool()
            } else {
                try json.skipValue()
            }
        }
        return entry
    }
}

extension JSONWriter {
    /// Writes message attributes as SQS takes and gives them.
    mutating func messageAttributes(_ attributes: [MessageAttribute]) {
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
