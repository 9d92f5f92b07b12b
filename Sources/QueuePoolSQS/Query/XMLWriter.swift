// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolJSON

/// Writes one XML document. The caller keeps elements balanced; their names need no escape.
struct XMLWriter {
    static let namespace = "http://queue.amazonaws.com/doc/2012-11-05/"

    private(set) var bytes: [UInt8] = []

    init(capacity: Int) { bytes.reserveCapacity(capacity) }

    /// Begins the document and opens its root element.
    mutating func begin(_ root: String) {
        append("<?xml version=\"1.0\"?><")
        append(root)
        append(" xmlns=\"\(Self.namespace)\">")
    }

    mutating func open(_ name: String) {
        append("<")
        append(name)
        append(">")
    }

    mutating func close(_ name: String) {
        append("</")
        append(name)
        append(">")
    }

    mutating func empty(_ name: String) {
        append("<")
        append(name)
        append("/>")
    }

    mutating func element(_ name: String, _ text: String) {
        open(name)
        var text = text
        text.withUTF8 { escape(UnsafeRawBufferPointer($0)) }
        close(name)
    }

    mutating func element(_ name: String, _ text: JSONString) {
        open(name)
        text.withBytes { escape($0) }
        close(name)
    }

    private mutating func append(_ text: String) { bytes.append(contentsOf: text.utf8) }

    /// - Parameter text: well-formed UTF-8.
    private mutating func escape(_ text: UnsafeRawBufferPointer) {
        var start = 0
        var offset = 0
        while offset < text.count {
            guard let (replaced, instead) = replacement(text, at: offset) else {
                offset += 1
                continue
            }
            bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: text[start..<offset]))
            append(instead)
            offset += replaced
            start = offset
        }
        bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: text[start...]))
    }

    /// How many bytes are written otherwise, and how; `nil` where a byte stands for itself.
    @inline(__always)
    private func replacement(_ text: UnsafeRawBufferPointer, at offset: Int) -> (bytes: Int, instead: String)? {
        switch text[offset] {
        case UInt8(ascii: "&"): return (1, "&amp;")
        case UInt8(ascii: "<"): return (1, "&lt;")
        case UInt8(ascii: ">"): return (1, "&gt;")
        case UInt8(ascii: "\""): return (1, "&quot;")
        case 0x09, 0x0A: return nil
        // As it is, a reader of XML would take it for a line feed.
        case 0x0D: return (1, "&#xD;")
        // Messages hold no characters that XML cannot carry; a tag or a name in an error's text may.
        case 0..<0x20: return (1, "\u{FFFD}")
        case 0xEF where offset + 2 < text.count && text[offset + 1] == 0xBF && text[offset + 2] >= 0xBE:
            return (3, "\u{FFFD}")
        default: return nil
        }
    }
}
