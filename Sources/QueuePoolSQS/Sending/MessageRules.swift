// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
public import QueuePoolCore
import QueuePoolJSON

// What a message's parts may look like. Source: API reference of SendMessage, and section by section the developer
// guide's "message metadata". Where they leave a question open, the check is the looser one that clients meet on AWS.

public enum MessageRules {
    /// The same of what a reader of JSON gave. It refuses control characters that are not escaped, so a piece of its text
    /// has none, and what is left to look for are two characters that begin with EF.
    static func isAllowed(_ text: JSONString) -> Bool {
        guard case .slice(let bytes) = text else { return text.withBytes(isAllowed) }
        guard let start = bytes.baseAddress else { return true }
        var offset = 0
        while let found = memchr(start + offset, 0xEF, bytes.count - offset) {
            offset = UnsafeRawPointer(found) - start
            guard isAllowed(bytes, at: offset) else { return false }
            offset += 1
        }
        return true
    }

    /// `#x9 #xA #xD #x20-#xD7FF #xE000-#xFFFD #x10000-#x10FFFF`, in text that is known to be well-formed UTF-8: what is
    /// left to refuse are the other control characters, U+FFFE and U+FFFF.
    public static func isAllowed(_ text: UnsafeRawBufferPointer) -> Bool {
        let ones: UInt64 = 0x0101_0101_0101_0101
        var offset = 0
        while offset < text.count {
            if offset &+ 8 <= text.count {
                let word = text.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                // Eight bytes without a control character and without the lead byte of U+F000...U+FFFF.
                let leads = word ^ (ones &* 0xEF)
                let found = ((word &- ones &* 0x20) & ~word) | ((leads &- ones) & ~leads)
                if found & (ones &* 0x80) == 0 {
                    offset &+= 8
                    continue
                }
            }
            guard isAllowed(text, at: offset) else { return false }
            offset &+= 1
        }
        return true
    }

    /// Where the first character begins for which `isAllowed` is false.
    public static func firstNotAllowed(in text: UnsafeRawBufferPointer) -> Int? {
        text.indices.first { !isAllowed(text, at: $0) }
    }

    private static func isAllowed(_ text: UnsafeRawBufferPointer, at offset: Int) -> Bool {
        let byte = text[offset]
        if byte < 0x20 { return byte == 0x09 || byte == 0x0A || byte == 0x0D }
        // U+FFFE and U+FFFF are EF BF BE and EF BF BF.
        guard byte == 0xEF, offset &+ 2 < text.count, text[offset &+ 1] == 0xBF else { return true }
        return text[offset &+ 2] < 0xBE
    }

    /// Group ids, deduplication ids, attempt ids: 1...128 ASCII letters, digits and punctuation marks.
    public static func isIdentifier(_ id: [UInt8]) -> Bool { id.withUnsafeBytes(isIdentifier) }

    static func isIdentifier(_ id: UnsafeRawBufferPointer) -> Bool {
        !id.isEmpty && id.count <= QueueLimits.identifierBytesMax && id.allSatisfy { $0 > 0x20 && $0 < 0x7F }
    }

    /// All rules for a message's own attributes.
    public static func check(_ attributes: [MessageAttribute], count: Int) throws(SQSError) {
        guard count <= QueueLimits.attributesMax else {
            throw SQSError(
                .invalidParameterValue,
                "Number of message attributes [\(count)] exceeds the allowed maximum [\(QueueLimits.attributesMax)].")
        }
        for (position, attribute) in attributes.enumerated() {
            guard isAttributeName(attribute.name) else { throw invalidName(attribute.name, at: position) }
            try checkValue(attribute, at: position)
        }
    }

    /// `AWSTraceHeader` of type String is all there is.
    static func checkSystem(_ attributes: [MessageAttribute]) throws(SQSError) {
        for attribute in attributes {
            guard attribute.name == "AWSTraceHeader" else {
                throw SQSError(
                    .invalidParameterValue,
                    "Message system attribute name \(SQSError.sized(attribute.name)) is invalid. "
                        + "The only one that can be sent is AWSTraceHeader.")
            }
            guard attribute.dataType == "String" else {
                throw SQSError(
                    .invalidParameterValue,
                    "The message system attribute 'AWSTraceHeader' must be of type 'String'.")
            }
            guard attribute.value.count <= traceHeaderBytesMax else {
                throw SQSError(
                    .invalidParameterValue,
                    "The message system attribute 'AWSTraceHeader' has \(attribute.value.count) bytes; at most "
                        + "\(traceHeaderBytesMax) are allowed.")
            }
            try checkValue(attribute, at: 0)
        }
    }

    /// System attributes do not count towards a message's size, so the one there is has a limit of its own.
    static let traceHeaderBytesMax = 2_048

