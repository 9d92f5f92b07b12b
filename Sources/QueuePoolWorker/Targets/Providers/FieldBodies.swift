// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolEmail
import QueuePoolJSON

/// Emails as services want them that put a mail together from its fields.
enum FieldBodies {
    /// `POST /v3/mail/send`
    static func sendGrid(_ mail: ProviderMail) -> [UInt8] {
        var json = JSONWriter(capacity: 1_024)
        json.beginObject()
        json.key("personalizations")
        json.beginArray()
        json.beginObject()
        for (name, list) in mail.lists("to", "cc", "bcc") {
            json.key(text: name)
            json.people(list)
        }
        json.endObject()
        json.endArray()
        json.key("from")
        json.person(mail.email.from)
        if let first = mail.email.replyTo.first {
            // One of the two, never both.
            if mail.email.replyTo.count == 1 {
                json.key("reply_to")
                json.person(first)
            } else {
                json.key("reply_to_list")
                json.people(mail.email.replyTo)
            }
        }
        json.key("subject")
        json.string(mail.email.subject)
        json.key("content")
        // Plain text must come first, and none may be empty.
        let contents = [("text/plain", mail.email.text), ("text/html", mail.email.html)]
        json.pairs(contents.compactMap { type, text in text.map { (type, $0) } }.filter { $0.1 != "" }, "type", "value")
        json.attachments(mail) { attachment, json in
            json.member("content", ProviderMail.base64(attachment.content))
            json.member("type", attachment.contentType)
            json.member("filename", attachment.filename)
            json.member("disposition", attachment.contentID == nil ? "attachment" : "inline")
            if let id = attachment.contentID { json.member("content_id", id) }
        }
        json.headers(mail)
        if let tag = mail.url.tag {
            json.key("categories")
            json.strings([tag])
        }
        json.endObject()
        return json.take()
    }

    /// `POST /email`
    static func postmark(_ mail: ProviderMail) -> [UInt8] {
        var json = JSONWriter(capacity: 1_024)
        json.beginObject()
        json.member("From", mail.email.from.mailbox)
        for (name, list) in mail.lists("To", "Cc", "Bcc") + [("ReplyTo", mail.email.replyTo)] where !list.isEmpty {
            json.key(text: name)
            json.string(list.map(\.mailbox).joined(separator: ", "))
        }
        json.member("Subject", mail.email.subject)
        if let tag = mail.url.tag { json.member("Tag", tag) }
        if let text = mail.email.text { json.member("TextBody", text) }
        if let html = mail.email.html { json.member("HtmlBody", html) }
        if !mail.email.headers.isEmpty {
            json.key("Headers")
            json.pairs(mail.email.headers.map { ($0.name, $0.value) }, "Name", "Value")
        }
        json.attachments(mail, "Attachments") { attachment, json in
            json.member("Name", attachment.filename)
            json.member("Content", ProviderMail.base64(attachment.content))
            json.member("ContentType", attachment.contentType)
            if let id = attachment.contentID { json.member("ContentID", "cid:" + id) }
        }
        if let stream = mail.url.stream { json.member("MessageStream", stream) }
        json.endObject()
        return json.take()
    }

    /// `POST /emails`
    static func resend(_ mail: ProviderMail) -> [UInt8] {
        var json = JSONWriter(capacity: 1_024)
        json.beginObject()
        json.member("from", mail.email.from.mailbox)
        for (name, list) in mail.lists("to", "cc", "bcc") + [("reply_to", mail.email.replyTo)] where !list.isEmpty {
            json.key(text: name)
            json.strings(list.map(\.mailbox))
        }
        json.member("subject", mail.email.subject)
        if let text = mail.email.text { json.member("text", text) }
        if let html = mail.email.html { json.member("html", html) }
        json.headers(mail)
        json.attachments(mail) { attachment, json in
            json.member("content", ProviderMail.base64(attachment.content))
            json.member("filename", attachment.filename)
            json.member("content_type", attachment.contentType)
            if let id = attachment.contentID { json.member("content_id", id) }
        }
        if let tag = mail.url.tag {
            json.key("tags")
            json.pairs([("tag", tag)], "name", "value")
        }
        json.endObject()
        return json.take()
    }
}

extension JSONWriter {
    mutating func strings(_ list: [String]) {
        beginArray()
        for text in list { string(text) }
        endArray()
    }

    /// An array of objects with two members each.
    mutating func pairs(_ list: [(String, String)], _ first: StaticString, _ second: StaticString) {
        beginArray()
        for (name, value) in list {
            beginObject()
            member(first, name)
            member(second, value)
            endObject()
        }
        endArray()
    }

    fileprivate mutating func member(_ name: StaticString, _ value: String) {
        key(name)
        string(value)
    }

    fileprivate mutating func member(_ name: StaticString, _ value: [UInt8]) {
        key(name)
        string(value)
    }

    fileprivate mutating func person(_ address: EmailAddress) {
        beginObject()
        member("email", address.address)
        if !address.name.isEmpty { member("name", address.name) }
        endObject()
    }

    fileprivate mutating func people(_ list: [EmailAddress]) {
        beginArray()
        for address in list { person(address) }
        endArray()
    }

    /// `"headers": {NAME: VALUE}`, if there are any.
    fileprivate mutating func headers(_ mail: ProviderMail) {
        guard !mail.email.headers.isEmpty else { return }
        key("headers")
        beginObject()
        for header in mail.email.headers {
            key(text: header.name)
            string(header.value)
        }
        endObject()
    }

    /// An array of one object for each attachment, if there are any.
    fileprivate mutating func attachments(
        _ mail: ProviderMail, _ name: StaticString = "attachments",
        _ members: (EmailAttachment, inout JSONWriter) -> Void
    ) {
        guard !mail.email.attachments.isEmpty else { return }
        key(name)
        beginArray()
        for attachment in mail.email.attachments {
            beginObject()
            members(attachment, &self)
            endObject()
        }
        endArray()
    }
}
