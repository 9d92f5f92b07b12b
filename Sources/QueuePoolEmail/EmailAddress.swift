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
        guard !text.unicodeScalars.contains(where: EmailRules.breaksHeader) else {
            throw EmailError(
                field, "It has a control character; line breaks and other control characters are not allowed.")
        }
        let trimmed = EmailAddress.trimmed(text[...])
        if trimmed.hasSuffix(">"), let open = trimmed.lastIndex(of: "<") {
            name = EmailAddress.unquoted(String(EmailAddress.trimmed(trimmed[..<open])))
            address = String(trimmed[trimmed.index(after: open)...].dropLast())
        } else {
            name = ""
            address = String(trimmed)
        }
        guard name.utf8.count <= EmailAddress.nameBytesMax else {
            throw EmailError(
                field, "Its name has \(name.utf8.count) bytes; at most \(EmailAddress.nameBytesMax) are allowed.")
        }
        guard EmailAddress.isValid(address) else {
            throw EmailError(
                field,
                "It has \(text.utf8.count) bytes and is not an address; allowed is local@domain or Name <local@domain>."
            )
        }
    }

    private static func isValid(_ address: String) -> Bool {
        let parts = address.utf8.split(separator: UInt8(ascii: "@"), omittingEmptySubsequences: false)
        guard parts.count == 2, address.utf8.count <= addressBytesMax, parts[0].count <= localBytesMax else {
            return false
        }
        let atoms = parts[0].split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard atoms.allSatisfy({ !$0.isEmpty && $0.allSatisfy(isAtom) }) else { return false }
        let labels = parts[1].split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        return labels.allSatisfy { label in
            (1...63).contains(label.count) && label.allSatisfy(isInDomain) && label.first != UInt8(ascii: "-")
                && label.last != UInt8(ascii: "-")
        }
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

enum EmailRules {
    static func breaksHeader(_ scalar: Unicode.Scalar) -> Bool { scalar.value < 32 || scalar.value == 127 }
}
