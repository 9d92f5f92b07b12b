// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolJSON

extension EmailMessage {
    /// What an email's JSON holds beside the email.
    package struct Request: Sendable {
        package var email: EmailMessage
        package var deduplicationID: String?
        /// As `TagsText` keeps them; they are no part of the email.
        package var tags: [UInt8]?
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
    /// deduplicationId?, tags?}`.
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
    /// Of each list, those that are not kept too.
    private var counts: [String: Int] = [:]
    private var headers: [EmailMessage.HeaderPair] = []
    private var attachments: [EmailAttachment] = []
    private var tags: [UInt8]?

    /// The group is of the wrong kind, so that nobody knows which was meant.
    private var isGroupUnknown = false

    private static let textMembers: [StaticString] = ["from", "subject", "text", "html", "group", "deduplicationId"]
    private static let listMembers: [StaticString] = ["to", "cc", "bcc", "replyTo"]
    private static let attachmentMembers: [StaticString] = ["filename", "contentType", "content", "contentId"]
    private static let members =
        "from, to, cc, bcc, replyTo, subject, text, html, headers, attachments, group, deduplicationId, tags"

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
            } else if key.equals("tags") {
                switch try TagsText.read(&json) {
                case .success(let text): tags = text
                case .failure(let refusal): fail("tags", "It \(refusal.text)")
                }
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
        var count = 0
        try json.beginArray()
        while try json.nextElement() {
            count += 1
            guard found.count <= EmailMessage.recipientsMax else {
                try json.skipValue()
                continue
            }
            found.append(try string("\(field)[\(found.count)]", &json) ?? "")
        }
        counts[field] = count
        return found
    }

    private mutating func readHeaders(_ json: inout JSONReader) throws(JSONFault) {
        guard json.peekKind() == .object else {
            try json.skipValue()
            return fail("headers", "It must be an object of names and strings.")
        }
        try json.beginObject()
        var names: Set<[UInt8]> = []
        var count = 0
        while let key = try json.nextKey() {
            count += 1
            guard headers.count < EmailMessage.headersMax else {
                try json.skipValue()
                continue
            }
            let field = "headers[\(headers.count)]"
            // Names are checked before they are compared: one that is too long is not kept.
            let name = key.withBytes { EmailChecks.headerName($0) }
            if let name {
                if !names.insert(Array(name.lowercased().utf8)).inserted { fail(field, "It is there twice.") }
            } else {
                fail(field, key.withBytes { EmailChecks.badName($0) })
            }
            let value = try string(field, &json) ?? ""
            headers.append(EmailMessage.HeaderPair(name: name ?? "", value: value))
        }
        if count > EmailMessage.headersMax {
            fail("headers", "There are \(count) headers; at most \(EmailMessage.headersMax) are allowed.")
        }
    }

    private mutating func readAttachments(_ json: inout JSONReader) throws(JSONFault) {
        guard json.peekKind() == .array else {
            try json.skipValue()
            return fail("attachments", "It must be an array.")
        }
        var count = 0
        try json.beginArray()
        while try json.nextElement() {
            count += 1
            guard failure == nil, attachments.count < EmailMessage.attachmentsMax else {
                try json.skipValue()
                continue
            }
            try readAttachment("attachments[\(attachments.count)]", &json)
        }
        if count > EmailMessage.attachmentsMax {
            fail("attachments", "There are \(count) attachments; at most \(EmailMessage.attachmentsMax) are allowed.")
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
        guard let filename = members["filename"] else {
            return fail("\(field).filename", "It is missing; it must be a string of 1 to 255 bytes.")
        }
        guard let text = members["content"] else {
            return fail("\(field).content", "It is missing; it must be a string of base64.")
        }
        guard let content = Base64Text.decode(text) else {
            return fail("\(field).content", "It is not base64; it must be letters, digits, +, / and = at its end.")
        }
        let attachment = EmailAttachment(
            filename: filename, contentType: members["contentType"] ?? "application/octet-stream",
            content: content, contentID: members["contentId"])
        if let error = EmailChecks.error(in: attachment, field) { failure = failure ?? error }
        attachments.append(attachment)
    }

    // MARK: - All together

    func request() throws(EmailError) -> EmailMessage.Request {
        if let failure { throw failure }
        guard let from = texts["from"] else { throw EmailError("from", "It is missing; it must be an address.") }
        let to = try addresses("to")
        var email = EmailMessage(from: try EmailAddress(from, field: "from"), to: to)
        email.cc = try addresses("cc")
        email.bcc = try addresses("bcc")
        email.replyTo = try addresses("replyTo")
        let count = ["to", "cc", "bcc"].reduce(0) { $0 + (counts[$1] ?? lists[$1]?.count ?? 0) }
        guard count > 0 else {
            throw EmailError("to", "There is no recipient; to, cc or bcc must have an address.")
        }
        guard count <= EmailMessage.recipientsMax else {
            throw EmailError("to", "There are \(count) recipients; at most \(EmailMessage.recipientsMax) are allowed.")
        }
        let replies = counts["replyTo"] ?? 1
        guard replies <= EmailMessage.recipientsMax else {
            throw EmailError(
                "replyTo", "There are \(replies) addresses; at most \(EmailMessage.recipientsMax) are allowed.")
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
        return EmailMessage.Request(email: email, deduplicationID: texts["deduplicationId"], tags: tags)
    }

    var givenGroup: String? { texts["group"] }

    /// The group that the email would have if only what it is refused for were mended.
    var groupOfRefused: String? {
        if let givenGroup { return givenGroup }
        let recipients = (lists["to"] ?? []) + (lists["cc"] ?? []) + (lists["bcc"] ?? [])
        guard !isGroupUnknown, let first = recipients.first, let address = try? EmailAddress(first, field: "to") else {
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
