// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

public import QueuePoolCore
import QueuePoolJSON

/// DeleteMessage.
public struct DeleteMessageRequest: Sendable {
    public var queue: String
    public var handleText: String
    public var handle: ReceiptHandle
    /// Where the message's body lies, if the handle says so.
    public var pointer: BodyPointer?

    /// - Throws: `missingParameter`, `receiptHandleIsInvalid` for a text that is no handle, `serialization`.
    public init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        let read = try HandleRequest(bytes)
        queue = read.queue
        handleText = read.handleText
        handle = read.handle
        pointer = read.pointer
    }
}

/// ChangeMessageVisibility.
public struct ChangeMessageVisibilityRequest: Sendable {
    public var queue: String
    public var handleText: String
    public var handle: ReceiptHandle
    /// 0...43,200, counted from now.
    public var seconds: Int

    /// - Throws: `missingParameter`, `receiptHandleIsInvalid`, `invalidParameterValue`, `serialization`.
    public init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
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
public struct HandleEntry: Sendable, BatchEntry {
    public var id = ""
    public var handleText = ""
    /// Only in ChangeMessageVisibilityBatch.
    public var seconds: Int?

    public init() {}

    /// - Throws: what becomes the entry's failure.
    public func handle() throws(SQSError) -> ReceiptHandle {
        guard !handleText.isEmpty else { throw .missing("ReceiptHandle") }
        guard let receipt = BodyPointer.receipt(handleText) else { throw .invalidHandle(handleText) }
        return receipt.handle
    }

    /// Where the message's body lies, if the handle says so.
    public var pointer: BodyPointer? { BodyPointer.receipt(handleText)?.pointer }

    /// The handle and the seconds of a change of visibility.
    /// - Throws: what becomes the entry's failure.
    public func change() throws(SQSError) -> (handle: ReceiptHandle, seconds: Int) {
        guard let seconds else { throw .missing("VisibilityTimeout") }
        try VisibilityRules.check(seconds)
        return (try handle(), seconds)
    }
}

/// DeleteMessageBatch.
public struct DeleteMessageBatchRequest: Sendable {
    public var queue: String
    /// 1...10, with distinct ids.
    public var entries: [HandleEntry]

    /// - Throws: what fails the whole batch: `missingParameter`, the errors of batches, `serialization`.
    public init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        (queue, entries) = try HandleBatch.read(bytes, shape: "DeleteMessageBatchRequestEntry")
    }
}

/// ChangeMessageVisibilityBatch.
public struct ChangeMessageVisibilityBatchRequest: Sendable {
    public var queue: String
    /// 1...10, with distinct ids.
    public var entries: [HandleEntry]

    /// - Throws: what fails the whole batch: `missingParameter`, the errors of batches, `serialization`.
    public init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
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
