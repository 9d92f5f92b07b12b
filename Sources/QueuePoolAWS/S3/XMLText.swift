// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// S3's answers are XML of which a few elements matter, none of them within another of its name. They are cut out between
// their tags, not parsed: what somebody else wrote into a bucket's configuration goes back as it came, byte for byte.

/// The text of an XML document.
struct XMLText: Sendable {
    private let bytes: [UInt8]

    init(_ bytes: some Sequence<UInt8>) { self.bytes = Array(bytes) }

    /// What stands between the first such element's tags, as it is written; `nil` if there is none.
    func first(_ name: String) -> String? { elements(name, countMax: 1).first }

    /// What stands between the tags of each such element. Elements whose tags have attributes are none.
    func elements(_ name: String, countMax: Int = .max) -> [String] {
        let (open, close) = (Array("<\(name)>".utf8), Array("</\(name)>".utf8))
        var found: [String] = []
        var rest = bytes[...]
        while found.count < countMax, let start = rest.firstRange(of: open) {
            rest = rest[start.upperBound...]
            guard let end = rest.firstRange(of: close) else { break }
            found.append(String(decoding: rest[..<end.lowerBound], as: UTF8.self))
            rest = rest[end.upperBound...]
        }
        return found
    }

    /// How often a text occurs.
    func count(of text: String) -> Int { bytes.ranges(of: Array(text.utf8)).count }

    /// A text as it stands in an element.
    static func escaped(_ text: String) -> String {
        var out = ""
        for character in text.unicodeScalars {
            switch character {
            case "&": out += "&amp;"
            case "<": out += "&lt;"
            case ">": out += "&gt;"
            default: out.unicodeScalars.append(character)
            }
        }
        return out
    }
}
