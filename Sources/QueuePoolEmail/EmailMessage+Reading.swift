// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolJSON

extension EmailMessage {
    /// What an email's JSON holds beside the email.
    package struct Request: Sendable {
        package var email: EmailMessage
        package var deduplicationID: String?
    }

    /// What a text came to.
    package struct Reading: Sendable {
        package var result: Result<Request, ReadingError>
        /// The message group, unless it can't be known; also that of an email which is refused.
        package var group: String?
    }

    /// Why a text is no email.
    package enum ReadingError: Error, Hashable, Sendable {
        case malformed(JSONFault)
        case field(EmailError)
    }

    /// Reads and checks an email, as `parse` does.
    package static func read(_ bytes: UnsafeRawBufferPointer) throws(ReadingError) -> Request {
        try parse(bytes).result.get()
    }

    /// Reads and checks `{from, to, cc, bcc, replyTo, subject, text, html, headers, attachments, group?,
    /// deduplicationId?}`.
    package static func parse(_ bytes: UnsafeRawBufferPointer) -> Reading {
        var reader = EmailReader()
        do throws(JSONFault) { try reader.read(bytes) } catch {
            // Recipients are no group yet: a group may have been going to follow.
            return Reading(result: .failure(.malformed(error)), group: reader.givenGroup)
        }
        do throws(EmailError) {
            let request = try reader.request()
            return Reading(result: .success(request), group: reader.givenGroup ?? request.email.defaultGroup)
        } catch { return Reading(result: .failure(.field(error)), group: reader.groupOfRefused) }
    }
}

/// Collects the members as they come; checks them when all are there.
private struct EmailReader {
    private var failure: EmailError?
    private var texts: [String: String] = [:]
    private var lists: [String: [String]] = [:]
    private var headers: [EmailMessage.HeaderPair] = []
    private var attachments: [EmailAttachment] = []

    /// The group is of the wrong kind, so that nobody knows which was meant.
    private var isGroupUnknown = false

    private static let textMembers: [StaticString] = ["from", "subject", "text", "html", "group", "deduplicationId"]
    private static let listMembers: [StaticString] = ["to", "cc", "bcc", "replyTo"]
    private static let attachmentMembers: [StaticString] = ["filename", "contentType", "content", "contentId"]
    private static let members =
        "from, to, cc, bcc, replyTo, subject, text, html, headers, attachments, group, deduplicationId"

    mutating func read(_ bytes: UnsafeRawBufferPointer) throws(JSONFault) {
        var json = JSONReader(bytes)
        guard json.peekKind() == .object else {
            try json.skipValue()
            return fail("email", "It must be a JSON object with \(EmailReader.members).")
        }
        try json.beginObject()
        var position = 0
        while let key = try json.nextKey() {
            position += 1
            if let name = EmailReader.known(key, EmailReader.textMembers) {
                if key.equals("group"), json.peekKind() != .string, json.peekKind() != .null { isGroupUnknown = true }
                texts[name] = try string(name, &json)
            } else if let name = EmailReader.known(key, EmailReader.listMembers) {
                lists[name] = try strings(name, &json)
            } else if key.equals("headers") {
                try readHeaders(&json)
            } else if key.equals("attachments") {
                try readAttachments(&json)
            } else {
                fail(
                    "email",
                    "Member \(position) has a name of \(key.count) bytes that is not known; allowed are "
                        + "\(EmailReader.members).")
                try json.skipValue()
            }
        }
        try json.finish()
    }

    /// The name among those that are known, compared as bytes: a name of any length costs no more than its bytes.
    private static func known(_ key: JSONString, _ names: [StaticString]) -> String? {
        names.first { key.equals($0) }.map { "\($0)" }
    }

    /// The first thing wrong is the one that is told; further ones are not even put in words.
    private mutating func fail(_ field: @autoclosure () -> String, _ detail: @autoclosure () -> String) {
        if failure == nil { failure = EmailError(field(), detail()) }
    }

    private mutating func string(_ field: String, _ json: inout JSONReader) throws(JSONFault) -> String? {
        switch json.peekKind() {
        case .string: return try json.readString().text
        case .null: try json.readNull()
        case let kind:
            try json.skipValue()
            fail(field, "It is \(kind.map { "\($0)" } ?? "nothing"); it must be a string.")
        }
        return nil
    }

    /// A string, or an array of strings.
    private mutating func strings(_ field: String, _ json: inout JSONReader) throws(JSONFault) -> [String] {
        guard json.peekKind() == .array else {
            // A wrong value holds the place of a recipient.
            let nothing = json.peekKind() == .null ? [] : [""]
            return try string(field, &json).map { [$0] } ?? nothing
        }
        var found: [String] = []
        try json.beginArray()
        while try json.nextElement() {
            guard found.count <= EmailMessage.recipientsMax else {
                try json.skipValue()
                continue
            }
            found.append(try string("\(field)[\(found.count)]", &json) ?? "")
        }
        return found
    }

