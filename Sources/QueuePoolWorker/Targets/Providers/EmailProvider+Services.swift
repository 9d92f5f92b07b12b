// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCurl
import QueuePoolEmail
import QueuePoolJSON

// One description a service. SES and Mailgun take a rendered mail beside its envelope, so that it is the same mail as
// over
// SMTP; SendGrid, Postmark and Resend put one together from its fields, in an order of their own.

extension EmailProvider {
    private static let json = "application/json"
    private static let keyOptions: Set<String> = ["key-file", "key-env"]

    private static func bearer(_ key: String) -> (name: String, value: String) { ("Authorization", "Bearer \(key)") }

    /// Amazon SES, API v2. It knows no repeated request.
    static let ses = EmailProvider(
        scheme: "ses",
        name: NameRule(what: "a region, as in ses:eu-central-1") { text in
            (1...63).contains(text.utf8.count)
                && text.utf8.allSatisfy { (97...122).contains($0) || (48...57).contains($0) || $0 == 45 }
        },
        base: { "https://email.\($0.name).amazonaws.com" }, path: { _ in "/v2/email/outbound-emails" },
        authorization: .signature(service: "ses"), needsTo: false,
        body: { mail in
            var json = JSONWriter(capacity: 1_024)
            json.beginObject()
            json.key("FromEmailAddress")
            json.string(mail.email.from.address)
            json.key("Destination")
            json.beginObject()
            for (name, list) in mail.lists("ToAddresses", "CcAddresses", "BccAddresses") {
                json.key(text: name)
                json.strings(list.map(\.address))
            }
            json.endObject()
            json.key("Content")
            json.beginObject()
            json.key("Raw")
            json.beginObject()
            json.key("Data")
            json.string(ProviderMail.base64(mail.rendered()))
            json.endObject()
            json.endObject()
            if let tag = mail.url.tag {
                json.key("EmailTags")
                json.pairs([("tag", tag)], "Name", "Value")
            }
            json.endObject()
            return (EmailProvider.json, json.take())
        },
        code: { response in
            // `Code:http://...` in the header, `namespace#Code` in the body.
            let text = response.header("x-amzn-errortype") ?? ErrorBody.text("__type", of: response)
            return text.flatMap { $0.prefix { $0 != ":" }.split(separator: "#").last.map(String.init) }
        },
        verdicts: [
            Answer(status: 400, code: "LimitExceededException"): .again,
            Answer(status: 400, code: "ThrottlingException"): .again,
            Answer(status: 400, code: "SendingPausedException"): .unavailable,
            Answer(status: 400, code: "AccountSuspendedException"): .unavailable,
        ])

    /// SendGrid, API v3. It knows no repeated request.
    static let sendGrid = EmailProvider(
        scheme: "sendgrid", options: keyOptions.union(["region"]),
        base: { $0.isInEU ? "https://api.eu.sendgrid.com" : "https://api.sendgrid.com" },
        path: { _ in "/v3/mail/send" },
        authorization: .key(bearer),
        body: { (EmailProvider.json, FieldBodies.sendGrid($0)) },
        // It has no codes; the name of the field that is wrong says most.
        code: { ErrorBody.fieldOfFirst(of: $0) },
        verdicts: [Answer(status: 403, code: "from"): .refused])

