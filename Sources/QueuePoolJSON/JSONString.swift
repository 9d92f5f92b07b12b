// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// A string as the reader found it: a piece of the input where nothing was escaped, else its decoded bytes. Always
/// well-formed UTF-8.
///
/// - Important: a slice is valid only while the input is; copy (`array`, `text`) what must outlive it.
@frozen public enum JSONString {
    case slice(UnsafeRawBufferPointer)
    case decoded([UInt8])

    public var count: Int {
        switch self {
        case .slice(let bytes): bytes.count
        case .decoded(let bytes): bytes.count
        }
    }

    public var isEmpty: Bool { count == 0 }

    /// A copy of the bytes.
    public var array: [UInt8] {
        switch self {
        case .slice(let bytes): [UInt8](bytes)
        case .decoded(let bytes): bytes
        }
    }

    public var text: String {
        switch self {
        case .slice(let bytes): String(decoding: bytes, as: UTF8.self)
        case .decoded(let bytes): String(decoding: bytes, as: UTF8.self)
        }
    }

    /// Whether the bytes are those of a literal.
    public func equals(_ literal: StaticString) -> Bool {
        switch self {
        case .slice(let bytes):
            return JSONString.equal(bytes, literal)
        case .decoded(let bytes):
            guard bytes.count == literal.utf8CodeUnitCount else { return false }
            return bytes.withUnsafeBytes { JSONString.equal($0, literal) }
        }
    }

    /// Calls `read` with the bytes, which are valid during the call only.
    // Compiled into its callers: called through type descriptions, it would look one up for each result.
    @inlinable @inline(__always)
    public func withBytes<R, E: Error>(_ read: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
        switch self {
        case .slice(let bytes):
            return try read(bytes)
        case .decoded(let bytes):
            let outcome = bytes.withUnsafeBytes { raw -> Result<R, E> in
                do throws(E) { return .success(try read(raw)) } catch { return .failure(error) }
            }
            return try outcome.get()
        }
    }

    @inline(__always)
    private static func equal(_ bytes: UnsafeRawBufferPointer, _ literal: StaticString) -> Bool {
        guard bytes.count == literal.utf8CodeUnitCount else { return false }
        let other = literal.utf8Start
        var offset = 0
        while offset < bytes.count {
            if bytes[offset] != other[offset] { return false }
            offset &+= 1
        }
        return true
    }
}