    private mutating func readHeaders(_ json: inout JSONReader) throws(JSONFault) {
        guard json.peekKind() == .object else {
            try json.skipValue()
            return fail("headers", "It must be an object of names and strings.")
        }
        try json.beginObject()
        var names: Set<[UInt8]> = []
        while let key = try json.nextKey() {
            guard headers.count < EmailMessage.headersMax else {
                fail("headers", "There are more than \(EmailMessage.headersMax).")
                try json.skipValue()
                continue
            }
            let field = "headers[\(headers.count)]"
            // Names are checked before they are compared: one that is too long is not kept.
            let name = key.withBytes { EmailChecks.headerName($0) }
            if let name {
                if !names.insert(Array(name.lowercased().utf8)).inserted { fail(field, "It is there twice.") }
            } else {
                fail(field, EmailChecks.badName(bytes: key.count))
            }
            let value = try string(field, &json) ?? ""
            headers.append(EmailMessage.HeaderPair(name: name ?? "", value: value))
        }
    }

    private mutating func readAttachments(_ json: inout JSONReader) throws(JSONFault) {
        guard json.peekKind() == .array else {
            try json.skipValue()
            return fail("attachments", "It must be an array.")
        }
        try json.beginArray()
        while try json.nextElement() {
            guard failure == nil, attachments.count < EmailMessage.attachmentsMax else {
                try json.skipValue()
                fail("attachments", "There are more than \(EmailMessage.attachmentsMax).")
                continue
            }
            try readAttachment("attachments[\(attachments.count)]", &json)
        }
    }

    private mutating func readAttachment(_ field: String, _ json: inout JSONReader) throws(JSONFault) {
        guard json.peekKind() == .object else {
            try json.skipValue()
            return fail(field, "It must be an object with filename, contentType, content, contentId.")
        }
        var members: [String: String] = [:]
        try json.beginObject()
        while let key = try json.nextKey() {
            guard let name = EmailReader.known(key, EmailReader.attachmentMembers) else {
                fail(
                    field,
                    "It has a member that is not known; allowed are filename, contentType, content, contentId.")
                try json.skipValue()
                continue
            }
            members[name] = try string("\(field).\(name)", &json)
        }
        guard let content = members["content"].flatMap({ Base64Text.decode($0) }) else {
            return fail("\(field).content", "It must be base64.")
        }
        let attachment = EmailAttachment(
            filename: members["filename"] ?? "", contentType: members["contentType"] ?? "application/octet-stream",
            content: content, contentID: members["contentId"])
        if let error = EmailChecks.error(in: attachment, field) { failure = failure ?? error }
        attachments.append(attachment)
    }

    // MARK: - All together

    func request() throws(EmailError) -> EmailMessage.Request {
        if let failure { throw failure }
        guard let from = texts["from"] else { throw EmailError("from", "It is missing; it must be an address.") }
        let to = try addresses("to")
        guard !to.isEmpty else { throw EmailError("to", "It is missing or empty; it must be one or more addresses.") }
        var email = EmailMessage(from: try EmailAddress(from, field: "from"), to: to)
        email.cc = try addresses("cc")
        email.bcc = try addresses("bcc")
        email.replyTo = try addresses("replyTo")
        let count = to.count + email.cc.count + email.bcc.count
        guard count <= EmailMessage.recipientsMax else {
            throw EmailError("to", "There are \(count) recipients; at most \(EmailMessage.recipientsMax) are allowed.")
        }
        email.subject = texts["subject"] ?? ""
        try EmailChecks.checkHeaderValue(email.subject, "subject")
        email.text = texts["text"]
        email.html = texts["html"]
        guard email.text != nil || email.html != nil else {
            throw EmailError("text", "Neither text nor html is there; an email needs one of them.")
        }
        for (position, header) in headers.enumerated() {
            try EmailChecks.check(header, "headers[\(position)]")
        }
        email.headerPairs = headers
        email.attachments = attachments
        return EmailMessage.Request(email: email, deduplicationID: texts["deduplicationId"])
    }

    var givenGroup: String? { texts["group"] }

    /// The group that the email would have if only what it is refused for were mended.
    var groupOfRefused: String? {
        if let givenGroup { return givenGroup }
        guard !isGroupUnknown, let first = lists["to"]?.first, let address = try? EmailAddress(first, field: "to") else {
            return nil
        }
        return EmailMessage.defaultGroup(of: address)
    }

    private func addresses(_ field: String) throws(EmailError) -> [EmailAddress] {
        let texts = lists[field] ?? []
        var found: [EmailAddress] = []
        for (position, text) in texts.enumerated() {
            found.append(try EmailAddress(text, field: texts.count == 1 ? field : "\(field)[\(position)]"))
        }
        return found
    }
}

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
