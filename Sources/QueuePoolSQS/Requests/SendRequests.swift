// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

public import QueuePoolCore
public import QueuePoolJSON

// Nothing of a message is copied before its record is made: body and ids are pieces of the request where nothing in them
// was escaped. That is why entries and the requests that hold them can't be sent to where the request's bytes may be gone.

/// One message as a sender described it, not yet checked.
///
/// - Important: valid only while the bytes of the request are.
public struct SendEntry {
    /// Its name in a batch; empty in a single send.
    public var id = ""
    public var groupID: JSONString?
    public var deduplicationID: JSONString?
    /// Well-formed UTF-8; empty also if the request had none.
    public var body = JSONString.decoded([])
    /// At most 11 are kept: one more than a message may have.
    public var attributes: [MessageAttribute] = []
    /// How many the request had, if more than are kept.
    public var attributesCount = 0
    public var systemAttributes: [MessageAttribute] = []
    public var delaySeconds: Int?

    public init() {}

    /// Bytes that count towards the limits: body and attributes.
    public var countedBytes: Int { attributes.reduce(body.count) { $0 + $1.countedBytes } }

    /// Those of them that go to the queue.
    func queuedBytes(_ bodies: BodyRules?) -> Int {
        let counted = countedBytes
        let size = counted - body.count
        let isStored = bodies?.needsStore(body: body.count, attributes: size, count: attributesCount) ?? false
        return isStored ? size : counted
    }
}

/// SendMessage.
///
/// - Important: valid only while the bytes that it was read from are.
public struct SendMessageRequest {
    /// Name of the queue.
    public var queue: String
    public var entry: SendEntry

    /// - Throws: `missingParameter` without `QueueUrl`, `serialization`. The entry is checked by `prepare`.
    public init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        var reader = try RequestReader(bytes)
        var queue: String?
        var entry = SendEntry()
        while let key = try reader.nextKey() {
            if key.equals("QueueUrl") {
                queue = try reader.queue()
            } else {
                try entry.read(key, &reader)
            }
        }
        try reader.finish()
        guard let queue else { throw .missing("QueueUrl") }
        self.queue = queue
        self.entry = entry
    }
}

/// SendMessageBatch.
///
/// - Important: valid only while the bytes that it was read from are.
public struct SendMessageBatchRequest {
    public var queue: String
    /// At most ten are kept.
    public var entries: [SendEntry]
    /// How many the request had.
    public var entriesCount: Int
    /// Those of the entries that are kept.
    public var ids: [String] { entries.map(\.id) }

    /// - Throws: `missingParameter` without `QueueUrl` or `Entries`, `serialization`. Call `check` next.
    public init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        var reader = try RequestReader(bytes)
        var queue: String?
        var batch = BatchEntries<SendEntry>()
        while let key = try reader.nextKey() {
            if key.equals("QueueUrl") {
                queue = try reader.queue()
            } else if key.equals("Entries") {
                try batch.read(&reader) { (entry, key, reader) throws(SQSError) in
                    if key.equals("Id") {
                        entry.id = try reader.text("Id") ?? ""
                    } else {
                        try entry.read(key, &reader)
                    }
                }
            } else {
                try reader.skip()
            }
        }
        try reader.finish()
        guard let queue else { throw .missing("QueueUrl") }
        guard batch.isPresent else { throw .missing("Entries") }
        self.queue = queue
        entries = batch.entries
        entriesCount = batch.count
    }

    /// What fails the whole batch, in SQS's order: count, ids, total size, group ids, deduplication ids.
    ///
    /// - Parameter bodies: with it, bodies that do not go to the queue do not count.
    public func check(_ attributes: QueueAttributes, bodies: BodyRules? = nil) throws(SQSError) {
        try BatchRules.check(count: entriesCount, ids: ids, shape: "SendMessageBatchRequestEntry")
        let total = entries.reduce(0) { $0 + $1.queuedBytes(bodies) }
        guard total <= QueueLimits.messageBytesMax else { throw .batchTooLong(total) }
        for entry in entries where entry.groupID == nil { throw .missingGroupIDInBatch }
        if attributes.contentBasedDeduplication { return }
        for entry in entries where entry.deduplicationID == nil { throw .missingDeduplicationID }
    }
}

