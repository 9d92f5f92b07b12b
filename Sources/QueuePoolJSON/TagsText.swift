// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// A message's tags: a JSON object of texts that its sender wants to read again where the message is tracked.
public enum TagsText {
    /// The message attribute that they are, whatever door the message came by.
    public static let attribute = "tags"
    public static let countMax = 20
    /// Bytes of the object as it is kept, without spaces.
    public static let bytesMax = 1_024
    public static let allowed = "an object of at most \(countMax) strings and \(bytesMax) bytes"

    /// Reads the next value.
    /// - Returns: the object without spaces, or why it is none, to follow "'tags' ".
    public static func read(_ json: inout JSONReader) throws(JSONFault) -> Result<[UInt8], Refusal> {
        guard json.peekKind() == .object else {
            let kind = json.peekKind()
            try json.skipValue()
            return .failure(Refusal("is \(kind.map { "\($0)" } ?? "nothing"); it must be \(allowed)."))
        }
        var out = JSONWriter(capacity: 128)
        var count = 0
        var refusal: Refusal?
        out.beginObject()
        try json.beginObject()
        while let name = try json.nextKey() {
            count += 1
            guard json.peekKind() == .string else {
                let kind = json.peekKind()
                try json.skipValue()
                refusal =
                    refusal
                    ?? Refusal("has a value that is \(kind.map { "\($0)" } ?? "nothing"); allowed is a string.")
                continue
            }
            let value = try json.readString()
            guard out.bytes.count + name.count + value.count <= bytesMax else {
                refusal = refusal ?? Refusal("is larger than \(bytesMax) bytes without spaces.")
                continue
            }
            guard refusal == nil, count <= countMax else { continue }
            out.key(text: name.text)
            value.withBytes { out.string($0) }
        }
        out.endObject()
        if let refusal { return .failure(refusal) }
        if count > countMax { return .failure(Refusal("has \(count) members; at most \(countMax) are allowed.")) }
        guard out.bytes.count <= bytesMax else {
            return .failure(Refusal("is larger than \(bytesMax) bytes without spaces."))
        }
        return .success(out.take())
    }

    /// The value of the message attribute, if it is what it should be.
    public static func text(_ value: [UInt8]) -> String? {
        guard value.count <= 4 * bytesMax else { return nil }
        let tags: [UInt8]? = value.withUnsafeBytes { bytes in
            var json = JSONReader(bytes)
            do throws(JSONFault) {
                let result = try read(&json)
                try json.finish()
                return try? result.get()
            } catch { return nil }
        }
        return tags.map { String(decoding: $0, as: UTF8.self) }
    }

    /// Why a value is no tags.
    public struct Refusal: Error, Hashable, Sendable {
        public let text: String
        init(_ text: String) { self.text = text }
    }
}
