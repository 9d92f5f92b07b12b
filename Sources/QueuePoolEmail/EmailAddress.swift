// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// One mailbox: an address, and a name for people.
package struct EmailAddress: Hashable, Sendable {
    /// Empty if there is none.
    package var name: String
    /// `local@domain`, ASCII.
    package var address: String

    private static let addressBytesMax = 254
    private static let localBytesMax = 64
    private static let labelBytesMax = 63
    private static let nameBytesMax = 256
    /// Of the whole: the longest name in quotes with each character escaped, an address, brackets and blanks.
    private static let textBytesMax = 1_024

    /// Reads `a@b.example` or `Name <a@b.example>`.
    ///
    /// The local part is a dot-atom (RFC 5322, 3.2.3), the domain letters, digits and hyphens: addresses that need quoting
    /// or SMTPUTF8 are refused, because many a provider on the way would.
    /// - Throws: `EmailError` naming `field`.
    package init(_ text: String, field: String) throws(EmailError) {
        // First, so that nothing below sees a long text.
        guard text.utf8.count <= EmailAddress.textBytesMax else {
            throw EmailError(
                field, "It has \(text.utf8.count) bytes; at most \(EmailAddress.textBytesMax) are allowed.")
        }
        if let place = EmailRules.firstControl(text) {
            throw EmailError(field, EmailRules.controlCharacter(at: place, of: text))
        }
        let trimmed = EmailAddress.trimmed(text[...])
        let found: Substring
        if trimmed.hasSuffix(">"), let open = trimmed.lastIndex(of: "<") {
            name = EmailAddress.unquoted(String(EmailAddress.trimmed(trimmed[..<open])))
            found = trimmed[trimmed.index(after: open)...].dropLast()
        } else {
            name = ""
            found = trimmed
        }
        guard name.utf8.count <= EmailAddress.nameBytesMax else {
            throw EmailError(
                field, "Its name has \(name.utf8.count) bytes; at most \(EmailAddress.nameBytesMax) are allowed.")
        }
        if let fault = EmailAddress.fault(in: found, of: text) {
            throw EmailError(field, fault + "; allowed is local@domain or Name <local@domain>.")
        }
        address = String(found)
    }

    /// What is wrong with an address; `nil` if nothing is.
    private static func fault(in address: Substring, of text: String) -> String? {
        let bytes = address.utf8
        guard !bytes.isEmpty else { return "It is empty" }
        let ats = bytes.count { $0 == UInt8(ascii: "@") }
        guard ats > 0, let at = bytes.firstIndex(of: UInt8(ascii: "@")) else { return "It has no @" }
        guard ats == 1 else { return "It has \(ats) @; one is allowed" }
        let local = bytes[..<at]
        let domain = bytes[bytes.index(after: at)...]
        guard !local.isEmpty else { return "Nothing is before the @" }
        guard !domain.isEmpty else { return "Nothing is behind the @" }
        if let fault = place(of: local, isAtom, in: text) ?? place(of: domain, isInDomain, in: text) { return fault }
        guard local.count <= localBytesMax else {
            return "\(local.count) bytes are before the @; at most \(localBytesMax) are allowed"
        }
        guard bytes.count <= addressBytesMax else {
            return "Its address has \(bytes.count) bytes; at most \(addressBytesMax) are allowed"
        }
        for label in domain.split(separator: UInt8(ascii: ".")) {
            guard label.count <= labelBytesMax else {
                return "A part of its domain has \(label.count) bytes; at most \(labelBytesMax) are allowed"
            }
            let end = label.index(before: label.endIndex)
            for place in [label.startIndex, end] where label[place] == UInt8(ascii: "-") {
                return EmailRules.byte(at: place, of: text) + " is a hyphen at an end of a part of its domain"
            }
        }
        return nil
    }

    /// The first byte of the part that is not allowed, or is a full stop with nothing on one side.
    private static func place(of part: Substring.UTF8View, _ isAllowed: (UInt8) -> Bool, in text: String) -> String? {
        var previous: UInt8? = UInt8(ascii: ".")
        for (place, byte) in zip(part.indices, part) {
            let isStop = byte == UInt8(ascii: ".")
            if isStop, previous == byte || place == part.indices.last {
                return EmailRules.byte(at: place, of: text) + " is a full stop with nothing on one side"
            }
            if !isStop, !isAllowed(byte) {
                return EmailRules.byte(at: place, of: text) + " is \(EmailRules.kind(byte)) that is not allowed there"
            }
            previous = byte
        }
        return nil
    }

    private static func isInDomain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"):
            true
        default: false
        }
    }

    private static func isAtom(_ byte: UInt8) -> Bool {
        isInDomain(byte) || "!#$%&'*+/=?^_`{|}~".utf8.contains(byte)
    }

    private static func trimmed(_ text: Substring) -> Substring {
        var text = text
        while text.first == " " || text.first == "\t" { text.removeFirst() }
        while text.last == " " || text.last == "\t" { text.removeLast() }
        return text
    }

    private static func unquoted(_ name: String) -> String {
        guard name.count >= 2, name.hasPrefix("\""), name.hasSuffix("\"") else { return name }
        var out = ""
        var isEscaped = false
        for character in name.dropFirst().dropLast() {
            if character == "\\", !isEscaped {
                isEscaped = true
            } else {
                out.append(character)
                isEscaped = false
            }
        }
        return out
    }
}
