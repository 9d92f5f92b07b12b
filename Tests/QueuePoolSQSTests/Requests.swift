// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolJSON
import QueuePoolSQS

/// What a call threw, or `nil`.
func failure<T>(_ call: () throws(SQSError) -> T) -> SQSError? {
    do throws(SQSError) {
        _ = try call()
        return nil
    } catch {
        return error
    }
}

extension String {
    /// Parses the text as a request. Its bytes are never given back: a request is pieces of them.
    func parsed<T>(_ parse: (UnsafeRawBufferPointer) throws(SQSError) -> T) throws(SQSError) -> T {
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: utf8.count, alignment: 1)
        bytes.copyBytes(from: utf8)
        return try parse(UnsafeRawBufferPointer(bytes))
    }

    func refusal<T>(_ parse: (UnsafeRawBufferPointer) throws(SQSError) -> T) -> SQSError? {
        Array(utf8).withUnsafeBytes { bytes in failure { () throws(SQSError) in try parse(bytes) } }
    }
}

/// What an answer wrote.
func written(_ write: (inout JSONWriter) -> Void) -> String {
    var json = JSONWriter()
    write(&json)
    return String(decoding: json.bytes, as: UTF8.self)
}

/// An entry that can be sent as it is.
func soundEntry(
    body: String = "body", group: String? = "g", deduplicationID: String? = "d", attributes: [MessageAttribute] = []
) -> SendEntry {
    var entry = SendEntry()
    entry.body = .decoded(Array(body.utf8))
    entry.groupID = group.map { .decoded(Array($0.utf8)) }
    entry.deduplicationID = deduplicationID.map { .decoded(Array($0.utf8)) }
    entry.attributes = attributes
    entry.attributesCount = attributes.count
    return entry
}

func refusal(of entry: SendEntry, _ attributes: QueueAttributes = QueueAttributes(), isBatch: Bool = false) -> SQSError?
{
    failure { () throws(SQSError) in try prepare(entry, attributes: attributes, isBatch: isBatch) }
}
