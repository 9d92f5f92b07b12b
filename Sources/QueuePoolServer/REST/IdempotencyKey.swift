// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolSQS

/// The content of the header Idempotency-Key.
struct IdempotencyKey: Hashable {
    /// The header's name.
    static let name = "Idempotency-Key"
    /// Most characters of a key.
    static let bytesMax = 255

    /// 1...255 printable ASCII characters.
    let bytes: [UInt8]

    /// - Parameter values: the header's values, as many as came.
    /// - Throws: `Problem` if there is more than one, or one that is not a key; it doesn't tell the value.
    init?(_ values: [String]) throws(Problem) {
        guard let value = values.first else { return nil }
        guard values.count == 1 else {
            throw .invalidField(
                IdempotencyKey.name, "The header Idempotency-Key came \(values.count) times; once is allowed.")
        }
        let bytes = value.utf8.first == UInt8(ascii: "\"") ? IdempotencyKey.unquoted(value.utf8) : Array(value.utf8)
        guard let bytes, (1...IdempotencyKey.bytesMax).contains(bytes.count),
            bytes.allSatisfy({ (0x20...0x7E).contains($0) })
        else {
            throw .invalidField(
                IdempotencyKey.name,
                "The header Idempotency-Key is not a key; allowed are 1 to \(IdempotencyKey.bytesMax) printable ASCII "
                    + "characters, as they are or as a string in quotes (RFC 9651).")
        }
        self.bytes = bytes
    }

    /// Why a stream or an array of messages can't have a key.
    static let isOfOneMessage = Problem.invalidField(
        IdempotencyKey.name,
        "The header Idempotency-Key stands for one message; those of a stream or an array have a deduplicationId each.")

    /// The content of a string of RFC 9651: in quotes, and with a backslash before each quote and backslash.
    private static func unquoted(_ text: String.UTF8View) -> [UInt8]? {
        var content: [UInt8] = []
        var rest = text.dropFirst()
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "\""): return rest.isEmpty ? content : nil
            case UInt8(ascii: "\\"):
                guard let next = rest.popFirst(), next == UInt8(ascii: "\"") || next == byte else { return nil }
                content.append(next)
            default: content.append(byte)
            }
        }
        return nil
    }

    /// The deduplication id of a message whose sender gave it none but this key: the key itself where it can be one, or its
    /// SHA-256. It doesn't depend on the message, so that a shard knows a repetition where this server does not.
    var deduplicationID: [UInt8] { MessageRules.isIdentifier(bytes) ? bytes : contentDeduplicationID(bytes) }
}
