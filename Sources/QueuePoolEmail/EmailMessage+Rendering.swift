// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// An email as it goes over the wire: headers, then text and HTML as alternatives, then attachments. Bodies are base64 or
// quoted-printable by whichever is right for them, so no line is longer than 78 characters and every byte is ASCII.

extension EmailMessage {
    /// The whole email in RFC 5322's form, lines ending in CR LF.
    /// - Parameters:
    ///   - messageID: the queue message's id; the Message-ID is made of it, so that a second delivery is seen as one.
    ///   - date: RFC 5322's date-time.
    package func rendered(messageID: String, date: String) -> [UInt8] {
        var head = "Date: \(date)\r\n"
        head += HeaderText.mailboxes("From", [from])
        if !to.isEmpty {
            head += HeaderText.mailboxes("To", to)
        } else if cc.isEmpty {
            // An empty group (RFC 5322, A.1.3): a mail without any recipient's header looks broken to filters.
            head += "To: undisclosed-recipients:;\r\n"
        }
        if !cc.isEmpty { head += HeaderText.mailboxes("Cc", cc) }
        if !replyTo.isEmpty { head += HeaderText.mailboxes("Reply-To", replyTo) }
        head += HeaderText.unstructured("Subject", subject)
        head += "Message-ID: <\(messageID)@queuepool>\r\n"
        head += "MIME-Version: 1.0\r\n"
        for header in headerPairs { head += HeaderText.field(header.name, header.value) }
        return Array(head.utf8) + content(messageID).bytes
    }

    private func content(_ messageID: String) -> MIMEPart {
        var alternatives: [MIMEPart] = []
        if let text { alternatives.append(.text(text, "plain")) }
        if let html { alternatives.append(.text(html, "html")) }
        let body =
            alternatives.count == 1
            ? alternatives[0] : .multipart("alternative", alternatives, boundary: "alternative-\(messageID)")
        guard !attachments.isEmpty else { return body }
        let inline = attachments.filter { $0.contentID != nil && html != nil }
        let files = attachments.filter { $0.contentID == nil || html == nil }
        let related =
            inline.isEmpty
            ? body : .multipart("related", [body] + inline.map { .attachment($0) }, boundary: "related-\(messageID)")
        guard !files.isEmpty else { return related }
        return .multipart("mixed", [related] + files.map { .attachment($0) }, boundary: "mixed-\(messageID)")
    }
}

/// A part with its headers.
struct MIMEPart {
    var bytes: [UInt8]

    static func text(_ text: String, _ subtype: String) -> MIMEPart {
        let normal = CRLF.normalized(Array(text.utf8))
        let specials = normal.count { $0 >= 127 }
        let head: String
        let body: [UInt8]
        if specials * 3 > normal.count {
            head = "base64"
            body = Base64Text.encode(normal, lineLength: 76)
        } else {
            head = "quoted-printable"
            body = QuotedPrintable.encode(normal)
        }
        let fields = "Content-Type: text/\(subtype); charset=utf-8\r\nContent-Transfer-Encoding: \(head)\r\n\r\n"
        return MIMEPart(bytes: Array(fields.utf8) + body + [13, 10])
    }

    static func attachment(_ attachment: EmailAttachment) -> MIMEPart {
        var fields =
            "Content-Type: \(attachment.contentType);\r\n \(HeaderText.parameter("name", attachment.filename))\r\n"
        fields += "Content-Transfer-Encoding: base64\r\n"
        let disposition = attachment.contentID == nil ? "attachment" : "inline"
        fields +=
            "Content-Disposition: \(disposition);\r\n \(HeaderText.parameter("filename", attachment.filename))\r\n"
        if let id = attachment.contentID { fields += "Content-ID: <\(id)>\r\n" }
        return MIMEPart(
            bytes: Array((fields + "\r\n").utf8) + Base64Text.encode(attachment.content, lineLength: 76) + [13, 10])
    }

    /// - Parameter boundary: at most 70 characters, none of which base64 or quoted-printable lines can begin with:
    ///   `--` and a word with a hyphen in it.
    static func multipart(_ subtype: String, _ parts: [MIMEPart], boundary: String) -> MIMEPart {
        var bytes = Array("Content-Type: multipart/\(subtype);\r\n boundary=\"=_\(boundary)\"\r\n\r\n".utf8)
        for part in parts {
            bytes += Array("--=_\(boundary)\r\n".utf8)
            bytes += part.bytes
        }
        bytes += Array("--=_\(boundary)--\r\n".utf8)
        return MIMEPart(bytes: bytes)
    }
}

enum CRLF {
    /// Every line end as CR LF, whatever it was.
    static func normalized(_ bytes: [UInt8]) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(bytes.count + bytes.count / 40)
        var previous: UInt8 = 0
        for byte in bytes {
            if byte == 10, previous != 13 { out.append(13) }
            if previous == 13, byte != 10 { out.append(10) }
            out.append(byte)
            previous = byte
        }
        if previous == 13 { out.append(10) }
        return out
    }
}

/// Quoted-printable (RFC 2045, 6.7).
enum QuotedPrintable {
    private static let lineMax = 76

    /// - Parameter text: lines end in CR LF.
    static func encode(_ text: [UInt8]) -> [UInt8] {
        let digits = Array("0123456789ABCDEF".utf8)
        var out: [UInt8] = []
        out.reserveCapacity(text.count + text.count / 10)
        var column = 0
        for (index, byte) in text.enumerated() {
            if byte == 13, index + 1 < text.count, text[index + 1] == 10 { continue }
            if byte == 10 {
                out.append(contentsOf: [13, 10])
                column = 0
                continue
            }
            let isAtEnd = index + 1 == text.count || text[index + 1] == 13
            let isBlank = byte == 32 || byte == 9
            let isPlain = (byte > 32 && byte < 127 && byte != UInt8(ascii: "=")) || (isBlank && !isAtEnd)
            let width = isPlain ? 1 : 3
            if column + width > lineMax - 1 {
                out.append(contentsOf: [UInt8(ascii: "="), 13, 10])
                column = 0
            }
            if isPlain {
                out.append(byte)
            } else {
                out.append(contentsOf: [UInt8(ascii: "="), digits[Int(byte >> 4)], digits[Int(byte & 15)]])
            }
            column += width
        }
        return out
    }
}
