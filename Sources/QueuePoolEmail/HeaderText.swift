// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Header fields: names and values folded to short lines at white space, free text beyond ASCII as encoded words (RFC
// 2047), filenames as extended parameters (RFC 2231). A word that is too long for a line stays whole up to what a line may
// have (RFC 5322, 2.1.1): to split or encode a URL or a message id is to spoil it. What comes in has no line breaks, see
// EmailChecks.

enum HeaderText {
    private static let lineMax = 76
    /// What no line may exceed.
    private static let lineLimit = 998

    /// `Name: value` with CR LF, of free text or of a header with a grammar of its own.
    static func field(_ name: String, _ value: String) -> String {
        StructuredText.names.contains(name.lowercased())
            ? folded(name, StructuredText.words(value)) : unstructured(name, value)
    }

    /// `Name: value` with CR LF, of free text.
    static func unstructured(_ name: String, _ value: String) -> String {
        let words = value.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
        let isTooLong = words.contains { $0.utf8.count > lineLimit - name.utf8.count - 2 }
        return folded(name, isTooLong || needsEncoding(value) ? encodedWords(value, after: name) : words)
    }

    /// `Name: mailbox, mailbox` with CR LF.
    static func mailboxes(_ name: String, _ list: [EmailAddress]) -> String {
        var words: [String] = []
        for (position, mailbox) in list.enumerated() {
            let comma = position + 1 < list.count ? "," : ""
            guard !mailbox.name.isEmpty else {
                words.append(mailbox.address + comma)
                continue
            }
            if needsEncoding(mailbox.name) {
                words.append(contentsOf: encodedWords(mailbox.name, after: position == 0 ? name : ""))
            } else {
                words.append(phrase(mailbox.name))
            }
            words.append("<\(mailbox.address)>" + comma)
        }
        return folded(name, words)
    }

    /// A parameter such as `filename="report.pdf"`, in extended form if it is not plain.
    static func parameter(_ name: String, _ value: String) -> String {
        let isPlain = value.utf8.allSatisfy {
            $0 >= 32 && $0 < 127 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\")
        }
        if isPlain, value.utf8.count <= 60 { return "\(name)=\"\(value)\"" }
        let encoded = value.utf8.map { byte in
            isAttributeCharacter(byte) ? String(UnicodeScalar(byte)) : "%" + hex(byte)
        }
        // Long values go in numbered pieces, so that no line grows too long.
        var pieces: [String] = [""]
        for character in encoded {
            if pieces[pieces.count - 1].utf8.count + character.utf8.count > 56 { pieces.append("") }
            pieces[pieces.count - 1] += character
        }
        if pieces.count == 1 { return "\(name)*=UTF-8''\(pieces[0])" }
        return pieces.enumerated().map { "\(name)*\($0)*=\($0 == 0 ? "UTF-8''" : "")\($1)" }.joined(separator: ";\r\n ")
    }

    /// Words of one header, each on the line of the one before if there is room. The first stays beside the name, because
    /// some take a first line without a value for an empty header; but a line with an encoded word has 76 characters at
    /// most (RFC 2047, 2).
    private static func folded(_ name: String, _ words: [String]) -> String {
        var out = name + ":"
        var column = out.utf8.count
        for (position, word) in words.enumerated() {
            let width = column + 1 + word.utf8.count
            let room = position == 0 && !word.hasPrefix("=?") ? lineLimit : lineMax
            if width > room, !word.isEmpty {
                out += "\r\n"
                column = 0
            }
            out += " " + word
            column += 1 + word.utf8.count
        }
        return out + "\r\n"
    }

    /// Beyond ASCII, a look-alike of an encoded word, or blanks that folding would not keep.
    private static func needsEncoding(_ text: String) -> Bool {
        text.utf8.contains { $0 >= 127 } || text.contains("=?") || text.hasPrefix(" ") || text.hasSuffix(" ")
            || text.contains("  ")
    }

    /// Encoded words in Q, each at most 75 characters and none cutting a character in two.
    /// - Parameter name: of the header, whose line the first word shares if there is room (RFC 2047, 2: lines of 76).
    static func encodedWords(_ text: String, after name: String) -> [String] {
        let room = lineMax - name.utf8.count - 2 - "=?UTF-8?Q??=".utf8.count
        var words: [String] = []
        var current = ""
        for scalar in text.unicodeScalars {
            let piece = String(scalar).utf8.map { byte -> String in
                if byte == 32 { return "_" }
                return isQCharacter(byte) ? String(UnicodeScalar(byte)) : "=" + hex(byte)
            }.joined()
            if current.utf8.count + piece.utf8.count > (words.isEmpty && room >= 24 ? room : 62) {
                words.append("=?UTF-8?Q?\(current)?=")
                current = ""
            }
            current += piece
        }
        words.append("=?UTF-8?Q?\(current)?=")
        return words
    }

    private static func phrase(_ name: String) -> String {
        if name.utf8.allSatisfy({ isQCharacter($0) || $0 == 32 }) { return name }
        return "\"" + name.map { $0 == "\"" || $0 == "\\" ? "\\\($0)" : String($0) }.joined() + "\""
    }

    /// What may stand in an encoded word within a phrase (RFC 2047, 5 (3)).
    private static func isQCharacter(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "!*+-/".utf8.contains(byte)
        }
    }

    private static func isAttributeCharacter(_ byte: UInt8) -> Bool {
        isQCharacter(byte) && byte != UInt8(ascii: "*") && byte != UInt8(ascii: "/") || byte == UInt8(ascii: ".")
            || byte == UInt8(ascii: "_")
    }

    static func hex(_ byte: UInt8) -> String {
        let digits = Array("0123456789ABCDEF")
        return String([digits[Int(byte >> 4)], digits[Int(byte & 15)]])
    }
}
