// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Rules for headers and attachments.
enum EmailChecks {
    /// Headers that the renderer writes itself, or that belong to those who carry the mail.
    private static let reserved: Set<String> = [
        "from", "to", "cc", "bcc", "reply-to", "subject", "date", "message-id", "mime-version", "sender", "received",
        "return-path", "content-type", "content-transfer-encoding", "content-disposition", "content-id",
    ]

    private static let nameBytesMax = 76

    /// The text of a header's name; `nil` if it is not one.
    static func headerName(_ bytes: UnsafeRawBufferPointer) -> String? {
        guard (1...nameBytesMax).contains(bytes.count), bytes.allSatisfy(isInName) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func isInName(_ byte: UInt8) -> Bool { byte > 32 && byte < 127 && byte != UInt8(ascii: ":") }

    /// Why a header's name is not one.
    static func badName(_ bytes: UnsafeRawBufferPointer) -> String {
        let allowed = "allowed are printable ASCII characters without colon."
        guard (1...nameBytesMax).contains(bytes.count), let place = bytes.firstIndex(where: { !isInName($0) }) else {
            return "Its name has \(bytes.count) bytes; 1 to \(nameBytesMax) are allowed."
        }
        return "Byte \(place + 1) of \(bytes.count) of its name is \(EmailRules.kind(bytes[place])); \(allowed)"
    }

    static func check(_ header: EmailMessage.HeaderPair, _ field: String) throws(EmailError) {
        guard !reserved.contains(header.name.lowercased()) else {
            throw EmailError(field, "It cannot be set; the email's own fields or the renderer set it.")
        }
        try checkHeaderValue(header.value, field)
    }

    static func checkHeaderValue(_ value: String, _ field: String) throws(EmailError) {
        guard value.utf8.count <= EmailMessage.headerBytesMax else {
            throw EmailError(
                field, "It has \(value.utf8.count) bytes; at most \(EmailMessage.headerBytesMax) are allowed.")
        }
        if let place = EmailRules.firstControl(value) {
            throw EmailError(field, EmailRules.controlCharacter(at: place, of: value))
        }
    }

    static func error(in attachment: EmailAttachment, _ field: String) -> EmailError? {
        do throws(EmailError) {
            guard (1...255).contains(attachment.filename.utf8.count) else {
                throw EmailError(
                    "\(field).filename", "It has \(attachment.filename.utf8.count) bytes; 1 to 255 are allowed.")
            }
            try checkHeaderValue(attachment.filename, "\(field).filename")
            if let fault = fault(inType: attachment.contentType) {
                throw EmailError(
                    "\(field).contentType",
                    "\(fault); allowed is type/subtype of letters, digits and !#$&-^_.+, and no multipart.")
            }
            if let id = attachment.contentID, let fault = fault(inID: id) {
                throw EmailError("\(field).contentId", "\(fault); allowed are letters, digits and !#$&-^_.+@.")
            }
            return nil
        } catch { return error }
    }

    private static func fault(inType text: String) -> String? {
        let slash = UInt8(ascii: "/")
        let slashes = text.utf8.count { $0 == slash }
        guard slashes == 1 else { return "It has \(slashes) slashes; type/subtype has one" }
        let parts = text.utf8.split(separator: slash, omittingEmptySubsequences: false)
        // Names of at most 127 (RFC 6838, 4.2). A multipart could not be base64 (RFC 2045, 6.4).
        for (part, name) in zip(parts, ["type", "subtype"]) where !(1...127).contains(part.count) {
            return "Its \(name) has \(part.count) bytes; 1 to 127 are allowed"
        }
        if let place = text.utf8.firstIndex(where: { !isToken($0) && $0 != slash }) {
            return EmailRules.byte(at: place, of: text) + " is \(EmailRules.kind(text.utf8[place]))"
        }
        return text.lowercased().hasPrefix("multipart/") ? "It is a multipart" : nil
    }

    private static func fault(inID text: String) -> String? {
        guard (1...128).contains(text.utf8.count) else {
            return "It has \(text.utf8.count) bytes; 1 to 128 are allowed"
        }
        guard let place = text.utf8.firstIndex(where: { !isToken($0) && $0 != UInt8(ascii: "@") }) else { return nil }
        return EmailRules.byte(at: place, of: text) + " is \(EmailRules.kind(text.utf8[place]))"
    }

    private static func isToken(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "!#$&-^_.+".utf8.contains(byte)
        }
    }
}
