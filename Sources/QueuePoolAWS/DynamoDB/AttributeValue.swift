// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A value of DynamoDB's data model; the kinds that control state uses.
package indirect enum AttributeValue: Hashable, Sendable {
    case text(String)
    case number(Int)
    case bytes([UInt8])
    case list([AttributeValue])
    case map([String: AttributeValue])

    /// As the low-level API writes it: `{"S": "..."}`.
    package var tree: JSONTree {
        switch self {
        case .text(let text): ["S": .string(text)]
        case .number(let number): ["N": .string(String(number))]
        case .bytes(let bytes): ["B": .string(Data(bytes).base64EncodedString())]
        case .list(let values): ["L": .array(values.map(\.tree))]
        case .map(let values): ["M": .object(values.mapValues(\.tree))]
        }
    }

    /// - Returns: `nil` if the tree is no value of a kind that is used here.
    package init?(_ tree: JSONTree) {
        guard let (kind, value) = tree.members.first, tree.members.count == 1 else { return nil }
        switch (kind, value) {
        case ("S", .string(let text)): self = .text(text)
        case ("N", .string(let text)):
            guard let number = Int(text) else { return nil }
            self = .number(number)
        case ("B", .string(let text)):
            guard let data = Data(base64Encoded: text) else { return nil }
            self = .bytes([UInt8](data))
        case ("L", .array(let elements)):
            let values = elements.compactMap { AttributeValue($0) }
            guard values.count == elements.count else { return nil }
            self = .list(values)
        case ("M", .object(let members)):
            let values = members.compactMapValues { AttributeValue($0) }
            guard values.count == members.count else { return nil }
            self = .map(values)
        default: return nil
        }
    }

    package var text: String? { if case .text(let text) = self { text } else { nil } }
    package var number: Int? { if case .number(let number) = self { number } else { nil } }
    package var bytes: [UInt8]? { if case .bytes(let bytes) = self { bytes } else { nil } }
    package var list: [AttributeValue]? { if case .list(let values) = self { values } else { nil } }
    package var map: [String: AttributeValue]? { if case .map(let values) = self { values } else { nil } }

    /// Bytes that count towards an item's limit; names of a map's members included. Source: "DynamoDB item sizes and
    /// formats".
    package var size: Int {
        switch self {
        case .text(let text): text.utf8.count
        case .number: 21
        case .bytes(let bytes): bytes.count
        case .list(let values): values.reduce(3) { $0 + $1.size + 1 }
        case .map(let values): values.reduce(3) { $0 + $1.key.utf8.count + $1.value.size + 1 }
        }
    }
}

/// Attributes by name.
package typealias Item = [String: AttributeValue]

extension JSONTree {
    /// An item in an answer; attributes of other kinds are left out.
    var item: Item { members.compactMapValues { AttributeValue($0) } }

    init(item: Item) { self = .object(item.mapValues(\.tree)) }
}
