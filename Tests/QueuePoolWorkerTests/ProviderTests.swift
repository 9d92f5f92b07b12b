// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import QueuePoolCurl
import QueuePoolTestSupport
import Testing

@testable import QueuePoolWorker

private let contentType = "application/vnd.queuepool.email+json"

private func message(_ email: String) -> WorkMessage {
    WorkMessage(
        id: "id-1", handle: "h", group: "g", body: Array(email.utf8),
        attributes: [MessageAttribute(name: "Content-Type", text: contentType)])
}

/// The request that a service is sent for an email to those at some places of its list.
private func request(
    _ provider: EmailProvider, _ rest: String, _ email: String, places: [Int]
) throws -> HTTPRequest {
    setenv("QUEUEPOOL_TEST_PROVIDER_KEY", "key-1", 1)
    let engine = CurlEngine()
    defer { engine.shutdown() }
    let url = try ProviderURL(provider, rest)
    let target = try ProviderTarget(
        provider, url: url, signer: { _, _, _ in nil }, engine: engine, clock: ManualClock())
    let read = try #require(MailTarget.email(message(email)))
    let mail = ProviderMail(read, id: "id-1", places: places, url: url)
    return target.request(try #require(provider.needsTo ? mail.withTo() : mail))
}

private func json(_ text: some Collection<UInt8>) throws -> NSDictionary {
    try #require(try JSONSerialization.jsonObject(with: Data(text)) as? NSDictionary)
}

private func header(_ name: String, _ request: HTTPRequest) -> [String] {
    request.headers.filter { $0.name == name }.map(\.value)
}

private let everything = """
    {"from": "Jan \\"J\\" Müller <jan@shop.example>", "to": ["Ann <ann@a.example>", "bob@b.example"],
     "cc": "cid@c.example", "bcc": ["dan@d.example", "ANN@a.example"], "replyTo": "Help <help@shop.example>",
     "subject": "Größe", "text": "Hello", "html": "<img src=\\"cid:logo\\">",
     "headers": {"List-Unsubscribe": "<https://shop.example/u>", "X-Order": "7"},
     "attachments": [{"filename": "a.pdf", "contentType": "application/pdf", "content": "AQID"},
                     {"filename": "l.png", "contentType": "image/png", "content": "/+8=", "contentId": "logo"}]}
    """

@Suite struct `The request to an email service` {
    @Test func `is SendGrid's, field by field`() throws {
        let request = try request(
            .sendGrid, "?key-env=QUEUEPOOL_TEST_PROVIDER_KEY&tag=receipts", everything, places: [0, 1, 2, 3])
        #expect(request.method == "POST" && request.url == "https://api.sendgrid.com/v3/mail/send")
        #expect(header("Authorization", request) == ["Bearer key-1"])
        #expect(header("Content-Type", request) == ["application/json"] && header("Idempotency-Key", request) == [])
        let expected = """
            {"personalizations": [{"to": [{"email": "ann@a.example", "name": "Ann"}, {"email": "bob@b.example"}],
                                   "cc": [{"email": "cid@c.example"}], "bcc": [{"email": "dan@d.example"}]}],
             "from": {"email": "jan@shop.example", "name": "Jan \\"J\\" Müller"},
             "reply_to": {"email": "help@shop.example", "name": "Help"}, "subject": "Größe",
             "content": [{"type": "text/plain", "value": "Hello"},
                         {"type": "text/html", "value": "<img src=\\"cid:logo\\">"}],
             "attachments": [
               {"content": "AQID", "type": "application/pdf", "filename": "a.pdf", "disposition": "attachment"},
               {"content": "/+8=", "type": "image/png", "filename": "l.png", "disposition": "inline",
                "content_id": "logo"}],
             "headers": {"List-Unsubscribe": "<https://shop.example/u>", "X-Order": "7"}, "categories": ["receipts"]}
            """
        #expect(try json(request.body) == json(Array(expected.utf8)))
    }

    @Test func `is the one that SendGrid's documentation shows`() throws {
        let email = """
            {"from": "from_address@example.com", "to": "john@example.com", "subject": "Hello, World!",
             "replyTo": ["a@example.com", "b@example.com"], "text": "Hello, World!"}
            """
        let request = try request(
            .sendGrid, "?key-env=QUEUEPOOL_TEST_PROVIDER_KEY&region=eu", email, places: [0])
        #expect(request.url == "https://api.eu.sendgrid.com/v3/mail/send")
        let expected = """
            {"personalizations": [{"to": [{"email": "john@example.com"}]}],
             "from": {"email": "from_address@example.com"}, "subject": "Hello, World!",
             "reply_to_list": [{"email": "a@example.com"}, {"email": "b@example.com"}],
             "content": [{"type": "text/plain", "value": "Hello, World!"}]}
            """
        #expect(try json(request.body) == json(Array(expected.utf8)))
    }

    @Test func `is Postmark's, field by field`() throws {
        let request = try request(
            .postmark, "?key-env=QUEUEPOOL_TEST_PROVIDER_KEY&stream=outbound&tag=receipts", everything,
            places: [0, 1, 2, 3])
        #expect(request.url == "https://api.postmarkapp.com/email")
        #expect(header("X-Postmark-Server-Token", request) == ["key-1"])
        #expect(header("Accept", request) == ["application/json"] && header("Authorization", request) == [])
        let expected = """
            {"From": "\\"Jan \\\\\\"J\\\\\\" Müller\\" <jan@shop.example>",
             "To": "\\"Ann\\" <ann@a.example>, bob@b.example", "Cc": "cid@c.example", "Bcc": "dan@d.example",
             "ReplyTo": "\\"Help\\" <help@shop.example>", "Subject": "Größe", "Tag": "receipts",
             "TextBody": "Hello", "HtmlBody": "<img src=\\"cid:logo\\">",
             "Headers": [{"Name": "List-Unsubscribe", "Value": "<https://shop.example/u>"},
                         {"Name": "X-Order", "Value": "7"}],
             "Attachments": [{"Name": "a.pdf", "Content": "AQID", "ContentType": "application/pdf"},
                             {"Name": "l.png", "Content": "/+8=", "ContentType": "image/png",
                              "ContentID": "cid:logo"}],
             "MessageStream": "outbound"}
            """
        #expect(try json(request.body) == json(Array(expected.utf8)))
    }

    @Test func `is Resend's, field by field, with the message's id as its idempotency key`() throws {
        let request = try request(
            .resend, "?key-env=QUEUEPOOL_TEST_PROVIDER_KEY&tag=receipts", everything, places: [0, 1, 2, 3])
        #expect(request.url == "https://api.resend.com/emails")
        #expect(header("Authorization", request) == ["Bearer key-1"])
        #expect(header("Idempotency-Key", request) == ["id-1"])
        let expected = """
            {"from": "\\"Jan \\\\\\"J\\\\\\" Müller\\" <jan@shop.example>",
             "to": ["\\"Ann\\" <ann@a.example>", "bob@b.example"], "cc": ["cid@c.example"], "bcc": ["dan@d.example"],
             "reply_to": ["\\"Help\\" <help@shop.example>"], "subject": "Größe", "text": "Hello",
             "html": "<img src=\\"cid:logo\\">",
             "headers": {"List-Unsubscribe": "<https://shop.example/u>", "X-Order": "7"},
             "attachments": [{"content": "AQID", "filename": "a.pdf", "content_type": "application/pdf"},
                             {"content": "/+8=", "filename": "l.png", "content_type": "image/png",
                              "content_id": "logo"}],
             "tags": [{"name": "tag", "value": "receipts"}]}
            """
        #expect(try json(request.body) == json(Array(expected.utf8)))
    }

    @Test func `is SES's, with the mail as it is rendered`() throws {
        let request = try request(.ses, "eu-central-1?tag=receipts", everything, places: [0, 1, 2, 3])
        #expect(request.url == "https://email.eu-central-1.amazonaws.com/v2/email/outbound-emails")
        let body = try #require(try json(request.body).mutableCopy() as? NSMutableDictionary)
        let content = try #require(body["Content"] as? [String: [String: String]])
        body["Content"] = nil
        let expected = """
            {"FromEmailAddress": "jan@shop.example",
             "Destination": {"ToAddresses": ["ann@a.example", "bob@b.example"], "CcAddresses": ["cid@c.example"],
                             "BccAddresses": ["dan@d.example"]},
             "EmailTags": [{"Name": "tag", "Value": "receipts"}]}
            """
        #expect(body == (try json(Array(expected.utf8))))
        #expect(Array(content.keys) == ["Raw"] && content["Raw"].map { Array($0.keys) } == ["Data"])
        let mail = String(
            decoding: try #require(Data(base64Encoded: content["Raw"]?["Data"] ?? "")), as: UTF8.self)
        #expect(mail.contains("Message-ID: <id-1@queuepool>\r\n") && mail.contains("Content-ID: <logo>\r\n"))
        #expect(mail.contains("List-Unsubscribe: <https://shop.example/u>\r\n") && !mail.contains("dan@d.example"))
    }

    @Test func `is Mailgun's, with the mail as it is rendered`() throws {
        let request = try request(
            .mailgun, "mg.shop.example?region=eu&key-env=QUEUEPOOL_TEST_PROVIDER_KEY&tag=receipts", everything,
            places: [0, 1, 2, 3])
        #expect(request.url == "https://api.eu.mailgun.net/v3/mg.shop.example/messages.mime")
        #expect(header("Authorization", request) == ["Basic YXBpOmtleS0x"])
        let type = try #require(header("Content-Type", request).first)
        let boundary = try #require(type.components(separatedBy: "multipart/form-data; boundary=").last)
        let parts = String(decoding: request.body, as: UTF8.self).components(separatedBy: "--\(boundary)")
        #expect(parts.first == "" && parts.last == "--\r\n" && parts.count == 8)
        let fields = parts.dropFirst().dropLast().map { part in
            part.replacingOccurrences(of: "\r\nContent-Disposition: form-data; name=", with: "")
        }
        let to = ["ann@a.example", "bob@b.example", "cid@c.example", "dan@d.example"]
        #expect(Array(fields.prefix(4)) == to.map { "\"to\"\r\n\r\n\($0)\r\n" })
        #expect(fields[4] == "\"o:tag\"\r\n\r\nreceipts\r\n")
        let head = "\"message\"; filename=\"message.eml\"\r\nContent-Type: message/rfc822\r\n\r\nDate: "
        #expect(fields[5].hasPrefix(head))
        #expect(fields[5].contains("Message-ID: <id-1@queuepool>\r\n") && !fields[5].contains("dan@d.example"))
    }

    @Test func `is for those who are still to get the mail, under a key of its own`() throws {
        let request = try request(
            .resend, "?key-env=QUEUEPOOL_TEST_PROVIDER_KEY", everything, places: [2, 3])
        let body = try json(request.body)
        #expect(body["to"] as? [String] == ["cid@c.example"] && body["cc"] == nil)
        #expect(body["bcc"] as? [String] == ["dan@d.example"])
        #expect(header("Idempotency-Key", request) == ["id-1/2,3"])
    }
}

@Suite struct `The URL of an email service` {
    @Test(arguments: [
        "ses:", "ses:EU", "ses:eu-central-1?key-env=QUEUEPOOL_TEST_PROVIDER_KEY", "sendgrid:", "sendgrid:x?key-env=A",
        "sendgrid:?key=secret-1", "sendgrid:?key-env=QUEUEPOOL_TEST_NO_SUCH_KEY", "sendgrid:?key-file=/nonexistent",
        "sendgrid:?key-file=/dev/null", "mailgun:?key-env=QUEUEPOOL_TEST_PROVIDER_KEY",
        "mailgun:a/b?key-env=QUEUEPOOL_TEST_PROVIDER_KEY",
        "mailgun:a.example?key-env=QUEUEPOOL_TEST_PROVIDER_KEY&region=asia",
        "postmark:?key-env=QUEUEPOOL_TEST_PROVIDER_KEY&stream=a%20b",
        "postmark:?key-env=QUEUEPOOL_TEST_PROVIDER_KEY&tag=",
        "resend:?key-env=QUEUEPOOL_TEST_PROVIDER_KEY&stream=a",
        "resend:?key-env=QUEUEPOOL_TEST_PROVIDER_KEY&key-file=/dev/null",
        "resend:?key-env=QUEUEPOOL_TEST_PROVIDER_KEY&endpoint=http://api.example",
        "resend:?key-env=QUEUEPOOL_TEST_PROVIDER_KEY&endpoint=https://u:secret-1@api.example",
        "resend:?key-env=QUEUEPOOL_TEST_PROVIDER_KEY&endpoint=http://127.0.0.1.evil.example",
    ])
    func `that is none is refused, and not shown`(text: String) {
        setenv("QUEUEPOOL_TEST_PROVIDER_KEY", "key-1", 1)
        let engine = CurlEngine()
        defer { engine.shutdown() }
        let error = #expect(throws: DeliveryURLError.self) {
            try DeliveryURL.target(text, engine: engine, signer: { _, _, _ in nil })
        }
        #expect(error?.description.contains("secret-1") == false)
    }

    @Test func `names its service, and may name another endpoint`() throws {
        setenv("QUEUEPOOL_TEST_PROVIDER_KEY", "key-1", 1)
        let engine = CurlEngine()
        defer { engine.shutdown() }
        let options = "?key-env=QUEUEPOOL_TEST_PROVIDER_KEY&endpoint=http://127.0.0.1:1/"
        for text in ["sendgrid:", "mailgun:a.example", "postmark:", "resend:"] {
            let target = try DeliveryURL.target(text + options, engine: engine)
            let provider = try #require(target as? ProviderTarget)
            #expect(provider.kind + ":" == text.prefix { $0 != ":" } + ":")
            #expect(provider.url.endpoint == "http://127.0.0.1:1")
        }
        #expect(throws: DeliveryURLError.self) { try DeliveryURL.target("ses:eu-central-1", engine: engine) }
        #expect(try DeliveryURL.target("ses:eu-central-1", engine: engine, signer: { _, _, _ in nil }).kind == "ses")
    }
}

@Suite struct `An answer of an email service` {
    private static func outcome(
        _ provider: EmailProvider, _ status: Int, _ body: String = "", _ headers: [(name: String, value: String)] = []
    ) throws -> DeliveryOutcome {
        setenv("QUEUEPOOL_TEST_PROVIDER_KEY", "key-1", 1)
        let engine = CurlEngine()
        defer { engine.shutdown() }
        let name = provider.scheme == "ses" ? "us-east-1" : provider.scheme == "mailgun" ? "a.example" : ""
        let rest = name + (provider.scheme == "ses" ? "" : "?key-env=QUEUEPOOL_TEST_PROVIDER_KEY")
        let target = try ProviderTarget(
            provider, url: ProviderURL(provider, rest), signer: { _, _, _ in nil }, engine: engine,
            clock: ManualClock())
        return target.outcome(HTTPResponse(status: status, headers: headers, body: Array(body.utf8)))
    }

    @Test func `says what became of the mail by its status`() throws {
        for provider in EmailProvider.all {
            let name = provider.scheme
            for status in [200, 202] { #expect(try Self.outcome(provider, status) == .delivered) }
            for status in [400, 413, 422] {
                #expect(try Self.outcome(provider, status) == .refused(errorClass: "\(name)-\(status)"))
            }
            for status in [401, 402, 403, 404, 405] {
                #expect(try Self.outcome(provider, status) == .unavailable(errorClass: "\(name)-\(status)"))
            }
            for status in [302, 408, 429, 500, 503] {
                #expect(
                    try Self.outcome(provider, status, "", [("Retry-After", "7")])
                        == .failed(errorClass: "\(name)-\(status)", retryAfterMilliseconds: 7_000))
            }
        }
    }

    @Test func `says why by its code, and never by its text`() throws {
        let cases: [(EmailProvider, Int, String, DeliveryOutcome)] = [
            (
                .ses, 400, #"{"__type": "com.amazonaws#MessageRejected", "message": "ann@a.example"}"#,
                .refused(errorClass: "ses-400-MessageRejected")
            ),
            (
                .ses, 400, #"{"__type": "SendingPausedException"}"#,
                .unavailable(errorClass: "ses-400-SendingPausedException")
            ),
            (
                .ses, 400, #"{"__type": "LimitExceededException"}"#,
                .failed(errorClass: "ses-400-LimitExceededException")
            ),
            (
                .sendGrid, 400, #"{"errors": [{"message": "ann@a.example", "field": "from.email", "help": null}]}"#,
                .refused(errorClass: "sendgrid-400-from.email")
            ),
            (.sendGrid, 403, #"{"errors": [{"field": "from"}]}"#, .refused(errorClass: "sendgrid-403-from")),
            (.sendGrid, 403, #"{"errors": [{"field": null}]}"#, .unavailable(errorClass: "sendgrid-403")),
            (
                .postmark, 422, #"{"ErrorCode": 406, "Message": "ann@a.example is inactive"}"#,
                .refused(errorClass: "postmark-422-406")
            ),
            (.postmark, 422, #"{"ErrorCode": 405}"#, .unavailable(errorClass: "postmark-422-405")),
            (.mailgun, 400, #"{"message": "ann@a.example"}"#, .refused(errorClass: "mailgun-400")),
            (
                .resend, 422, #"{"statusCode": 422, "message": "x", "name": "invalid_parameter"}"#,
                .refused(errorClass: "resend-422-invalid_parameter")
            ),
            (.resend, 403, #"{"name": "validation_error"}"#, .refused(errorClass: "resend-403-validation_error")),
            (.resend, 403, #"{"name": "invalid_api_key"}"#, .unavailable(errorClass: "resend-403-invalid_api_key")),
            (
                .resend, 409, #"{"name": "concurrent_idempotent_requests"}"#,
                .failed(errorClass: "resend-409-concurrent_idempotent_requests")
            ),
            (
                .resend, 429, #"{"name": "daily_quota_exceeded"}"#,
                .unavailable(errorClass: "resend-429-daily_quota_exceeded")
            ),
            // What is no code may be a sentence.
            (.resend, 422, #"{"name": "to ann@a.example"}"#, .refused(errorClass: "resend-422")),
            (.resend, 422, "not JSON", .refused(errorClass: "resend-422")),
        ]
        for (provider, status, body, expected) in cases {
            #expect(try Self.outcome(provider, status, body) == expected)
        }
        let header = [(name: "x-amzn-ErrorType", value: "BadRequestException:http://internal.amazon.com/")]
        #expect(
            try Self.outcome(.ses, 400, "{}", header) == .refused(errorClass: "ses-400-BadRequestException"))
    }

    @Test func `is not needed for what cannot be sent`() async throws {
        setenv("QUEUEPOOL_TEST_PROVIDER_KEY", "key-1", 1)
        let engine = CurlEngine()
        defer { engine.shutdown() }
        let options = "?key-env=QUEUEPOOL_TEST_PROVIDER_KEY&endpoint=http://127.0.0.1:1"
        let target = try DeliveryURL.target("resend:" + options, engine: engine)
        let plain = WorkMessage(id: "a", handle: "h", group: "g", body: [1])
        #expect(await target.deliver(plain, attempt: 1) == .refused(errorClass: "not-an-email"))
        let blind = #"{"from": "a@x.example", "bcc": ["b@x.example", "c@x.example"], "text": "t"}"#
        #expect(await target.deliver(message(blind), attempt: 1) == .refused(errorClass: "nobody-in-to"))
        #expect(await target.deliver(message(everything), attempt: 1) == .unavailable(errorClass: "unreachable"))
        let unsigned = try DeliveryURL.target(
            "ses:us-east-1?endpoint=http://127.0.0.1:1", engine: engine, signer: { _, _, _ in nil })
        #expect(await unsigned.deliver(message(everything), attempt: 1) == .unavailable(errorClass: "credentials"))
    }
}