    private static func checkValue(_ attribute: MessageAttribute, at position: Int) throws(SQSError) {
        let type = attribute.dataType
        // An attribute is told by its place and by how long its name is.
        func refusal(_ text: (String) -> String) -> SQSError {
            SQSError(.invalidParameterValue, text("\(position + 1) \(SQSError.sized(attribute.name))"))
        }
        guard !type.isEmpty else {
            throw refusal { "The message attribute \($0) must contain non-empty message attribute type." }
        }
        guard let base = baseType(type), type.utf8.count <= QueueLimits.attributeNameBytesMax else {
            throw refusal {
                "The message attribute \($0) has an invalid message attribute type, the set of supported type "
                    + "prefixes is Binary, Number, and String."
            }
        }
        guard !attribute.value.isEmpty else {
            throw refusal { "Message (user) attribute \($0) must contain a non-empty value of type '\(base)'." }
        }
        if base == "Binary" { return }
        guard attribute.value.withUnsafeBytes(isAllowed) else {
            throw refusal {
                "Invalid binary character was found in the value of message attribute \($0), the set of allowed "
                    + "characters is #x9 | #xA | #xD | [#x20 to #xD7FF] | [#xE000 to #xFFFD] | [#x10000 to #x10FFFF]"
            }
        }
        guard base != "Number" || NumberText.isValid(attribute.value) else {
            throw refusal { "Can't cast the value of message (user) attribute \($0) to a number." }
        }
    }

    /// `nil` unless the DataType is one of the three, alone or with a label behind a full stop.
    private static func baseType(_ type: String) -> String? {
        for base in ["String", "Number", "Binary"] where type.hasPrefix(base) {
            let rest = type.utf8.dropFirst(base.utf8.count)
            return rest.isEmpty || rest.first == UInt8(ascii: ".") ? base : nil
        }
        return nil
    }

    private static func isAttributeName(_ name: String) -> Bool {
        let bytes = name.utf8
        guard !bytes.isEmpty, bytes.count <= QueueLimits.attributeNameBytesMax else { return false }
        guard bytes.first != UInt8(ascii: "."), bytes.last != UInt8(ascii: ".") else { return false }
        var previous: UInt8 = 0
        for byte in bytes {
            // Letters beyond ASCII are accepted on AWS, though not documented.
            guard byte >= 0x80 || PoolName.isAllowed(byte) || byte == UInt8(ascii: ".") else { return false }
            if byte == UInt8(ascii: "."), previous == byte { return false }
            previous = byte
        }
        let start = name.prefix(7).lowercased()
        return !start.hasPrefix("aws.") && !start.hasPrefix("amazon.")
    }

    private static func invalidName(_ name: String, at position: Int) -> SQSError {
        SQSError(
            .invalidParameterValue,
            "Message (user) attribute name \(position + 1) \(SQSError.sized(name)) is invalid. It can contain alphanumeric "
                + "characters, hyphens, underscores and single full stops, must not begin or end with a full stop or "
                + "begin with AWS. or Amazon., and has 1 to 256 characters.")
    }
}

/// A `Number`: an optional sign, digits with an optional fraction, an optional exponent; at most 38 significant digits;
/// 0 or of a magnitude from 10^-128 to 10^126.
enum NumberText {
    static func isValid(_ text: [UInt8]) -> Bool {
        var rest = text[...]
        if let first = rest.first, first == UInt8(ascii: "-") || first == UInt8(ascii: "+") { rest = rest.dropFirst() }
        let mantissa = rest.prefix { $0 | 0x20 != UInt8(ascii: "e") }
        guard let exponent = exponent(rest.dropFirst(mantissa.count)) else { return false }
        let whole = mantissa.prefix { $0 != UInt8(ascii: ".") }
        let fraction = mantissa.dropFirst(whole.count + 1)
        let digits = Array(whole) + Array(fraction)
        guard !digits.isEmpty, digits.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else { return false }
        guard let first = digits.firstIndex(where: { $0 != 0x30 }),
            let last = digits.lastIndex(where: { $0 != 0x30 })
        else { return true }
        // The power of ten of the first digit that is not zero.
        let magnitude = whole.count - 1 - first + exponent
        return last - first < 38 && magnitude >= -128 && magnitude <= 126
    }

    /// 0 if there is none, `nil` if it is malformed.
    private static func exponent(_ text: ArraySlice<UInt8>) -> Int? {
        guard !text.isEmpty else { return 0 }
        var digits = text.dropFirst()
        var isNegative = false
        if let sign = digits.first, sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") {
            isNegative = sign == UInt8(ascii: "-")
            digits = digits.dropFirst()
        }
        guard !digits.isEmpty, digits.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else { return nil }
        // Beyond this no mantissa that fits a message brings the number back into range.
        let value = digits.reduce(0) { min($0 * 10 + Int($1 - 0x30), 10_000_000) }
        return isNegative ? -value : value
    }
}
