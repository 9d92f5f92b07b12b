// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolJSON

/// What the reader makes of a whole text: `nil` if it is sound.
func fault(in bytes: [UInt8]) -> JSONFault? {
    bytes.withUnsafeBytes { raw in
        var json = JSONReader(raw)
        do throws(JSONFault) {
            try json.skipValue()
            try json.finish()
            return nil
        } catch {
            return error
        }
    }
}

func fault(in text: String) -> JSONFault? { fault(in: Array(text.utf8)) }

/// Reads a text that is one string; `nil` if it is not.
func decodedString(in bytes: [UInt8]) -> [UInt8]? {
    bytes.withUnsafeBytes { raw in
        var json = JSONReader(raw)
        do throws(JSONFault) {
            let found = try json.readString()
            try json.finish()
            return found.array
        } catch {
            return nil
        }
    }
}

/// Reads a text by every call of the reader, decoding all strings and numbers: `nil` if it is sound.
func faultWhenRead(_ bytes: [UInt8]) -> JSONFault? {
    bytes.withUnsafeBytes { raw in
        var json = JSONReader(raw)
        do throws(JSONFault) {
            try readAll(&json)
            try json.finish()
            return nil
        } catch {
            return error
        }
    }
}

private func readAll(_ json: inout JSONReader) throws(JSONFault) {
    switch json.peekKind() {
    case .object:
        try json.beginObject()
        while let key = try json.nextKey() {
            _ = key.text
            try readAll(&json)
        }
    case .array:
        try json.beginArray()
        while try json.nextElement() { try readAll(&json) }
    case .string: _ = try json.readString().array
    case .number: _ = try json.readNumberText()
    case .boolean: _ = try json.readBool()
    case .null: try json.readNull()
    case nil: try json.skipValue()
    }
}
