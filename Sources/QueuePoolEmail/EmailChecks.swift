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
        guard (1...nameBytesMax).contains(bytes.count),
            bytes.allSatisfy({ $0 > 32 && $0 < 127 && $0 != UInt8(ascii: ":") })
        else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    static func badName(bytes: Int) -> String {
        "A name of \(bytes) bytes is not one; allowed are 1 to \(nameBytesMax) printable ASCII characters without colon."
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
        guard !value.unicodeScalars.contains(where: EmailRules.breaksHeader) else {
            throw EmailError(
                field, "It has a control character; line breaks and other control characters are not allowed.")
        }
    }

    static func error(in attachment: EmailAttachment, _ field: String) -> EmailError? {
        do throws(EmailError) {
            guard (1...255).contains(attachment.filename.utf8.count) else {
                throw EmailError(
                    "\(field).filename", "It has \(attachment.filename.utf8.count) bytes; 1 to 255 are allowed.")
            }
            try checkHeaderValue(attachment.filename, "\(field).filename")
            let type = attachment.contentType.split(separator: "/", omittingEmptySubsequences: false)
            // Names of at most 127 (RFC 6838, 4.2). A multipart could not be base64 (RFC 2045, 6.4).
            guard type.count == 2,
                type.allSatisfy({ (1...127).contains($0.utf8.count) && $0.utf8.allSatisfy(isToken) }),
                type[0].lowercased() != "multipart"
            else {
                throw EmailError(
                    "\(field).contentType", "It must be type/subtype, 1 to 127 characters each, and not multipart.")
            }
            if let id = attachment.contentID {
                guard (1...128).contains(id.utf8.count),
                    id.utf8.allSatisfy({ isToken($0) || $0 == UInt8(ascii: "@") })
                else { throw EmailError("\(field).contentId", "It must be 1 to 128 letters, digits or -._@.") }
            }
            return nil
        } catch { return error }
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