extension SendMessageBatchRequest {
    /// The MD5s of the bodies of the entries that are kept, in their order.
    public var bodyMD5s: [MD5Digest] { withBodies { MD5Lanes.digests(of: $0) } }

    /// Calls `read` with the bodies of the entries that are kept, in their order.
    public func withBodies<R>(_ read: ([UnsafeRawBufferPointer]) -> R) -> R {
        var bodies: [UnsafeRawBufferPointer] = []
        bodies.reserveCapacity(entries.count)
        return add(to: &bodies, read)
    }

    /// Each body stays in place while the next one is looked up; there are at most ten.
    private func add<R>(to bodies: inout [UnsafeRawBufferPointer], _ read: ([UnsafeRawBufferPointer]) -> R) -> R {
        guard bodies.count < entries.count else { return read(bodies) }
        return entries[bodies.count].body.withBytes {
            bodies.append($0)
            return add(to: &bodies, read)
        }
    }
}

extension SendEntry {
    /// Reads one member of a send, or of an entry of a batch.
    fileprivate mutating func read(_ key: JSONString, _ reader: inout RequestReader) throws(SQSError) {
        if key.equals("MessageBody") {
            body = try reader.string("MessageBody") ?? .decoded([])
        } else if key.equals("MessageGroupId") {
            groupID = try reader.string("MessageGroupId")
        } else if key.equals("MessageDeduplicationId") {
            deduplicationID = try reader.string("MessageDeduplicationId")
        } else if key.equals("DelaySeconds") {
            delaySeconds = try reader.int("DelaySeconds")
        } else if key.equals("MessageAttributes") {
            (attributes, attributesCount) = try reader.messageAttributes("MessageAttributes")
        } else if key.equals("MessageSystemAttributes") {
            (systemAttributes, _) = try reader.messageAttributes("MessageSystemAttributes")
        } else {
            try reader.skip()
        }
    }
}

extension RequestReader {
    /// A map of message attributes. Keeps the first eleven: enough to know that there are too many.
    mutating func messageAttributes(
        _ field: StaticString
    ) throws(SQSError) -> (kept: [MessageAttribute], count: Int) {
        guard try beginObject(field) else { return ([], 0) }
        var kept: [MessageAttribute] = []
        var count = 0
        while let key = try nextKey() {
            count += 1
            guard count <= QueueLimits.attributesMax + 1 else {
                try skip()
                continue
            }
            let name = key.text
            let attribute = try messageAttribute(field, name: name)
            if let place = kept.firstIndex(where: { $0.name == name }) {
                kept[place] = attribute
                count -= 1
            } else {
                kept.append(attribute)
            }
        }
        return (kept, count)
    }

    /// - Returns: an empty value if the member for the DataType is missing, an empty DataType if that is.
    private mutating func messageAttribute(
        _ field: StaticString, name: String
    ) throws(SQSError) -> MessageAttribute {
        var attribute = MessageAttribute(name: name, dataType: "", value: [])
        guard try beginObject(field) else { return attribute }
        var text: [UInt8] = []
        var binary: [UInt8] = []
        while let key = try nextKey() {
            if key.equals("DataType") {
                attribute.dataType = try self.text("DataType") ?? ""
            } else if key.equals("StringValue") {
                text = try string("StringValue")?.array ?? []
            } else if key.equals("BinaryValue") {
                guard let encoded = try string("BinaryValue") else { continue }
                guard let decoded = encoded.withBytes({ Base64.decode($0) }) else {
                    throw .wrongType("BinaryValue", "base64 text")
                }
                binary = decoded
            } else {
                try skip()
            }
        }
        attribute.value = attribute.isBinary ? binary : text
        return attribute
    }
}
