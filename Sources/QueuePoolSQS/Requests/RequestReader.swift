// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolJSON

// What all requests share: members in any order, unknown ones stepped over, `null` taken as absent, a wrong type named
// with its field. One place turns faults of the JSON into errors of SQS.

/// Reads the members of one request.
struct RequestReader {
    private var json: JSONReader

    /// - Parameter bytes: the request's body; empty counts as `{}`.
    init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        json = JSONReader(bytes.isEmpty ? RequestReader.emptyObject() : bytes)
        if json.peekKind() != .object { throw SQSError(.serialization, "The request must be a JSON object.") }
        do throws(JSONFault) { try json.beginObject() } catch { throw .malformed(error) }
    }

    // MARK: Structure

    mutating func nextKey() throws(SQSError) -> JSONString? {
        do throws(JSONFault) { return try json.nextKey() } catch { throw .malformed(error) }
    }

    mutating func nextElement() throws(SQSError) -> Bool {
        do throws(JSONFault) { return try json.nextElement() } catch { throw .malformed(error) }
    }

    mutating func skip() throws(SQSError) {
        do throws(JSONFault) { try json.skipValue() } catch { throw .malformed(error) }
    }

    mutating func finish() throws(SQSError) {
        do throws(JSONFault) { try json.finish() } catch { throw .malformed(error) }
    }

    /// - Returns: `false` if the value is `null`.
    mutating func beginObject(_ field: StaticString) throws(SQSError) -> Bool {
        guard try expect(.object, field, "an object") else { return false }
        do throws(JSONFault) { try json.beginObject() } catch { throw .malformed(error) }
        return true
    }

    /// - Returns: `false` if the value is `null`.
    mutating func beginArray(_ field: StaticString) throws(SQSError) -> Bool {
        guard try expect(.array, field, "an array") else { return false }
        do throws(JSONFault) { try json.beginArray() } catch { throw .malformed(error) }
        return true
    }

    // MARK: Values; `nil` is `null`

    mutating func string(_ field: StaticString) throws(SQSError) -> JSONString? {
        guard try expect(.string, field, "a string") else { return nil }
        do throws(JSONFault) { return try json.readString() } catch { throw .malformed(error) }
    }

    mutating func text(_ field: StaticString) throws(SQSError) -> String? { try string(field)?.text }

    mutating func int(_ field: StaticString) throws(SQSError) -> Int? {
        guard try expect(.number, field, "a whole number") else { return nil }
        do throws(JSONFault) {
            return try json.readInt()
        } catch {
            switch error.reason {
            case .notAnInteger, .numberOutOfRange: throw .wrongType("\(field)", "a whole number of at most 64 bits")
            default: throw .malformed(error)
            }
        }
    }

    /// The queue that a `QueueUrl` names.
    mutating func queue() throws(SQSError) -> String? {
        guard let url = try string("QueueUrl") else { return nil }
        // Only the last part is copied: it is all that counts, and it is short.
        return url.withBytes { bytes in
            let start = bytes.lastIndex(of: UInt8(ascii: "/")).map { $0 + 1 } ?? 0
            return String(decoding: bytes[start...], as: UTF8.self)
        }
    }

    mutating func texts(_ field: StaticString, limit: Int) throws(SQSError) -> [String] {
        guard try beginArray(field) else { return [] }
        var found: [String] = []
        while try nextElement() {
            guard let text = try text(field) else { continue }
            guard found.count < limit else { throw .wrongType("\(field)", "an array of at most \(limit) strings") }
            found.append(text)
        }
        return found
    }

    /// An object whose values are strings.
    mutating func textMap(_ field: StaticString, limit: Int) throws(SQSError) -> [String: String] {
        guard try beginObject(field) else { return [:] }
        var found: [String: String] = [:]
        while let key = try nextKey() {
            let name = key.text
            guard let text = try text(field) else { continue }
            found[name] = text
            if found.count > limit { throw .wrongType("\(field)", "an object of at most \(limit) strings") }
        }
        return found
    }

    /// - Returns: `false` if the value is `null`, which is stepped over.
    private mutating func expect(
        _ kind: JSONKind, _ field: StaticString, _ allowed: StaticString
    ) throws(SQSError) -> Bool {
        let found = json.peekKind()
        if found == kind { return true }
        guard found != nil else {
            // Not the start of any value: the reader knows what is wrong with it.
            try skip()
            return false
        }
        guard found == .null else { throw .wrongType("\(field)", "\(allowed)") }
        try skip()
        return false
    }

    private static func emptyObject() -> UnsafeRawBufferPointer {
        let text: StaticString = "{}"
        return UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
    }
}
