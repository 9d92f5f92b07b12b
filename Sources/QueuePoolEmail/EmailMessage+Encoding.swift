// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolJSON

extension EmailMessage {
    /// The email as the JSON that is stored as a message's body: every list an array, members in one order, so that equal
    /// emails are equal bytes.
    package func encoded() -> [UInt8] {
        var json = JSONWriter(capacity: 512)
        json.beginObject()
        json.key("from")
        json.string(from.headerlessText)
        for (name, list) in [("to", to), ("cc", cc), ("bcc", bcc), ("replyTo", replyTo)] where !list.isEmpty {
            json.key(text: name)
            json.beginArray()
            for address in list { json.string(address.headerlessText) }
            json.endArray()
        }
        json.key("subject")
        json.string(subject)
        for (name, body) in [("text", text), ("html", html)] {
            guard let body else { continue }
            json.key(text: name)
            json.string(body)
        }
        if !headerPairs.isEmpty {
            json.key("headers")
            json.beginObject()
            for header in headerPairs {
                json.key(text: header.name)
                json.string(header.value)
            }
            json.endObject()
        }
        if !attachments.isEmpty { write(attachments, to: &json) }
        json.endObject()
        return json.take()
    }

    private func write(_ attachments: [EmailAttachment], to json: inout JSONWriter) {
        json.key("attachments")
        json.beginArray()
        for attachment in attachments {
            json.beginObject()
            json.key("filename")
            json.string(attachment.filename)
            json.key("contentType")
            json.string(attachment.contentType)
            json.key("content")
            json.string(Base64Text.encode(attachment.content))
            if let id = attachment.contentID {
                json.key("contentId")
                json.string(id)
            }
            json.endObject()
        }
        json.endArray()
    }
}

extension EmailAddress {
    /// The form in which `init(_:field:)` reads it back.
    fileprivate var headerlessText: String {
        if name.isEmpty { return address }
        let escaped = name.flatMap { $0 == "\"" || $0 == "\\" ? "\\\($0)" : String($0) }
        return "\"\(String(escaped))\" <\(address)>"
    }
}
