// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Why a text is not the JSON that was asked for, and where. Carries a place and a cause, never the text itself.
public struct JSONFault: Error, Hashable, Sendable {
    public enum Reason: String, Hashable, Sendable {
        case unexpectedEnd
        case unexpectedByte
        case trailingData
        case nestedTooDeep
        case invalidUTF8
        case controlCharacter
        case invalidEscape
        case loneSurrogate
        case invalidNumber
        case notAnInteger
        case numberOutOfRange
        case wrongKind
        /// Two members of one object have the same name.
        case duplicateKey
        /// More members in large objects, or with escapes in their names, than any sensible text has.
        case tooManyMembers
    }

    /// Byte offset of the fault in the input.
    public let offset: Int
    public let reason: Reason

    public init(offset: Int, reason: Reason) {
        self.offset = offset
        self.reason = reason
    }
}

/// What a JSON value is, seen from its first byte.
public enum JSONKind: String, Hashable, Sendable {
    case object
    case array
    case string
    case number
    case boolean
    case null
}
