// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// A record's fields, read in place.
///
/// - Important: valid only while the bytes it was made from are; never stored.
public struct RecordView {
    private let bytes: UnsafeRawBufferPointer

    public init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    /// Bytes that a record starting at `bytes` takes, or `nil` if there is no whole, sound record.
    public static func length(of bytes: UnsafeRawBufferPointer) -> Int? {
        guard bytes.count >= RecordLayout.headerBytes, bytes[0] == RecordLayout.version else { return nil }
        let total = RecordView(bytes).end
        return total <= bytes.count ? total : nil
    }

    public var group: UnsafeRawBufferPointer { slice(RecordLayout.headerBytes, groupCount) }
    public var deduplicationID: UnsafeRawBufferPointer {
        slice(RecordLayout.headerBytes + groupCount, deduplicationCount)
    }
    public var body: UnsafeRawBufferPointer { slice(bodyStart, bodyCount) }
    public var systemAttributes: [MessageAttribute] { attributes(from: systemStart, bytes: systemCount) }
    public var attributes: [MessageAttribute] { attributes(from: systemStart + systemCount, bytes: attributesCount) }
    public var hasAttributes: Bool { attributesCount > 0 }
    public var hasSystemAttributes: Bool { systemCount > 0 }

    /// The body's MD5, if the sender's door had computed it.
    public var bodyMD5: MD5Digest? {
        guard bytes[1] & RecordLayout.flagMD5 != 0 else { return nil }
        return MD5Digest(low: load(16), high: load(24))
    }

    public var origin: MessageOrigin? {
        guard bytes[1] & RecordLayout.flagOrigin != 0 else { return nil }
        let id = MessageID(high: load(32), low: load(40))
        return MessageOrigin(messageID: id, receiveCount: load(48))
    }

    private var groupCount: Int { Int(bytes[2]) }
    private var deduplicationCount: Int { Int(bytes[3]) }
    private var attributesCount: Int { Int(load(4) as UInt32) }
    private var bodyCount: Int { Int(load(8) as UInt32) }
    private var systemCount: Int { Int(load(12) as UInt32) }
    private var systemStart: Int { RecordLayout.headerBytes + groupCount + deduplicationCount }
    private var bodyStart: Int { systemStart + systemCount + attributesCount }
    private var end: Int { bodyStart + bodyCount }

    private func load<T: FixedWidthInteger>(_ offset: Int) -> T {
        T(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: T.self))
    }

    private func slice(_ start: Int, _ count: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: bytes[start..<(start + count)])
    }

    private func attributes(from start: Int, bytes total: Int) -> [MessageAttribute] {
        var found: [MessageAttribute] = []
        var offset = start
        while offset + 8 <= start + total {
            let valueCount = Int(load(offset) as UInt32)
            let nameCount = Int(load(offset + 4) as UInt16)
            let typeCount = Int(load(offset + 6) as UInt16)
            // A spoilt record read back from a file must not reach beyond its section.
            guard nameCount + typeCount + valueCount <= start + total - offset - 8 else { break }
            let name = slice(offset + 8, nameCount)
            let type = slice(offset + 8 + nameCount, typeCount)
            let value = slice(offset + 8 + nameCount + typeCount, valueCount)
            found.append(
                MessageAttribute(
                    name: String(decoding: name, as: UTF8.self), dataType: String(decoding: type, as: UTF8.self),
                    value: Array(value)))
            offset += 8 + nameCount + typeCount + valueCount
        }
        return found
    }
}
