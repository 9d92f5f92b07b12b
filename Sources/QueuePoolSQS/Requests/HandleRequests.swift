// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import QueuePoolJSON

/// DeleteMessage.
package struct DeleteMessageRequest: Sendable {
    package var queue: String
    package var handleText: String
    package var handle: ReceiptHandle
    /// Where the message's body lies, if the handle says so.
    package var pointer: BodyPointer?

    /// - Throws: `missingParameter`, `receiptHandleIsInvalid` for a text that is no handle, `serialization`.
    package init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        let read = try HandleRequest(bytes)
        queue = read.queue
        handleText = read.handleText
        handle = read.handle
        pointer = read.pointer
    }
}

/// ChangeMessageVisibility.
package struct ChangeMessageVisibilityRequest: Sendable {
    package var queue: String
    package var handleText: String
    package var handle: ReceiptHandle
    /// 0...43,200, counted from now.
    package var seconds: Int

    /// - Throws: `missingParameter`, `receiptHandleIsInvalid`, `invalidParameterValue`, `serialization`.
    package init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        let read = try HandleRequest(bytes)
        guard let seconds = read.seconds else { throw .missing("VisibilityTimeout") }
        try VisibilityRules.check(seconds)
        queue = read.queue
        handleText = read.handleText
        handle = read.handle
        self.seconds = seconds
    }
}

/// One entry of a batch that names a message by its receipt handle.
package struct HandleEntry: Sendable, BatchEntry {
    package var id = ""
    package var handleText = ""
    /// Only in ChangeMessageVisibilityBatch.
    package var seconds: Int?

    package init() {}

    /// - Throws: what becomes the entry's failure.
    package func handle() throws(SQSError) -> ReceiptHandle {
        guard !handleText.isEmpty else { throw .missing("ReceiptHandle") }
        guard let receipt = BodyPointer.receipt(handleText) else { throw .invalidHandle(handleText) }
        return receipt.handle
    }

    /// Where the message's body lies, if the handle says so.
    package var pointer: BodyPointer? { BodyPointer.receipt(handleText)?.pointer }

    /// The handle and the seconds of a change of visibility.
    /// - Throws: what becomes the entry's failure.
    package func change() throws(SQSError) -> (handle: ReceiptHandle, seconds: Int) {
        guard let seconds else { throw .missing("VisibilityTimeout") }
        try VisibilityRules.check(seconds)
        return (try handle(), seconds)
    }
}

/// DeleteMessageBatch.
package struct DeleteMessageBatchRequest: Sendable {
    package var queue: String
    /// 1...10, with distinct ids.
    package var entries: [HandleEntry]

    /// - Throws: what fails the whole batch: `missingParameter`, the errors of batches, `serialization`.
    package init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        (queue, entries) = try HandleBatch.read(bytes, shape: "DeleteMessageBatchRequestEntry")
    }
}

/// ChangeMessageVisibilityBatch.
package struct ChangeMessageVisibilityBatchRequest: Sendable {
    package var queue: String
    /// 1...10, with distinct ids.
    package var entries: [HandleEntry]

    /// - Throws: what fails the whole batch: `missingParameter`, the errors of batches, `serialization`.
    package init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        (queue, entries) = try HandleBatch.read(bytes, shape: "ChangeMessageVisibilityBatchRequestEntry")
    }
}

private struct HandleRequest {
    var queue: String
    var handleText: String
    var handle: ReceiptHandle
    var pointer: BodyPointer?
    var seconds: Int?

    init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        var reader = try RequestReader(bytes)
        var queue: String?
        var handleText: String?
        while let key = try reader.nextKey() {
            if key.equals("QueueUrl") {
                queue = try reader.queue()
            } else if key.equals("ReceiptHandle") {
                handleText = try reader.text("ReceiptHandle")
            } else if key.equals("VisibilityTimeout") {
                seconds = try reader.int("VisibilityTimeout")
            } else {
                try reader.skip()
            }
        }
        try reader.finish()
        guard let queue else { throw .missing("QueueUrl") }
        guard let handleText, !handleText.isEmpty else { throw .missing("ReceiptHandle") }
        guard let receipt = BodyPointer.receipt(handleText) else { throw .invalidHandle(handleText) }
        self.queue = queue
        self.handleText = handleText
        (handle, pointer) = receipt
    }
}

private enum HandleBatch {
    static func read(
        _ bytes: UnsafeRawBufferPointer, shape: String
    ) throws(SQSError) -> (queue: String, entries: [HandleEntry]) {
        var reader = try RequestReader(bytes)
        var queue: String?
        var batch = BatchEntries<HandleEntry>()
        while let key = try reader.nextKey() {
            if key.equals("QueueUrl") {
                queue = try reader.queue()
            } else if key.equals("Entries") {
                try batch.read(&reader) { (entry, key, reader) throws(SQSError) in
                    if key.equals("Id") {
                        entry.id = try reader.text("Id") ?? ""
                    } else if key.equals("ReceiptHandle") {
                        entry.handleText = try reader.text("ReceiptHandle") ?? ""
                    } else if key.equals("VisibilityTimeout") {
                        entry.seconds = try reader.int("VisibilityTimeout")
                    } else {
                        try reader.skip()
                    }
                }
            } else {
                try reader.skip()
            }
        }
        try reader.finish()
        guard let queue else { throw .missing("QueueUrl") }
        guard batch.isPresent else { throw .missing("Entries") }
        try BatchRules.check(count: batch.count, ids: batch.entries.lazy.map(\.id), shape: shape)
        return (queue, batch.entries)
    }
}
