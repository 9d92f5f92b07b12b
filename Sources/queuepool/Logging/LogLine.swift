// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc

// One log event as one line. The line is bounded and holds no raw control character, so that neither a long value nor a
// line break in one can forge or flood a log.

/// What a line is made of.
struct LogLine {
    /// Bytes after which no further field is added.
    static let bytesMax = 8_192
    /// Bytes of one value that are shown.
    static let valueBytesMax = 1_024

    /// Milliseconds since 1970, not before it.
    var time: Int64
    var level: String
    var label: String
    var message: String
    /// Fields in any order; they are written in the order of their keys.
    var fields: [(key: String, value: String)]

    /// `{"time":...,"level":...,"logger":...,"message":...,KEY:...}` and a line feed.
    func json() -> [UInt8] {
        var out = Array(#"{"time":""#.utf8)
        appendTime(to: &out)
        out.append(contentsOf: #"","level":"#.utf8)
        appendJSON(level, to: &out)
        out.append(contentsOf: #","logger":"#.utf8)
        appendJSON(label, to: &out)
        out.append(contentsOf: #","message":"#.utf8)
        appendJSON(message, to: &out)
        for (key, value) in sortedFields {
            guard out.count < LogLine.bytesMax else {
                out.append(contentsOf: #","truncated":true"#.utf8)
                break
            }
            out.append(UInt8(ascii: ","))
            appendJSON(LogLine.reserved.contains(key) ? "field." + key : key, to: &out)
            out.append(UInt8(ascii: ":"))
            appendJSON(value, to: &out)
        }
        out.append(contentsOf: "}\n".utf8)
        return out
    }

    /// `TIME LEVEL LOGGER: MESSAGE KEY=VALUE ...` and a line feed; a value with blanks or quotes is quoted as in JSON.
    func text() -> [UInt8] {
        var out: [UInt8] = []
        appendTime(to: &out)
        out.append(contentsOf: " \(level) ".utf8)
        appendPlain(label, to: &out)
        out.append(contentsOf: ": ".utf8)
        appendPlain(message, to: &out)
        for (key, value) in sortedFields {
            guard out.count < LogLine.bytesMax else {
                out.append(contentsOf: " truncated=true".utf8)
                break
            }
            out.append(UInt8(ascii: " "))
            appendPlain(key, to: &out)
            out.append(UInt8(ascii: "="))
            if value.isEmpty || value.utf8.contains(where: { $0 <= 32 || $0 == 34 || $0 == 61 || $0 == 127 }) {
                appendJSON(value, to: &out)
            } else {
                appendPlain(value, to: &out)
            }
        }
        out.append(UInt8(ascii: "\n"))
        return out
    }

    private static let reserved: Set<String> = ["time", "level", "logger", "message", "truncated"]

    private var sortedFields: [(key: String, value: String)] { fields.sorted { $0.key < $1.key } }

    // MARK: - Escaping -

    /// At most `valueBytesMax` bytes of a value, cut between scalars.
    private func shortened(_ text: String) -> (Substring.UnicodeScalarView, cut: Bool) {
        guard text.utf8.count > LogLine.valueBytesMax else { return (text[...].unicodeScalars, false) }
        var bytes = 0
        let prefix = text[...].unicodeScalars.prefix {
            bytes += UTF8.width($0)
            return bytes <= LogLine.valueBytesMax
        }
        return (prefix, true)
    }

    private func appendJSON(_ text: String, to out: inout [UInt8]) {
        let (scalars, cut) = shortened(text)
        out.append(UInt8(ascii: "\""))
        for scalar in scalars {
            switch scalar {
            case "\"": out.append(contentsOf: #"\""#.utf8)
            case "\\": out.append(contentsOf: #"\\"#.utf8)
            case "\n": out.append(contentsOf: #"\n"#.utf8)
            case "\u{0}"..."\u{1F}", "\u{7F}"..."\u{9F}", "\u{2028}", "\u{2029}":
                let hex = String(scalar.value, radix: 16)
                out.append(contentsOf: (#"\u"# + String(repeating: "0", count: 4 - hex.count) + hex).utf8)
            default: out.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
            }
        }
        if cut { out.append(contentsOf: "...".utf8) }
        out.append(UInt8(ascii: "\""))
    }

    private func appendPlain(_ text: String, to out: inout [UInt8]) {
        let (scalars, cut) = shortened(text)
        for scalar in scalars {
            switch scalar {
            case "\u{0}"..."\u{1F}", "\u{7F}"..."\u{9F}", "\u{2028}", "\u{2029}": out.append(UInt8(ascii: "?"))
            default: out.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
            }
        }
        if cut { out.append(contentsOf: "...".utf8) }
    }

    // MARK: - Time -

    /// RFC 3339 in UTC with milliseconds.
    private func appendTime(to out: inout [UInt8]) {
        var seconds = time_t(time / 1_000)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        append(Int(parts.tm_year) + 1_900, digits: 4, to: &out)
        append(Int(parts.tm_mon) + 1, digits: 2, after: "-", to: &out)
        append(Int(parts.tm_mday), digits: 2, after: "-", to: &out)
        append(Int(parts.tm_hour), digits: 2, after: "T", to: &out)
        append(Int(parts.tm_min), digits: 2, after: ":", to: &out)
        append(Int(parts.tm_sec), digits: 2, after: ":", to: &out)
        append(Int(time % 1_000), digits: 3, after: ".", to: &out)
        out.append(UInt8(ascii: "Z"))
    }

    private func append(_ number: Int, digits: Int, after separator: String = "", to out: inout [UInt8]) {
        let text = String(number)
        out.append(contentsOf: separator.utf8)
        out.append(contentsOf: repeatElement(UInt8(ascii: "0"), count: max(0, digits - text.utf8.count)))
        out.append(contentsOf: text.utf8)
    }
}
