// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolJSON

/// Skipping a text and reading all of it must agree, end where the text ends, and accept UTF-8 only.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = UnsafeRawBufferPointer(start: start, count: count)
    let skipped = outcome(bytes) { json throws(JSONFault) in try json.skipValue() }
    let read = outcome(bytes) { json throws(JSONFault) in try readAll(&json) }
    precondition((skipped == nil) == (read == nil), "skipping and reading differ")
    if let skipped { precondition((0...count).contains(skipped.offset), "the fault lies outside") }
    if skipped == nil { precondition(String(validating: bytes, as: UTF8.self) != nil, "accepted what is no UTF-8") }
    return 0
}

private func outcome(
    _ bytes: UnsafeRawBufferPointer, _ read: (inout JSONReader) throws(JSONFault) -> Void
) -> JSONFault? {
    var json = JSONReader(bytes)
    do throws(JSONFault) {
        try read(&json)
        try json.finish()
        return nil
    } catch { return error }
}

private func readAll(_ json: inout JSONReader) throws(JSONFault) {
    switch json.peekKind() {
    case .object:
        try json.beginObject()
        while let key = try json.nextKey() {
            precondition(key.text.utf8.count == key.count, "a name is no UTF-8")
            try readAll(&json)
        }
    case .array:
        try json.beginArray()
        while try json.nextElement() { try readAll(&json) }
    case .string:
        let text = try json.readString()
        precondition(text.text.utf8.count == text.count, "a string is no UTF-8")
    case .number: _ = try json.readNumberText()
    case .boolean: _ = try json.readBool()
    case .null: try json.readNull()
    case nil: try json.skipValue()
    }
}
