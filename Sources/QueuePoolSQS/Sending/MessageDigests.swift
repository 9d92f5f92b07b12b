// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Crypto
public import QueuePoolCore

// The MD5s by which SDKs check that what they sent is what arrived. Source: SQS developer guide, "Calculating the MD5
// message digest for message attributes".

extension MD5Digest {
    public init(of bytes: UnsafeRawBufferPointer) {
        var hasher = Insecure.MD5()
        hasher.update(bufferPointer: bytes)
        self.init(hasher.finalize())
    }

    /// The digest of a set of attributes; `nil` if it is empty.
    public init?(of attributes: [MessageAttribute]) {
        guard !attributes.isEmpty else { return nil }
        var encoded: [UInt8] = []
        encoded.reserveCapacity(attributes.reduce(0) { $0 + $1.countedBytes + 13 })
        // By the names' bytes, which for UTF-8 is the order of code points.
        let sorted = attributes.count == 1 ? attributes : attributes.sorted { isBefore($0.name, $1.name) }
        for attribute in sorted {
            MD5Digest.put(attribute.name.utf8, to: &encoded)
            MD5Digest.put(attribute.dataType.utf8, to: &encoded)
            encoded.append(attribute.isBinary ? 2 : 1)
            MD5Digest.put(attribute.value, to: &encoded)
        }
        self = encoded.withUnsafeBytes { MD5Digest(of: $0) }
    }

    /// 32 lower-case hexadecimal digits.
    public func writeHex(to out: inout [UInt8]) {
        HexWords.append(UInt32(truncatingIfNeeded: low).byteSwapped, to: &out)
        HexWords.append(UInt32(truncatingIfNeeded: low >> 32).byteSwapped, to: &out)
        HexWords.append(UInt32(truncatingIfNeeded: high).byteSwapped, to: &out)
        HexWords.append(UInt32(truncatingIfNeeded: high >> 32).byteSwapped, to: &out)
    }

    public var hex: String {
        var out: [UInt8] = []
        writeHex(to: &out)
        return String(decoding: out, as: UTF8.self)
    }

    private init(_ digest: Insecure.MD5Digest) {
        self = digest.withUnsafeBytes { bytes in
            MD5Digest(
                low: UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self)),
                high: UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
        }
    }

    private static func put(_ bytes: some Collection<UInt8>, to out: inout [UInt8]) {
        let count = UInt32(truncatingIfNeeded: bytes.count)
        for shift: UInt32 in [24, 16, 8, 0] { out.append(UInt8(truncatingIfNeeded: count >> shift)) }
        out.append(contentsOf: bytes)
    }
}

private func isBefore(_ one: String, _ other: String) -> Bool { one.utf8.lexicographicallyPrecedes(other.utf8) }
