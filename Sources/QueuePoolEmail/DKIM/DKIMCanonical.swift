// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// The relaxed form of a mail (RFC 6376, 3.4.2 and 3.4.4), in which it is signed: on its way, servers may fold headers
// anew, change white space and add empty lines at the end without spoiling the signature.

/// A mail's header fields and body.
struct DKIMMail {
    private struct Field {
        let name: [UInt8]
        let bytes: ArraySlice<UInt8>
    }

    private let fields: [Field]
    let body: ArraySlice<UInt8>

    /// - Parameter message: lines end in CR LF; the first empty one ends the headers.
    init(_ message: [UInt8]) {
        var fields: [Field] = []
        var start = 0
        var at = 0
        var bodyStart = message.count
        func end(at place: Int) {
            let bytes = message[start..<place]
            // What has no name is no field.
            guard let colon = bytes.firstIndex(of: UInt8(ascii: ":")) else { return }
            fields.append(Field(name: DKIMCanonical.name(bytes[..<colon]), bytes: bytes))
        }
        while at < message.count {
            let next = DKIMMail.lineEnd(message, from: at)
            if at != start, !DKIMCanonical.isBlank(message[at]) {
                end(at: at)
                start = at
            }
            if next - at == 2, message[at] == 13, message[at + 1] == 10 {
                bodyStart = next
                start = message.count
                break
            }
            at = next
        }
        if start < message.count { end(at: message.count) }
        self.fields = fields
        self.body = message[bodyStart...]
    }

    /// Where the line after this one begins.
    private static func lineEnd(_ message: [UInt8], from start: Int) -> Int {
        var at = start
        while at + 1 < message.count {
            if message[at] == 13, message[at + 1] == 10 { return at + 2 }
            at += 1
        }
        return message.count
    }

    /// How many fields of a name there are.
    func count(of name: String) -> Int {
        let name = DKIMCanonical.name(Array(name.utf8)[...])
        return fields.count { $0.name == name }
    }

    /// Fields in relaxed form, each with its CR LF. A name that stands more than once means the last field first, then
    /// the one above it (RFC 6376, 5.4.2); one that has no field any more means nothing.
    func canonicalFields(_ names: [String]) -> [UInt8] {
        var out: [UInt8] = []
        var taken: [[UInt8]: Int] = [:]
        for name in names.map({ DKIMCanonical.name(Array($0.utf8)[...]) }) {
            let end = taken[name] ?? fields.count
            let place = fields[..<end].lastIndex { $0.name == name }
            taken[name] = place ?? 0
            guard let place else { continue }
            out += DKIMCanonical.field(fields[place].bytes)
            out += [13, 10]
        }
        return out
    }
}

/// Relaxed canonicalization.
enum DKIMCanonical {
    static func isBlank(_ byte: UInt8) -> Bool { byte == 32 || byte == 9 }

    /// A field's name in lower case, without blanks around it.
    static func name(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
        bytes.filter { !isBlank($0) }.map { (65...90).contains($0) ? $0 + 32 : $0 }
    }

    /// `name:value` on one line, without its CR LF. What has no colon is a name alone.
    static func field(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
        let colon = bytes.firstIndex(of: UInt8(ascii: ":")) ?? bytes.endIndex
        var out = name(bytes[..<colon])
        out.append(UInt8(ascii: ":"))
        var isAtStart = true
        var hasBlank = false
        var at = min(colon + 1, bytes.endIndex)
        while at < bytes.endIndex {
            let byte = bytes[at]
            at += 1
            if byte == 13, at < bytes.endIndex, bytes[at] == 10 {
                at += 1
            } else if isBlank(byte) {
                hasBlank = true
            } else {
                if hasBlank, !isAtStart { out.append(32) }
                (isAtStart, hasBlank) = (false, false)
                out.append(byte)
            }
        }
        return out
    }

    /// The body: blanks at the ends of lines away, other runs of blanks as one, no empty lines at the end, and CR LF
    /// after the last line that has something.
    static func body(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(bytes.count + 2)
        var lineEnds = 0
        var hasBlank = false
        bytes.withUnsafeBufferPointer { bytes in
            var at = 0
            while at < bytes.count {
                let byte = bytes[at]
                at += 1
                if byte == 13, at < bytes.count, bytes[at] == 10 {
                    at += 1
                    lineEnds += 1
                    hasBlank = false
                } else if isBlank(byte) {
                    hasBlank = true
                } else {
                    while lineEnds > 0 {
                        out.append(13)
                        out.append(10)
                        lineEnds -= 1
                    }
                    if hasBlank {
                        out.append(32)
                        hasBlank = false
                    }
                    out.append(byte)
                }
            }
        }
        if !out.isEmpty { out += [13, 10] }
        return out
    }
}
