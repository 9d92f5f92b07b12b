// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// One message as bytes, in the form in which it is held in memory, written to a shard's file and read back. It is
// built once, where the request is parsed, and from then on only copied: nothing on the way to the disk or to a
// receiver takes it apart again.
//
//   0  version (1)          u8     16  MD5 of the body, if flag 1   16 bytes
//   1  flags                u8     32  origin message id, if flag 2 16 bytes
//   2  group length         u8     48  origin receive count, flag 2 u32
//   3  deduplication length u8     52  group · deduplication id · system attributes · attributes · body
//   4  attributes length    u32
//   8  body length          u32
//  12  system attrs length  u32
//
// Numbers are little-endian. An attribute is: value length u32, name length u16, type length u16, name, type, value.

/// A message attribute: name, DataType (`String`, `Number`, `Binary`, each with an optional `.label`) and raw value.
public struct MessageAttribute: Hashable, Sendable {
    public var name: String
    public var dataType: String
    public var value: [UInt8]

    public init(name: String, dataType: String, value: [UInt8]) {
        self.name = name
        self.dataType = dataType
        self.value = value
    }

    public init(name: String, text: String, dataType: String = "String") {
        self.init(name: name, dataType: dataType, value: Array(text.utf8))
    }

    public var isBinary: Bool { dataType.hasPrefix("Binary") }

    /// Bytes that count towards the size of a message: name, DataType and value.
    public var countedBytes: Int { name.utf8.count + dataType.utf8.count + value.count }
}

/// Where a message lived before it was moved to a dead-letter queue.
public struct MessageOrigin: Hashable, Sendable {
    public var messageID: MessageID
    /// Deliveries before the move; counting goes on from here.
    public var receiveCount: UInt32

    public init(messageID: MessageID, receiveCount: UInt32) {
        self.messageID = messageID
        self.receiveCount = receiveCount
    }
}

/// Layout constants shared by the writer and the reader of a record.
enum RecordLayout {
    static let version: UInt8 = 1
    static let headerBytes = 52
    static let flagMD5: UInt8 = 1
    static let flagOrigin: UInt8 = 2
}

/// A whole message as one array of bytes.
public struct MessageRecord: Sendable {
    public let bytes: [UInt8]

    public init(bytes: [UInt8]) { self.bytes = bytes }

    /// - Parameters:
    ///   - group: 1...128 bytes.
    ///   - deduplicationID: 1...128 bytes.
    ///   - bodyMD5: 16 bytes, if the caller had to compute it anyway.
    public init(
        group: UnsafeRawBufferPointer, deduplicationID: UnsafeRawBufferPointer, body: UnsafeRawBufferPointer,
        attributes: [MessageAttribute] = [], systemAttributes: [MessageAttribute] = [], bodyMD5: MD5Digest? = nil,
        origin: MessageOrigin? = nil
    ) {
        let attributesBytes = MessageRecord.encodedBytes(attributes)
        let systemBytes = MessageRecord.encodedBytes(systemAttributes)
        let total =
            RecordLayout.headerBytes + group.count + deduplicationID.count + attributesBytes + systemBytes + body.count
        bytes = [UInt8](unsafeUninitializedCapacity: total) { buffer, count in
            var out = RecordWriter(UnsafeMutableRawBufferPointer(buffer))
            let flags = (bodyMD5 == nil ? 0 : RecordLayout.flagMD5) | (origin == nil ? 0 : RecordLayout.flagOrigin)
            out.put(RecordLayout.version)
            out.put(flags)
            out.put(UInt8(truncatingIfNeeded: group.count))
            out.put(UInt8(truncatingIfNeeded: deduplicationID.count))
            out.put(UInt32(truncatingIfNeeded: attributesBytes))
            out.put(UInt32(truncatingIfNeeded: body.count))
            out.put(UInt32(truncatingIfNeeded: systemBytes))
            out.put(bodyMD5?.low ?? 0)
            out.put(bodyMD5?.high ?? 0)
            out.put(origin?.messageID.high ?? 0)
            out.put(origin?.messageID.low ?? 0)
            out.put(origin?.receiveCount ?? 0)
            out.put(group)
            out.put(deduplicationID)
            for attribute in systemAttributes { out.put(attribute) }
            for attribute in attributes { out.put(attribute) }
            out.put(body)
            count = out.offset
        }
    }

    /// The same of bytes that may lie anywhere.
    public init(
        group: some Collection<UInt8>, deduplicationID: some Collection<UInt8>, body: UnsafeRawBufferPointer,
        attributes: [MessageAttribute] = [], systemAttributes: [MessageAttribute] = [], bodyMD5: MD5Digest? = nil,
        origin: MessageOrigin? = nil
    ) {
        self = Array(group).withUnsafeBytes { group in
            Array(deduplicationID).withUnsafeBytes { deduplicationID in
                MessageRecord(
                    group: group, deduplicationID: deduplicationID, body: body, attributes: attributes,
                    systemAttributes: systemAttributes, bodyMD5: bodyMD5, origin: origin)
            }
        }
    }

    /// The message comes from another queue, where it is deleted once it is stored here.
    public var isMoved: Bool { bytes.count > 1 && bytes[1] & RecordLayout.flagOrigin != 0 }

    /// Reads the record's fields in place.
    public func withView<R>(_ read: (RecordView) throws -> R) rethrows -> R {
        try bytes.withUnsafeBytes { try read(RecordView($0)) }
    }

    private static func encodedBytes(_ attributes: [MessageAttribute]) -> Int {
        attributes.reduce(0) { $0 + 8 + $1.countedBytes }
    }
}

private struct RecordWriter {
    let out: UnsafeMutableRawBufferPointer
    var offset = 0

    init(_ out: UnsafeMutableRawBufferPointer) { self.out = out }

    mutating func put<T: FixedWidthInteger>(_ value: T) {
        out.storeBytes(of: value.littleEndian, toByteOffset: offset, as: T.self)
        offset += MemoryLayout<T>.size
    }

    mutating func put(contentsOf bytes: some Collection<UInt8>) {
        let isCopied: Void? = bytes.withContiguousStorageIfAvailable { put(UnsafeRawBufferPointer($0)) }
        guard isCopied == nil else { return }
        for byte in bytes { put(byte) }
    }

    mutating func put(_ bytes: UnsafeRawBufferPointer) {
        UnsafeMutableRawBufferPointer(rebasing: out[offset..<(offset + bytes.count)]).copyMemory(from: bytes)
        offset += bytes.count
    }

    mutating func put(_ attribute: MessageAttribute) {
        put(UInt32(truncatingIfNeeded: attribute.value.count))
        put(UInt16(truncatingIfNeeded: attribute.name.utf8.count))
        put(UInt16(truncatingIfNeeded: attribute.dataType.utf8.count))
        put(contentsOf: attribute.name.utf8)
        put(contentsOf: attribute.dataType.utf8)
        attribute.value.withUnsafeBytes { put($0) }
    }
}

/// The 16 bytes of an MD5, as two little-endian words.
public struct MD5Digest: Hashable, Sendable {
    public var low: UInt64
    public var high: UInt64

    public init(low: UInt64, high: UInt64) {
        self.low = low
        self.high = high
    }
}
