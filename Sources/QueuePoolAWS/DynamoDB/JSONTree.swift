// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolJSON

/// A JSON text as a tree, for the rare calls that set things up and for control state. Messages never pass through it.
package indirect enum JSONTree: Hashable, Sendable {
    case object([String: JSONTree])
    case array([JSONTree])
    case string(String)
    case int(Int)
    case bool(Bool)
    case null

    /// - Throws: `JSONFault` if the bytes are no JSON text; numbers that are not whole become `null`.
    package init(_ bytes: [UInt8]) throws(JSONFault) {
        let result = bytes.withUnsafeBytes { raw -> Result<JSONTree, JSONFault> in
            var reader = JSONReader(raw)
            do throws(JSONFault) {
                let tree = try JSONTree(&reader)
                try reader.finish()
                return .success(tree)
            } catch { return .failure(error) }
        }
        self = try result.get()
    }

    // The reader nests at most 64 deep, and so does this.
    private init(_ reader: inout JSONReader) throws(JSONFault) {
        switch reader.peekKind() {
        case .object:
            var members: [String: JSONTree] = [:]
            try reader.beginObject()
            while let key = try reader.nextKey() {
                let name = key.text
                members[name] = try JSONTree(&reader)
            }
            self = .object(members)
        case .array:
            var elements: [JSONTree] = []
            try reader.beginArray()
            while try reader.nextElement() { elements.append(try JSONTree(&reader)) }
            self = .array(elements)
        case .string: self = .string(try reader.readString().text)
        case .boolean: self = .bool(try reader.readBool())
        case .number:
            self = Int(String(decoding: try reader.readNumberText(), as: UTF8.self)).map { .int($0) } ?? .null
        case .null, nil:
            try reader.readNull()
            self = .null
        }
    }

    package func write(_ writer: inout JSONWriter) {
        switch self {
        case .object(let members):
            writer.beginObject()
            // Sorted, so that the same value is the same bytes.
            for (name, value) in members.sorted(by: { $0.key < $1.key }) {
                writer.key(text: name)
                value.write(&writer)
            }
            writer.endObject()
        case .array(let elements):
            writer.beginArray()
            for element in elements { element.write(&writer) }
            writer.endArray()
        case .string(let text): writer.string(text)
        case .int(let number): writer.int(number)
        case .bool(let value): writer.bool(value)
        case .null: writer.null()
        }
    }

    package var bytes: [UInt8] {
        var writer = JSONWriter()
        write(&writer)
        return writer.take()
    }

    package var text: String? { if case .string(let text) = self { text } else { nil } }
    package var number: Int? { if case .int(let number) = self { number } else { nil } }
    package var elements: [JSONTree] { if case .array(let elements) = self { elements } else { [] } }
    package var members: [String: JSONTree] { if case .object(let members) = self { members } else { [:] } }

    package subscript(name: String) -> JSONTree? { if case .object(let members) = self { members[name] } else { nil } }

    /// An object of texts.
    package init(_ texts: [String: String]) { self = .object(texts.mapValues { .string($0) }) }
    package var texts: [String: String] { members.compactMapValues(\.text) }
}

extension JSONTree: ExpressibleByDictionaryLiteral, ExpressibleByArrayLiteral, ExpressibleByStringLiteral,
    ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral
{
    package init(dictionaryLiteral elements: (String, JSONTree)...) {
        self = .object(Dictionary(elements) { $1 })
    }
    package init(arrayLiteral elements: JSONTree...) { self = .array(elements) }
    package init(stringLiteral value: String) { self = .string(value) }
    package init(integerLiteral value: Int) { self = .int(value) }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
}
