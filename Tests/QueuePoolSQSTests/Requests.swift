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
    /// Parses the text as a request.
    func parsed<T>(_ parse: (UnsafeRawBufferPointer) throws(SQSError) -> T) throws(SQSError) -> T {
        let outcome = Array(utf8).withUnsafeBytes { raw -> Result<T, SQSError> in
            do throws(SQSError) { return .success(try parse(raw)) } catch { return .failure(error) }
        }
        return try outcome.get()
    }

    func refusal<T>(_ parse: (UnsafeRawBufferPointer) throws(SQSError) -> T) -> SQSError? {
        failure { () throws(SQSError) in try parsed(parse) }
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
    entry.body = Array(body.utf8)
    entry.groupID = group.map { Array($0.utf8) }
    entry.deduplicationID = deduplicationID.map { Array($0.utf8) }
    entry.attributes = attributes
    entry.attributesCount = attributes.count
    return entry
}

func refusal(of entry: SendEntry, _ attributes: QueueAttributes = QueueAttributes(), isBatch: Bool = false) -> SQSError?
{
    failure { () throws(SQSError) in try prepare(entry, attributes: attributes, isBatch: isBatch) }
}