    /// Mailgun, API v3, messages in MIME. It knows no repeated request.
    static let mailgun = EmailProvider(
        scheme: "mailgun",
        name: NameRule(what: "a domain, as in mailgun:mg.example.com") { text in
            (1...253).contains(text.utf8.count) && !text.hasPrefix(".") && !text.hasPrefix("-")
                && text.utf8.allSatisfy { ProviderURL.isAlphanumeric($0) || $0 == 45 || $0 == 46 }
        },
        options: keyOptions.union(["region"]),
        base: { $0.isInEU ? "https://api.eu.mailgun.net" : "https://api.mailgun.net" },
        path: { "/v3/\($0.name)/messages.mime" },
        authorization: .key { key in
            ("Authorization", "Basic " + String(decoding: ProviderMail.base64(Array("api:\(key)".utf8)), as: UTF8.self))
        },
        needsTo: false,
        body: { mail in
            // Random, so that no mail can have it in it.
            let boundary =
                "queuepool-" + (0..<2).map { _ in String(UInt64.random(in: .min ... .max), radix: 16) }.joined()
            var bytes: [UInt8] = []
            func part(_ name: String, _ more: String, _ content: [UInt8]) {
                let head = "--\(boundary)\r\nContent-Disposition: form-data; name=\"\(name)\"\(more)\r\n\r\n"
                bytes += Array(head.utf8) + content + [13, 10]
            }
            // The envelope. Headers are in the mail, which does not name blind copies.
            for address in mail.to + mail.cc + mail.bcc { part("to", "", Array(address.address.utf8)) }
            if let tag = mail.url.tag { part("o:tag", "", Array(tag.utf8)) }
            part("message", "; filename=\"message.eml\"\r\nContent-Type: message/rfc822", mail.rendered())
            bytes += Array("--\(boundary)--\r\n".utf8)
            return ("multipart/form-data; boundary=\(boundary)", bytes)
        })

    /// Postmark. It knows no repeated request.
    static let postmark = EmailProvider(
        scheme: "postmark", options: keyOptions.union(["stream"]),
        base: { _ in "https://api.postmarkapp.com" }, path: { _ in "/email" },
        authorization: .key { ("X-Postmark-Server-Token", $0) },
        body: { (EmailProvider.json, FieldBodies.postmark($0)) },
        code: { ErrorBody.text("ErrorCode", of: $0) },
        verdicts: [
            // No or a wrong token, maintenance, no credits left.
            Answer(status: 422, code: "10"): .unavailable, Answer(status: 422, code: "100"): .again,
            Answer(status: 422, code: "405"): .unavailable,
        ])

    /// Resend. It knows a repeated request for 24 hours.
    static let resend = EmailProvider(
        scheme: "resend", options: keyOptions,
        base: { _ in "https://api.resend.com" }, path: { _ in "/emails" },
        authorization: .key(bearer), idempotencyHeader: "Idempotency-Key",
        body: { (EmailProvider.json, FieldBodies.resend($0)) },
        code: { ErrorBody.text("name", of: $0) },
        verdicts: [
            // The sender's domain is not verified: that is one mail's fault, and others may go.
            Answer(status: 403, code: "validation_error"): .refused,
            Answer(status: 409, code: "concurrent_idempotent_requests"): .again,
            Answer(status: 429, code: "daily_quota_exceeded"): .unavailable,
            Answer(status: 429, code: "monthly_quota_exceeded"): .unavailable,
        ])
}

/// Codes in the bodies of answers.
private enum ErrorBody {
    /// A member of the object, a string or a number.
    static func text(_ name: StaticString, of response: HTTPResponse) -> String? {
        response.body.withUnsafeBytes { bytes in
            var json = JSONReader(bytes)
            return try? member(name, &json)
        }
    }

    /// `{"errors": [{"field": ...}]}`
    static func fieldOfFirst(of response: HTTPResponse) -> String? {
        response.body.withUnsafeBytes { bytes in
            var json = JSONReader(bytes)
            return try? firstField(&json)
        }
    }

    private static func firstField(_ json: inout JSONReader) throws(JSONFault) -> String? {
        guard json.peekKind() == .object else { return nil }
        try json.beginObject()
        while let key = try json.nextKey() {
            guard key.equals("errors"), json.peekKind() == .array else {
                try json.skipValue()
                continue
            }
            try json.beginArray()
            return try json.nextElement() ? member("field", &json) : nil
        }
        return nil
    }

    private static func member(_ name: StaticString, _ json: inout JSONReader) throws(JSONFault) -> String? {
        guard json.peekKind() == .object else { return nil }
        try json.beginObject()
        while let key = try json.nextKey() {
            guard key.equals(name) else {
                try json.skipValue()
                continue
            }
            switch json.peekKind() {
            case .string: return try json.readString().text
            case .number: return try String(json.readInt())
            default: return nil
            }
        }
        return nil
    }
}
